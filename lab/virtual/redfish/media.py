"""Managers/1/VirtualMedia/Cd: an image fetched by HTTP(S) into the server's CD drive, also while it runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from lab.virtual.chassis import Media
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
)

CD = f"{MANAGER}/VirtualMedia/Cd"
INSERT, EJECT = "VirtualMedia.InsertMedia", "VirtualMedia.EjectMedia"
_FETCH = aiohttp.ClientTimeout(total=600, sock_connect=10, sock_read=30)
_CHUNK = 2**20
_INSERT_PARAMETERS: dict[str, type] = {
    "Image": str,
    "Inserted": bool,
    "WriteProtected": bool,
    "TransferMethod": str,
    "TransferProtocolType": str,
    "UserName": str,
    "Password": str,
}
_PROTOCOLS = ["HTTP", "HTTPS"]
_METHODS = ["Stream", "Upload"]


def resources() -> dict[str, Resource]:
    """Every path at and under the manager's virtual media."""
    listing = f"{ROOT}/Managers/1/VirtualMedia"
    return {
        listing: Resource(lambda _: collection(listing, "VirtualMediaCollection", "Virtual Media", [CD])),
        CD: Resource(read),
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
        "Actions": {
            f"#{INSERT}": action(
                f"{CD}/Actions/{INSERT}", TransferProtocolType=_PROTOCOLS, TransferMethod=_METHODS
            ),
            f"#{EJECT}": action(f"{CD}/Actions/{EJECT}"),
        },
    }


async def insert(face: RedfishFace, body: Json) -> Reply:
    """Fetch the image, then attach it; answered when a running server can read it."""
    wanted = parameters(body, INSERT, _INSERT_PARAMETERS)
    url = wanted.get("Image")
    if not url:
        raise messages.missing_parameter(INSERT, "Image")
    scheme = urlsplit(url).scheme.upper()
    for name, value, allowed in (
        ("Image", scheme, _PROTOCOLS),
        ("TransferProtocolType", wanted.get("TransferProtocolType", scheme), _PROTOCOLS),
        ("TransferMethod", wanted.get("TransferMethod", "Upload"), _METHODS),
        ("Inserted", str(wanted.get("Inserted", True)), ["True"]),
        ("WriteProtected", str(wanted.get("WriteProtected", True)), ["True"]),
    ):
        if value not in allowed:
            raise messages.not_in_list(name, value, allowed, action=INSERT)
    if face.chassis.media is not None:
        raise messages.RedfishError(409, "ResourceInUse", "The drive holds an image already; eject it first.")
    face.media_count += 1
    name = f"media/{face.media_count}.img"
    login = (
        aiohttp.BasicAuth(wanted["UserName"], wanted.get("Password", "")) if wanted.get("UserName") else None
    )
    await _fetch(url, login, face.chassis.folder.path / name)
    await face.chassis.insert(Media(url, name))
    return Reply()


async def eject(face: RedfishFace, body: Json) -> Reply:
    """Empty the drive; an empty drive stays as it is."""
    parameters(body, EJECT, {})
    await face.chassis.eject()
    return Reply()


async def _fetch(url: str, login: aiohttp.BasicAuth | None, file: Path) -> None:
    partial = file.with_suffix(".part")
    try:
        # As a BMC does by default (VerifyCertificate: false); what is fetched is checked by whoever boots it.
        async with (
            aiohttp.ClientSession(timeout=_FETCH, auth=login, auto_decompress=False) as client,
            client.get(url, ssl=False) as answer,
        ):
            if answer.status != 200:
                raise _unfetched(url, f"HTTP status {answer.status}")
            size = 0
            with partial.open("wb") as stream:
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    size += await asyncio.to_thread(stream.write, chunk)
            if size == 0:
                raise _unfetched(url, "it is empty")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _unfetched(url, str(error) or type(error).__name__) from error
    else:
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _unfetched(url: str, why: str) -> messages.RedfishError:
    text = f"The image at '{url}' cannot be fetched: {why}."
    return messages.RedfishError(400, "ResourceAtUriInUnknownFormat", text, arguments=[url])
