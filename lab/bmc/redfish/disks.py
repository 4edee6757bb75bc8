"""Disks by Redfish, also those behind RAID controllers, from every place where BMCs list them."""

from __future__ import annotations

from collections.abc import Iterator

from lab.bmc.bill import DiskSeen
from lab.bmc.redfish.json import Json, absent, as_dict, as_list, link, linked, links, told, whole
from lab.bmc.redfish.tree import RedfishTree

_MIB, _GB = 2**20, 10**9


def read_disks(tree: RedfishTree, system: Json) -> tuple[DiskSeen, ...]:
    """The server's disks, each once by its serial or, lacking one, by its WWN.

    What tells no serial (SimpleStorage has none in its schema) is listed only where nothing better is.
    """
    found: dict[str, DiskSeen] = {}
    for place in (_storage, _chassis_drives, _smart_storage):
        for disk in place(tree, system):
            found.setdefault(disk.serial or disk.wwn or f"? {len(found)}", disk)
    return tuple(found.values()) or tuple(_simple_storage(tree, system))


def _storage(tree: RedfishTree, system: Json) -> Iterator[DiskSeen]:
    for storage in tree.members(link(system, "Storage")):
        controller = _controller(tree, storage)
        for path in links(storage.get("Drives")):
            yield from _disk(tree.look(path), controller)


def _controller(tree: RedfishTree, storage: Json) -> str:
    """The controller's name: older services list them in the resource, newer ones in a collection."""
    inside = as_list(storage.get("StorageControllers"))
    listed = inside or list(tree.members(link(storage, "Controllers")))
    return next((name for one in listed if (name := told(one, "Model", "Name"))), told(storage, "Name", "Id"))


def _chassis_drives(tree: RedfishTree, system: Json) -> Iterator[DiskSeen]:
    """Drives that a chassis lists: `Drives`, or links to them; a backplane is often a chassis of its own."""
    for chassis in tree.chassis(system):
        yield from (disk for drive in tree.members(link(chassis, "Drives")) for disk in _disk(drive, ""))
        for path in links(as_dict(chassis.get("Links")).get("Drives")):
            yield from _disk(tree.look(path), "")


def _smart_storage(tree: RedfishTree, system: Json) -> Iterator[DiskSeen]:
    """iLO 4 and 5 with Smart Array: Oem SmartStorage, ArrayControllers and HostBusAdapters."""
    storage = tree.look(linked({"Oem": system.get("Oem")}, "SmartStorage"))
    for kind in ("ArrayControllers", "HostBusAdapters"):
        for controller in tree.members(linked(storage, kind)):
            name = told(controller, "Model", "Name")
            # Those of no array are listed apart; a disk may stand in both lists.
            for drives in ("PhysicalDrives", "DiskDrives", "UnconfiguredDrives"):
                for drive in tree.members(linked(controller, drives)):
                    yield from _disk(drive, name)


def _simple_storage(tree: RedfishTree, system: Json) -> Iterator[DiskSeen]:
    for storage in tree.members(link(system, "SimpleStorage")):
        for device in as_list(storage.get("Devices")):
            yield from _disk(device, told(storage, "Name", "Id"))


def _disk(drive: Json, controller: str) -> Iterator[DiskSeen]:
    """One disk; nothing for an empty bay and for what tells nothing of itself."""
    serial, model, size = told(drive, "SerialNumber"), told(drive, "Model"), _size(drive)
    if absent(drive) or not (serial or model or size):
        return
    kind = " ".join(
        part
        for part in (told(drive, "Protocol", "InterfaceType"), told(drive, "MediaType"))
        if part and part != "OEM"
    )
    yield DiskSeen(serial, model or told(drive, "Name"), size, _wwn(drive), controller, kind)


def _size(drive: Json) -> int | None:
    size = whole(drive, "CapacityBytes")
    if size is None and (mib := whole(drive, "CapacityMiB")) is not None:
        size = mib * _MIB
    if size is None and (gigabytes := whole(drive, "CapacityGB")) is not None:
        size = gigabytes * _GB
    return size or None


def _wwn(drive: Json) -> str | None:
    for identifier in as_list(drive.get("Identifiers")):
        if told(identifier, "DurableNameFormat") in ("NAA", "EUI", "NGUID"):
            return told(identifier, "DurableName") or None
    return None
