"""BIOS attributes by Redfish: as they are, what waits for the next boot, and setting them."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from lab.bmc.api import Answer, Attribute, Bios, Outcome
from lab.bmc.redfish.errors import NoAnswer
from lab.bmc.redfish.json import Json, as_dict, link, strings, text
from lab.bmc.redfish.registry import Registry, objection, read_registry
from lab.bmc.redfish.reply import Reply
from lab.bmc.redfish.session import RedfishSession
from lab.bmc.redfish.tree import RedfishTree
from lab.bmc.target import Target, Unsupported
from lab.deadline import Deadline

READ_BACK_S = 20.0
"""Seconds in which what was set must read as pending."""
_LOOK_EVERY_S = 1.0
_NOT_HERE = {404, 405, 501}
_SECRET = re.compile(r"pass(word|wd|phrase)|secret", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Where the attributes are, and where changes go.

    Attributes:
        bios: the Bios resource.
        settings: path of the resource that takes changes.
        own: whether that is another one than the Bios resource itself.
        apply_times: ApplyTime values it takes; empty where it does not say.
    """

    bios: Json
    settings: str
    own: bool
    apply_times: tuple[str, ...]

    @property
    def registry(self) -> str:
        """Name of the attribute registry."""
        return text(self.bios, "AttributeRegistry")


class RedfishBios:
    """The BIOS attributes of one server."""

    def __init__(self, session: RedfishSession, tree: RedfishTree, target: Target, name: str) -> None:
        self._session = session
        self._tree = tree
        self._target = target
        self._name = name

    def place(self) -> Place:
        """Where they are: `@Redfish.Settings`, else Bios/Settings, AMI's Bios/SD (Q24), or Bios itself.

        Raises:
            Unsupported: the system has no Bios resource, or one without attributes (Supermicro X10, Q18).
        """
        bios = self._tree.look(link(self._tree.system, "Bios"))
        if not as_dict(bios.get("Attributes")):
            raise Unsupported("no BIOS attributes in the BMC's Redfish tree")
        told = as_dict(bios.get("@Redfish.Settings"))
        times = tuple(strings(told.get("SupportedApplyTimes")))
        path = text(bios, "@odata.id") or link(self._tree.system, "Bios") or ""
        named = link(told, "SettingsObject")
        for candidate in (named, f"{path.rstrip('/')}/Settings", f"{path.rstrip('/')}/SD"):
            if candidate and self._tree.look(candidate):
                return Place(bios, candidate, True, times)
        return Place(bios, path, False, times)

    def read(self) -> Bios:
        """The attributes, and of the pending ones those that differ."""
        with self._tree.within(120.0, "reading BIOS attributes"):
            return self._read(self.place())

    def set(self, changes: Mapping[str, Attribute]) -> Answer:
        """Ask for `changes` from the next boot on; what holds already, or waits already, is not sent.

        Every value is checked against the attribute registry before anything is sent.

        Raises:
            Unsupported: there are no BIOS attributes, or they cannot be written.
            BmcRefused: no such attribute, no such value, read-only, or the BMC said no or keeps another.
        """
        place = self.place()
        before, registry = self._read(place), read_registry(self._tree, place.registry)
        self._check(changes, before, registry)
        left = {name: value for name, value in changes.items() if _coming(before, name) != value}
        if not left:
            waits = any(before.attributes.get(name) != value for name, value in changes.items())
            outcome = Outcome.PENDING if waits else Outcome.VERIFIED
            return Answer(outcome, self._name, 0, ("every attribute holds, or waits for the next boot",))
        evidence = [
            f"registry {place.registry or 'none'}: {len(registry)} attributes known",
            f"{place.settings}: {_shown(left)}",
        ]
        tries = self._send(place, left, evidence)
        return self._settle(place, left, tries, evidence)

    def _read(self, place: Place) -> Bios:
        now = _attributes(place.bios)
        waits = _attributes(self._tree.look(place.settings)) if place.own else {}
        # A null is no value that waits: passwords and attributes not asked for read so.
        pending: dict[str, Attribute] = {
            name: value for name, value in waits.items() if value is not None and now.get(name) != value
        }
        return Bios(now, pending)

    def _check(self, changes: Mapping[str, Attribute], bios: Bios, registry: Registry) -> None:
        for name, value in changes.items():
            known = {*bios.attributes, *registry}
            if name not in known:
                near = difflib.get_close_matches(name, known, 3)
                raise self._target.refused(
                    f"set BIOS attribute {name}",
                    "there is no such attribute; nothing was sent",
                    f"did you mean {' or '.join(near)}?" if near else "list them with `lab bmc bios`",
                )
            against = objection(registry.get(name, {}), value)
            if against is not None:
                raise self._target.refused(
                    f"set BIOS attribute {_shown({name: value})}",
                    f"{against}; nothing was sent",
                    "correct the value; names and values are this BIOS's own",
                )

    def _send(self, place: Place, changes: dict[str, Attribute], evidence: list[str]) -> int:
        """PATCH once; where that is rejected as malformed, without what this BMC may not know."""
        plain: Json = {"Attributes": changes}
        bodies = [plain]
        if "OnReset" in place.apply_times:
            # iDRAC keeps attributes aside for ever unless it is told when to apply them.
            bodies.insert(0, {**plain, "@Redfish.SettingsApplyTime": {"ApplyTime": "OnReset"}})
        reply = Reply(0)
        for tries, body in enumerate(bodies, start=1):
            try:
                reply = self._session.write("PATCH", place.settings, body)
            except NoAnswer as silence:
                evidence.append(str(silence))
                return tries
            evidence.append(f"PATCH {place.settings} {sorted(body)}: {reply.why}")
            if reply.good:
                if job := reply.headers.get("location"):
                    evidence.append(f"the BMC made a job of it: {job}")
                return tries
            if reply.status != 400:
                break
        if reply.status in _NOT_HERE:
            raise Unsupported(f"set BIOS attributes: {reply.why}")
        raise self._target.refused(
            f"set BIOS attributes {', '.join(changes)}",
            reply.why,
            "see the BMC's job queue: BIOS changes that wait may have to be applied or deleted first",
        )

    def _settle(self, place: Place, changes: dict[str, Attribute], tries: int, evidence: list[str]) -> Answer:
        """Read until every change waits, or holds already."""
        deadline = Deadline.after(READ_BACK_S, "the changes to read as pending")
        while True:
            fresh = self.place()
            now = self._read(fresh)
            missing = {name: value for name, value in changes.items() if _coming(now, name) != value}
            if not missing or deadline.passed:
                break
            # The settings of some BMCs follow a write after a while, and nobody is told.
            time.sleep(min(_LOOK_EVERY_S, deadline.left))
        if not missing:
            waits = any(now.attributes.get(name) != value for name, value in changes.items()) or not fresh.own
            evidence.append(f"{fresh.settings} reads {_shown(changes)}")
            return Answer(Outcome.PENDING if waits else Outcome.VERIFIED, self._name, tries, tuple(evidence))
        hidden = [name for name in missing if _SECRET.search(name)]
        if not place.own or len(hidden) == len(missing):
            # No resource shows what waits, or it shows all but passwords: the next boot must tell.
            evidence.append(f"cannot be read before the next boot: {', '.join(missing)}")
            return Answer(Outcome.UNVERIFIABLE, self._name, tries, tuple(evidence))
        seen = {name: _coming(now, name) for name in missing}
        raise self._target.refused(
            f"set BIOS attributes {_shown(changes)}",
            f"accepted, but {READ_BACK_S:.0f} s later {fresh.settings} reads {_shown(seen)}",
            "see the BMC's job queue and log; another attribute may forbid this one",
        )


def _attributes(resource: Json) -> dict[str, Attribute]:
    """The attributes of a type that Redfish knows (Bios schema); whole numbers may come as 1.0."""
    found: dict[str, Attribute] = {}
    for name, value in as_dict(resource.get("Attributes")).items():
        if value is None or isinstance(value, (str, bool, int)):
            found[name] = value
        elif isinstance(value, float) and value.is_integer():
            found[name] = int(value)
    return found


def _coming(bios: Bios, name: str) -> Attribute:
    """What `name` will be after the next boot."""
    return bios.pending.get(name, bios.attributes.get(name))


def _shown(changes: Mapping[str, Attribute]) -> str:
    return ", ".join(
        f"{name}={'********' if _SECRET.search(name) else value}" for name, value in changes.items()
    )
