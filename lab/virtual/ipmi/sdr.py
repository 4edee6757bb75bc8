"""Sensor data records as bytes. Source: IPMI v2.0 rev 1.1, section 43 and tables 42-3, 43-15."""

from __future__ import annotations

import struct
from dataclasses import dataclass

BMC_ADDRESS = 0x20
THRESHOLD_EVENTS = 0x01
SENSOR_SPECIFIC_EVENTS = 0x6F
_ALL_THRESHOLDS = 0x3F3F
"""Readable (high byte) and settable (low byte) thresholds: all six."""


@dataclass(frozen=True)
class Thresholds:
    """Raw limits; 0 where there is none. Upper and lower, non-recoverable, critical, non-critical."""

    upper_non_recoverable: int = 0
    upper_critical: int = 0
    upper_non_critical: int = 0
    lower_non_recoverable: int = 0
    lower_critical: int = 0
    lower_non_critical: int = 0

    @property
    def values(self) -> tuple[int, int, int, int, int, int]:
        """In the order of the full sensor record (bytes 37-42)."""
        return (
            self.upper_non_recoverable,
            self.upper_critical,
            self.upper_non_critical,
            self.lower_non_recoverable,
            self.lower_critical,
            self.lower_non_critical,
        )

    @property
    def mask(self) -> str:
        """Which are set, as `ipmi_sim` writes it: upper first, six binary digits."""
        return "".join("1" if value else "0" for value in self.values)


@dataclass(frozen=True)
class AnalogSensor:
    """A sensor with a reading: value = raw * `factor` * 10^`exponent`, in `unit` (table 43-15)."""

    number: int
    name: str
    file: str
    kind: int
    unit: int
    factor: int
    exponent: int
    entity: int
    thresholds: Thresholds
    off: int
    on: int

    def value(self, raw: int) -> float:
        """The reading in `unit` for a raw byte."""
        return float(raw * self.factor * 10**self.exponent)


@dataclass(frozen=True)
class DiscreteSensor:
    """A sensor of states; `asserted` is the bit that is set at start, None for none."""

    number: int
    name: str
    kind: int
    entity: int
    asserted: int | None


def full(sensor: AnalogSensor) -> bytes:
    """A full sensor record (type 01h, section 43.1)."""
    owner = bytes([BMC_ADDRESS, 0, sensor.number, sensor.entity, 1])
    ability = bytes([0x7F, 0x68, sensor.kind, THRESHOLD_EVENTS]) + struct.pack(
        "<HHH", 0x0A80, 0x0A80, _ALL_THRESHOLDS
    )
    unit = bytes([0x00, sensor.unit, 0x00])
    linear = bytes(
        [0x00, sensor.factor & 0xFF, (sensor.factor >> 8 & 3) << 6, 0, 0, 0, (sensor.exponent & 0xF) << 4]
    )
    no_nominal_reading = bytes([0x00, 0x00, 0x00, 0x00, 0xFF, 0x00])
    hysteresis = bytes([1, 1, 0, 0, 0])
    body = owner + ability + unit + linear + no_nominal_reading + bytes(sensor.thresholds.values) + hysteresis
    return _record(0x01, body + _name(sensor.name))


def compact(sensor: DiscreteSensor) -> bytes:
    """A compact sensor record (type 02h, section 43.2)."""
    body = bytes(
        [BMC_ADDRESS, 0, sensor.number, sensor.entity, 1, 0x63, 0x40, sensor.kind, SENSOR_SPECIFIC_EVENTS]
    )
    body += struct.pack("<HHH", 3, 3, 3) + bytes([0xC0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    return _record(0x02, body + _name(sensor.name))


def event_only(number: int, kind: int, name: str, entity: int) -> bytes:
    """An event-only record (type 03h, section 43.3)."""
    body = bytes([BMC_ADDRESS, 0, number, entity, 1, kind, SENSOR_SPECIFIC_EVENTS, 1, 0, 0, 0])
    return _record(0x03, body + _name(name))


def fru_locator(name: str) -> bytes:
    """The FRU device locator of FRU 0 (type 11h, section 43.8)."""
    return _record(0x11, bytes([BMC_ADDRESS, 0, 0x80, 0, 0, 0x10, 0, 7, 1, 0]) + _name(name))


def controller_locator(name: str) -> bytes:
    """The locator of the BMC itself (type 12h, section 43.9)."""
    return _record(0x12, bytes([BMC_ADDRESS, 0, 0, 0x9F, 0, 0, 0, 7, 1, 0]) + _name(name))


def _record(kind: int, body: bytes) -> bytes:
    sdr_version = 0x51
    return bytes([0, 0, sdr_version, kind, len(body)]) + body


def _name(name: str) -> bytes:
    content = name.encode("ascii")
    if not 2 <= len(content) <= 16:
        raise ValueError(f"sensor name '{name}' is not 2 to 16 characters")
    return bytes([0xC0 | len(content)]) + content
