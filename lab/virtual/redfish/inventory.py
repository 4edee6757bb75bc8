"""What a server is made of, all from the rack file: processors, memory, network, storage."""

from __future__ import annotations

from lab.rack.model import Disk, Nic, Server, VirtualServer
from lab.virtual.redfish.face import (
    CHASSIS,
    OK,
    SYSTEM,
    Json,
    RedfishFace,
    Resource,
    collection,
    heading,
    link,
)

LISTINGS = ("EthernetInterfaces", "Storage", "Processors", "Memory")
ADAPTERS = f"{CHASSIS}/NetworkAdapters"
DRIVES = f"{CHASSIS}/Drives"
_PROTOCOLS = {"nvme": "NVMe", "ahci": "SATA", "megasas": "SAS", "mptsas1068": "SAS"}
_CONTROLLERS = {
    "nvme": "QEMU NVMe Ctrl",
    "ahci": "QEMU ICH9 AHCI",
    "megasas": "LSI MegaRAID SAS 1078 (QEMU megasas)",
    "mptsas1068": "LSI SAS1068 (QEMU mptsas1068)",
    "virtio-blk": "QEMU virtio-blk",
    "virtio-scsi": "QEMU virtio-scsi",
}


def built(server: Server) -> VirtualServer:
    """The hardware that QEMU is to build."""
    if server.virtual is None:  # the daemon only takes racks of virtual servers
        raise TypeError(f"{server.name} is not a virtual server")
    return server.virtual


def resources(server: Server) -> dict[str, Resource]:
    """Every path under Systems/1 and Chassis/1 that lists hardware."""
    nics = range(len(server.nics))
    buses = list(dict.fromkeys(built(server).disks[disk.serial or ""].bus for disk in server.disks))
    drives = [_drive_path(server, index) for index in range(len(server.disks))]
    found = {
        **_listing(f"{SYSTEM}/Processors", "Processor", [f"{SYSTEM}/Processors/CPU0"]),
        f"{SYSTEM}/Processors/CPU0": Resource(_processor),
        **_listing(f"{SYSTEM}/Memory", "Memory", [f"{SYSTEM}/Memory/DIMM0"]),
        f"{SYSTEM}/Memory/DIMM0": Resource(_memory),
        **_listing(
            f"{SYSTEM}/EthernetInterfaces",
            "EthernetInterface",
            [f"{SYSTEM}/EthernetInterfaces/NIC{index}" for index in nics],
        ),
        **_listing(f"{SYSTEM}/Storage", "Storage", [_storage_path(bus) for bus in buses]),
        **_listing(ADAPTERS, "NetworkAdapter", [f"{ADAPTERS}/NIC{index}" for index in nics]),
        **_listing(DRIVES, "Drive", drives),
    }
    for index, nic in enumerate(server.nics):
        found |= _network(index, nic, built(server).nics[nic.mac])
    for bus in buses:
        found |= _storage(bus, [path for path in drives if path.startswith(f"{_storage_path(bus)}/")])
    for index, disk in enumerate(server.disks):
        found[drives[index]] = _drive(server, drives[index], disk)
    return found


def _listing(path: str, kind: str, members: list[str]) -> dict[str, Resource]:
    name = path.rsplit("/", 1)[-1]
    return {path: Resource(lambda _: collection(path, f"{kind}Collection", name, members))}


def _fixed(body: Json) -> Resource:
    return Resource(lambda _: body)


def _link_status(face: RedfishFace) -> str:
    return "LinkUp" if face.chassis.power == "on" else "LinkDown"


def _network(index: int, nic: Nic, model: str) -> dict[str, Resource]:
    """A network port, as the system sees it and as the card in the chassis that has it."""
    name = f"NIC{index}"
    interface, adapter = f"{SYSTEM}/EthernetInterfaces/{name}", f"{ADAPTERS}/{name}"
    port, function = f"{adapter}/Ports/1", f"{adapter}/NetworkDeviceFunctions/1"

    def read_interface(face: RedfishFace) -> Json:
        return heading(interface, "EthernetInterface.v1_9_0.EthernetInterface", nic.network or "network") | {
            "MACAddress": nic.mac,
            "PermanentMACAddress": nic.mac,
            "InterfaceEnabled": True,
            "LinkStatus": "LinkUp" if face.chassis.power == "on" else "NoLink",
            "Status": OK,
            "Links": {"Chassis": link(CHASSIS)},
        }

    def read_port(face: RedfishFace) -> Json:
        return heading(port, "Port.v1_9_0.Port", f"{name} port 1") | {
            "PortId": "1",
            "PortProtocol": "Ethernet",
            "LinkStatus": _link_status(face),
            "Ethernet": {"AssociatedMACAddresses": [nic.mac]},
            "Status": OK,
        }

    controller = {
        "ControllerCapabilities": {"NetworkPortCount": 1, "NetworkDeviceFunctionCount": 1},
        "Links": {"Ports": [link(port)], "NetworkDeviceFunctions": [link(function)]},
    }
    card = heading(adapter, "NetworkAdapter.v1_9_0.NetworkAdapter", name) | {
        "Manufacturer": "QEMU",
        "Model": model,
        "Controllers": [controller],
        "Ports": link(f"{adapter}/Ports"),
        "NetworkDeviceFunctions": link(f"{adapter}/NetworkDeviceFunctions"),
        "Status": OK,
    }
    ethernet = {"MACAddress": nic.mac, "PermanentMACAddress": nic.mac}
    device = heading(function, "NetworkDeviceFunction.v1_9_0.NetworkDeviceFunction", f"{name} function 1") | {
        "NetDevFuncType": "Ethernet",
        "Ethernet": ethernet,
        "Links": {"EthernetInterface": link(interface)},
        "Status": OK,
    }
    return {
        interface: Resource(read_interface),
        adapter: _fixed(card),
        **_listing(f"{adapter}/Ports", "Port", [port]),
        port: Resource(read_port),
        **_listing(f"{adapter}/NetworkDeviceFunctions", "NetworkDeviceFunction", [function]),
        function: _fixed(device),
    }


def _storage_path(bus: str) -> str:
    return f"{SYSTEM}/Storage/{bus}"


def _drive_path(server: Server, index: int) -> str:
    return f"{_storage_path(built(server).disks[server.disks[index].serial or ''].bus)}/Drives/{index}"


def _storage(bus: str, drives: list[str]) -> dict[str, Resource]:
    path = _storage_path(bus)
    controller = f"{path}/Controllers/0"
    facts = {"Name": bus, "Manufacturer": "QEMU", "Model": _CONTROLLERS[bus], "Status": OK}
    if bus in _PROTOCOLS:
        facts["SupportedDeviceProtocols"] = [_PROTOCOLS[bus]]
    embedded = {"@odata.id": f"{path}#/StorageControllers/0", "MemberId": "0", **facts}
    body = heading(path, "Storage.v1_15_0.Storage", bus) | {
        "Drives": [link(drive) for drive in drives],
        "Drives@odata.count": len(drives),
        "StorageControllers": [embedded],
        "StorageControllers@odata.count": 1,
        "Controllers": link(f"{path}/Controllers"),
        "Volumes": link(f"{path}/Volumes"),
        "Status": OK,
    }
    return {
        path: _fixed(body),
        **_listing(f"{path}/Controllers", "StorageController", [controller]),
        controller: _fixed(
            heading(controller, "StorageController.v1_7_0.StorageController", bus)
            | facts
            | {"Links": {"AttachedDrives": [link(drive) for drive in drives]}}
        ),
        # The virtual controllers pass every disk through as it is; there is no RAID to speak of.
        **_listing(f"{path}/Volumes", "Volume", []),
    }


def _drive(server: Server, path: str, disk: Disk) -> Resource:
    facts = built(server).disks[disk.serial or ""]
    body = heading(path, "Drive.v1_17_0.Drive", disk.name) | {
        "SerialNumber": disk.serial,
        "Manufacturer": "QEMU",
        "Model": f"QEMU {facts.bus}",
        "CapacityBytes": facts.size,
        "MediaType": "SSD",
        "Identifiers": [{"DurableName": disk.wwn, "DurableNameFormat": "NAA"}] if disk.wwn else [],
        "Status": OK,
        "Links": {"Chassis": link(CHASSIS)},
    }
    if facts.bus in _PROTOCOLS:
        body["Protocol"] = _PROTOCOLS[facts.bus]
    return _fixed(body)


def _processor(face: RedfishFace) -> Json:
    facts = built(face.chassis.server)
    return heading(f"{SYSTEM}/Processors/CPU0", "Processor.v1_18_0.Processor", "CPU0") | {
        "Socket": "CPU0",
        "ProcessorType": "CPU",
        "ProcessorArchitecture": "x86",
        "InstructionSet": "x86-64",
        "Model": facts.cpu,
        "TotalCores": facts.cpus,
        "TotalThreads": facts.cpus,
        "Status": OK,
    }


def _memory(face: RedfishFace) -> Json:
    return heading(f"{SYSTEM}/Memory/DIMM0", "Memory.v1_17_0.Memory", "DIMM0") | {
        "DeviceLocator": "DIMM0",
        "MemoryType": "DRAM",
        "CapacityMiB": built(face.chassis.server).memory // 2**20,
        "Status": OK,
    }
