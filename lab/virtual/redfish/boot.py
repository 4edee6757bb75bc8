"""The boot override of Systems/1, and the order of its boot options."""

from __future__ import annotations

from lab.bmc.api import BootDevice
from lab.rack.model import Server
from lab.virtual.board import Override
from lab.virtual.redfish import messages
from lab.virtual.redfish.face import Json, RedfishFace, one_of, writable

_TARGETS = {
    "None": BootDevice.NONE,
    "Hdd": BootDevice.DISK,
    "Cd": BootDevice.CD,
    "Pxe": BootDevice.PXE,
    "BiosSetup": BootDevice.SETUP,
}
_ENABLED = ["Disabled", "Once", "Continuous"]
_MODES = {"uefi": "UEFI", "bios": "Legacy"}
_TARGET, _WHEN, _MODE = "BootSourceOverrideTarget", "BootSourceOverrideEnabled", "BootSourceOverrideMode"


def targets(server: Server) -> dict[str, BootDevice]:
    """The targets that this server can really be sent to."""
    return dict(_TARGETS)


def read_boot(face: RedfishFace) -> Json:
    """The `Boot` object."""
    override, server = face.chassis.override, face.chassis.server
    known = targets(server)
    when = "Disabled" if override.device is BootDevice.NONE else "Once" if override.once else "Continuous"
    return {
        _WHEN: when,
        f"{_WHEN}@Redfish.AllowableValues": _ENABLED,
        _TARGET: next((name for name, device in known.items() if device is override.device), "None"),
        f"{_TARGET}@Redfish.AllowableValues": list(known),
        _MODE: _MODES[server.firmware],
        f"{_MODE}@Redfish.AllowableValues": [_MODES[server.firmware]],
    }


def wanted_override(face: RedfishFace, boot: object) -> Override:
    """The override that a PATCH of `Boot` asks for, checked whole; nothing is changed yet.

    Raises:
        RedfishError: 400 for what is not allowed, or is not enough.
    """
    if not isinstance(boot, dict):
        raise messages.wrong_type("Boot", boot)
    server, now = face.chassis.server, face.chassis.override
    wanted = writable(boot, read_boot(face), (_TARGET, _WHEN, _MODE))
    if _MODE in wanted:
        one_of(_MODE, wanted[_MODE], [_MODES[server.firmware]])
    known = targets(server)
    device, once = now.device, now.once
    if _TARGET in wanted:
        device = known[one_of(_TARGET, wanted[_TARGET], list(known))]
        if now.device is BootDevice.NONE:
            once = True
    if _WHEN in wanted:
        enabled = one_of(_WHEN, wanted[_WHEN], _ENABLED)
        once = enabled != "Continuous"
        if enabled == "Disabled":
            device = BootDevice.NONE
        elif device is BootDevice.NONE and _TARGET not in wanted:
            text = f"The property {_TARGET} is required when an override is enabled."
            raise messages.RedfishError(400, "PropertyMissing", text, arguments=[_TARGET])
    return Override(device, once)
