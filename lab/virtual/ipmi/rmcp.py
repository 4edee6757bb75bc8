"""RMCP, RMCP+ and IPMI messages as bytes, both ways; nothing here keeps state.

Source: ASF 2.0 sections 3.2.2 to 3.2.4; IPMI v2.0 rev 1.1 sections 13.1 to 13.8, 13.28 and 13.29.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

RMCP_HEADER = b"\x06\x00\xff\x07"
_ASF_CLASS, _IPMI_CLASS = 0x06, 0x07
_ASF_IANA = b"\x00\x00\x11\xbe"
_PRESENCE_PING, _PRESENCE_PONG = 0x80, 0x40
_NO_AUTHENTICATION, _RMCP_PLUS = 0x00, 0x06
_ENCRYPTED, _AUTHENTICATED = 0x80, 0x40
_NEXT_HEADER = 0x07
_SHORTEST_MESSAGE = 7
BMC_ADDRESS = 0x20


class PayloadType(IntEnum):
    """RMCP+ payload types (table 13-16)."""

    IPMI = 0x00
    SOL = 0x01
    OPEN_SESSION_REQUEST = 0x10
    OPEN_SESSION_RESPONSE = 0x11
    RAKP_1 = 0x12
    RAKP_2 = 0x13
    RAKP_3 = 0x14
    RAKP_4 = 0x15


@dataclass(frozen=True)
class Ping:
    """An ASF presence ping."""

    tag: int


@dataclass(frozen=True)
class Packet:
    """One IPMI datagram. `plus` is whether it is RMCP+ (else IPMI 1.5 without authentication).

    `payload` is as it came, encrypted where `encrypted` says so. `signed` is what `code` vouches for; both
    are empty where the datagram is not authenticated.
    """

    plus: bool
    type: int
    session: int
    sequence: int
    payload: bytes
    encrypted: bool = False
    signed: bytes = b""
    code: bytes = b""


@dataclass(frozen=True)
class Message:
    """An IPMI request; `network_function` without the LUN."""

    network_function: int
    command: int
    data: bytes
    requester: int
    sequence_and_lun: int
    responder_lun: int


def decode(datagram: bytes, code_bytes: int) -> Ping | Packet | None:
    """What a datagram holds; None for anything that is not well-formed.

    Args:
        datagram: as received.
        code_bytes: how long the authentication code is in that session; 0 outside of one.
    """
    if len(datagram) < 10 or datagram[0] != 0x06:
        return None
    kind = datagram[3] & 0x1F
    if kind == _ASF_CLASS:
        is_ping = datagram[4:8] == _ASF_IANA and datagram[8] == _PRESENCE_PING
        return Ping(datagram[9]) if is_ping else None
    if kind != _IPMI_CLASS:
        return None
    if datagram[4] == _RMCP_PLUS:
        return _decode_plus(datagram, code_bytes)
    if datagram[4] == _NO_AUTHENTICATION and len(datagram) >= 14:
        sequence, session, length = struct.unpack_from("<IIB", datagram, 5)
        if len(datagram) < 14 + length:
            return None
        return Packet(False, PayloadType.IPMI, session, sequence, datagram[14 : 14 + length])
    return None


def session_of(datagram: bytes) -> int:
    """The session id an RMCP+ datagram names, before anything of it is believed; 0 for none."""
    if len(datagram) < 16 or datagram[3] & 0x1F != _IPMI_CLASS or datagram[4] != _RMCP_PLUS:
        return 0
    return int.from_bytes(datagram[6:10], "little")


def _decode_plus(datagram: bytes, code_bytes: int) -> Packet | None:
    if len(datagram) < 16:
        return None
    flags, session, sequence, length = struct.unpack_from("<BIIH", datagram, 5)
    end = 16 + length
    if len(datagram) < end or flags & 0x3F == 0x02:  # an OEM payload names its owner; we own none
        return None
    packet = Packet(
        True, flags & 0x3F, session, sequence, datagram[16:end], encrypted=bool(flags & _ENCRYPTED)
    )
    if not flags & _AUTHENTICATED:
        return packet
    if not code_bytes or len(datagram) < end + 2 + code_bytes:
        return None
    signed, code = datagram[4:-code_bytes], datagram[-code_bytes:]
    return Packet(True, packet.type, session, sequence, packet.payload, packet.encrypted, signed, code)


def pong(tag: int) -> bytes:
    """The answer to a presence ping: IPMI is supported (ASF 3.2.4.3)."""
    return (
        b"\x06\x00\xff\x06"
        + _ASF_IANA
        + bytes([_PRESENCE_PONG, tag, 0, 16])
        + _ASF_IANA
        + bytes([0, 0, 0, 0, 0x81, 0, 0, 0, 0, 0, 0, 0])
    )


def outside_session(packet_type: int, payload: bytes, *, plus: bool = True) -> bytes:
    """A datagram outside of any session."""
    if plus:
        head = struct.pack("<BBIIH", _RMCP_PLUS, packet_type, 0, 0, len(payload))
    else:
        head = struct.pack("<BIIB", _NO_AUTHENTICATION, 0, 0, len(payload))
    return RMCP_HEADER + head + payload


def in_session(packet_type: int, session: int, sequence: int, encrypted: bytes) -> bytes:
    """The part of an encrypted datagram that its authentication code covers, padded to four bytes."""
    flags = packet_type | _ENCRYPTED | _AUTHENTICATED
    body = struct.pack("<BBIIH", _RMCP_PLUS, flags, session, sequence, len(encrypted)) + encrypted
    padding = -(len(body) + 2) % 4
    return body + b"\xff" * padding + bytes([padding, _NEXT_HEADER])


def decode_message(payload: bytes) -> Message | None:
    """An IPMI request (figure 13-4); None where it is none or a checksum is wrong."""
    if len(payload) < _SHORTEST_MESSAGE or sum(payload[:3]) & 0xFF or sum(payload[3:]) & 0xFF:
        return None
    function, lun = payload[1] >> 2, payload[1] & 0x03
    if payload[0] != BMC_ADDRESS or function & 1:
        return None
    return Message(function, payload[5], payload[6:-1], payload[3], payload[4], lun)


def encode_response(request: Message, completion: int, data: bytes = b"") -> bytes:
    """The response to a request."""
    lun = request.sequence_and_lun & 0x03
    head = bytes([request.requester, (request.network_function | 1) << 2 | lun])
    sequence = request.sequence_and_lun & 0xFC | request.responder_lun
    body = bytes([BMC_ADDRESS, sequence, request.command, completion]) + data
    return head + bytes([-sum(head) & 0xFF]) + body + bytes([-sum(body) & 0xFF])
