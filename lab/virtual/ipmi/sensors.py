"""The sensors of a virtual server: one list, read by the IPMI and by the Redfish face."""

from __future__ import annotations

from lab.virtual.ipmi.sdr import AnalogSensor, DiscreteSensor, Thresholds

TEMPERATURE, VOLTAGE, FAN = 0x01, 0x02, 0x04
PHYSICAL_SECURITY, POWER_SUPPLY, WATCHDOG = 0x05, 0x08, 0x23
_DEGREES_C, _VOLTS, _RPM = 1, 4, 18
PROCESSOR, SYSTEM_BOARD, POWER_UNIT, CHASSIS, FAN_ENTITY, AIR_INLET = 3, 7, 10, 23, 29, 0x37
WATCHDOG_NUMBER = 0

ANALOG = (
    AnalogSensor(
        1,
        "CPU Temp",
        "cpu-temp.val",
        TEMPERATURE,
        _DEGREES_C,
        1,
        0,
        PROCESSOR,
        Thresholds(95, 90, 85, 0, 2, 5),
        24,
        45,
    ),
    AnalogSensor(
        2,
        "Inlet Temp",
        "inlet-temp.val",
        TEMPERATURE,
        _DEGREES_C,
        1,
        0,
        AIR_INLET,
        Thresholds(50, 45, 40, 0, 2, 5),
        22,
        22,
    ),
    AnalogSensor(3, "FAN1", "fan1.val", FAN, _RPM, 100, 0, FAN_ENTITY, Thresholds(0, 0, 0, 3, 5, 7), 12, 52),
    AnalogSensor(
        4,
        "12V",
        "12v.val",
        VOLTAGE,
        _VOLTS,
        63,
        -3,
        POWER_UNIT,
        Thresholds(220, 210, 205, 170, 175, 180),
        191,
        192,
    ),
)
"""`off` and `on` are the raw readings in either power state; no state crosses a threshold by itself."""

DISCRETE = (
    DiscreteSensor(5, "PSU1", POWER_SUPPLY, POWER_UNIT, asserted=0),
    DiscreteSensor(6, "Intrusion", PHYSICAL_SECURITY, CHASSIS, asserted=None),
)
