"""What a BMC can do by IPMI, found out by reading alone: which command was asked, and what it answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lab.bmc.api import PowerAction
from lab.bmc.capability import Area, Can, Capability
from lab.bmc.ipmi.session import CompletionCode, IpmiSession
from lab.bmc.ipmi.sol import present_channel
from lab.errors import BmcBusy, BmcCredentials, BmcUnreachable, LabFault

_CHASSIS, _APP, _STORAGE, _GROUP = 0x00, 0x06, 0x0A, 0x2C
_OPERATOR = 3
_NOT_ALLOWED = {0xD4, 0xD5, 0xC3}
"""Codes that say "not now" or "not you"; the command itself is there."""
_ACTIONS = (
    PowerAction.ON,
    PowerAction.OFF,
    PowerAction.GRACEFUL_OFF,
    PowerAction.RESET,
    PowerAction.CYCLE,
)


@dataclass(frozen=True)
class _Found:
    """What one question came to."""

    can: Can
    learned: str
    allowed: tuple[str, ...] = ()
    data: bytes = b""


_Look = Callable[[IpmiSession], _Found]


def read_capabilities(session: IpmiSession, provider: str) -> list[Capability]:
    """One entry for each area; "no" for what IPMI has no command for.

    Raises:
        BmcUnreachable, BmcCredentials, BmcBusy: the BMC went away, or does not let us in.
    """
    found = []
    for area in Area:
        look = _LOOKS.get(area)
        try:
            told = look(session) if look else _Found("no", "IPMI has no such command")
        except (BmcUnreachable, BmcCredentials, BmcBusy):
            raise
        except LabFault as fault:
            told = _Found("unknown", fault.message)
        found.append(Capability(area, provider, told.can, told.allowed, told.learned))
    return found


def _ask(session: IpmiSession, name: str, netfn: int, command: int, data: tuple[int, ...] = ()) -> _Found:
    """Whether the BMC answers a harmless command; its name and answer are how that was learned."""
    try:
        answer = session.ask(netfn, command, data)
    except CompletionCode as no:
        return _Found("unknown" if no.code in _NOT_ALLOWED else "no", f"{name}: {no}")
    return _Found("yes", f"{name}: {answer[:8].hex(' ')}{' …' if len(answer) > 8 else ''}", data=answer)


def _power(session: IpmiSession) -> _Found:
    found = _ask(session, "Get Chassis Status", _CHASSIS, 0x01)
    if found.can != "yes":
        return found
    if session.privilege < _OPERATOR:
        return replace(found, can="no", learned=f"{found.learned}; this user is no operator")
    # Chassis Control has no way to be asked what it would do; NMI is the one that many lack.
    learned = f"{found.learned}; which actions of Chassis Control it has only sending them would tell"
    return _Found("yes", learned, tuple(action.value for action in _ACTIONS))


def _boot(session: IpmiSession) -> _Found:
    found = _ask(session, "Get System Boot Options 5", _CHASSIS, 0x09, (5, 0, 0))
    return replace(
        found, allowed=("disk", "cd", "pxe", "setup", "once", "always") if found.can == "yes" else ()
    )


def _console(session: IpmiSession) -> _Found:
    channel = present_channel(session)
    found = _ask(session, f"Get SOL Configuration 1, channel {channel}", 0x0C, 0x22, (channel, 1, 0, 0))
    if found.can == "yes" and len(found.data) > 1:
        state = "enabled" if found.data[1] & 1 else "disabled, can be enabled"
        return replace(found, allowed=("sol", state))
    payloads = _ask(session, "Get Channel Payload Support", _APP, 0x4E, (channel,))
    if payloads.can == "yes" and payloads.data and payloads.data[0] & 0x02:
        return replace(payloads, allowed=("sol",))
    learned = f"{found.learned}; {payloads.learned}"
    return _Found("unknown" if payloads.can == "unknown" else "no", learned)


def _logs(session: IpmiSession) -> _Found:
    found = _ask(session, "Get SEL Info", _STORAGE, 0x40)
    if found.can == "yes" and len(found.data) > 2:
        entries = int.from_bytes(found.data[1:3], "little")
        return replace(found, allowed=("read", "clear", f"{entries} entries"))
    return found


def _sensors(session: IpmiSession) -> _Found:
    found = _ask(session, "Get SDR Repository Info", _STORAGE, 0x20)
    if found.can == "no":
        found = _ask(session, "Get Device SDR Info", 0x04, 0x20, (0,))
    watts = _ask(session, "DCMI Get Power Reading", _GROUP, 0x02, (0xDC, 1, 0, 0))
    allowed = (("readings", "thresholds") if found.can == "yes" else ()) + (
        ("power draw",) if watts.can == "yes" else ()
    )
    can: Can = "yes" if allowed else found.can
    return _Found(can, f"{found.learned}; {watts.learned}", allowed)


def _inventory(session: IpmiSession) -> _Found:
    found = _ask(session, "Get FRU Inventory Area Info 0", _STORAGE, 0x10, (0,))
    return replace(found, allowed=("fru", "firmware") if found.can == "yes" else ())


_LOOKS: dict[Area, _Look] = {
    Area.POWER: _power,
    Area.BOOT: _boot,
    Area.CONSOLE: _console,
    Area.LOGS: _logs,
    Area.SENSORS: _sensors,
    Area.INVENTORY: _inventory,
}
