"""Virtual CD drives: where they are in the tree, how each is loaded, and whether it holds an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from lab.bmc.redfish.json import Json, action, allowed, link, strings, text
from lab.bmc.redfish.oem import MOUNT, UNMOUNT, iso_configs
from lab.bmc.redfish.tree import RedfishTree
from lab.bmc.target import Unsupported

_DISCS = ("CD", "DVD")


@dataclass(frozen=True)
class Slot:
    """A virtual CD drive.

    Attributes:
        way: how it is loaded: by its action, by PATCH where it has none (Q20), or by Supermicro's own (Q18).
        insert: where to POST to load it, and `eject` to empty it.
        place: whose collection lists it.
        body: as it was read when it was found.
        drives: the collection in which Supermicro shows the drive while it holds an image.
    """

    path: str
    insert: str | None
    eject: str | None
    etag: str | None
    way: Literal["action", "patch", "iso-config"] = "action"
    place: Literal["system", "manager"] = "manager"
    body: Json = field(default_factory=dict, compare=False)
    drives: str | None = None

    @property
    def id(self) -> str:
        """What the BMC calls it."""
        return text(self.body, "Id") or self.path.rstrip("/").rsplit("/", 1)[-1]

    @property
    def protocols(self) -> list[str] | None:
        """TransferProtocolType values that it takes; None where it does not say."""
        return allowed(action(self.body, "VirtualMedia.InsertMedia"), "TransferProtocolType")


def find(tree: RedfishTree) -> list[Slot]:
    """The drives that take a CD or DVD: the system's, then its managers' (Q3, Q32).

    Raises:
        Unsupported: there is none.
        LabFault: the system cannot be read.
    """
    found = list(look(tree))
    if not found:
        raise Unsupported("no virtual CD drive in the BMC's Redfish tree")
    return found


def look(tree: RedfishTree) -> Iterator[Slot]:
    """The same, none where there is none."""
    system, seen = tree.system, set[str]()
    places: list[tuple[Literal["system", "manager"], Json]] = [("system", system)]
    places += [("manager", manager) for manager in tree.managers(system)]
    for place, owner in places:
        drives = link(owner, "VirtualMedia")
        own = [_iso_config(body, drives) for body in iso_configs(tree, owner)] if place == "manager" else []
        yield from own
        for body in tree.members(drives):
            slot = _slot(body, place)
            # Beside Supermicro's own, a drive without actions only shows what that one holds.
            if slot is not None and slot.path not in seen and not (own and slot.insert is None):
                seen.add(slot.path)
                yield slot


def shown(tree: RedfishTree, slot: Slot) -> Json:
    """What a drive of Supermicro's own kind holds, by the drive that appears with it."""
    drives = (body for body in tree.members(slot.drives) if _slot(body, slot.place) is not None)
    return next((body for body in drives if loaded(body)), {"Inserted": False, "Image": None})


def loaded(body: Json) -> bool:
    """Whether a drive holds an image; `Image` alone proves nothing (Supermicro keeps it, Q15)."""
    if body.get("ConnectedVia") == "NotConnected" and body.get("Inserted") is not True:
        return False
    inserted = body.get("Inserted")
    return inserted if isinstance(inserted, bool) else bool(text(body, "Image"))


def _slot(body: Json, place: Literal["system", "manager"]) -> Slot | None:
    path = body.get("@odata.id")
    # AMI gives no MediaTypes: there the drive's name must do.
    kinds = strings(body.get("MediaTypes")) or [text(body, "Id"), text(body, "Name")]
    if not isinstance(path, str) or not any(disc in kind.upper() for kind in kinds for disc in _DISCS):
        return None
    if action(body, MOUNT):
        return None
    insert, eject = (
        text(action(body, f"VirtualMedia.{verb}Media"), "target") or None for verb in ("Insert", "Eject")
    )
    way: Literal["action", "patch"] = "action" if insert else "patch"
    return Slot(path, insert, eject, text(body, "@odata.etag") or None, way, place, body)


def _iso_config(body: Json, drives: str | None) -> Slot:
    mount, unmount = (text(action(body, name), "target") or None for name in (MOUNT, UNMOUNT))
    return Slot(text(body, "@odata.id"), mount, unmount, None, "iso-config", "manager", body, drives)
