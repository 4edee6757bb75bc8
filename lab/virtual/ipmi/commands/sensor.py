"""NetFn Sensor/Event: readings, thresholds, platform events (IPMI v2.0 rev 1.1, sections 29 and 35)."""

from __future__ import annotations

from lab.virtual.ipmi import sensors
from lab.virtual.ipmi.bmc import Asked, Bmc, Refused
from lab.virtual.ipmi.commands.table import OPERATOR, Command, Table
from lab.virtual.ipmi.sdr import SENSOR_SPECIFIC_EVENTS, THRESHOLD_EVENTS, AnalogSensor, DiscreteSensor

SENSOR = 0x04
_NO_SENSOR = 0xCB
_SCANNING = 0xC0
_EVENT_BYTES = 7
_ANALOG = {sensor.number: sensor for sensor in sensors.ANALOG}
_DISCRETE = {sensor.number: sensor for sensor in sensors.DISCRETE}


def _reading(bmc: Bmc, asked: Asked) -> bytes:
    """35.14."""
    number = asked.byte(0)
    if number in _ANALOG:
        return bytes([bmc.sensors.raw[number], _SCANNING, 0xC0 | bmc.sensors.comparison(number), 0])
    asserted = _discrete(number).asserted
    return bytes([0, _SCANNING, 0 if asserted is None else 1 << asserted, 0x80])


def _thresholds(bmc: Bmc, asked: Asked) -> bytes:
    """35.9: readable ones, then lower non-critical, critical, non-recoverable and upper likewise."""
    limits = bmc.sensors.limits[_analog(asked).number]
    order = limits[:2:-1] + limits[2::-1]
    readable = sum(1 << place for place, limit in enumerate(order) if limit)
    return bytes([readable, *order])


def _set_thresholds(bmc: Bmc, asked: Asked) -> bytes:
    """35.8."""
    sensor, chosen = _analog(asked), asked.byte(1)
    limits = bmc.sensors.limits[sensor.number]
    for place, index in enumerate((5, 4, 3, 2, 1, 0)):
        if chosen >> place & 1:
            limits[index] = asked.byte(2 + place)
    bmc.sensors.set(sensor, bmc.sensors.raw[sensor.number])
    return b""


def _hysteresis(bmc: Bmc, asked: Asked) -> bytes:
    _analog(asked)
    return b"\x01\x01"


def _event_enable(bmc: Bmc, asked: Asked) -> bytes:
    known = _ANALOG.get(asked.byte(0)) or _discrete(asked.byte(0))
    return bytes([_SCANNING]) + (b"\x80\x0a\x80\x0a" if known.number in _ANALOG else b"\x03\0\x03\0")


def _kind(bmc: Bmc, asked: Asked) -> bytes:
    number = asked.byte(0)
    if number in _ANALOG:
        return bytes([_ANALOG[number].kind, THRESHOLD_EVENTS])
    return bytes([_discrete(number).kind, SENSOR_SPECIFIC_EVENTS])


def _platform_event(bmc: Bmc, asked: Asked) -> bytes:
    """29.3: kept in the event log."""
    if len(asked.data) < _EVENT_BYTES:
        raise Refused(0xC7)
    _, kind, number, event_type, *data = asked.data[:_EVENT_BYTES]
    bmc.event_log.add_event(kind, number, event_type, bytes(data))
    return b""


def _analog(asked: Asked) -> AnalogSensor:
    if asked.byte(0) not in _ANALOG:
        raise Refused(_NO_SENSOR)
    return _ANALOG[asked.byte(0)]


def _discrete(number: int) -> DiscreteSensor:
    if number not in _DISCRETE:
        raise Refused(_NO_SENSOR)
    return _DISCRETE[number]


COMMANDS: Table = {
    (SENSOR, 0x02): Command(_platform_event, OPERATOR),
    (SENSOR, 0x25): Command(_hysteresis),
    (SENSOR, 0x26): Command(_set_thresholds, OPERATOR),
    (SENSOR, 0x27): Command(_thresholds),
    (SENSOR, 0x29): Command(_event_enable),
    (SENSOR, 0x2D): Command(_reading),
    (SENSOR, 0x2F): Command(_kind),
}
