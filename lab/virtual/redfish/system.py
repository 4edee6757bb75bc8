"""Systems/1: power, boot override, identification lamp; what it is made of is in `inventory`."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from lab.bmc.api import PowerAction
from lab.rack.model import Server
from lab.virtual import hardware
from lab.virtual.redfish import boot, inventory, messages
from lab.virtual.redfish.face import (
    CHASSIS,
    MANAGER,
    OK,
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

RESET = "ComputerSystem.Reset"
RESETS = (
    "On",
    "ForceOn",
    "ForceOff",
    "GracefulShutdown",
    "GracefulRestart",
    "ForceRestart",
    "PowerCycle",
    "PushPowerButton",
    "Nmi",
)
_ACTS = {
    "On": PowerAction.ON,
    "ForceOn": PowerAction.ON,
    "ForceOff": PowerAction.OFF,
    "GracefulShutdown": PowerAction.GRACEFUL_OFF,
    "ForceRestart": PowerAction.RESET,
    "Nmi": PowerAction.NMI,
}
_NEEDS_POWER = ("GracefulRestart", "ForceRestart", "Nmi")
_FIRMWARE = {
    "uefi": ("OVMF", hardware.OVMF_CODE),
    "bios": ("SeaBIOS", Path("/usr/share/seabios/bios-256k.bin")),
}


def resources(server: Server) -> dict[str, Resource]:
    """Every path at and under Systems, except what firmware and inventory add."""
    return {
        f"{ROOT}/Systems": Resource(
            lambda _: collection(f"{ROOT}/Systems", "ComputerSystemCollection", "Computer Systems", [SYSTEM])
        ),
        SYSTEM: Resource(read, patch),
        f"{SYSTEM}/Actions/{RESET}": Resource(post=reset),
        f"{SYSTEM}/ResetActionInfo": Resource(read_reset_info),
        **inventory.resources(server),
    }


def read(face: RedfishFace) -> Json:
    """Systems/1."""
    chassis, server = face.chassis, face.chassis.server
    built = inventory.built(server)
    found = heading(SYSTEM, "ComputerSystem.v1_20_0.ComputerSystem", server.name) | {
        "SystemType": "Physical",
        "Manufacturer": "hypervisor-lab",
        "Model": server.model,
        "SerialNumber": hardware.serial_number(server),
        "SKU": built.machine,
        "AssetTag": chassis.settings.current.get("AssetTag", ""),
        "UUID": face.uuid,
        "HostName": "",
        "BiosVersion": firmware_version(server.firmware),
        "PowerState": chassis.power.capitalize(),
        "Status": {"State": "Enabled" if chassis.power == "on" else "StandbyOffline", "Health": "OK"},
        "IndicatorLED": "Blinking" if chassis.identify else "Off",
        "IndicatorLED@Redfish.AllowableValues": ["Blinking", "Off"],
        "LocationIndicatorActive": chassis.identify,
        "Boot": boot.read_boot(face),
        "ProcessorSummary": {"Count": 1, "LogicalProcessorCount": built.cpus, "Status": OK},
        "MemorySummary": {"TotalSystemMemoryGiB": built.memory / 2**30, "Status": OK},
        "TrustedModules": [],
        **{name: link(f"{SYSTEM}/{name}") for name in (*inventory.LISTINGS, "Bios")},
        "Links": {"Chassis": [link(CHASSIS)], "ManagedBy": [link(MANAGER)]},
        "Actions": {
            f"#{RESET}": {
                **action(f"{SYSTEM}/Actions/{RESET}", ResetType=list(RESETS)),
                "@Redfish.ActionInfo": f"{SYSTEM}/ResetActionInfo",
            }
        },
    }
    if chassis.last_reset is not None:
        found["LastResetTime"] = chassis.last_reset.isoformat(timespec="seconds")
    if server.firmware == "uefi":
        found["SecureBoot"] = link(f"{SYSTEM}/SecureBoot")
    if face.ipmi is not None:
        found["SerialConsole"] = {
            "MaxConcurrentSessions": 1,
            "IPMI": {"ServiceEnabled": True, "Port": face.ipmi.port},
        }
    return found


def read_reset_info(_: RedfishFace) -> Json:
    """What the reset action takes, as an ActionInfo."""
    info = {"Name": "ResetType", "Required": True, "DataType": "String", "AllowableValues": list(RESETS)}
    found = heading(f"{SYSTEM}/ResetActionInfo", "ActionInfo.v1_3_0.ActionInfo", "Reset Action Info")
    return found | {"Parameters": [info]}


async def patch(face: RedfishFace, body: Json) -> None:
    """Boot override and identification lamp."""
    wanted = writable(body, read(face), ("Boot", "IndicatorLED", "LocationIndicatorActive"))
    lamp = wanted.get("LocationIndicatorActive")
    if "IndicatorLED" in wanted:
        lamp = one_of("IndicatorLED", wanted["IndicatorLED"], ["Blinking", "Off"]) != "Off"
    if lamp is not None and not isinstance(lamp, bool):
        raise messages.wrong_type("LocationIndicatorActive", lamp)
    override = boot.wanted_override(face, wanted["Boot"]) if "Boot" in wanted else None
    # Everything has been checked; only now anything is changed.
    if override is not None:
        await face.chassis.set_override(override)
    if lamp is not None:
        face.chassis.set_identify(lamp)


async def reset(face: RedfishFace, body: Json) -> Reply:
    """The ComputerSystem.Reset action; what the power state shows already is accepted and does nothing."""
    kind = parameters(body, RESET, {"ResetType": str}).get("ResetType")
    if kind is None:
        raise messages.missing_parameter(RESET, "ResetType")
    if kind not in RESETS:
        raise messages.not_in_list("ResetType", kind, list(RESETS), action=RESET)
    chassis = face.chassis
    if chassis.power == "off" and kind in _NEEDS_POWER:
        raise messages.conflict(RESET, "ResetType", kind, "the system is off")
    if kind == "PowerCycle":
        await chassis.cycle()
    elif kind == "GracefulRestart":
        await chassis.graceful_restart()
    elif kind == "PushPowerButton":
        await chassis.act(PowerAction.ON if chassis.power == "off" else PowerAction.GRACEFUL_OFF)
    elif not (kind == "GracefulShutdown" and chassis.power == "off"):
        await chassis.act(_ACTS[kind])
    return Reply()


@cache
def firmware_version(mode: str) -> str:
    """Name and digest of the firmware image, which itself carries no version that could be read."""
    name, file = _FIRMWARE[mode]
    return f"{name} sha256:{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}" if file.is_file() else name
