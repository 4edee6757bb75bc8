"""What a BMC can do by Redfish, found out by reading alone; in its own words, with where they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lab.bmc.capability import Area, Can, Capability
from lab.bmc.redfish import inventory as redfish_inventory
from lab.bmc.redfish import logs as redfish_logs
from lab.bmc.redfish import sensors as redfish_sensors
from lab.bmc.redfish import slots as redfish_slots
from lab.bmc.redfish.json import Json, action, allowed, as_dict, link, strings, text
from lab.bmc.redfish.tree import RedfishTree
from lab.errors import BmcCredentials, BmcUnreachable, LabFault

_LIMIT_S = 300.0
_WAYS = {"action": "InsertMedia", "patch": "PATCH Image", "iso-config": "IsoConfig.Mount"}


class _Area:
    """What one area came to."""

    def __init__(self) -> None:
        self.can: Can = "no"
        self.allowed: list[str] = []
        self.learned: list[str] = []

    def learn(self, resource: Json, member: str) -> None:
        """Note a resource and its member, each once."""
        where = f"{text(resource, '@odata.id')} {member}".strip()
        if where not in self.learned:
            self.learned.append(where)


_Ask = Callable[[RedfishTree, Json, _Area], None]


def read_capabilities(tree: RedfishTree, provider: str) -> list[Capability]:
    """One entry for each area; "unknown" where the BMC's own tree breaks or does not say.

    Raises:
        BmcUnreachable, BmcCredentials: the BMC went away, or does not let us in.
    """
    with tree.within(_LIMIT_S, "probing what the BMC can do"):
        system = tree.system
        return [_probed(area, ask, tree, system, provider) for area, ask in _ASK.items()]


def _probed(area: Area, ask: _Ask, tree: RedfishTree, system: Json, provider: str) -> Capability:
    found = _Area()
    try:
        ask(tree, system, found)
    except (BmcUnreachable, BmcCredentials):
        raise
    except LabFault as fault:
        return Capability(area, provider, "unknown", (), fault.message)
    learned = "; ".join(found.learned)
    return Capability(area, provider, found.can, tuple(dict.fromkeys(found.allowed)), learned)


def _power(tree: RedfishTree, system: Json, found: _Area) -> None:
    reset = action(system, "ComputerSystem.Reset")
    info = text(reset, "@Redfish.ActionInfo")
    if not text(reset, "target"):
        found.learn(system, "Actions: no #ComputerSystem.Reset")
        return
    may = tree.values(reset, "ResetType")
    found.can = "unknown" if may == [] else "yes"
    found.allowed += may or []
    if info:
        found.learned.append(f"{info} ResetType AllowableValues")
    else:
        found.learn(system, "#ComputerSystem.Reset ResetType@Redfish.AllowableValues")


def _boot(tree: RedfishTree, system: Json, found: _Area) -> None:
    boot = as_dict(system.get("Boot"))
    if "BootSourceOverrideTarget" not in boot and "BootSourceOverrideEnabled" not in boot:
        found.learn(system, "Boot: no BootSourceOverrideTarget")
        return
    places = [system]
    if settings := link(as_dict(system.get("@Redfish.Settings")), "SettingsObject"):
        places.append(tree.look(settings))
    for place in places:
        for member in ("BootSourceOverrideTarget", "BootSourceOverrideEnabled", "BootSourceOverrideMode"):
            values = allowed(as_dict(place.get("Boot")), member)
            if values is not None:
                found.can = "yes"
                found.allowed += values
                found.learn(place, f"Boot.{member}@Redfish.AllowableValues")
    if "HttpBootUri" in boot:
        found.allowed.append("HttpBootUri")
    if found.can == "no":
        # The member is there, but what it takes would have to be tried.
        found.can = "unknown"
        found.learn(system, "Boot.BootSourceOverrideTarget without AllowableValues")


def _media(tree: RedfishTree, system: Json, found: _Area) -> None:
    for slot in redfish_slots.look(tree):
        found.can = "yes"
        kinds = "/".join(strings(slot.body.get("MediaTypes"))) or "types untold"
        insert = action(slot.body, "VirtualMedia.InsertMedia")
        protocols = tree.values(insert, "TransferProtocolType")
        protocols = protocols or allowed(slot.body, "TransferProtocolType") or []
        found.allowed += [f"{slot.id}: {word}" for word in (kinds, _WAYS[slot.way], *protocols)]
        found.learned.append(f"{slot.path} MediaTypes, Actions")
    if found.can == "no":
        found.learn(system, "no virtual CD drive in VirtualMedia, nor its managers")


def _console(tree: RedfishTree, system: Json, found: _Area) -> None:
    console = as_dict(system.get("SerialConsole"))
    for way, settings in console.items():
        if isinstance(settings, dict):
            on = settings.get("ServiceEnabled") is True
            found.can = "yes"
            found.allowed.append(way if on else f"{way} (off)")
            found.learn(system, "SerialConsole")
    for manager in tree.managers(system):
        console = as_dict(manager.get("SerialConsole"))
        for way in strings(console.get("ConnectTypesSupported")):
            off = console.get("ServiceEnabled") is False
            found.can = "yes"
            found.allowed.append(f"{way} (off)" if off else way)
            found.learn(manager, "SerialConsole.ConnectTypesSupported")
    if found.can == "no":
        found.learn(system, "no SerialConsole, nor its managers")


def _logs(tree: RedfishTree, system: Json, found: _Area) -> None:
    services = list(redfish_logs.log_services(tree, system))
    if services:
        found.can = "yes"
        found.allowed += redfish_logs.names(iter(services))
    for service in services:
        found.learn(service, "")
    if not services:
        found.learn(system, "no LogServices, nor its managers and chassis")


def _sensors(tree: RedfishTree, system: Json, found: _Area) -> None:
    for chassis in tree.chassis(system):
        for name in redfish_sensors.SOURCES:
            if tree.look(link(chassis, name)):
                found.can = "yes"
                found.allowed.append(name)
                found.learn(chassis, name)
    if found.can == "no":
        found.learn(system, "Links.Chassis: no Thermal, Power, Sensors or their successors")


def _inventory(tree: RedfishTree, system: Json, found: _Area) -> None:
    for name in redfish_inventory.COLLECTIONS:
        if tree.look(link(system, name)):
            found.can = "yes"
            found.allowed.append(name)
            found.learn(system, name)
    update = tree.look(link(tree.root, "UpdateService"))
    if tree.look(link(update, "FirmwareInventory")):
        found.can = "yes"
        found.allowed.append("FirmwareInventory")
        found.learn(update, "FirmwareInventory")
    if found.can == "no":
        found.learn(system, "no Processors, Memory, EthernetInterfaces or Storage")


def _bios(tree: RedfishTree, system: Json, found: _Area) -> None:
    bios = tree.look(link(system, "Bios"))
    if not as_dict(bios.get("Attributes")):
        # A link that leads nowhere says that there is something, and then does not show it.
        found.can = "unknown" if link(system, "Bios") else "no"
        found.learn(bios or system, "Bios without Attributes" if link(system, "Bios") else "no Bios")
        return
    found.can = "yes"
    told = as_dict(bios.get("@Redfish.Settings"))
    found.allowed.append(f"{len(as_dict(bios.get('Attributes')))} attributes")
    found.learn(bios, "Attributes")
    if settings := link(told, "SettingsObject"):
        found.allowed.append("pending settings")
        found.learned.append(f"{settings} by @Redfish.Settings.SettingsObject")
    found.allowed += [f"apply {when}" for when in strings(told.get("SupportedApplyTimes"))]
    if registry := text(bios, "AttributeRegistry"):
        found.allowed.append(f"registry {registry}")


def _secure_boot(tree: RedfishTree, system: Json, found: _Area) -> None:
    boot = tree.look(link(system, "SecureBoot"))
    if not boot:
        found.can = "unknown" if link(system, "SecureBoot") else "no"
        found.learn(system, "SecureBoot cannot be read" if link(system, "SecureBoot") else "no SecureBoot")
        return
    found.can = "yes" if "SecureBootEnable" in boot else "unknown"
    found.allowed += [name for name in ("SecureBootEnable", "SecureBootCurrentBoot") if name in boot]
    if mode := text(boot, "SecureBootMode"):
        found.allowed.append(mode)
    if text(action(boot, "SecureBoot.ResetKeys"), "target"):
        found.allowed.append("ResetKeys")
    found.learn(boot, "SecureBootEnable")


def _update(tree: RedfishTree, system: Json, found: _Area) -> None:
    update = tree.look(link(tree.root, "UpdateService"))
    ways = list(_ways(tree, update))
    if not ways:
        found.can = "no" if not update else "unknown"
        found.learn(update or tree.root, "no SimpleUpdate, no push URI" if update else "no UpdateService")
        return
    # Switched off is not the same as not there, but it cannot be used as it is.
    found.can = "no" if update.get("ServiceEnabled") is False else "yes"
    found.allowed += ways
    found.learn(update, "ServiceEnabled false" if found.can == "no" else "Actions, push URIs")


def _ways(tree: RedfishTree, update: Json) -> Iterator[str]:
    simple = action(update, "UpdateService.SimpleUpdate")
    if text(simple, "target"):
        yield "SimpleUpdate"
        yield from (f"SimpleUpdate {one}" for one in tree.values(simple, "TransferProtocol") or [])
    yield from (name for name in ("MultipartHttpPushUri", "HttpPushUri") if text(update, name))


_ASK: dict[Area, _Ask] = {
    Area.POWER: _power,
    Area.BOOT: _boot,
    Area.MEDIA: _media,
    Area.CONSOLE: _console,
    Area.LOGS: _logs,
    Area.SENSORS: _sensors,
    Area.INVENTORY: _inventory,
    Area.BIOS: _bios,
    Area.SECURE_BOOT: _secure_boot,
    Area.UPDATE: _update,
}
