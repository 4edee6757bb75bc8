"""UpdateService: a firmware inventory, and updates of one component that is there to be updated.

What the server really runs (UEFI or BIOS image, this BMC) is listed and cannot be updated. The dummy has a
name that nobody takes for a real component; an image for it is the line `lab-dummy-firmware VERSION`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable

from lab.virtual.redfish import manager, messages, system, tasks
from lab.virtual.redfish.face import (
    OK,
    ROOT,
    Json,
    Parts,
    RedfishFace,
    Reply,
    Resource,
    action,
    collection,
    heading,
    link,
    parameters,
)
from lab.virtual.redfish.fetch import PROTOCOLS, check_source, fetch
from lab.virtual.redfish.work import Work, WorkFailed

SERVICE = f"{ROOT}/UpdateService"
PUSH = f"{SERVICE}/MultipartPush"
INVENTORY = f"{SERVICE}/FirmwareInventory"
DUMMY = f"{INVENTORY}/LabDummy"
SIMPLE = "UpdateService.SimpleUpdate"
_IMAGE = re.compile(rb"lab-dummy-firmware ([0-9]+(?:\.[0-9]+){0,3})\s*")
_IMAGE_LIMIT = 2**20
_PARTS = {"UpdateParameters", "UpdateFile"}
_PARAMETERS: dict[str, type] = {
    "ImageURI": str,
    "TransferProtocol": str,
    "Targets": list,
    "Username": str,
    "Password": str,
    "ForceUpdate": bool,
    "@Redfish.OperationApplyTime": str,
}
_APPLY = ["Immediate"]


def resources() -> dict[str, Resource]:
    """Every path of the update service."""
    members = [f"{INVENTORY}/BIOS", f"{INVENTORY}/BMC", DUMMY]
    return {
        SERVICE: Resource(read),
        f"{SERVICE}/Actions/{SIMPLE}": Resource(post=simple_update),
        PUSH: Resource(upload=push),
        INVENTORY: Resource(
            lambda _: collection(INVENTORY, "SoftwareInventoryCollection", "Firmware", members)
        ),
        members[0]: _component(members[0], "System firmware", _system_firmware),
        members[1]: _component(members[1], "Virtual BMC", lambda _: manager.version()),
        DUMMY: _component(
            DUMMY, "Dummy component (nothing runs it)", lambda face: face.dummy_version, updateable=True
        ),
    }


def read(_: RedfishFace) -> Json:
    """UpdateService."""
    return heading(SERVICE, "UpdateService.v1_14_0.UpdateService", "Update Service") | {
        "ServiceEnabled": True,
        "Status": OK,
        "FirmwareInventory": link(INVENTORY),
        "MultipartHttpPushUri": PUSH,
        "MaxImageSizeBytes": _IMAGE_LIMIT,
        "Actions": {
            f"#{SIMPLE}": {
                **action(f"{SERVICE}/Actions/{SIMPLE}", TransferProtocol=PROTOCOLS, Targets=[DUMMY]),
                "@Redfish.OperationApplyTimeSupport": {"SupportedValues": _APPLY},
            }
        },
    }


async def simple_update(face: RedfishFace, body: Json) -> Reply:
    """Fetch an image and write it: 202 and a task."""
    wanted = parameters(body, SIMPLE, _PARAMETERS)
    url = wanted.get("ImageURI")
    if not url:
        raise messages.missing_parameter(SIMPLE, "ImageURI")
    check_source(SIMPLE, "ImageURI", url, wanted.get("TransferProtocol"), "TransferProtocol")
    _check_plan(wanted)
    file = face.chassis.folder.path / f"update-{id(body):x}.img"

    async def update(work: Work) -> None:
        work.advance(0, "Fetching the image.")
        try:
            await fetch(url, wanted.get("Username", ""), wanted.get("Password", ""), file)
            with file.open("rb") as stream:
                image = stream.read(_IMAGE_LIMIT + 1)
        except messages.RedfishError as error:
            raise WorkFailed(error.text) from error
        finally:
            file.unlink(missing_ok=True)
        await _write(face, work, image)

    target = f"{SERVICE}/Actions/{SIMPLE}"
    return tasks.answer(face.tasks.start("Firmware update", target, update, face.behaviour.task_kept_s))


async def push(face: RedfishFace, parts: Parts) -> Reply:
    """Take an image as multipart/form-data: 202 and a task."""
    found: dict[str, bytes] = {}
    async for part in parts:
        if part.name not in _PARTS:
            raise messages.unknown_parameter("MultipartHttpPush", str(part.name))
        data = bytearray()
        while chunk := await part.read_chunk():
            data += chunk
            if len(data) > _IMAGE_LIMIT:
                text = f"The part {part.name} is larger than {_IMAGE_LIMIT} bytes."
                raise messages.RedfishError(413, "PayloadTooLarge", text)
        found[part.name] = bytes(data)
    for name in sorted(_PARTS - set(found)):
        raise messages.missing_parameter("MultipartHttpPush", name)
    try:
        wanted = json.loads(found["UpdateParameters"])
    except ValueError as error:
        raise messages.malformed() from error
    if not isinstance(wanted, dict):
        raise messages.malformed()
    _check_plan(parameters(wanted, "MultipartHttpPush", _PARAMETERS))

    async def update(work: Work) -> None:
        await _write(face, work, found["UpdateFile"])

    return tasks.answer(face.tasks.start("Firmware update", PUSH, update, face.behaviour.task_kept_s))


def _check_plan(wanted: Json) -> None:
    when = wanted.get("@Redfish.OperationApplyTime", "Immediate")
    if when not in _APPLY:
        raise messages.not_in_list("@Redfish.OperationApplyTime", when, _APPLY, action=SIMPLE)
    for target in wanted.get("Targets", []):
        if target != DUMMY:
            raise messages.not_in_list("Targets", target, [DUMMY], action=SIMPLE)


async def _write(face: RedfishFace, work: Work, image: bytes) -> None:
    found = _IMAGE.fullmatch(image)
    if found is None:
        raise WorkFailed("The image is not one of the dummy component; nothing was written.")
    for percent in (20, 40, 60, 80):
        work.advance(percent, "Writing the image.")
        await asyncio.sleep(face.behaviour.task_step_s)
    face.dummy_version = found[1].decode()


def _system_firmware(face: RedfishFace) -> str:
    return system.firmware_version(face.chassis.server.firmware)


def _component(
    path: str, name: str, version: Callable[[RedfishFace], str], *, updateable: bool = False
) -> Resource:
    def read_component(face: RedfishFace) -> Json:
        return heading(path, "SoftwareInventory.v1_10_2.SoftwareInventory", name) | {
            "Manufacturer": "hypervisor-lab",
            "Version": version(face),
            "Updateable": updateable,
            "Status": OK,
        }

    return Resource(read_component)
