"""Which quirks apply to a BMC, and what they come to together.

Ours are in `quirks.yaml` here; a lab adds its own in `quirks.yaml` beside its rack files. An entry of the
lab's with the id of one of ours stands in its place.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from lab.bmc.capability import Identity
from lab.bmc.quirk_model import Behaviour, Fact, Match, Quirk, QuirkFile
from lab.strict_yaml import load_model

FILE_NAME = "quirks.yaml"


@dataclass(frozen=True)
class Probed:
    """What was found out about a BMC without changing anything."""

    facts: frozenset[Fact] = frozenset()

    @classmethod
    def of(cls, *facts: Fact) -> Probed:
        """These facts."""
        return cls(frozenset(facts))


NOTHING = Probed()


@dataclass(frozen=True)
class Quirks:
    """The quirks that apply to one BMC, and how providers behave because of them."""

    behaviour: Behaviour = field(default_factory=Behaviour)
    entries: tuple[Quirk, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Those that apply because of what this BMC is; the ones for every BMC are left out."""
        return tuple(quirk.id for quirk in self.entries if quirk.rank)

    @property
    def advice(self) -> tuple[str, ...]:
        """What a person should know, `ID: text`, of those that `ids` names."""
        return tuple(f"{quirk.id}: {quirk.advice}" for quirk in self.entries if quirk.rank and quirk.advice)

    def advice_of(self, quirk_id: str) -> str:
        """What `quirk_id` advises, where it applies; else nothing."""
        return next((quirk.advice or "" for quirk in self.entries if quirk.id == quirk_id), "")


@dataclass(frozen=True)
class Catalogue:
    """Known quirks: ours, then the lab's."""

    entries: tuple[Quirk, ...] = field(default_factory=tuple)

    def applying(self, identity: Identity, probed: Probed = NOTHING) -> Quirks:
        """What applies to such a BMC; knobs of probed quirks win over those of named ones."""
        found = [quirk for quirk in self.entries if _fits(quirk.match, identity, probed)]
        return Quirks(_merged(sorted(found, key=lambda quirk: quirk.rank)), tuple(found))


def load(folder: Path | None = None) -> Catalogue:
    """Our quirks and, where `folder` has a `quirks.yaml`, the lab's.

    Raises:
        ConfigError: the lab's file does not fit the schema; the message names file, line and key.
    """
    file = folder / FILE_NAME if folder else None
    if file is None or not file.is_file():
        return _ours()
    theirs = load_model(file, QuirkFile).quirks
    replaced = {quirk.id for quirk in theirs}
    return Catalogue((*(quirk for quirk in _ours().entries if quirk.id not in replaced), *theirs))


def applying(identity: Identity, probed: Probed = NOTHING) -> Quirks:
    """What applies of our own quirks."""
    return load().applying(identity, probed)


@functools.cache
def _ours() -> Catalogue:
    with resources.as_file(resources.files("lab.bmc") / FILE_NAME) as file:
        return Catalogue(load_model(file, QuirkFile).quirks)


def _fits(match: Match, identity: Identity, probed: Probed) -> bool:
    if not probed.facts.issuperset(match.probed) or not probed.facts.isdisjoint(match.not_probed):
        return False
    return all(
        pattern is None or re.search(pattern, told, re.IGNORECASE)
        for pattern, told in (
            (match.vendor, identity.vendor),
            (match.model, identity.model),
            (match.generation, identity.generation),
            (match.firmware, identity.firmware),
        )
    )


def _merged(entries: Iterable[Quirk]) -> Behaviour:
    behaviour = Behaviour()
    for quirk in entries:
        changes = {name: getattr(quirk.behaviour, name) for name in quirk.behaviour.model_fields_set}
        if "retries" in changes:
            changes["retries"] = (*behaviour.retries, *changes["retries"])
        if "boot_selectors" in changes:
            changes["boot_selectors"] = {**behaviour.boot_selectors, **changes["boot_selectors"]}
        behaviour = behaviour.model_copy(update=changes)
    return behaviour
