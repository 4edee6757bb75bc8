"""NetFn Storage: FRU, SDR repository, event log (IPMI v2.0 rev 1.1, sections 31, 33 and 34)."""

from __future__ import annotations

import struct

from lab.virtual.ipmi.bmc import Asked, Bmc, Refused
from lab.virtual.ipmi.commands.table import OPERATOR, Command, Table
from lab.virtual.ipmi.event_log import LARGEST, RECORD_BYTES

STORAGE = 0x0A
_IPMI_2_0 = 0x51
_NO_RECORD, _NO_RESERVATION, _FULL, _OUT_OF_RANGE, _INVALID = 0xCB, 0xC5, 0xC4, 0xC9, 0xCC
_LAST = 0xFFFF
_WHOLE = 0xFF
_LARGEST_PIECE = 224


def _fru_area(bmc: Bmc, asked: Asked) -> bytes:
    _require_fru(asked)
    return struct.pack("<HB", len(bmc.fru), 0)


def _read_fru(bmc: Bmc, asked: Asked) -> bytes:
    """34.2."""
    _require_fru(asked)
    start, count = asked.word(1), asked.byte(3)
    if start >= len(bmc.fru):
        raise Refused(_OUT_OF_RANGE)
    piece = bmc.fru[start : start + min(count, _LARGEST_PIECE)]
    return bytes([len(piece)]) + piece


def _sdr_info(bmc: Bmc, asked: Asked) -> bytes:
    """33.9: reserving is supported, and reading whole records."""
    return struct.pack("<BHHIIB", _IPMI_2_0, len(bmc.records), 0, 1, 1, 0x22)


def _sdr_allocation(bmc: Bmc, asked: Asked) -> bytes:
    return struct.pack("<HHHHB", 256, 64, 256 - len(bmc.records), 256 - len(bmc.records), 1)


def _sdr(bmc: Bmc, asked: Asked) -> bytes:
    """33.12."""
    number = asked.word(2)
    if number == 0:
        number = min(bmc.records)
    if number == _LAST:
        number = max(bmc.records)
    if number not in bmc.records:
        raise Refused(_NO_RECORD)
    following = number + 1 if number + 1 in bmc.records else _LAST
    return struct.pack("<H", following) + _piece(bmc, asked, bmc.records[number])


def _reserve(bmc: Bmc, asked: Asked) -> bytes:
    bmc.reservation = bmc.reservation % 0xFFFF + 1
    return struct.pack("<H", bmc.reservation)


def _sel_info(bmc: Bmc, asked: Asked) -> bytes:
    """31.2: reserving is supported."""
    log = bmc.event_log
    free = (LARGEST - len(log.records)) * RECORD_BYTES
    return struct.pack("<BHHIIB", _IPMI_2_0, len(log.records), free, log.added_at, log.cleared_at, 0x02)


def _sel_entry(bmc: Bmc, asked: Asked) -> bytes:
    """31.5."""
    records = bmc.event_log.records
    number = asked.word(2)
    if not records:
        raise Refused(_NO_RECORD)
    number = {0: min(records), _LAST: max(records)}.get(number, number)
    if number not in records:
        raise Refused(_NO_RECORD)
    return struct.pack("<H", bmc.event_log.after(number)) + _piece(bmc, asked, records[number])


def _add_sel_entry(bmc: Bmc, asked: Asked) -> bytes:
    if len(asked.data) != RECORD_BYTES:
        raise Refused(0xC7)
    number = bmc.event_log.add(asked.data)
    if number is None:
        raise Refused(_FULL)
    return struct.pack("<H", number)


def _clear_sel(bmc: Bmc, asked: Asked) -> bytes:
    """31.9: with the reservation of whoever asks."""
    if asked.data[2:5] != b"CLR":
        raise Refused(_INVALID)
    if asked.word(0) != bmc.reservation:
        raise Refused(_NO_RESERVATION)
    if asked.byte(5) == 0xAA:
        bmc.event_log.clear()
    return b"\x01"


def _time(bmc: Bmc, asked: Asked) -> bytes:
    return struct.pack("<I", bmc.clock.now)


def _set_time(bmc: Bmc, asked: Asked) -> bytes:
    bmc.clock.set(asked.word(0) | asked.word(2) << 16)
    return b""


def _utc_offset(bmc: Bmc, asked: Asked) -> bytes:
    return struct.pack("<h", bmc.clock.offset_minutes)


def _set_utc_offset(bmc: Bmc, asked: Asked) -> bytes:
    bmc.clock.offset_minutes = struct.unpack("<h", struct.pack("<H", asked.word(0)))[0]
    return b""


def _piece(bmc: Bmc, asked: Asked, record: bytes) -> bytes:
    """The asked-for part of a record; one that is not read from its beginning needs a reservation."""
    start, count = asked.byte(4), asked.byte(5)
    if start and asked.word(0) != bmc.reservation:
        raise Refused(_NO_RESERVATION)
    if start >= len(record):
        raise Refused(_OUT_OF_RANGE)
    return record[start:] if count == _WHOLE else record[start : start + count]


def _require_fru(asked: Asked) -> None:
    if asked.byte(0) != 0:
        raise Refused(_NO_RECORD)


COMMANDS: Table = {
    (STORAGE, 0x10): Command(_fru_area),
    (STORAGE, 0x11): Command(_read_fru),
    (STORAGE, 0x20): Command(_sdr_info),
    (STORAGE, 0x21): Command(_sdr_allocation),
    (STORAGE, 0x22): Command(_reserve),
    (STORAGE, 0x23): Command(_sdr),
    (STORAGE, 0x28): Command(_time),
    (STORAGE, 0x40): Command(_sel_info),
    (STORAGE, 0x42): Command(_reserve),
    (STORAGE, 0x43): Command(_sel_entry),
    (STORAGE, 0x44): Command(_add_sel_entry, OPERATOR),
    (STORAGE, 0x47): Command(_clear_sel, OPERATOR),
    (STORAGE, 0x48): Command(_time),
    (STORAGE, 0x49): Command(_set_time, OPERATOR),
    (STORAGE, 0x5C): Command(_utc_offset),
    (STORAGE, 0x5D): Command(_set_utc_offset, OPERATOR),
}
