"""What a BMC reports by Redfish, in our words: inventory, sensors, event log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from lab.bmc.api import LogEntry, SensorReading
from lab.bmc.bill import DiskSeen, FirmwareMode, Inventory, Port
from lab.bmc.redfish_json import (
    Json,
    action,
    as_dict,
    as_list,
    health,
    link,
    links,
    moment,
    number,
    severity,
    text,
)
from lab.bmc.redfish_tree import RedfishTree

_EVENT_LOGS = ("sel", "iml", "event")
"""Parts of the names by which BMCs call the log of hardware events; others log their own doings."""


def read_inventory(tree: RedfishTree) -> Inventory:
    """The server's make, MACs, disks with serials, and firmware versions."""
    system = tree.system
    return Inventory(
        vendor=text(system, "Manufacturer"),
        model=text(system, "Model"),
        serial=text(system, "SerialNumber", "SKU"),
        firmware_mode=firmware_mode(system),
        ports=tuple(Port(mac) for mac in dict.fromkeys(_macs(tree, system))),
        disks=tuple({disk.serial: disk for disk in _disks(tree, system)}.values()),
        firmware=_firmware(tree, system),
    )


def firmware_mode(system: Json) -> FirmwareMode | None:
    """How the server boots, as far as its boot object tells."""
    told = text(as_dict(system.get("Boot")), "BootSourceOverrideMode")
    modes: dict[str, FirmwareMode] = {"UEFI": "uefi", "Legacy": "bios"}
    return modes.get(told)


def read_sensors(tree: RedfishTree) -> list[SensorReading]:
    """Temperatures, fans, voltages and power of every chassis, by whichever of the two schemas it has."""
    found: list[SensorReading] = []
    for chassis in tree.chassis(tree.system):
        thermal, power = tree.look(link(chassis, "Thermal")), tree.look(link(chassis, "Power"))
        classic = [*_classic(thermal), *_classic(power)]
        found += classic or _modern(tree, chassis)
    return found


def log_service(tree: RedfishTree) -> Json:
    """The log of hardware events: the system's, else a manager's; empty where there is none."""
    system = tree.system
    services = [
        service
        for place in (system, *tree.managers(system))
        for service in tree.members(link(place, "LogServices"))
    ]
    named = (
        service
        for service in services
        if any(part in f"{text(service, 'Id')} {text(service, 'Name')}".lower() for part in _EVENT_LOGS)
    )
    return next(named, services[0] if services else {})


def clear_log_target(service: Json) -> str | None:
    """Where to post to clear that log."""
    return text(action(service, "LogService.ClearLog"), "target") or None


def read_log(tree: RedfishTree, service: Json) -> list[LogEntry]:
    """The entries of a log, oldest first."""
    entries = [
        LogEntry(
            id=text(entry, "Id"),
            at=moment(entry.get("Created")),
            severity=severity(entry),
            message=text(entry, "Message", "Name"),
        )
        for entry in tree.members(link(service, "Entries"))
        if entry
    ]
    # A stable sort: entries without a time keep the place the BMC gave them, first.
    return sorted(entries, key=lambda entry: entry.at or datetime.min.replace(tzinfo=UTC))


def _macs(tree: RedfishTree, system: Json) -> Iterator[str]:
    for nic in tree.interfaces(system):
        mac = text(nic, "PermanentMACAddress", "MACAddress").lower()
        if mac and mac != "00:00:00:00:00:00":
            yield mac


def _disks(tree: RedfishTree, system: Json) -> Iterator[DiskSeen]:
    for storage in tree.members(link(system, "Storage")):
        for path in links(storage.get("Drives", [])):
            drive = tree.look(path)
            serial = text(drive, "SerialNumber")
            if serial:
                size = number(drive, "CapacityBytes")
                yield DiskSeen(
                    serial, text(drive, "Model", "Name"), None if size is None else int(size), _wwn(drive)
                )


def _wwn(drive: Json) -> str | None:
    for identifier in as_list(drive.get("Identifiers", [])):
        if text(identifier, "DurableNameFormat") in ("NAA", "EUI", "NGUID"):
            return text(identifier, "DurableName") or None
    return None


def _firmware(tree: RedfishTree, system: Json) -> dict[str, str]:
    versions = {"BIOS": text(system, "BiosVersion")}
    for manager in tree.managers(system):
        versions[f"manager {text(manager, 'Id')}"] = text(manager, "FirmwareVersion")
    update = tree.look(link(tree.root, "UpdateService"))
    for item in tree.members(link(update, "FirmwareInventory")):
        versions[text(item, "Name", "Id")] = text(item, "Version")
    return {name: version for name, version in versions.items() if name and version}


_CLASSIC = (
    ("Temperatures", "Temperature", "ReadingCelsius", "°C"),
    ("Fans", "Fan", "Reading", "RPM"),
    ("Voltages", "Voltage", "ReadingVolts", "V"),
    ("PowerControl", "Power", "PowerConsumedWatts", "W"),
)


def _classic(body: Json) -> Iterator[SensorReading]:
    for member, kind, reading, unit in _CLASSIC:
        for sensor in as_list(body.get(member, [])):
            value = number(sensor, reading, "ReadingRPM")
            if value is not None:
                unit_told = text(sensor, "ReadingUnits") or unit
                yield SensorReading(
                    text(sensor, "Name", "MemberId", "FanName") or kind,
                    kind,
                    value,
                    unit_told,
                    health(sensor),
                )


def _modern(tree: RedfishTree, chassis: Json) -> list[SensorReading]:
    return [
        SensorReading(
            text(sensor, "Name", "Id"),
            text(sensor, "ReadingType"),
            value,
            text(sensor, "ReadingUnits"),
            health(sensor),
        )
        for sensor in tree.members(link(chassis, "Sensors"))
        if (value := number(sensor, "Reading")) is not None
    ]
