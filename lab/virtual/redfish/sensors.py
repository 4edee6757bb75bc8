"""The IPMI face's sensors as Redfish shows them, old way (Thermal, Power) and new (Sensors, subsystems).

Readings, limits and names are those of `lab.virtual.ipmi.sensors`. No reading is made up beside them: a
virtual server draws no power of its own, so there is no power reading.
"""

from __future__ import annotations

from lab.virtual.ipmi import sensors
from lab.virtual.ipmi.sdr import AnalogSensor
from lab.virtual.redfish import messages
from lab.virtual.redfish.face import CHASSIS, OK, Json, RedfishFace, Resource, collection, heading, link

SENSORS = f"{CHASSIS}/Sensors"
THERMAL, POWER = f"{CHASSIS}/ThermalSubsystem", f"{CHASSIS}/PowerSubsystem"
LINKS = ("Thermal", "Power", "Sensors", "ThermalSubsystem", "PowerSubsystem")
_CLASSIC = {
    "UpperThresholdNonCritical": "upper_non_critical",
    "UpperThresholdCritical": "upper_critical",
    "UpperThresholdFatal": "upper_non_recoverable",
    "LowerThresholdNonCritical": "lower_non_critical",
    "LowerThresholdCritical": "lower_critical",
    "LowerThresholdFatal": "lower_non_recoverable",
}
_MODERN = {
    "UpperCaution": "upper_non_critical",
    "UpperCritical": "upper_critical",
    "UpperFatal": "upper_non_recoverable",
    "LowerCaution": "lower_non_critical",
    "LowerCritical": "lower_critical",
    "LowerFatal": "lower_non_recoverable",
}
_KINDS = {
    sensors.TEMPERATURE: ("Temperature", "Cel"),
    sensors.FAN: ("Rotational", "RPM"),
    sensors.VOLTAGE: ("Voltage", "V"),
}
_SUPPLY = f"{POWER}/PowerSupplies/PSU1"


def resources() -> dict[str, Resource]:
    """Every path of sensors under Chassis/1."""
    fans = [f"{THERMAL}/Fans/{_id(sensor)}" for sensor in _of(sensors.FAN)]
    places = [_place(sensor) for sensor in sensors.ANALOG]
    found = {
        f"{CHASSIS}/Thermal": Resource(read_thermal),
        f"{CHASSIS}/Power": Resource(read_power),
        SENSORS: Resource(lambda _: collection(SENSORS, "SensorCollection", "Sensors", places)),
        THERMAL: Resource(_read_thermal_subsystem),
        f"{THERMAL}/ThermalMetrics": Resource(_read_thermal_metrics),
        f"{THERMAL}/Fans": Resource(lambda _: collection(f"{THERMAL}/Fans", "FanCollection", "Fans", fans)),
        POWER: Resource(_read_power_subsystem),
        f"{POWER}/PowerSupplies": Resource(
            lambda _: collection(f"{POWER}/PowerSupplies", "PowerSupplyCollection", "Supplies", [_SUPPLY])
        ),
        _SUPPLY: Resource(lambda _: heading(_SUPPLY, "PowerSupply.v1_5_0.PowerSupply", "PSU1") | _present()),
    }
    found |= {_place(sensor): _sensor(sensor) for sensor in sensors.ANALOG}
    return found | {f"{THERMAL}/Fans/{_id(sensor)}": _fan(sensor) for sensor in _of(sensors.FAN)}


def read_thermal(face: RedfishFace) -> Json:
    """Temperatures and fans."""
    path = f"{CHASSIS}/Thermal"
    return heading(path, "Thermal.v1_7_1.Thermal", "Thermal") | {
        "Temperatures": _readings(face, path, "Temperatures", sensors.TEMPERATURE, "ReadingCelsius"),
        "Fans": [
            {**fan, "ReadingUnits": "RPM"} for fan in _readings(face, path, "Fans", sensors.FAN, "Reading")
        ],
    }


def read_power(face: RedfishFace) -> Json:
    """Voltages and the supply."""
    path = f"{CHASSIS}/Power"
    supply = {"@odata.id": f"{path}#/PowerSupplies/0", "MemberId": "0", "Name": "PSU1", **_present()}
    return heading(path, "Power.v1_7_1.Power", "Power") | {
        "Voltages": _readings(face, path, "Voltages", sensors.VOLTAGE, "ReadingVolts"),
        "PowerSupplies": [supply],
    }


def _present() -> Json:
    """What the discrete sensor `PSU1` says: it is there."""
    return {"Status": OK}


def _read_thermal_subsystem(_: RedfishFace) -> Json:
    return heading(THERMAL, "ThermalSubsystem.v1_3_0.ThermalSubsystem", "Thermal Subsystem") | {
        "Fans": link(f"{THERMAL}/Fans"),
        "ThermalMetrics": link(f"{THERMAL}/ThermalMetrics"),
        "Status": OK,
    }


def _read_power_subsystem(_: RedfishFace) -> Json:
    found = heading(POWER, "PowerSubsystem.v1_1_0.PowerSubsystem", "Power Subsystem")
    return found | {"PowerSupplies": link(f"{POWER}/PowerSupplies"), "Status": OK}


def _read_thermal_metrics(face: RedfishFace) -> Json:
    path = f"{THERMAL}/ThermalMetrics"
    temperatures = [
        {"DataSourceUri": _place(sensor), "DeviceName": sensor.name, "Reading": _value(face, sensor)}
        for sensor in _of(sensors.TEMPERATURE)
    ]
    return heading(path, "ThermalMetrics.v1_3_0.ThermalMetrics", "Thermal Metrics") | {
        "TemperatureReadingsCelsius": temperatures
    }


def _fan(sensor: AnalogSensor) -> Resource:
    def read(face: RedfishFace) -> Json:
        path = f"{THERMAL}/Fans/{_id(sensor)}"
        return heading(path, "Fan.v1_5_0.Fan", sensor.name) | {
            "SpeedPercent": {"DataSourceUri": _place(sensor), "SpeedRPM": _value(face, sensor)},
            "Status": _status(face, sensor),
        }

    return Resource(read)


def _sensor(sensor: AnalogSensor) -> Resource:
    kind, unit = _KINDS[sensor.kind]

    def read(face: RedfishFace) -> Json:
        return heading(_place(sensor), "Sensor.v1_9_0.Sensor", sensor.name) | {
            "ReadingType": kind,
            "ReadingUnits": unit,
            "Reading": _value(face, sensor),
            "Thresholds": {name: {"Reading": limit} for name, limit in _limits(sensor, _MODERN).items()},
            "Status": _status(face, sensor),
        }

    return Resource(read)


def _readings(face: RedfishFace, path: str, name: str, kind: int, reading: str) -> list[Json]:
    return [
        {
            "@odata.id": f"{path}#/{name}/{index}",
            "MemberId": str(index),
            "Name": sensor.name,
            "SensorNumber": sensor.number,
            "Status": _status(face, sensor),
            reading: _value(face, sensor),
            **_limits(sensor, _CLASSIC),
        }
        for index, sensor in enumerate(_of(kind))
    ]


def _status(face: RedfishFace, sensor: AnalogSensor) -> Json:
    value, limits = _value(face, sensor), _limits(sensor, _MODERN)
    over = [
        name
        for name, limit in limits.items()
        if (value >= limit if name.startswith("Upper") else value <= limit)
    ]
    health = "OK" if not over else "Warning" if all(name.endswith("Caution") for name in over) else "Critical"
    return {"State": "Enabled", "Health": health}


def _limits(sensor: AnalogSensor, names: dict[str, str]) -> dict[str, float]:
    raw = {name: getattr(sensor.thresholds, field) for name, field in names.items()}
    return {name: round(sensor.value(limit), 3) for name, limit in raw.items() if limit}


def _value(face: RedfishFace, sensor: AnalogSensor) -> float:
    if face.ipmi is None:
        raise messages.not_found(SENSORS)
    return round(sensor.value(face.ipmi.reading(sensor.file)), 3)


def _of(kind: int) -> list[AnalogSensor]:
    return [sensor for sensor in sensors.ANALOG if sensor.kind == kind]


def _id(sensor: AnalogSensor) -> str:
    return sensor.name.replace(" ", "")


def _place(sensor: AnalogSensor) -> str:
    return f"{SENSORS}/{_id(sensor)}"
