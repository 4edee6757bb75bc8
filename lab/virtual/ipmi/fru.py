"""FRU inventory bytes. Source: IPMI Platform Management FRU Information Storage Definition v1.0 rev 1.3."""

from __future__ import annotations

from dataclasses import dataclass

_ENGLISH = b"\x00"
_END_OF_FIELDS = 0xC1
_LONGEST_FIELD = 63
RACK_MOUNT_CHASSIS = 0x17
"""Chassis type of table 10-1, the SMBIOS enumeration."""


@dataclass(frozen=True)
class Fru:
    """What a server's field-replaceable-unit record says."""

    manufacturer: str
    product: str
    part: str
    serial: str


def encode(fru: Fru) -> bytes:
    """The FRU record: common header, chassis, board and product areas (sections 8, 10, 11, 12)."""
    chassis = _area(bytes([RACK_MOUNT_CHASSIS]) + text(fru.part) + text(fru.serial))
    made_at_unknown_date = b"\0\0\0"
    on_board = [fru.manufacturer, fru.product, fru.serial, fru.part, ""]
    board = _area(_ENGLISH + made_at_unknown_date + b"".join(map(text, on_board)))
    on_product = [fru.manufacturer, fru.product, fru.part, "1", fru.serial, "", ""]
    product = _area(_ENGLISH + b"".join(map(text, on_product)))
    at_chassis = 1
    at_board = at_chassis + len(chassis) // 8
    at_product = at_board + len(board) // 8
    header = bytes([1, 0, at_chassis, at_board, at_product, 0, 0])
    return header + bytes([checksum(header)]) + chassis + board + product


def text(value: str) -> bytes:
    """A type/length byte and 8-bit ASCII (section 13); ValueError where it is too long.

    A single character is padded with a space: length 1 would read as the end of fields.
    """
    content = value.encode("latin-1")
    if len(content) == 1:
        content += b" "
    if len(content) > _LONGEST_FIELD:
        raise ValueError(f"FRU field '{value}' is longer than {_LONGEST_FIELD} bytes")
    return bytes([0xC0 | len(content)]) + content


def checksum(data: bytes) -> int:
    """The byte that makes the sum of `data` and itself zero (modulo 256)."""
    return -sum(data) & 0xFF


def _area(body: bytes) -> bytes:
    """An area with its version, its length in units of 8 bytes, padding and checksum."""
    used = 2 + len(body) + 1
    size = (used + 1 + 7) // 8 * 8
    area = bytes([1, size // 8]) + body + bytes([_END_OF_FIELDS]) + bytes(size - used - 1)
    return area + bytes([checksum(area)])
