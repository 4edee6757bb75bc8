"""The responder's own stores: its clock, its system event log, its sensors with their thresholds.

Source: IPMI v2.0 rev 1.1 sections 31 (SEL), 32.1 (SEL records), 35.5 to 35.14 (sensors), 42 (events).
"""

from __future__ import annotations

import struct
import time
from datetime import UTC, datetime

from lab.virtual.ipmi import sensors
from lab.virtual.ipmi.sdr import BMC_ADDRESS, THRESHOLD_EVENTS, AnalogSensor
from lab.virtual.ipmi.sel import Event

RECORD_BYTES = 16
LARGEST = 1000
_SYSTEM_EVENT = 0x02
_EVENT_REVISION = 4
_DEASSERTION = 0x80
_READING_AND_THRESHOLD = 0x50
# Event offset, direction and name of each threshold, in the order of `Thresholds.values` (table 42-2).
_LIMITS = (
    (0x0B, True, "Upper Non-recoverable going high"),
    (0x09, True, "Upper Critical going high"),
    (0x07, True, "Upper Non-critical going high"),
    (0x04, False, "Lower Non-recoverable going low "),
    (0x02, False, "Lower Critical going low "),
    (0x00, False, "Lower Non-critical going low "),
)


class Clock:
    """The BMC's clock: seconds since 1970, as far from ours as somebody set it."""

    def __init__(self) -> None:
        self._ahead = 0
        self.offset_minutes = 0
        """How far local time, which SEL time is, is ahead of UTC."""

    @property
    def now(self) -> int:
        """SEL time."""
        return int(time.time()) + self._ahead & 0xFFFFFFFF

    def set(self, seconds: int) -> None:
        """Set the clock."""
        self._ahead = seconds - int(time.time())


class EventLog:
    """The SEL."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.records: dict[int, bytes] = {}
        self.added_at = self.cleared_at = 0
        self._last_id = 0

    def add(self, record: bytes) -> int | None:
        """Keep a record of 16 bytes under an id of its own and the time of now; None where it is full."""
        if len(self.records) >= LARGEST:
            return None
        self._last_id = self._last_id % 0xFFFE + 1
        self.added_at = self._clock.now
        if record[2] < 0xE0:  # those above are without a time stamp
            record = record[:3] + struct.pack("<I", self.added_at) + record[7:]
        self.records[self._last_id] = struct.pack("<H", self._last_id) + record[2:]
        return self._last_id

    def add_event(self, kind: int, number: int, event_type: int, data: bytes) -> None:
        """Note an event of one of the BMC's sensors; `data` are the three bytes of event data."""
        head = bytes([0, 0, _SYSTEM_EVENT, 0, 0, 0, 0, BMC_ADDRESS, 0, _EVENT_REVISION])
        self.add(head + bytes([kind, number, event_type]) + data)

    def clear(self) -> None:
        """Empty it."""
        self.records.clear()
        self.cleared_at = self._clock.now

    def after(self, number: int) -> int:
        """The id of the record behind this one; FFFFh for none."""
        return next((other for other in sorted(self.records) if other > number), 0xFFFF)

    def events(self) -> list[Event]:
        """Every entry in words, oldest first, as `ipmitool` tells them."""
        return [_event(number, record) for number, record in sorted(self.records.items())]


class Sensors:
    """Raw readings and limits; crossing a limit is noted in the event log."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.raw = {sensor.number: sensor.off for sensor in sensors.ANALOG}
        self.limits = {sensor.number: list(sensor.thresholds.values) for sensor in sensors.ANALOG}
        self._beyond: dict[int, set[int]] = {sensor.number: set() for sensor in sensors.ANALOG}

    def follow(self, on: bool) -> None:
        """Show the readings of that power state."""
        for sensor in sensors.ANALOG:
            self.set(sensor, sensor.on if on else sensor.off)

    def set(self, sensor: AnalogSensor, raw: int) -> None:
        """Let a sensor read `raw` (0 to 255)."""
        self.raw[sensor.number] = raw
        before = self._beyond[sensor.number]
        now = self._beyond[sensor.number] = {i for i in range(6) if self._is_beyond(sensor.number, i)}
        for index in sorted(before ^ now, reverse=True):
            offset = _LIMITS[index][0]
            direction = 0 if index in now else _DEASSERTION
            data = bytes([_READING_AND_THRESHOLD | offset, raw, self.limits[sensor.number][index]])
            self._log.add_event(sensor.kind, sensor.number, direction | THRESHOLD_EVENTS, data)

    def comparison(self, number: int) -> int:
        """Which limits the reading is beyond, as Get Sensor Reading tells it (table 35-15)."""
        return sum(1 << (5 - index) for index in self._beyond[number])

    def _is_beyond(self, number: int, index: int) -> bool:
        limit, raw = self.limits[number][index], self.raw[number]
        return bool(limit) and (raw >= limit if _LIMITS[index][1] else raw <= limit)


def _event(number: int, record: bytes) -> Event:
    seconds = int.from_bytes(record[3:7], "little")
    kind, sensor, event_type, first = record[10:14]
    names: dict[int, str] = {}
    names |= {analog.number: analog.name for analog in sensors.ANALOG}
    names |= {discrete.number: discrete.name for discrete in sensors.DISCRETE}
    name = names.get(sensor, f"sensor {sensor:#04x} of type {kind:#04x}")
    text = next((words for offset, _, words in _LIMITS if offset == first & 0x0F), "")
    if event_type & 0x7F != THRESHOLD_EVENTS or not text:
        text = f"event {record[13:16].hex()}"
    direction = "Deasserted" if event_type & _DEASSERTION else "Asserted"
    return Event(f"{number:x}", datetime.fromtimestamp(seconds, UTC), name, text.strip(), direction)
