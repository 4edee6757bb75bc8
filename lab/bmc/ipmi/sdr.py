"""Sensor data records (IPMI 2.0, chapters 33 and 43): fetched by us, formulas and states decoded by pyghmi.

The walk is ours: pyghmi stops at the first record that a BMC refuses, and hangs for ever on a name in packed
ASCII. One record that cannot be decoded is left out; it does not stop the others.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pyghmi.ipmi import sdr
from pyghmi.ipmi.private import constants

from lab.bmc.ipmi.lan import STUMBLES
from lab.bmc.ipmi.session import CompletionCode, TooSlow
from lab.deadline import Deadline

_STORAGE, _SENSOR = 0x0A, 0x04
_RESERVE_SDR, _GET_SDR = 0x22, 0x23
_RESERVE_DEVICE_SDR, _GET_DEVICE_SDR = 0x22, 0x21
_HEADER = 5
_WHOLE, _PIECE = 0xFF, 16
_LOST_RESERVATION, _TOO_LONG = 0xC5, {0xC7, 0xC8, 0xCA, 0xFF}
_END = 0xFFFF
_RESERVATIONS = 8
"""Lost reservations after which a record is left out: somebody else keeps changing the repository."""
FULL, COMPACT, EVENT_ONLY, FRU_LOCATOR = 0x01, 0x02, 0x03, 0x11


class Asks(Protocol):
    """The part of a session that this needs."""

    def ask(self, netfn: int, command: int, data: Sequence[int] = (), *, lun: int = 0) -> bytes:
        """The answer's data; raises `CompletionCode`."""


@dataclass(frozen=True)
class FruLocator:
    """Where a FRU can be read (43.8); `entity` is its entity id (43.14), `device` its type and modifier."""

    number: int
    name: str
    entity: int
    device: int = 0x1000
    logical: bool = True


@dataclass
class Repository:
    """What a BMC's records tell: sensors by `OWNER.NUMBER.LUN`, as pyghmi's event decoder looks them up."""

    sensors: dict[str, Any]
    frus: list[FruLocator]


class Entry(sdr.SDREntry):  # type: ignore[misc]  # pyghmi is untyped
    """A record as pyghmi decodes it, but for the name."""

    def tlv_decode(self, tlv: int, data: bytearray) -> str:
        """A name (43.15) in any of its four encodings; never fails, never hangs."""
        return name(tlv, bytes(data))


def read_repository(session: Asks, deadline: Deadline) -> Repository:
    """Every record that can be read and decoded."""
    found = Repository({}, [])
    for record in walk(session, deadline):
        take(found, record)
    return found


def take(repository: Repository, record: bytes) -> None:
    """Add one record; what cannot be decoded, or is of no use here, is passed over."""
    try:
        if record[3] == FRU_LOCATOR:
            body = record[5:]
            logical = bool(body[2] & 0x80)
            locator = FruLocator(body[1], name(body[10], body[11:]), body[7], body[5] << 8 | body[6], logical)
            repository.frus.append(locator)
        elif record[3] in (FULL, COMPACT, EVENT_ONLY):
            entry = Entry(bytearray(record), constants)
            for number in _shared(record):
                entry = entry if number == entry.sensor_number else _copy(record, number)
                key = f"{entry.sensor_owner}.{entry.sensor_number}.{entry.sensor_lun}"
                repository.sensors.setdefault(key, entry)
    except STUMBLES:
        return


def walk(session: Asks, deadline: Deadline) -> Iterator[bytes]:
    """The records of the SDR repository; where there is none, those of the BMC's own sensors (35.2)."""
    netfn, reserve, get = _STORAGE, _RESERVE_SDR, _GET_SDR
    try:
        session.ask(_STORAGE, 0x20)
    except CompletionCode:
        netfn, reserve, get = _SENSOR, _RESERVE_DEVICE_SDR, _GET_DEVICE_SDR
    reader = _Reader(session, netfn, reserve, get)
    record, seen = 0, set[int]()
    while record != _END and record not in seen:
        TooSlow.after(deadline)
        seen.add(record)
        following, data = reader.read(record, deadline)
        if data:
            yield data
        if following is None:
            return
        record = following


class _Reader:
    """Reads records whole, or in pieces under a reservation where the BMC cannot give them whole."""

    def __init__(self, session: Asks, netfn: int, reserve: int, get: int) -> None:
        self._session = session
        self._netfn, self._reserve, self._get = netfn, reserve, get
        self._reservation: bytes | None = None
        self._piece = _WHOLE

    def read(self, record: int, deadline: Deadline) -> tuple[int | None, bytes]:
        """The id of the record after this one, None where it is not known, and the record's bytes."""
        following: int | None = None
        data, losses = b"", 0
        while True:
            TooSlow.after(deadline)
            want = self._piece
            if want != _WHOLE:
                want = min(want, _HEADER if len(data) < _HEADER else _HEADER + data[4] - len(data))
            try:
                answer = self._ask(record, len(data), want)
            except CompletionCode as no:
                if no.code == _LOST_RESERVATION and losses < _RESERVATIONS:
                    self._reservation, data, losses = None, b"", losses + 1
                    continue
                if no.code in _TOO_LONG and self._piece > 4:
                    self._piece = _PIECE if self._piece == _WHOLE else self._piece // 2
                    data = b""
                    continue
                return following, b""
            if len(answer) < 3:
                return following, b""
            following = int.from_bytes(answer[:2], "little")
            data += answer[2:]
            if len(data) >= _HEADER and (want == _WHOLE or len(data) >= _HEADER + data[4]):
                # ipmi_sim appends stray bytes, which would be taken for a part of the sensor's name.
                return following, data[: _HEADER + data[4]]

    def _ask(self, record: int, offset: int, count: int) -> bytes:
        if count == _WHOLE:
            return self._session.ask(
                self._netfn, self._get, (0, 0, *struct.pack("<H", record), offset, count)
            )
        if self._reservation is None:
            self._reservation = self._session.ask(self._netfn, self._reserve)[:2].ljust(2, b"\x00")
        asked = (*self._reservation, *struct.pack("<H", record), offset, count)
        return self._session.ask(self._netfn, self._get, asked)


def name(kind: int, data: bytes) -> str:
    """Text of a type/length byte (43.15): UTF-8 or 8-bit, BCD plus, packed 6-bit ASCII, Latin-1."""
    data = data[: kind & 0x1F] if kind & 0x1F else data
    coding = kind >> 6
    if coding == 1:
        return "".join(
            "0123456789 -.:,_"[nibble] for byte in data for nibble in (byte >> 4, byte & 15)
        ).strip()
    if coding == 2:
        bits = int.from_bytes(data, "little")
        letters = [chr(0x20 + (bits >> 6 * place & 0x3F)) for place in range(len(data) * 8 // 6)]
        return "".join(letters).strip()
    text = data.decode("utf-8" if coding == 0 else "latin-1", "replace")
    return text.strip("\x00 ")


def _shared(record: bytes) -> list[int]:
    """The sensor numbers that one compact or event-only record stands for (43.2, record sharing)."""
    first = record[7]
    place = {COMPACT: 23, EVENT_ONLY: 12}.get(record[3])
    count = record[place] & 0x0F if place is not None and len(record) > place else 1
    return [(first + step) & 0xFF for step in range(max(1, count))]


def _copy(record: bytes, number: int) -> Entry:
    other = bytearray(record)
    other[7] = number
    entry = Entry(other, constants)
    entry.sensor_name = f"{entry.sensor_name} {number - record[7] & 0xFF}"
    return entry
