"""Systems/1/SecureBoot, as the firmware has it: the OVMF that these servers run is built without it.

Shown so that a client can read that it is off; enabling it is refused. A BIOS server has no such resource.
"""

from __future__ import annotations

from lab.virtual.redfish import messages
from lab.virtual.redfish.face import SYSTEM, Json, RedfishFace, Resource, heading

SECURE_BOOT = f"{SYSTEM}/SecureBoot"


def resources(firmware: str) -> dict[str, Resource]:
    """The one path, under UEFI only."""
    return {SECURE_BOOT: Resource(read, patch)} if firmware == "uefi" else {}


def read(_: RedfishFace) -> Json:
    """Off, and in set-up mode: no platform key is enrolled."""
    return heading(SECURE_BOOT, "SecureBoot.v1_1_0.SecureBoot", "UEFI Secure Boot") | {
        "Description": "The firmware of this virtual server is built without it; it cannot be enabled.",
        "SecureBootEnable": False,
        "SecureBootCurrentBoot": "Disabled",
        "SecureBootMode": "SetupMode",
    }


async def patch(face: RedfishFace, body: Json) -> None:
    """Accepts what is so already.

    Raises:
        RedfishError: 400 for anything that would change it.
    """
    known = read(face)
    for name, value in body.items():
        if name not in known:
            raise messages.unknown_property(name)
        if value != known[name]:
            raise messages.read_only(name)
