"""The boot override of Systems/1, and the order of its boot options."""

from __future__ import annotations

import re

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
_URI = "HttpBootUri"
_URI_SHAPE = re.compile(r"http://[!-~]{1,250}")
"""OVMF can boot by HTTPS too, but holds no certificate authority to trust."""
_TARGET, _WHEN, _MODE = "BootSourceOverrideTarget", "BootSourceOverrideEnabled", "BootSourceOverrideMode"


def targets(server: Server) -> dict[str, BootDevice]:
    """The targets that this server can really be sent to; only UEFI boots by HTTP."""
    return _TARGETS | ({"UefiHttp": BootDevice.HTTP} if server.firmware == "uefi" else {})


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
        **({_URI: override.uri} if server.firmware == "uefi" else {}),
    }


def wanted_override(face: RedfishFace, boot: object) -> Override:
    """The override that a PATCH of `Boot` asks for, checked whole; nothing is changed yet.

    Raises:
        RedfishError: 400 for what is not allowed, or is not enough.
    """
    if not isinstance(boot, dict):
        raise messages.wrong_type("Boot", boot)
    server, now = face.chassis.server, face.chassis.override
    wanted = writable(boot, read_boot(face), _writable(server))
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
    uri = _wanted_uri(wanted[_URI]) if _URI in wanted else now.uri
    if device is BootDevice.HTTP and uri is None:
        text = f"The property {_URI} is required: this server cannot learn by DHCP what to boot by HTTP."
        raise messages.RedfishError(400, "PropertyMissing", text, arguments=[_URI])
    return Override(device, once, uri)


def _writable(server: Server) -> tuple[str, ...]:
    return (_TARGET, _WHEN, _MODE, *((_URI,) if server.firmware == "uefi" else ()))


def _wanted_uri(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise messages.wrong_type(_URI, value)
    if not _URI_SHAPE.fullmatch(value):
        text = f"The value '{value}' for the property {_URI} is not an address of plain HTTP."
        raise messages.RedfishError(400, "PropertyValueFormatError", text, arguments=[value, _URI])
    return value
