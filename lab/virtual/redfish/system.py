"""Systems/1: power, boot override, identification lamp, and the parts a server is made of."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from lab.bmc.api import BootDevice, PowerAction
from lab.rack.model import Disk, Nic, Server, VirtualServer
from lab.virtual import hardware
from lab.virtual.chassis import Override
from lab.virtual.redfish import messages
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
    one_of,
    parameters,
    writable,
)

TARGETS = {
    "None": BootDevice.NONE,
    "Hdd": BootDevice.DISK,
    "Cd": BootDevice.CD,
    "Pxe": BootDevice.PXE,
    "BiosSetup": BootDevice.SETUP,
}
ENABLED = ["Disabled", "Once", "Continuous"]
RESETS = {
    "On": PowerAction.ON,
    "ForceOn": PowerAction.ON,
    "ForceOff": PowerAction.OFF,
    "GracefulShutdown": PowerAction.GRACEFUL_OFF,
    "ForceRestart": PowerAction.RESET,
    "PowerCycle": None,
    "PushPowerButton": None,
    "Nmi": PowerAction.NMI,
}
RESET = "ComputerSystem.Reset"
OK: Json = {"State": "Enabled", "Health": "OK"}
_MODES = {"uefi": "UEFI", "bios": "Legacy"}
_FIRMWARE = {
    "uefi": ("OVMF", hardware.OVMF_CODE),
    "bios": ("SeaBIOS", Path("/usr/share/seabios/bios-256k.bin")),
}
_PROTOCOLS = {"nvme": "NVMe", "ahci": "SATA", "megasas": "SAS", "mptsas1068": "SAS"}


def resources(server: Server) -> dict[str, Resource]:
    """Every path at and under Systems."""
    found = {
        f"{ROOT}/Systems": Resource(
            lambda _: collection(f"{ROOT}/Systems", "ComputerSystemCollection", "Computer Systems", [SYSTEM])
        ),
        SYSTEM: Resource(read, patch),
        f"{SYSTEM}/Actions/{RESET}": Resource(post=reset),
        f"{SYSTEM}/EthernetInterfaces": _listing(
            "EthernetInterfaces", "EthernetInterfaceCollection", _nic_paths(server)
        ),
        f"{SYSTEM}/Storage": _listing(
            "Storage", "StorageCollection", [_storage_path(bus) for bus in _buses(server)]
        ),
        f"{SYSTEM}/Processors": _listing("Processors", "ProcessorCollection", [f"{SYSTEM}/Processors/CPU0"]),
        f"{SYSTEM}/Processors/CPU0": Resource(_processor),
        f"{SYSTEM}/Memory": _listing("Memory", "MemoryCollection", [f"{SYSTEM}/Memory/DIMM0"]),
        f"{SYSTEM}/Memory/DIMM0": Resource(_memory),
    }
    for path, nic in zip(_nic_paths(server), server.nics, strict=True):
        found[path] = _interface(path, nic)
    for bus in _buses(server):
        found[_storage_path(bus)] = _storage(server, bus)
    for index, disk in enumerate(server.disks):
        found[_drive_path(server, index)] = _drive(server, index, disk)
    return found


def read(face: RedfishFace) -> Json:
    """Systems/1."""
    chassis, server = face.chassis, face.chassis.server
    override = chassis.override
    kept = "Disabled" if override.device is BootDevice.NONE else "Once" if override.once else "Continuous"
    return heading(SYSTEM, "ComputerSystem.v1_20_0.ComputerSystem", server.name) | {
        "SystemType": "Physical",
        "Manufacturer": "hypervisor-lab",
        "Model": server.model,
        "SerialNumber": hardware.serial_number(server),
        "SKU": server.virtual.machine if server.virtual else "",
        "UUID": face.uuid,
        "HostName": "",
        "BiosVersion": firmware_version(server.firmware),
        "PowerState": chassis.power.capitalize(),
        "Status": {"State": "Enabled" if chassis.power == "on" else "StandbyOffline", "Health": "OK"},
        "IndicatorLED": "Blinking" if chassis.identify else "Off",
        "IndicatorLED@Redfish.AllowableValues": ["Blinking", "Off"],
        "LocationIndicatorActive": chassis.identify,
        "Boot": {
            "BootSourceOverrideEnabled": kept,
            "BootSourceOverrideEnabled@Redfish.AllowableValues": ENABLED,
            "BootSourceOverrideTarget": next(
                name for name, device in TARGETS.items() if device is override.device
            ),
            "BootSourceOverrideTarget@Redfish.AllowableValues": list(TARGETS),
            "BootSourceOverrideMode": _MODES[server.firmware],
            "BootSourceOverrideMode@Redfish.AllowableValues": [_MODES[server.firmware]],
        },
        "ProcessorSummary": {"Count": 1, "LogicalProcessorCount": _built(server).cpus, "Status": OK},
        "MemorySummary": {"TotalSystemMemoryGiB": _built(server).memory / 2**30, "Status": OK},
        "EthernetInterfaces": link(f"{SYSTEM}/EthernetInterfaces"),
        "Storage": link(f"{SYSTEM}/Storage"),
        "Processors": link(f"{SYSTEM}/Processors"),
        "Memory": link(f"{SYSTEM}/Memory"),
        "Links": {"Chassis": [link(CHASSIS)], "ManagedBy": [link(MANAGER)]},
        "Actions": {f"#{RESET}": action(f"{SYSTEM}/Actions/{RESET}", ResetType=list(RESETS))},
    }


async def patch(face: RedfishFace, body: Json) -> None:
    """Boot override and identification lamp."""
    wanted = writable(body, read(face), ("Boot", "IndicatorLED", "LocationIndicatorActive"))
    lamp = wanted.get("LocationIndicatorActive")
    if "IndicatorLED" in wanted:
        lamp = one_of("IndicatorLED", wanted["IndicatorLED"], ["Blinking", "Off"]) != "Off"
    if lamp is not None and not isinstance(lamp, bool):
        raise messages.wrong_type("LocationIndicatorActive", lamp)
    override = _wanted_override(face, wanted["Boot"]) if "Boot" in wanted else None
    # Everything has been checked; only now anything is changed.
    if override is not None:
        await face.chassis.set_override(override)
    if lamp is not None:
        face.chassis.set_identify(lamp)


async def reset(face: RedfishFace, body: Json) -> Reply:
    """The ComputerSystem.Reset action."""
    kind = parameters(body, RESET, {"ResetType": str}).get("ResetType")
    if kind is None:
        raise messages.missing_parameter(RESET, "ResetType")
    if kind not in RESETS:
        raise messages.not_in_list("ResetType", kind, list(RESETS), action=RESET)
    chassis = face.chassis
    wanted = RESETS[kind]
    if kind == "PushPowerButton":
        wanted = PowerAction.ON if chassis.power == "off" else PowerAction.GRACEFUL_OFF
    if chassis.power == "off" and wanted not in (
        PowerAction.ON,
        PowerAction.OFF,
        PowerAction.GRACEFUL_OFF,
        None,
    ):
        text = f"The action {RESET} with ResetType {kind} cannot be carried out while the system is off."
        raise messages.RedfishError(409, "ActionParameterValueConflict", text, arguments=["ResetType", kind])
    if wanted is None:
        await chassis.cycle()
    elif not (wanted is PowerAction.GRACEFUL_OFF and chassis.power == "off"):
        await chassis.act(wanted)
    return Reply()


@cache
def firmware_version(mode: str) -> str:
    """Name and digest of the firmware image, which itself carries no version that could be read."""
    name, file = _FIRMWARE[mode]
    return f"{name} sha256:{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}" if file.is_file() else name


def _wanted_override(face: RedfishFace, boot: object) -> Override:
    if not isinstance(boot, dict):
        raise messages.wrong_type("Boot", boot)
    names = ("BootSourceOverrideTarget", "BootSourceOverrideEnabled", "BootSourceOverrideMode")
    wanted = writable(boot, read(face)["Boot"], names)
    if "BootSourceOverrideMode" in wanted:
        one_of(
            "BootSourceOverrideMode", wanted["BootSourceOverrideMode"], [_MODES[face.chassis.server.firmware]]
        )
    now = face.chassis.override
    device, once = now.device, now.once
    if "BootSourceOverrideTarget" in wanted:
        device = TARGETS[
            one_of("BootSourceOverrideTarget", wanted["BootSourceOverrideTarget"], list(TARGETS))
        ]
        if now.device is BootDevice.NONE:
            once = True
    if "BootSourceOverrideEnabled" in wanted:
        enabled = one_of("BootSourceOverrideEnabled", wanted["BootSourceOverrideEnabled"], ENABLED)
        once = enabled != "Continuous"
        if enabled == "Disabled":
            device = BootDevice.NONE
        elif device is BootDevice.NONE and "BootSourceOverrideTarget" not in wanted:
            text = "The property BootSourceOverrideTarget is required when an override is enabled."
            raise messages.RedfishError(400, "PropertyMissing", text, arguments=["BootSourceOverrideTarget"])
    return Override(device, once)


def _built(server: Server) -> VirtualServer:
    if server.virtual is None:  # the daemon only takes racks of virtual servers
        raise TypeError(f"{server.name} is not a virtual server")
    return server.virtual


def _listing(name: str, kind: str, members: list[str]) -> Resource:
    path = f"{SYSTEM}/{name}"
    return Resource(lambda _: collection(path, kind, name, members))


def _nic_paths(server: Server) -> list[str]:
    return [f"{SYSTEM}/EthernetInterfaces/NIC{index}" for index in range(len(server.nics))]


def _interface(path: str, nic: Nic) -> Resource:
    def read_interface(face: RedfishFace) -> Json:
        return heading(path, "EthernetInterface.v1_9_0.EthernetInterface", nic.network or "network") | {
            "MACAddress": nic.mac,
            "PermanentMACAddress": nic.mac,
            "InterfaceEnabled": True,
            "LinkStatus": "LinkUp" if face.chassis.power == "on" else "NoLink",
            "Status": OK,
        }

    return Resource(read_interface)


def _buses(server: Server) -> list[str]:
    return list(dict.fromkeys(_built(server).disks[disk.serial or ""].bus for disk in server.disks))


def _storage_path(bus: str) -> str:
    return f"{SYSTEM}/Storage/{bus}"


def _drive_path(server: Server, index: int) -> str:
    return f"{_storage_path(_built(server).disks[server.disks[index].serial or ''].bus)}/Drives/{index}"


def _storage(server: Server, bus: str) -> Resource:
    path = _storage_path(bus)
    drives = [_drive_path(server, index) for index in range(len(server.disks))]
    mine = [link(drive) for drive in drives if drive.startswith(f"{path}/")]
    controller = {
        "MemberId": "0",
        "@odata.id": f"{path}#/StorageControllers/0",
        "Name": bus,
        "Model": bus,
        "Status": OK,
    }
    body = {"Drives": mine, "Drives@odata.count": len(mine), "StorageControllers": [controller], "Status": OK}
    return Resource(lambda _: heading(path, "Storage.v1_15_0.Storage", bus) | body)


def _drive(server: Server, index: int, disk: Disk) -> Resource:
    path = _drive_path(server, index)
    built = _built(server).disks[disk.serial or ""]
    names = [{"DurableName": disk.wwn, "DurableNameFormat": "NAA"}] if disk.wwn else []
    body = {
        "SerialNumber": disk.serial,
        "Manufacturer": "QEMU",
        "Model": f"QEMU {built.bus}",
        "CapacityBytes": built.size,
        "MediaType": "SSD",
        "Identifiers": names,
        "Status": OK,
    }
    if built.bus in _PROTOCOLS:
        body["Protocol"] = _PROTOCOLS[built.bus]
    return Resource(lambda _: heading(path, "Drive.v1_17_0.Drive", disk.name) | body)


def _processor(face: RedfishFace) -> Json:
    built = _built(face.chassis.server)
    return heading(f"{SYSTEM}/Processors/CPU0", "Processor.v1_18_0.Processor", "CPU0") | {
        "ProcessorType": "CPU",
        "ProcessorArchitecture": "x86",
        "InstructionSet": "x86-64",
        "Model": built.cpu,
        "TotalCores": built.cpus,
        "TotalThreads": built.cpus,
        "Status": OK,
    }


def _memory(face: RedfishFace) -> Json:
    built = _built(face.chassis.server)
    return heading(f"{SYSTEM}/Memory/DIMM0", "Memory.v1_17_0.Memory", "DIMM0") | {
        "MemoryType": "DRAM",
        "CapacityMiB": built.memory // 2**20,
        "Status": OK,
    }
