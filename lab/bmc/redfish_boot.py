"""The boot override by Redfish: within what the BMC allows, written once, read back."""

from __future__ import annotations

from collections.abc import Sequence

from lab.bmc.api import Answer, BootDevice, Outcome
from lab.bmc.bill import FirmwareMode
from lab.bmc.redfish_json import Json, allowed, as_dict, link, text
from lab.bmc.redfish_reply import Reply
from lab.bmc.redfish_session import NoAnswer, RedfishSession
from lab.bmc.redfish_tree import RedfishTree
from lab.bmc.target import Target, Unsupported

_TARGETS = {
    BootDevice.DISK: ("Hdd",),
    BootDevice.CD: ("Cd", "UsbCd"),
    BootDevice.PXE: ("Pxe",),
    BootDevice.HTTP: ("UefiHttp",),
    BootDevice.SETUP: ("BiosSetup",),
    BootDevice.NONE: ("None",),
}
"""BootSourceOverrideTarget values (ComputerSystem schema), the wanted one first."""
_MODES: dict[FirmwareMode, str] = {"uefi": "UEFI", "bios": "Legacy"}


def boot_once(
    session: RedfishSession,
    tree: RedfishTree,
    target: Target,
    device: BootDevice,
    mode: FirmwareMode,
    provider: str,
) -> Answer:
    """Set the override for the next boot.

    The mode is sent only where the BMC has another one, since some refuse the whole request for it
    (facts/bmc.md, Q14), and left out when that is what the BMC refuses.

    Raises:
        Unsupported: this BMC has no override, or not to this device.
        BmcRefused: it said no, or reads back something else.
    """
    system = tree.system
    request, tried = plan(tree, system, device, mode), f"boot once from {device}"
    settled, tries = patch(session, target, system, [{"Boot": boot} for boot in _ladder(request)], tried)
    now = as_dict(tree.system.get("Boot"))
    wanted = {name: value for name, value in request.items() if name in settled}
    seen = {name: now.get(name) for name in wanted}
    evidence = (f"set {wanted}", f"read {seen}")
    if device is BootDevice.NONE:
        if override({"Boot": now}) is not BootDevice.NONE:
            raise target.refused(tried, f"the override stays; {evidence[1]}")
    elif any(seen[name] != value for name, value in wanted.items()):
        raise target.refused(
            tried, f"{evidence[0]}, {evidence[1]}", "clear the override, or let another provider set it"
        )
    if (
        "BootSourceOverrideMode" in request
        and now.get("BootSourceOverrideMode") != request["BootSourceOverrideMode"]
    ):
        raise target.refused(
            tried,
            f"the boot mode stays {now.get('BootSourceOverrideMode')}",
            "set the server's boot mode in its firmware setup, or correct `firmware` in the rack file",
        )
    return Answer(Outcome.VERIFIED, provider, tries, evidence)


def plan(tree: RedfishTree, system: Json, device: BootDevice, mode: FirmwareMode) -> Json:
    """The members of `Boot` to write, every value inside what the BMC allows.

    Raises:
        Unsupported: this BMC has no override, or not to this device.
    """
    boot = as_dict(system.get("Boot"))
    if "BootSourceOverrideTarget" not in boot and "BootSourceOverrideEnabled" not in boot:
        raise Unsupported("the system's Redfish resource has no boot override")
    if device is BootDevice.NONE:
        return {"BootSourceOverrideEnabled": "Disabled"}
    may = allowed(boot, "BootSourceOverrideTarget")
    if may is None:  # iDRAC10 says it on the Settings resource only (Q10)
        settings = tree.look(link(as_dict(system.get("@Redfish.Settings")), "SettingsObject"))
        may = allowed(as_dict(settings.get("Boot")), "BootSourceOverrideTarget")
    candidates = [name for name in _TARGETS[device] if may is None or name in may]
    enable = allowed(boot, "BootSourceOverrideEnabled")
    if not candidates or (enable is not None and "Once" not in enable):
        raise Unsupported(f"boot once from {device}: the BMC allows {may}, {enable}")
    request: Json = {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": candidates[0]}
    current = text(boot, "BootSourceOverrideMode")
    if current and current != _MODES[mode]:
        request["BootSourceOverrideMode"] = _MODES[mode]
    return request


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


def patch(
    session: RedfishSession,
    target: Target,
    resource: Json,
    bodies: Sequence[Json],
    tried: str,
) -> tuple[set[str], int]:
    """PATCH a resource with its own ETag; the members of `Boot` that were accepted, and the tries.

    The next of `bodies` is tried where the BMC rejects one as malformed. A request that got no answer
    counts as sent: whoever calls reads back.

    Raises:
        BmcRefused: the BMC said no.
    """
    path, etag = text(resource, "@odata.id"), text(resource, "@odata.etag") or None
    reply = Reply(0)
    tries = 0
    for tries, request in enumerate(bodies, start=1):
        try:
            reply = session.write("PATCH", path, request, if_match=etag)
        except NoAnswer:
            return set(as_dict(request.get("Boot"))), tries
        if reply.good:
            return set(as_dict(request.get("Boot"))), tries
        if reply.status != 400:
            break
    if reply.status in (404, 405, 501):
        raise Unsupported(f"{tried}: {reply.why}")
    raise target.refused(tried, reply.why)


def _ladder(request: Json) -> list[Json]:
    """The request, and the form that BMCs accept which reject it."""
    if request.get("BootSourceOverrideEnabled") == "Disabled":
        return [request, {**request, "BootSourceOverrideTarget": "None"}]
    if "BootSourceOverrideMode" in request:
        return [request, {name: value for name, value in request.items() if name != "BootSourceOverrideMode"}]
    return [request]
