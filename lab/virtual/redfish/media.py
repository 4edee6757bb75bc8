"""Managers/1/VirtualMedia/Cd: an image fetched by HTTP(S) into the server's CD drive, also while it runs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from lab.virtual.board import Media
from lab.virtual.redfish import messages
from lab.virtual.redfish.face import (
    MANAGER,
    ROOT,
    Json,
    RedfishFace,
    Reply,
    Resource,
    action,
    collection,
    heading,
    parameters,
    writable,
)
from lab.virtual.redfish.fetch import PROTOCOLS, check_source, fetch

CD = f"{MANAGER}/VirtualMedia/Cd"
INSERT, EJECT = "VirtualMedia.InsertMedia", "VirtualMedia.EjectMedia"
_INSERT_PARAMETERS: dict[str, type] = {
    "Image": str,
    "Inserted": bool,
    "WriteProtected": bool,
    "TransferMethod": str,
    "TransferProtocolType": str,
    "UserName": str,
    "Password": str,
}
_METHODS = ["Stream", "Upload"]


def resources() -> dict[str, Resource]:
    """Every path at and under the manager's virtual media."""
    listing = f"{ROOT}/Managers/1/VirtualMedia"
    return {
        listing: Resource(lambda _: collection(listing, "VirtualMediaCollection", "Virtual Media", [CD])),
        CD: Resource(read, patch),
        f"{CD}/Actions/{INSERT}": Resource(post=insert),
        f"{CD}/Actions/{EJECT}": Resource(post=eject),
    }


def read(face: RedfishFace) -> Json:
    """The drive and what is in it."""
    media = face.chassis.media
    return heading(CD, "VirtualMedia.v1_6_0.VirtualMedia", "Virtual CD") | {
        "MediaTypes": ["CD", "DVD"],
        "Image": media.url if media else None,
        "ImageName": Path(urlsplit(media.url).path).name if media else None,
        "Inserted": media is not None,
        "WriteProtected": True,
        "ConnectedVia": "URI" if media else "NotConnected",
        "TransferMethod": "Upload" if media else None,
        "TransferProtocolType": urlsplit(media.url).scheme.upper() if media else None,
        "UserName": None,
        "Password": None,
        "Actions": {
            f"#{INSERT}": action(
                f"{CD}/Actions/{INSERT}", TransferProtocolType=PROTOCOLS, TransferMethod=_METHODS
            ),
            f"#{EJECT}": action(f"{CD}/Actions/{EJECT}"),
        },
    }


async def insert(face: RedfishFace, body: Json) -> Reply:
    """Fetch the image, then attach it; answered when a running server can read it.

    Raises:
        RedfishError: 400 for a parameter or an image that is no good, 409 where the drive is taken.
    """
    wanted = parameters(body, INSERT, _INSERT_PARAMETERS)
    if not wanted.get("Image"):
        raise messages.missing_parameter(INSERT, "Image")
    for name, value, allowed in (
        ("TransferMethod", wanted.get("TransferMethod", "Upload"), _METHODS),
        ("Inserted", str(wanted.get("Inserted", True)), ["True"]),
        ("WriteProtected", str(wanted.get("WriteProtected", True)), ["True"]),
    ):
        if value not in allowed:
            raise messages.not_in_list(name, value, allowed, action=INSERT)
    await _attach(face, wanted)
    return Reply()


async def eject(face: RedfishFace, body: Json) -> Reply:
    """Empty the drive; an empty drive stays as it is."""
    parameters(body, EJECT, {})
    await face.chassis.eject()
    return Reply()


async def patch(face: RedfishFace, body: Json) -> None:
    """Mount and unmount without actions, as some BMCs only do (facts/bmc.md Q20).

    `Image` with a URL mounts it; `Image: null` or `Inserted: false` unmounts.

    Raises:
        RedfishError: 400 for what is not allowed or not enough, 409 where the drive is taken.
    """
    wanted = writable(body, read(face), tuple(_INSERT_PARAMETERS))
    for name, value in wanted.items():
        if value is not None and not isinstance(value, _INSERT_PARAMETERS[name]):
            raise messages.wrong_type(name, value)
    if wanted.get("WriteProtected") is False:
        raise messages.not_in_list("WriteProtected", False, ["True"])
    if wanted.get("TransferMethod") not in (None, *_METHODS):
        raise messages.not_in_list("TransferMethod", wanted["TransferMethod"], _METHODS)
    held = face.chassis.media
    image, inserted = wanted.get("Image"), wanted.get("Inserted")
    if inserted is False or ("Image" in wanted and not image):
        if inserted is True or image:
            text = "Image and Inserted contradict each other; nothing was changed."
            raise messages.RedfishError(400, "PropertyValueConflict", text, arguments=["Inserted", "Image"])
        await face.chassis.eject()
    elif image:
        if held is None or held.url != image:
            await _attach(face, {name: value for name, value in wanted.items() if value is not None})
    elif inserted and held is None:
        text = "The property Image is required where media are to be inserted."
        raise messages.RedfishError(400, "PropertyMissing", text, arguments=["Image"])


async def _attach(face: RedfishFace, wanted: Json) -> None:
    url = wanted["Image"]
    check_source(INSERT, "Image", url, wanted.get("TransferProtocolType"), "TransferProtocolType")
    if face.chassis.media is not None:
        raise messages.RedfishError(409, "ResourceInUse", "The drive holds an image already; eject it first.")
    if face.media_busy:
        raise messages.RedfishError(409, "ResourceInUse", "Another image is being fetched into the drive.")
    face.media_count += 1
    name = f"media/{face.media_count}.img"
    file = face.chassis.folder.path / name
    face.media_busy = True
    try:
        await fetch(url, wanted.get("UserName", ""), wanted.get("Password", ""), file)
        await face.chassis.insert(Media(url, name))
    finally:
        face.media_busy = False
