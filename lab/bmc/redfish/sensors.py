"""Readings by Redfish: the classic Thermal and Power, or Sensors and the subsystems that replace them."""

from __future__ import annotations

from collections.abc import Iterator

from lab.bmc.api import SensorReading, Thresholds
from lab.bmc.redfish.json import Json, absent, as_dict, as_list, health, link, number, text
from lab.bmc.redfish.tree import RedfishTree
from lab.bmc.target import Unsupported

_LIMIT_S = 240.0
_CLASSIC = (
    ("Temperatures", "Temperature", ("ReadingCelsius", "CurrentReading"), "°C"),
    ("Fans", "Fan", ("Reading", "ReadingRPM", "CurrentReading"), "RPM"),
    ("Voltages", "Voltage", ("ReadingVolts",), "V"),
    ("PowerControl", "Power", ("PowerConsumedWatts",), "W"),
)
"""Array, our word for the kind, where the reading is, its unit (Thermal and Power schemas)."""
_KINDS = {"Rotational": "Fan", "Percent": "Percent"}
"""ReadingType values (Sensor schema) for which the classic schemas have another word."""
_UNITS = {"Cel": "°C", "Celsius": "°C", "Percent": "%", "{rev}/min": "RPM"}
"""Units as UCUM writes them (Sensor schema), and as people do."""
_NOT_THE_SERVER = ("CPU", "Memory", "GPU", "Accelerator", "Fan", "Storage")
"""PhysicalContext of a PowerControl that meters a part only."""
SOURCES = ("Thermal", "Power", "Sensors", "ThermalSubsystem", "PowerSubsystem", "EnvironmentMetrics")
"""Members of a Chassis that lead to readings."""


def read_sensors(tree: RedfishTree) -> list[SensorReading]:
    """Every reading of the server's chassis, by whichever of the two schemas each has.

    Raises:
        Unsupported: no chassis has any.
    """
    found: list[SensorReading] = []
    sources = False
    with tree.within(_LIMIT_S, "reading the sensors"):
        for chassis in tree.chassis(tree.system):
            sources = sources or any(link(chassis, name) for name in SOURCES)
            thermal, power = tree.look(link(chassis, "Thermal")), tree.look(link(chassis, "Power"))
            classic = [*_classic(thermal), *_classic(power), *_supplies(as_list(power.get("PowerSupplies")))]
            found += classic or _modern(tree, chassis)
            found += _intrusion(chassis)
    if not sources and not found:
        raise Unsupported("no sensors in the BMC's Redfish tree")
    return found


def power_draw(tree: RedfishTree) -> float | None:
    """Watts the whole server takes now; None where the BMC has the member but no figure in it.

    Raises:
        Unsupported: the BMC has no such member.
    """
    known = False
    with tree.within(_LIMIT_S, "reading the power draw"):
        system = tree.system
        places = [system, *tree.chassis(system)]
        for place in places:
            metrics = tree.look(link(place, "EnvironmentMetrics"))
            known = known or "PowerWatts" in metrics
            if (watts := number(as_dict(metrics.get("PowerWatts")), "Reading")) is not None:
                return watts
        for place in places:
            for control in as_list(tree.look(link(place, "Power")).get("PowerControl")):
                known = known or "PowerConsumedWatts" in control
                whole = text(control, "PhysicalContext") not in _NOT_THE_SERVER
                if whole and (watts := number(control, "PowerConsumedWatts")) is not None:
                    return watts
    if not known:
        raise Unsupported("no power meter in the BMC's Redfish tree")
    return None


def _classic(body: Json) -> Iterator[SensorReading]:
    for member, kind, readings, unit in _CLASSIC:
        for sensor in as_list(body.get(member)):
            value = number(sensor, *readings)
            if value is not None and not absent(sensor):
                name = text(sensor, "Name", "FanName", "MemberId") or kind
                told = text(sensor, "ReadingUnits", "Units") or unit
                yield SensorReading(
                    name, kind, value, _unit(told), health(sensor), thresholds=_flat_thresholds(sensor)
                )


def _supplies(supplies: list[Json], tree: RedfishTree | None = None) -> Iterator[SensorReading]:
    """Power supplies: what each gives, where it says so, and its state in any case."""
    for supply in supplies:
        state = text(as_dict(supply.get("Status")), "State")
        value = number(supply, "LastPowerOutputWatts", "PowerOutputWatts")
        if tree is not None and value is None:
            metrics = tree.look(link(supply, "Metrics"))
            value = number(as_dict(metrics.get("OutputPowerWatts")), "Reading")
        if absent(supply) or (value is None and not state):
            continue
        name, number_of_it = text(supply, "Name", "Id") or "Power supply", text(supply, "MemberId", "Id")
        # iLO calls them all by one name.
        if not any(letter.isdigit() for letter in name) and number_of_it not in name:
            name = f"{name} {number_of_it}"
        unit, states = ("W", ()) if value is not None else ("", (state,))
        yield SensorReading(name, "Power supply", value, unit, health(supply), states)


def _intrusion(chassis: Json) -> Iterator[SensorReading]:
    state = text(as_dict(chassis.get("PhysicalSecurity")), "IntrusionSensor")
    if state:
        yield SensorReading(
            "Intrusion", "Intrusion", None, "", "ok" if state == "Normal" else "warning", (state,)
        )


def _modern(tree: RedfishTree, chassis: Json) -> list[SensorReading]:
    """Sensors of their own; where there are none, the excerpts of them that the subsystems hold."""
    sensors = [
        SensorReading(
            text(sensor, "Name", "Id") or "Sensor",
            _KINDS.get(kind := text(sensor, "ReadingType"), kind),
            value,
            _unit(text(sensor, "ReadingUnits")),
            health(sensor),
            thresholds=_deep_thresholds(sensor),
        )
        for sensor in tree.members(link(chassis, "Sensors"))
        if (value := number(sensor, "Reading")) is not None and not absent(sensor)
    ]
    if not sensors:
        sensors = [*_thermal_subsystem(tree, chassis), *_environment(tree, chassis)]
    power = tree.look(link(chassis, "PowerSubsystem"))
    return [*sensors, *_supplies(list(tree.members(link(power, "PowerSupplies"))), tree)]


def _thermal_subsystem(tree: RedfishTree, chassis: Json) -> Iterator[SensorReading]:
    subsystem = tree.look(link(chassis, "ThermalSubsystem"))
    metrics = tree.look(link(subsystem, "ThermalMetrics"))
    for sensor in as_list(metrics.get("TemperatureReadingsCelsius")):
        if (value := number(sensor, "Reading")) is not None:
            name = text(sensor, "DeviceName", "DataSourceUri").rsplit("/", 1)[-1] or "Temperature"
            yield SensorReading(name, "Temperature", value, "°C", health(sensor))
    for fan in tree.members(link(subsystem, "Fans")):
        speed = as_dict(fan.get("SpeedPercent"))
        rpm, percent = number(speed, "SpeedRPM"), number(speed, "Reading")
        value = percent if rpm is None else rpm
        if value is not None and not absent(fan):
            unit = "%" if rpm is None else "RPM"
            yield SensorReading(text(fan, "Name", "Id") or "Fan", "Fan", value, unit, health(fan))


def _environment(tree: RedfishTree, chassis: Json) -> Iterator[SensorReading]:
    metrics = tree.look(link(chassis, "EnvironmentMetrics"))
    for member, kind, unit in (
        ("TemperatureCelsius", "Temperature", "°C"),
        ("PowerWatts", "Power", "W"),
        ("HumidityPercent", "Humidity", "%"),
    ):
        if (value := number(as_dict(metrics.get(member)), "Reading")) is not None:
            yield SensorReading(f"{text(chassis, 'Name', 'Id')} {kind}".strip(), kind, value, unit, "unknown")


def _flat_thresholds(sensor: Json) -> Thresholds:
    """As Thermal and Power have them."""
    return Thresholds(
        lower_fatal=number(sensor, "LowerThresholdFatal"),
        lower_critical=number(sensor, "LowerThresholdCritical"),
        lower_warning=number(sensor, "LowerThresholdNonCritical"),
        upper_warning=number(sensor, "UpperThresholdNonCritical"),
        upper_critical=number(sensor, "UpperThresholdCritical"),
        upper_fatal=number(sensor, "UpperThresholdFatal"),
    )


def _deep_thresholds(sensor: Json) -> Thresholds:
    """As a Sensor has them; its "caution" is our warning."""
    told = as_dict(sensor.get("Thresholds"))

    def at(name: str) -> float | None:
        return number(as_dict(told.get(name)), "Reading")

    return Thresholds(
        lower_fatal=at("LowerFatal"),
        lower_critical=at("LowerCritical"),
        lower_warning=at("LowerCaution"),
        upper_warning=at("UpperCaution"),
        upper_critical=at("UpperCritical"),
        upper_fatal=at("UpperFatal"),
    )


def _unit(told: str) -> str:
    return _UNITS.get(told, told)


def sources(tree: RedfishTree, system: Json) -> list[str]:
    """Which of `SOURCES` the server's chassis have."""
    return [name for chassis in tree.chassis(system) for name in SOURCES if link(chassis, name)]
