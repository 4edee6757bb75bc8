"""Managers/1 (the BMC itself, its event log) and Chassis/1 (lamp and sensors)."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import metadata

from lab.virtual import hardware
from lab.virtual.ipmi import sel, sensors
from lab.virtual.ipmi.face import IpmiFace
from lab.virtual.ipmi.sdr import AnalogSensor
from lab.virtual.redfish import messages, system
from lab.virtual.redfish.face import (
    CHASSIS,
    MANAGER,
    ROOT,
    SYSTEM,
    Json,
    RedfishFace,
    Reply,
    Resource,
    action,
    collection,
    heading,
    link,
    parameters,
    writable,
)

LOG = f"{MANAGER}/LogServices/Sel"
ENTRIES = f"{LOG}/Entries"
CLEAR = "LogService.ClearLog"
_EPOCH = "1970-01-01T00:00:00+00:00"


def resources(*, event_log: bool) -> dict[str, Resource]:
    """Every path at and under Managers and Chassis; log and sensors only where there is an IPMI face."""
    found = {
        f"{ROOT}/Managers": Resource(
            lambda _: collection(f"{ROOT}/Managers", "ManagerCollection", "Managers", [MANAGER])
        ),
        MANAGER: Resource(read),
        f"{ROOT}/Chassis": Resource(
            lambda _: collection(f"{ROOT}/Chassis", "ChassisCollection", "Chassis", [CHASSIS])
        ),
        CHASSIS: Resource(read_chassis, patch_chassis),
    }
    if event_log:
        services = f"{MANAGER}/LogServices"
        found |= {
            services: Resource(lambda _: collection(services, "LogServiceCollection", "Log Services", [LOG])),
            LOG: Resource(read_log_service),
            ENTRIES: Resource(read_entries),
            f"{LOG}/Actions/{CLEAR}": Resource(post=clear_log),
            f"{CHASSIS}/Thermal": Resource(read_thermal),
            f"{CHASSIS}/Power": Resource(read_power),
        }
    return found


def now() -> str:
    """The BMC's clock, in Redfish's form of ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read(face: RedfishFace) -> Json:
    """Managers/1."""
    found = heading(MANAGER, "Manager.v1_18_0.Manager", "BMC") | {
        "ManagerType": "BMC",
        "Manufacturer": "hypervisor-lab",
        "Model": "Virtual BMC",
        "FirmwareVersion": metadata.version("hypervisor-lab"),
        "UUID": face.uuid,
        "DateTime": now(),
        "DateTimeLocalOffset": "+00:00",
        "PowerState": "On",
        "Status": system.OK,
        "VirtualMedia": link(f"{MANAGER}/VirtualMedia"),
        "Links": {
            "ManagerForServers": [link(SYSTEM)],
            "ManagerForChassis": [link(CHASSIS)],
            "ManagerInChassis": link(CHASSIS),
        },
    }
    if face.ipmi is not None:
        found["LogServices"] = link(f"{MANAGER}/LogServices")
        found["SerialConsole"] = {
            "ServiceEnabled": True,
            "MaxConcurrentSessions": 1,
            "ConnectTypesSupported": ["IPMI"],
        }
    return found


def read_chassis(face: RedfishFace) -> Json:
    """Chassis/1."""
    server = face.chassis.server
    found = heading(CHASSIS, "Chassis.v1_23_0.Chassis", server.name) | {
        "ChassisType": "RackMount",
        "Manufacturer": "hypervisor-lab",
        "Model": server.model,
        "SerialNumber": hardware.serial_number(server),
        "PowerState": face.chassis.power.capitalize(),
        "IndicatorLED": "Blinking" if face.chassis.identify else "Off",
        "LocationIndicatorActive": face.chassis.identify,
        "Status": system.OK,
        "Links": {"ComputerSystems": [link(SYSTEM)], "ManagedBy": [link(MANAGER)]},
    }
    if face.ipmi is not None:
        found |= {"Thermal": link(f"{CHASSIS}/Thermal"), "Power": link(f"{CHASSIS}/Power")}
    return found


async def patch_chassis(face: RedfishFace, body: Json) -> None:
    """The lamp, the same one that the system shows."""
    await system.patch(face, writable(body, read_chassis(face), ("IndicatorLED", "LocationIndicatorActive")))


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
    """Voltages; a virtual server has no power draw to tell."""
    path = f"{CHASSIS}/Power"
    return heading(path, "Power.v1_7_1.Power", "Power") | {
        "Voltages": _readings(face, path, "Voltages", sensors.VOLTAGE, "ReadingVolts")
    }


def read_log_service(_: RedfishFace) -> Json:
    """The log's own resource."""
    return heading(LOG, "LogService.v1_4_0.LogService", "System Event Log") | {
        "LogEntryType": "SEL",
        "OverWritePolicy": "NeverOverWrites",
        "ServiceEnabled": True,
        "DateTime": now(),
        "DateTimeLocalOffset": "+00:00",
        "Entries": link(ENTRIES),
        "Actions": {f"#{CLEAR}": action(f"{LOG}/Actions/{CLEAR}")},
    }


async def read_entries(face: RedfishFace) -> Json:
    """The whole log, entries in full, as `ipmi_sim` keeps it."""
    entries = [_entry(event) for event in await sel.read(_ipmi(face).face)]
    listing = collection(ENTRIES, "LogEntryCollection", "Log Entries", [])
    return listing | {"Members": entries, "Members@odata.count": len(entries)}


async def clear_log(face: RedfishFace, body: Json) -> Reply:
    """Empty the log."""
    parameters(body, CLEAR, {})
    await sel.clear(_ipmi(face).face)
    return Reply()


def _ipmi(face: RedfishFace) -> IpmiFace:
    if face.ipmi is None:
        raise messages.not_found(LOG)
    return face.ipmi


def _entry(event: sel.Event) -> Json:
    severity = "OK"
    if event.direction.startswith("Assert"):
        severity = "Critical" if "ritical" in event.text and "Non-critical" not in event.text else "Warning"
    return heading(f"{ENTRIES}/{event.id}", "LogEntry.v1_15_0.LogEntry", f"Log Entry {event.id}") | {
        "EntryType": "SEL",
        "Created": event.at.isoformat() if event.at else _EPOCH,
        "Severity": severity,
        "Message": " ".join(part for part in (event.sensor, event.text, event.direction) if part),
    }


def _readings(face: RedfishFace, path: str, name: str, kind: int, reading: str) -> list[Json]:
    chosen = [sensor for sensor in sensors.ANALOG if sensor.kind == kind]
    return [_reading(face, f"{path}#/{name}/{index}", sensor, reading) for index, sensor in enumerate(chosen)]


def _reading(face: RedfishFace, path: str, sensor: AnalogSensor, reading: str) -> Json:
    raw = _ipmi(face).reading(sensor.file)
    limits = sensor.thresholds
    named = {
        "UpperThresholdNonCritical": limits.upper_non_critical,
        "UpperThresholdCritical": limits.upper_critical,
        "UpperThresholdFatal": limits.upper_non_recoverable,
        "LowerThresholdNonCritical": limits.lower_non_critical,
        "LowerThresholdCritical": limits.lower_critical,
        "LowerThresholdFatal": limits.lower_non_recoverable,
    }
    over = [
        name
        for name, limit in named.items()
        if limit and (raw >= limit if name.startswith("Upper") else raw <= limit)
    ]
    health = (
        "OK" if not over else "Critical" if any("NonCritical" not in name for name in over) else "Warning"
    )
    return {
        "@odata.id": path,
        "MemberId": path.rsplit("/", 1)[-1],
        "Name": sensor.name,
        "SensorNumber": sensor.number,
        "Status": {"State": "Enabled", "Health": health},
        reading: round(sensor.value(raw), 3),
        **{name: round(sensor.value(limit), 3) for name, limit in named.items() if limit},
    }
