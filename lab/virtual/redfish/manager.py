"""Managers/1 (the BMC itself: clock, reset) and Chassis/1 (lamp; sensors are in `sensors`)."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import metadata

from lab.virtual import hardware
from lab.virtual.redfish import inventory, messages, sensors, system
from lab.virtual.redfish.face import (
    CHASSIS,
    MANAGER,
    OK,
    ROOT,
    SYSTEM,
    Json,
    RedfishFace,
    Resource,
    action,
    collection,
    heading,
    link,
    writable,
)

RESET = "Manager.Reset"
RESETS = ["ForceRestart", "GracefulRestart"]
_ZONE_LIMIT = timedelta(hours=14)


def resources(*, sensed: bool) -> dict[str, Resource]:
    """Every path of Managers and Chassis; sensors only where there is an IPMI face."""
    return {
        f"{ROOT}/Managers": Resource(
            lambda _: collection(f"{ROOT}/Managers", "ManagerCollection", "Managers", [MANAGER])
        ),
        MANAGER: Resource(read, patch),
        f"{ROOT}/Chassis": Resource(
            lambda _: collection(f"{ROOT}/Chassis", "ChassisCollection", "Chassis", [CHASSIS])
        ),
        CHASSIS: Resource(read_chassis, patch_chassis),
        **(sensors.resources() if sensed else {}),
    }


@cache
def version() -> str:
    """The BMC's firmware version, which is this program's."""
    return metadata.version("hypervisor-lab")


def read(face: RedfishFace) -> Json:
    """Managers/1."""
    found = heading(MANAGER, "Manager.v1_18_0.Manager", "BMC") | {
        "ManagerType": "BMC",
        "Manufacturer": "hypervisor-lab",
        "Model": "Virtual BMC",
        "FirmwareVersion": version(),
        "UUID": face.uuid,
        "DateTime": face.clock.now(),
        "DateTimeLocalOffset": face.clock.offset,
        "LastResetTime": face.started.isoformat(timespec="seconds"),
        "PowerState": "On",
        "Status": OK,
        "VirtualMedia": link(f"{MANAGER}/VirtualMedia"),
        "LogServices": link(f"{MANAGER}/LogServices"),
        "Links": {
            "ManagerForServers": [link(SYSTEM)],
            "ManagerForChassis": [link(CHASSIS)],
            "ManagerInChassis": link(CHASSIS),
        },
        "Actions": {f"#{RESET}": action(f"{MANAGER}/Actions/{RESET}", ResetType=RESETS)},
    }
    if face.ipmi is not None:
        found["SerialConsole"] = {
            "ServiceEnabled": True,
            "MaxConcurrentSessions": 1,
            "ConnectTypesSupported": ["IPMI"],
        }
    return found


async def patch(face: RedfishFace, body: Json) -> None:
    """The clock and its time zone."""
    wanted = writable(body, read(face), ("DateTime", "DateTimeLocalOffset"))
    zone = face.clock.zone
    if "DateTimeLocalOffset" in wanted:
        text = wanted["DateTimeLocalOffset"]
        zone = _moment("DateTimeLocalOffset", text, f"2000-01-01T00:00:00{text}").utcoffset() or timedelta()
        if abs(zone) > _ZONE_LIMIT:
            raise messages.out_of_range("DateTimeLocalOffset", text, "-14:00 to +14:00")
    if "DateTime" in wanted:
        moment = _moment("DateTime", wanted["DateTime"], wanted["DateTime"])
        face.clock.ahead = moment - datetime.now(UTC)
    face.clock.zone = zone


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
        "Status": OK,
        "NetworkAdapters": link(inventory.ADAPTERS),
        "Drives": link(inventory.DRIVES),
        "Links": {"ComputerSystems": [link(SYSTEM)], "ManagedBy": [link(MANAGER)]},
    }
    if face.ipmi is not None:
        found |= {name: link(f"{CHASSIS}/{name}") for name in sensors.LINKS}
    return found


async def patch_chassis(face: RedfishFace, body: Json) -> None:
    """The lamp, the same one that the system shows."""
    await system.patch(face, writable(body, read_chassis(face), ("IndicatorLED", "LocationIndicatorActive")))


def _moment(name: str, value: object, text: object) -> datetime:
    if not isinstance(value, str) or not isinstance(text, str):
        raise messages.wrong_type(name, value)
    found: datetime | None = None
    with contextlib.suppress(ValueError):
        found = datetime.fromisoformat(text)
    if found is None or found.utcoffset() is None:
        why = f"The value '{value}' for the property {name} is of a different format than the property takes."
        raise messages.RedfishError(400, "PropertyValueFormatError", why, arguments=[value, name])
    return found
