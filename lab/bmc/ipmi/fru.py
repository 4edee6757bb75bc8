"""Field replaceable units (IPMI 2.0, chapter 34; FRU Information Storage 1.0): what a server is made of."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pyghmi.ipmi import fru
from pyghmi.ipmi.private import spd

from lab.bmc.bill import Inventory, MemoryModule, PowerSupply, Processor
from lab.bmc.ipmi.lan import STUMBLES
from lab.bmc.ipmi.sdr import Asks, FruLocator
from lab.bmc.ipmi.session import CompletionCode, TooSlow
from lab.deadline import Deadline

_STORAGE = 0x0A
_PIECE = 32
"""Bytes per read: ipmi_sim and small BMCs refuse the 224 that pyghmi asks for."""
_LONGEST = 8192
"""Bytes that are read of one FRU; what lies behind is a vendor's own."""
_TOO_LONG = {0xC7, 0xC8, 0xCA}
_BUSY, _TRIES = 0x81, 5
PROCESSOR, POWER_SUPPLY, MEMORY = 0x03, 0x0A, 0x20
"""Entity ids (IPMI 2.0, table 43-13)."""
_SPD_FIRST, _SPD_LAST, _SPD = 0x08, 0x0F, 0x01
_POWER_SUPPLY_RECORD = 0x00


@dataclass(frozen=True)
class Unit:
    """One FRU: its text fields by pyghmi's names, its power rating, and what an SPD says."""

    locator: FruLocator
    fields: dict[str, str] = field(default_factory=dict)
    watts: float | None = None
    module: MemoryModule | None = None

    def first(self, *names: str) -> str:
        """The first of these fields that is there."""
        return next((self.fields[name] for name in names if self.fields.get(name)), "")


def read_units(session: Asks, locators: Iterable[FruLocator], deadline: Deadline) -> list[Unit]:
    """FRU 0 and every located one that can be read."""
    wanted = {0: FruLocator(0, "", 0)} | {one.number: one for one in locators if one.logical}
    units = []
    for locator in wanted.values():
        raw = read(session, locator.number, deadline)
        if raw:
            units.append(decode_unit(locator, raw))
    return units


def read(session: Asks, number: int, deadline: Deadline) -> bytes:
    """The bytes of one FRU (34.1, 34.2); empty where there is none, cut short where a read fails."""
    try:
        info = session.ask(_STORAGE, 0x10, (number,))
    except CompletionCode:
        return b""
    if len(info) < 2:
        return b""
    in_words = 2 if len(info) > 2 and info[2] & 1 else 1
    size = min(int.from_bytes(info[:2], "little"), _LONGEST)
    raw, piece, busy = bytearray(), _PIECE, 0
    while len(raw) < size:
        TooSlow.after(deadline)
        want = max(1, min(piece, size - len(raw)) // in_words)
        asked = (number, *struct.pack("<H", len(raw) // in_words), want)
        try:
            answer = session.ask(_STORAGE, 0x11, asked)
        except CompletionCode as no:
            if no.code in _TOO_LONG and piece > 8:
                piece //= 2
                continue
            busy += no.code == _BUSY
            if no.code != _BUSY or busy > _TRIES:
                break
            continue
        got = answer[1 : 1 + answer[0] * in_words] if answer else b""
        if not got:
            break
        raw += got
    return bytes(raw[:size])


def decode_unit(locator: FruLocator, raw: bytes) -> Unit:
    """What a FRU's bytes say, read as its locator tells."""
    kind, modifier = locator.device >> 8, locator.device & 0xFF
    if _SPD_FIRST <= kind <= _SPD_LAST and modifier == _SPD:
        return Unit(locator, module=decode_spd(locator.name, raw))
    return Unit(locator, decode_fields(raw), decode_watts(raw))


def decode_fields(raw: bytes) -> dict[str, str]:
    """The text fields of a FRU, named as pyghmi does.

    Unreadable areas are left out: an odd FRU says less, it does not stop anybody.
    """
    if len(raw) < 8 or raw[0] & 0x0F != 1:
        return {}
    parsed = fru.FRU.__new__(fru.FRU)
    parsed.rawfru, parsed.sdr, parsed.info, parsed.databytes = raw, None, {}, bytearray(raw)
    for area in (parsed._parse_chassis, parsed._parse_board, parsed._parse_prod):
        try:
            area()
        except STUMBLES:
            continue
    return {name: value for name, value in parsed.info.items() if isinstance(value, str) and value}


def decode_watts(raw: bytes) -> float | None:
    """Overall capacity of a power supply, from the MultiRecord area (FRU 1.0, 16 and 18.1)."""
    offset = raw[5] * 8 if len(raw) >= 8 and raw[0] & 0x0F == 1 else 0
    while 0 < offset <= len(raw) - 5:
        kind, flags, length = raw[offset], raw[offset + 1], raw[offset + 2]
        body = raw[offset + 5 : offset + 5 + length]
        if kind == _POWER_SUPPLY_RECORD and len(body) >= 2:
            return float(int.from_bytes(body[:2], "little") & 0x0FFF) or None
        if flags & 0x80:
            break
        offset += 5 + length
    return None


def decode_spd(slot: str, raw: bytes) -> MemoryModule:
    """A DIMM's serial presence detect bytes, decoded by pyghmi; only the slot where they are odd."""
    try:
        info: dict[str, Any] = spd.SPD(bytearray(raw)).info
    except STUMBLES:
        return MemoryModule(slot)
    size, speed, part = info.get("capacity_mb"), info.get("speed"), info.get("model", "")
    return MemoryModule(
        slot=slot,
        size=int(size * 2**20) if isinstance(size, int | float) and size > 0 else None,
        kind=str(info.get("memory_type", "")),
        speed=int(speed) if isinstance(speed, int | float) and speed > 0 else None,
        serial=str(info.get("serial", "")),
        part=(part.decode("latin-1") if isinstance(part, bytes | bytearray) else str(part)).strip("\x00 "),
    )


def bill(units: Iterable[Unit], firmware: dict[str, str]) -> Inventory:
    """The whole bill, as far as FRUs tell; IPMI knows neither ports nor disks."""
    units = list(units)
    board = next((unit for unit in units if unit.locator.number == 0), Unit(FruLocator(0, "", 0)))
    return Inventory(
        vendor=board.first("Manufacturer", "Board manufacturer"),
        model=board.first("Product name", "Model", "Board product name"),
        serial=board.first("Serial Number", "Chassis serial number", "Board serial number"),
        processors=tuple(
            Processor(unit.locator.name, unit.first("Product name", "Board product name"))
            for unit in units
            if unit.locator.entity == PROCESSOR and unit is not board
        ),
        memory=tuple(
            unit.module or _module(unit)
            for unit in units
            if (unit.module or unit.locator.entity == MEMORY) and unit is not board
        ),
        supplies=tuple(
            PowerSupply(
                name=unit.locator.name,
                model=unit.first("Product name", "Board product name", "Model", "Board model"),
                serial=unit.first("Serial Number", "Board serial number"),
                watts=unit.watts,
            )
            for unit in units
            if (unit.locator.entity == POWER_SUPPLY or unit.watts) and unit is not board
        ),
        firmware=firmware,
    )


def _module(unit: Unit) -> MemoryModule:
    return MemoryModule(
        slot=unit.locator.name,
        kind=unit.first("Product name", "Board product name"),
        serial=unit.first("Serial Number", "Board serial number"),
        part=unit.first("Model", "Board model"),
    )
