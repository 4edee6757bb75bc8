"""NetFn App: the device, the channel, sessions and users (IPMI v2.0 rev 1.1, sections 20 and 22)."""

from __future__ import annotations

import asyncio
import ipaddress

from lab.virtual.ipmi.bmc import Asked, Bmc, Refused
from lab.virtual.ipmi.commands.table import ADMINISTRATOR, OPERATOR, Command, Table
from lab.virtual.ipmi.rakp import SUITES
from lab.virtual.ipmi.session import Session

APP = 0x06
LAN_CHANNEL = 1
_THIS_CHANNEL = 0x0E
_MANUFACTURER, _PRODUCT = 0x1234, 0x0001
_SUITE_PIECE = 16
_RMCP_PLUS_SESSION = 0x10
_FIRST_USER = 2
"""User 1 is the anonymous one, which nobody can use."""


def _device_id(bmc: Bmc, asked: Asked) -> bytes:
    """20.1: firmware 1.02, IPMI 2.0, with sensors, SDR, SEL, FRU and as chassis device."""
    head = bytes([0x20, 0x01, 0x01, 0x02, 0x02, 0x9F])
    return head + _MANUFACTURER.to_bytes(3, "little") + _PRODUCT.to_bytes(2, "little") + bytes(4)


def _cold_reset(bmc: Bmc, asked: Asked) -> bytes:
    # Soon, not now: the answer is still to go out.
    asyncio.get_running_loop().call_soon(bmc.restart, bmc.faults.now.cold_reset_s)
    return b""


def _self_test(bmc: Bmc, asked: Asked) -> bytes:
    return b"\x55\x00"


def _guid(bmc: Bmc, asked: Asked) -> bytes:
    return bmc.identity.guid


def _authentication_capabilities(bmc: Bmc, asked: Asked) -> bytes:
    """22.13: IPMI 2.0 alone, named users alone."""
    _require_channel(asked.byte(0) & 0x0F)
    asked.byte(1)
    return bytes([LAN_CHANNEL, 0x80, 0x04, 0x02, 0, 0, 0, 0])


def _cipher_suites(bmc: Bmc, asked: Asked) -> bytes:
    """22.15: the records in pieces of 16 bytes, by index."""
    _require_channel(asked.byte(0) & 0x0F)
    records = b"".join(SUITES[number].record for number in sorted(bmc.faults.now.suites))
    start = (asked.byte(2) & 0x3F) * _SUITE_PIECE
    return bytes([LAN_CHANNEL]) + records[start : start + _SUITE_PIECE]


def _set_privilege(bmc: Bmc, asked: Asked) -> bytes:
    session = _session(asked)
    wanted = asked.byte(0) & 0x0F
    if wanted == 1 or wanted > ADMINISTRATOR:
        raise Refused(0x80)
    if wanted > session.limit:
        raise Refused(0x81)
    if wanted:
        session.privilege = wanted
    return bytes([session.privilege])


def _close_session(bmc: Bmc, asked: Asked) -> bytes:
    number = int.from_bytes(bytes(asked.byte(at) for at in range(4)), "little")
    session = bmc.sessions.find(number)
    if number == 0 and asked.byte(4):
        session = next((s for s in bmc.sessions.active if s.handle == asked.byte(4)), None)
    if session is None or session.keys is None:
        raise Refused(0x87)
    if session is not asked.session and _session(asked).privilege < ADMINISTRATOR:
        raise Refused(0xD4)
    bmc.sessions.closed += 1
    bmc.end_session(session)
    return b""


def _session_info(bmc: Bmc, asked: Asked) -> bytes:
    """22.20: one session by place, handle or id; 0 is the one that asks."""
    active, index = bmc.sessions.active, asked.byte(0)
    found: Session | None
    if index == 0:
        found = _session(asked)
    elif index == 0xFE:
        found = next((session for session in active if session.handle == asked.byte(1)), None)
    elif index == 0xFF:
        number = int.from_bytes(asked.data[1:5], "little")
        found = next((session for session in active if session.id == number), None)
    else:
        found = active[index - 1] if index <= len(active) else None
    counts = bytes([bmc.sessions.limit & 0x3F, len(active) & 0x3F])
    if found is None:
        return b"\0" + counts
    user = next(
        (n for n, a in enumerate(bmc.identity.accounts, _FIRST_USER) if a is found.account), _FIRST_USER
    )
    address, port = found.peer
    tail = ipaddress.IPv4Address(address).packed + bytes(6) + port.to_bytes(2, "little")
    kind = _RMCP_PLUS_SESSION | LAN_CHANNEL
    return bytes([found.handle]) + counts + bytes([user, found.privilege, kind]) + tail


def _channel_access(bmc: Bmc, asked: Asked) -> bytes:
    _require_channel(asked.byte(0) & 0x0F)
    return bytes([0x02, ADMINISTRATOR])


def _channel_info(bmc: Bmc, asked: Asked) -> bytes:
    """22.24: an 802.3 LAN channel with IPMB message format and sessions."""
    _require_channel(asked.byte(0) & 0x0F)
    active = min(len(bmc.sessions.active), 0x3F)
    return bytes([LAN_CHANNEL, 0x04, 0x01, 0x80 | active, 0xF2, 0x1B, 0x00, 0, 0])


def _user_access(bmc: Bmc, asked: Asked) -> bytes:
    users = len(bmc.identity.accounts) + 1
    known = _FIRST_USER <= asked.byte(1) & 0x3F <= users
    return bytes([0x0F, 0x40 | len(bmc.identity.accounts), 0, 0x30 | ADMINISTRATOR if known else 0x0F])


def _user_name(bmc: Bmc, asked: Asked) -> bytes:
    place = (asked.byte(0) & 0x3F) - _FIRST_USER
    if not -1 <= place < 14:
        raise Refused(0xCC)
    accounts = bmc.identity.accounts
    name = accounts[place].name.encode() if 0 <= place < len(accounts) else b""
    return name[:16].ljust(16, b"\0")


def _session(asked: Asked) -> Session:
    if asked.session is None:
        raise Refused(0xD5)
    return asked.session


def _require_channel(number: int) -> None:
    if number not in (LAN_CHANNEL, _THIS_CHANNEL):
        raise Refused(0xCC)


COMMANDS: Table = {
    (APP, 0x01): Command(_device_id),
    (APP, 0x02): Command(_cold_reset, ADMINISTRATOR),
    (APP, 0x03): Command(_cold_reset, ADMINISTRATOR),
    (APP, 0x04): Command(_self_test),
    (APP, 0x08): Command(_guid),
    (APP, 0x37): Command(_guid, None),
    (APP, 0x38): Command(_authentication_capabilities, None),
    (APP, 0x3B): Command(_set_privilege),
    (APP, 0x3C): Command(_close_session),
    (APP, 0x3D): Command(_session_info),
    (APP, 0x41): Command(_channel_access),
    (APP, 0x42): Command(_channel_info),
    (APP, 0x44): Command(_user_access, OPERATOR),
    (APP, 0x46): Command(_user_name, OPERATOR),
    (APP, 0x54): Command(_cipher_suites, None),
}
