"""The shape of a vendor's tree: what it is called, what is missing, added or changed, and where it lies."""

from __future__ import annotations

import copy
import re

from lab.virtual.profiles import Edit, Profile, Shows
from lab.virtual.redfish.face import CHASSIS, MANAGER, ROOT, SYSTEM, Json, RedfishFace, Resource
from lab.virtual.redfish.faults import pointer
from lab.virtual.redfish.faults.habit import edited


class Tree:
    """Changes what GETs show, as a profile says."""

    def __init__(self, profile: Profile) -> None:
        self._edits = (*_identity(profile.shows), *profile.edits)
        self._absent = profile.absent
        self._adds = profile.adds

    def wrap(self, path: str, base: Resource | None) -> Resource | None:
        """The resource as this vendor has it."""
        if any(re.fullmatch(absent, path) for absent in self._absent):
            return None
        if path in self._adds:
            added = {"@odata.id": path, **self._adds[path]}
            base = Resource(lambda _: copy.deepcopy(added))
        edits = [edit for edit in self._edits if re.fullmatch(edit.at, path)]
        if base is None or not edits:
            return base

        def change(_: RedfishFace, body: Json) -> None:
            for edit in edits:
                _apply(edit, body)

        return edited(base, change)


class Moves:
    """Where a client finds things: our paths under other names, in both directions."""

    def __init__(self, moves: dict[str, str]) -> None:
        self._moves = sorted(moves.items(), key=lambda move: -len(move[0]))

    def inward(self, path: str) -> str | None:
        """Our path for one that a client asks for; None where it knows our name, which is not there."""
        for ours, shown in sorted(self._moves, key=lambda move: -len(move[1])):
            if _under(path, shown):
                return ours + path[len(shown) :]
        return None if any(_under(path, ours) for ours, _ in self._moves) else path

    def outward(self, value: object) -> object:
        """A body as a client sees it."""
        if not self._moves:
            return value
        if isinstance(value, dict):
            return {key: self.outward(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.outward(inner) for inner in value]
        return self.outward_path(value) if isinstance(value, str) else value

    def outward_path(self, path: str) -> str:
        """One path as a client sees it."""
        for ours, shown in self._moves:
            if _under(path, ours):
                return shown + path[len(ours) :]
        return path


def _under(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/", "#", "?")


def _apply(edit: Edit, body: Json) -> None:
    for target, source in edit.copied.items():
        value = pointer.read(body, source)
        if value is not pointer.ABSENT:
            pointer.write(body, target, value)
    for name in edit.removed:
        pointer.remove(body, name)
    for name, value in edit.set.items():
        pointer.write(body, name, value)


def _identity(shows: Shows) -> list[Edit]:
    said = {
        ROOT: {"Vendor": shows.vendor, "Product": shows.manager, "RedfishVersion": shows.redfish_version},
        SYSTEM: {"Manufacturer": shows.vendor, "Model": shows.model},
        CHASSIS: {"Manufacturer": shows.vendor, "Model": shows.model},
        MANAGER: {
            "Manufacturer": shows.vendor,
            "Model": shows.manager,
            "FirmwareVersion": shows.firmware,
        },
    }
    found: list[Edit] = []
    if shows.oem is not None:
        mark = {f"Oem/{shows.oem}/@odata.type": f"#Oem{shows.oem}.v1_0_0.Oem"}
        found += [Edit(at=re.escape(path), set=dict(mark)) for path in (ROOT, SYSTEM, MANAGER)]
    for path, members in said.items():
        known = {name: value for name, value in members.items() if value is not None}
        if known:
            found.append(Edit(at=re.escape(path), set=dict(known)))
    return found
