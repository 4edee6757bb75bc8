"""Sensors with their thresholds, and the power that the server draws (IPMI 2.0, 35; DCMI 1.5, 6.6.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from lab.bmc.api import SensorReading, Thresholds
from lab.bmc.ipmi.lan import STUMBLES
from lab.bmc.ipmi.sdr import Asks, Repository
from lab.bmc.ipmi.session import CompletionCode, TooSlow
from lab.deadline import Deadline

Health = Literal["ok", "warning", "critical", "unknown"]
_SENSOR, _GROUP = 0x04, 0x2C
_READING, _GET_THRESHOLDS = 0x2D, 0x27
_DCMI = 0xDC
_BMC_ADDRESS = 0x20
_PLACES = (
    "lower_warning",
    "lower_critical",
    "lower_fatal",
    "upper_warning",
    "upper_critical",
    "upper_fatal",
)
"""Thresholds in the order of Get Sensor Thresholds (table 35-9)."""


class _Asker:
    """What pyghmi asks when a sensor's formula differs from reading to reading."""

    def __init__(self, session: Asks, lun: int) -> None:
        self._session = session
        self._lun = lun

    def raw_command(self, netfn: int, command: int, data: tuple[int, ...]) -> dict[str, Any]:
        """Get Sensor Reading Factors (35.5)."""
        answer = self._session.ask(netfn, command, [value & 0xFF for value in data], lun=self._lun)
        return {"data": bytearray(answer)}


def read_sensors(session: Asks, repository: Repository, deadline: Deadline) -> list[SensorReading]:
    """Every sensor of the BMC's own that has a reading now."""
    found = []
    for entry in repository.sensors.values():
        TooSlow.after(deadline)
        # Sensors of other controllers (satellites) are reached over a bus that may be down; passed over.
        if not entry.readable or entry.sensor_owner != _BMC_ADDRESS:
            continue
        try:
            raw = session.ask(_SENSOR, _READING, (entry.sensor_number,), lun=entry.sensor_lun)
        except CompletionCode:
            continue
        reading = decode_reading(entry, raw, session)
        if reading is not None:
            found.append(reading)
    return found


def decode_reading(entry: Any, raw: bytes, session: Asks) -> SensorReading | None:  # noqa: ANN401  # untyped
    """One answer of Get Sensor Reading in the words of its record; None where there is no reading now."""
    asker = _Asker(session, entry.sensor_lun)
    try:
        reading = entry.decode_sensor_reading(asker, bytearray(raw))
        value = _number(reading.value)
    except (*STUMBLES, CompletionCode):
        return None
    if reading.unavailable:
        return None
    return SensorReading(
        name=str(reading.name),
        kind=str(reading.type),
        value=value,
        unit=str(reading.units or "").strip(),
        health=health(reading.health),
        states=tuple(str(state) for state in reading.states or ()),
        thresholds=read_thresholds(session, entry, asker) if value is not None else Thresholds(),
    )


def read_thresholds(session: Asks, entry: Any, asker: _Asker) -> Thresholds:  # noqa: ANN401  # untyped
    """All six as Get Sensor Thresholds has them; those that cannot be read are None."""
    try:
        raw = session.ask(_SENSOR, _GET_THRESHOLDS, (entry.sensor_number,), lun=entry.sensor_lun)
    except CompletionCode:
        return Thresholds()
    return decode_thresholds(entry, raw, asker)


def decode_thresholds(entry: Any, raw: bytes, asker: object) -> Thresholds:  # noqa: ANN401  # untyped
    """The answer of Get Sensor Thresholds (35.9): a mask of what is readable, then six raw values."""
    values: Mapping[str, float | None] = {
        place: _decoded(entry, raw[1 + bit], asker)
        for bit, place in enumerate(_PLACES)
        if len(raw) > 1 + bit and raw[0] >> bit & 1
    }
    return Thresholds(**values)


def read_power_draw(session: Asks) -> float | None:
    """Watts by DCMI Get Power Reading; None where the BMC does not measure now.

    Raises:
        CompletionCode: it does not know the command.
    """
    return decode_power_draw(session.ask(_GROUP, 0x02, (_DCMI, 0x01, 0x00, 0x00)))


def decode_power_draw(raw: bytes) -> float | None:
    """The answer of Get Power Reading (DCMI 1.5, table 6-16)."""
    if len(raw) < 18 or raw[0] != _DCMI or not raw[17] & 0x40:
        return None
    return float(int.from_bytes(raw[1:3], "little"))


def health(value: int) -> Health:
    """pyghmi's health, in which 1 (warning), 2 (critical) and 4 (failed) are ORed together."""
    return "critical" if value >= 2 else "warning" if value else "ok"


def _decoded(entry: Any, raw: int, asker: object) -> float | None:  # noqa: ANN401  # untyped
    signed = {1: lambda: raw - 255 if raw > 127 else raw, 2: lambda: raw - 256 if raw > 127 else raw}
    try:
        return _number(entry.decode_value(asker, signed.get(entry.numeric_format, lambda: raw)()))
    except (*STUMBLES, CompletionCode):
        return None


def _number(value: object) -> float | None:
    """A finite number, rounded to what a formula of one byte can mean."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return round(float(value), 6)
