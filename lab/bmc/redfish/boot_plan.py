"""What to write to name a boot device by Redfish: every value inside what the BMC allows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from lab.bmc.api import BootDevice
from lab.bmc.bill import FirmwareMode
from lab.bmc.quirk_model import Behaviour
from lab.bmc.redfish.json import Json, allowed, as_dict, link, text
from lab.bmc.redfish.tree import RedfishTree
from lab.bmc.target import Unsupported

Enabled = Literal["Once", "Continuous"]
MODE = "BootSourceOverrideMode"
_TARGETS = {
    BootDevice.DISK: ("Hdd",),
    BootDevice.CD: ("Cd", "UsbCd", "VCD-DVD"),
    BootDevice.PXE: ("Pxe",),
    BootDevice.HTTP: ("UefiHttp",),
    BootDevice.SETUP: ("BiosSetup",),
    BootDevice.NONE: ("None",),
}
"""BootSourceOverrideTarget values (ComputerSystem schema), and one of Dell's (Q1)."""
_MODES: dict[FirmwareMode, str] = {"uefi": "UEFI", "bios": "Legacy"}
CLEAR: Json = {"BootSourceOverrideEnabled": "Disabled"}


def plans(
    tree: RedfishTree,
    system: Json,
    device: BootDevice,
    mode: FirmwareMode,
    *,
    behaviour: Behaviour,
    enabled: Enabled = "Once",
    uri: str | None = None,
    last: Collection[str] = (),
) -> list[Json]:
    """The members of `Boot` to write, one request for each way to name the device, the best first.

    Args:
        last: targets that have been seen not to boot.

    Raises:
        Unsupported: this BMC has no override, or none to this device, or none that lasts (Q20, Q31).
    """
    boot = as_dict(system.get("Boot"))
    if "BootSourceOverrideTarget" not in boot and "BootSourceOverrideEnabled" not in boot:
        raise Unsupported("the system's Redfish resource has no boot override")
    if device is BootDevice.NONE:
        return [CLEAR]
    if device is BootDevice.HTTP and mode != "uefi":
        raise Unsupported("HTTP boot is a thing of UEFI; the server boots by BIOS")
    may = targets(tree, system)
    known = behaviour.cd_targets if device is BootDevice.CD else _TARGETS[device]
    candidates = [name for name in known if (name in may if may is not None else name != "VCD-DVD")]
    may_enable = allowed(boot, "BootSourceOverrideEnabled")
    if not candidates or (may_enable is not None and enabled not in may_enable):
        often = "once" if enabled == "Once" else "always"
        raise Unsupported(f"boot {often} from {device}: the BMC allows {may}, {may_enable}")
    extra: Json = {"HttpBootUri": uri} if uri else {}
    if _sends_mode(boot, mode, behaviour):
        extra[MODE] = _MODES[mode]
    candidates.sort(key=lambda name: name in last)
    return [
        {"BootSourceOverrideEnabled": enabled, "BootSourceOverrideTarget": name, **extra}
        for name in candidates
    ]


def plan(tree: RedfishTree, system: Json, device: BootDevice, mode: FirmwareMode) -> Json:
    """The first of `plans` for a BMC of which nothing special is known."""
    return plans(tree, system, device, mode, behaviour=Behaviour())[0]


def targets(tree: RedfishTree, system: Json) -> list[str] | None:
    """The targets that the BMC allows; iDRAC10 says them on the Settings resource only (Q10)."""
    may = allowed(as_dict(system.get("Boot")), "BootSourceOverrideTarget")
    if may is None:
        may = allowed(as_dict(tree.look(settings_path(system)).get("Boot")), "BootSourceOverrideTarget")
    return may


def settings_path(system: Json) -> str | None:
    """Where changes for the next boot go, on BMCs that keep them apart (DSP0266, 9.10)."""
    return link(as_dict(system.get("@Redfish.Settings")), "SettingsObject")


def override(system: Json) -> BootDevice | None:
    """The override in force; None where the BMC does not say, or says a device that we have no word for."""
    boot = as_dict(system.get("Boot"))
    enabled = text(boot, "BootSourceOverrideEnabled")
    if not enabled:
        return None
    now = text(boot, "BootSourceOverrideTarget")
    if enabled == "Disabled" or now in ("", "None"):
        return BootDevice.NONE
    return next((device for device, names in _TARGETS.items() if now in names), None)


def holds(boot: Json, request: Json) -> bool:
    """Whether `boot` reads as `request` wants it."""
    if request == CLEAR:
        return override({"Boot": boot}) is BootDevice.NONE
    return all(boot.get(name) == value for name, value in request.items())


def mode_name(mode: FirmwareMode) -> str:
    """The BootSourceOverrideMode that means `mode`."""
    return _MODES[mode]


def _sends_mode(boot: Json, mode: FirmwareMode, behaviour: Behaviour) -> bool:
    """Whether the mode goes with the device; some refuse the whole request for it (Q14, Q17, Q24)."""
    current = text(boot, MODE)
    if not current or behaviour.boot_mode_sent == "never":
        return False
    may = allowed(boot, MODE)
    if may is not None and _MODES[mode] not in may:
        return False
    return behaviour.boot_mode_sent == "always" or behaviour.whole_boot_object or current != _MODES[mode]
