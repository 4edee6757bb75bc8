"""The server's bill by Redfish: make, processors, memory, ports, disks and firmware versions."""

from __future__ import annotations

from collections.abc import Iterator

from lab.bmc.bill import FirmwareMode, Inventory, MemoryModule, Processor
from lab.bmc.redfish.disks import read_disks
from lab.bmc.redfish.json import Json, absent, as_dict, link, oems, text, told, whole
from lab.bmc.redfish.ports import read_ports
from lab.bmc.redfish.tree import RedfishTree

_LIMIT_S = 300.0
_MIB = 2**20
_NOT_INSTALLED = ("Previous-", "Available-")
"""Beginnings of FirmwareInventory Ids that are not what runs: iDRAC keeps the version before."""
COLLECTIONS = (
    "Processors",
    "Memory",
    "EthernetInterfaces",
    "NetworkInterfaces",
    "Storage",
    "SimpleStorage",
)
"""Members of a ComputerSystem that lead to its parts."""


def read_inventory(tree: RedfishTree) -> Inventory:
    """What the server is made of; a part that the BMC does not tell of is left out."""
    with tree.within(_LIMIT_S, "reading the inventory"):
        system = tree.system
        return Inventory(
            vendor=told(system, "Manufacturer"),
            model=told(system, "Model"),
            serial=serial(system),
            firmware_mode=firmware_mode(system),
            processors=tuple(_processors(tree, system)),
            memory=tuple(_memory(tree, system)),
            ports=read_ports(tree, system),
            disks=read_disks(tree, system),
            firmware=_firmware(tree, system),
        )


def serial(system: Json) -> str:
    """The number a vendor's support asks for; Dell has its service tag in SKU (facts/bmc.md, Q10)."""
    if told(system, "Manufacturer").lower().startswith("dell"):
        tag = next((tag for oem in oems(system) if (tag := _service_tag(oem))), "")
        return told(system, "SKU") or tag or told(system, "SerialNumber")
    return told(system, "SerialNumber", "SKU")


def firmware_mode(system: Json) -> FirmwareMode | None:
    """How the server boots, as far as its boot object tells."""
    mode = text(as_dict(system.get("Boot")), "BootSourceOverrideMode")
    modes: dict[str, FirmwareMode] = {"UEFI": "uefi", "Legacy": "bios"}
    return modes.get(mode)


def _service_tag(oem: Json) -> str:
    return told(as_dict(oem.get("DellSystem")), "ChassisServiceTag", "NodeID")


def _processors(tree: RedfishTree, system: Json) -> Iterator[Processor]:
    """Sockets with a CPU in them; the summary's count where there is no list."""
    listed = False
    for one in tree.members(link(system, "Processors")):
        if absent(one) or not one or text(one, "ProcessorType") not in ("", "CPU"):
            continue
        listed = True
        yield Processor(
            told(one, "Socket", "Id", "Name"),
            told(one, "Model", "ProcessorType"),
            whole(one, "TotalCores"),
            whole(one, "TotalThreads"),
        )
    summary = as_dict(system.get("ProcessorSummary"))
    if not listed:
        for _ in range(min(whole(summary, "Count") or 0, 64)):
            yield Processor("", told(summary, "Model"))


def _memory(tree: RedfishTree, system: Json) -> Iterator[MemoryModule]:
    for one in tree.members(link(system, "Memory")):
        mib = whole(one, "CapacityMiB", "SizeMB")
        if absent(one) or not mib:
            continue
        place = as_dict(as_dict(one.get("Location")).get("PartLocation"))
        yield MemoryModule(
            told(one, "DeviceLocator") or told(place, "ServiceLabel") or told(one, "Name", "Id"),
            mib * _MIB,
            told(one, "MemoryDeviceType", "DIMMType", "MemoryType"),
            whole(one, "OperatingSpeedMhz", "MaximumFrequencyMHz"),
            told(one, "SerialNumber"),
            told(one, "PartNumber"),
        )


def _firmware(tree: RedfishTree, system: Json) -> dict[str, str]:
    versions = {"BIOS": told(system, "BiosVersion")}
    for manager in tree.managers(system):
        versions[f"manager {text(manager, 'Id')}"] = told(manager, "FirmwareVersion")
    for name, version in firmware_inventory(tree).items():
        versions.setdefault(name, version)
    return {name: version for name, version in versions.items() if name and version}


def firmware_inventory(tree: RedfishTree) -> dict[str, str]:
    """UpdateService/FirmwareInventory: version by name; by name and Id where two share a name and differ."""
    update = tree.look(link(tree.root, "UpdateService"))
    found: dict[str, str] = {}
    for item in tree.members(link(update, "FirmwareInventory")):
        key, version = told(item, "Name", "Id"), told(item, "Version")
        if not version or text(item, "Id").startswith(_NOT_INSTALLED):
            continue
        if found.get(key, version) != version:
            key = f"{key} ({text(item, 'Id')})"
        found[key] = version
    return found
