"""NetFn App: activation of payloads, of which SOL is the only one (IPMI v2.0 rev 1.1, section 24)."""

from __future__ import annotations

from lab.virtual.ipmi.bmc import Asked, Bmc, Refused
from lab.virtual.ipmi.commands.application import APP
from lab.virtual.ipmi.commands.table import Command, Table
from lab.virtual.ipmi.rmcp import PayloadType

_ACTIVE_ELSEWHERE = _NOT_ACTIVE = 0x80
_DISABLED = 0x81
_LIMIT = 0x82
_INBOUND_BYTES, _OUTBOUND_BYTES = 256, 259
_NO_VLAN = 0xFFFF


def _activate(bmc: Bmc, asked: Asked) -> bytes:
    """24.1: SOL, instance 1, encrypted and authenticated as the session is."""
    _require_sol(asked)
    sol = bmc.sol
    if not sol.settings.enabled:
        raise Refused(_DISABLED)
    if asked.session is None or sol.orphaned or sol.owner is not None:
        raise Refused(_ACTIVE_ELSEWHERE if sol.owner is not asked.session else _LIMIT)
    sol.activate(asked.session)
    sizes = _INBOUND_BYTES.to_bytes(2, "little") + _OUTBOUND_BYTES.to_bytes(2, "little")
    return bytes(4) + sizes + bmc.identity.port.to_bytes(2, "little") + _NO_VLAN.to_bytes(2, "little")


def _deactivate(bmc: Bmc, asked: Asked) -> bytes:
    """24.2: anybody may; an owner who did not ask is told."""
    _require_sol(asked)
    if bmc.sol.owner is None and not bmc.sol.orphaned:
        raise Refused(_NOT_ACTIVE)
    if bmc.sol.owner is asked.session:
        bmc.sol.stop()
    else:
        bmc.sol.deactivate()
    return b""


def _activation_status(bmc: Bmc, asked: Asked) -> bytes:
    if asked.byte(0) != PayloadType.SOL:
        raise Refused(0xCC)
    return bytes([1, int(bmc.sol.owner is not None or bmc.sol.orphaned), 0])


def _instance_info(bmc: Bmc, asked: Asked) -> bytes:
    """24.5: the session that has it, 0 for none; the serial port behind it is number 1."""
    _require_sol(asked)
    owner = bmc.sol.owner.id if bmc.sol.owner is not None else 0
    return owner.to_bytes(4, "little") + bytes([1, 0, 0, 0, 0, 0, 0, 0])


def _user_access(bmc: Bmc, asked: Asked) -> bytes:
    asked.byte(1)
    return bytes([0x02, 0, 0, 0])


def _channel_support(bmc: Bmc, asked: Asked) -> bytes:
    """24.8: IPMI and SOL, set up by RMCP+ sessions."""
    return bytes([0x03, 0, 0x3F, 0, 0, 0, 0, 0])


def _version(bmc: Bmc, asked: Asked) -> bytes:
    if asked.byte(1) not in (PayloadType.IPMI, PayloadType.SOL):
        raise Refused(0x80)
    return b"\x10"


def _require_sol(asked: Asked) -> None:
    if asked.byte(0) & 0x3F != PayloadType.SOL or asked.byte(1) & 0x0F != 1:
        raise Refused(0xCC)


COMMANDS: Table = {
    (APP, 0x48): Command(_activate),
    (APP, 0x49): Command(_deactivate),
    (APP, 0x4A): Command(_activation_status),
    (APP, 0x4B): Command(_instance_info),
    (APP, 0x4D): Command(_user_access),
    (APP, 0x4E): Command(_channel_support),
    (APP, 0x4F): Command(_version),
}
