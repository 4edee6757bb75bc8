"""Facts that quirks are matched by, read from the tree; nothing is changed for them."""

from __future__ import annotations

from collections.abc import Iterator

from lab.bmc.quirk_model import Fact
from lab.bmc.quirks import Probed
from lab.bmc.redfish.json import Json, action, allowed, as_dict, link, links, strings, text
from lab.bmc.redfish.oem import boot_next_of
from lab.bmc.redfish.slots import Slot
from lab.bmc.redfish.tree import RedfishTree


def probe(tree: RedfishTree, slots: list[Slot]) -> Probed:
    """What can be told of this BMC from its system, its managers and its virtual drives.

    Raises:
        LabFault: the system cannot be read.
    """
    system = tree.system
    managers = list(tree.managers(system))
    return Probed(
        frozenset(
            (
                *_boot(tree, system),
                *_power(system),
                *_etag(system),
                *_managers(tree, system, managers),
                *_media(slots),
            )
        )
    )


def _boot(tree: RedfishTree, system: Json) -> Iterator[Fact]:
    boot = as_dict(system.get("Boot"))
    if "BootSourceOverrideTarget" not in boot and "BootSourceOverrideEnabled" not in boot:
        yield "boot-none"
        return
    may = allowed(boot, "BootSourceOverrideTarget")
    if may is None:
        yield "boot-targets-unsaid"
    settings = link(as_dict(system.get("@Redfish.Settings")), "SettingsObject")
    if settings and (may is None or "Boot" in tree.look(settings)):
        yield "boot-settings"
    by_name: dict[str, Fact] = {
        "Cd": "boot-target-cd",
        "UsbCd": "boot-target-usbcd",
        "VCD-DVD": "boot-target-vcd-dvd",
    }
    yield from (fact for name, fact in by_name.items() if name in (may or []))
    enabled = allowed(boot, "BootSourceOverrideEnabled")
    if enabled is not None and "Continuous" not in enabled:
        yield "boot-no-continuous"


def _power(system: Json) -> Iterator[Fact]:
    may = allowed(action(system, "ComputerSystem.Reset"), "ResetType")
    if may is not None and "ForceOn" not in may:
        yield "power-no-force-on"
    if may is not None and "PushPowerButton" not in may:
        yield "power-no-push-button"


def _etag(system: Json) -> Iterator[Fact]:
    tag = text(system, "@odata.etag")
    if not tag:
        yield "etag-none"
    elif tag.startswith("W/"):
        yield "etag-weak"
    elif tag.startswith('""') or not tag.startswith('"'):
        yield "etag-odd"


def _managers(tree: RedfishTree, system: Json, managers: list[Json]) -> Iterator[Fact]:
    if not links(as_dict(system.get("Links")).get("ManagedBy")):
        yield "managed-by-none"
    if "SessionService" not in tree.root and "Links" not in tree.root:
        yield "sessions-none"
    for manager in managers:
        linked = as_dict(as_dict(as_dict(manager.get("Links")).get("Oem")).get("Dell"))
        own = as_dict(as_dict(manager.get("Oem")).get("Dell"))
        if links(linked.get("DellAttributes")) or links(own.get("DellAttributes")):
            yield "boot-oem-dell"
        if link(linked, "DellJobService"):
            yield "job-queue-dell"


def _media(slots: list[Slot]) -> Iterator[Fact]:
    if not slots:
        yield "media-none"
    for slot in slots:
        yield "media-in-system" if slot.place == "system" else "media-in-manager"
        if slot.way == "iso-config":
            yield "media-oem-iso-config"
        elif slot.insert is None:
            yield "media-insert-absent"
        kinds = strings(slot.body.get("MediaTypes"))
        if not kinds:
            yield "media-types-unsaid"
        elif "CD" not in kinds:
            yield "media-dvd-only"
        if boot_next_of(slot.body) is not None:
            yield "boot-oem-hpe"
