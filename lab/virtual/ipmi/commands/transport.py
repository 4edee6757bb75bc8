"""NetFn Transport: LAN and SOL configuration (IPMI v2.0 rev 1.1, sections 23 and 26)."""

from __future__ import annotations

import ipaddress

from lab.virtual.ipmi.bmc import Asked, Bmc, Refused
from lab.virtual.ipmi.commands.application import LAN_CHANNEL
from lab.virtual.ipmi.commands.table import ADMINISTRATOR, Command, Table
from lab.virtual.ipmi.rakp import SUITES

TRANSPORT = 0x0C
_REVISION = 0x11
_NO_SUCH_PARAMETER, _READ_ONLY = 0x80, 0x82
_REVISION_ONLY = 0x80
_ACCUMULATE_UNIT_S, _RETRY_UNIT_S = 0.005, 0.01


def _lan(bmc: Bmc, asked: Asked) -> bytes:
    """23.2: the parameters that tell where the BMC is and which cipher suites it has."""
    if asked.byte(0) & _REVISION_ONLY:
        return bytes([_REVISION])
    suites = sorted(bmc.faults.now.suites)
    known = {
        0: b"\0",
        1: b"\0",
        2: b"\0\0\0\0\0",
        3: ipaddress.IPv4Address(bmc.identity.address).packed,
        4: b"\x01",
        5: b"\x02" + bmc.identity.guid[:5],
        6: b"\xff\0\0\0",
        12: bytes(4),
        13: bytes(6),
        20: bytes(2),
        22: bytes([len(suites)]),
        23: bytes([0, *(SUITES[number].id for number in suites)]).ljust(17, b"\0"),
    }
    if asked.byte(1) not in known:
        raise Refused(_NO_SUCH_PARAMETER)
    return bytes([_REVISION]) + known[asked.byte(1)]


def _sol(bmc: Bmc, asked: Asked) -> bytes:
    """26.3."""
    if asked.byte(0) & _REVISION_ONLY:
        return bytes([_REVISION])
    now = bmc.sol.settings
    accumulate, retry = round(now.accumulate_s / _ACCUMULATE_UNIT_S), round(now.retry_s / _RETRY_UNIT_S)
    known = {
        0: b"\0",
        1: bytes([now.enabled]),
        2: bytes([now.authentication]),
        3: bytes([accumulate, now.threshold]),
        4: bytes([now.retries, retry]),
        5: bytes([now.bit_rate]),
        6: bytes([now.bit_rate]),
        7: bytes([LAN_CHANNEL]),
        8: bmc.identity.port.to_bytes(2, "little"),
    }
    if asked.byte(1) not in known:
        raise Refused(_NO_SUCH_PARAMETER)
    return bytes([_REVISION]) + known[asked.byte(1)]


def _set_sol(bmc: Bmc, asked: Asked) -> bytes:
    """26.2."""
    parameter, value = asked.byte(1), asked.byte(2)
    if parameter > 8:
        raise Refused(_NO_SUCH_PARAMETER)
    if not bmc.faults.now.sol_settable:
        bmc.faults.played("sol_settable")
        raise Refused(_READ_ONLY)
    if parameter > 6:
        raise Refused(_READ_ONLY)
    settings = bmc.sol.settings
    if parameter == 1:
        settings.enabled = bool(value & 1)
    elif parameter == 2:
        settings.authentication = value
    elif parameter == 3:
        settings.accumulate_s = max(1, value) * _ACCUMULATE_UNIT_S
        settings.threshold = max(1, asked.byte(3))
    elif parameter == 4:
        settings.retries = value & 0x07
        settings.retry_s = max(1, asked.byte(3)) * _RETRY_UNIT_S
    elif parameter in (5, 6):
        settings.bit_rate = value & 0x0F
    return b""


COMMANDS: Table = {
    (TRANSPORT, 0x02): Command(_lan),
    (TRANSPORT, 0x21): Command(_set_sol, ADMINISTRATOR),
    (TRANSPORT, 0x22): Command(_sol),
}
