"""BIOS profiles: what a server's BIOS should be set to for a purpose, as data in `firmware/bios/`.

A profile names attributes of many vendors. Which of them count is found out at the server: those that its
BIOS has. So a profile says nothing of models, and a BIOS it does not know is told as such, not guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from lab import paths
from lab.bmc.api import Answer, Attribute, Bios, Bmc
from lab.errors import UnknownName
from lab.rack.values import Strict
from lab.strict_yaml import load_model

_SUFFIX = r"[_#][0-9A-Fa-f]{3,4}"
"""What Supermicro's firmware appends to a name, and changes from one version to the next."""
Named = Annotated[str, Field(min_length=1)]


class ProfileAttribute(Strict):
    """One vendor's attribute for a setting.

    Attributes:
        name: as the vendor's BIOS has it.
        suffixed: whether the firmware appends `_` or `#` and hexadecimal digits to it.
        change: values that will not do, and what to set instead; any other value is left.
        source: how the name is known.
    """

    name: Named
    suffixed: bool = False
    change: Annotated[dict[str, str | int | bool], Field(min_length=1)]
    source: Named

    def matches(self, name: str) -> bool:
        """Whether a BIOS that has `name` means this attribute."""
        suffix = f"({_SUFFIX})?" if self.suffixed else ""
        return re.fullmatch(re.escape(self.name) + suffix, name) is not None


class ProfileSetting(Strict):
    """One thing that a profile wants, and by which attributes vendors know it."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    why: Named
    attributes: Annotated[tuple[ProfileAttribute, ...], Field(min_length=1)]


class BiosProfile(Strict):
    """A file in `firmware/bios/`; its name is the file's stem."""

    profile: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    title: Named
    settings: Annotated[tuple[ProfileSetting, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Plan:
    """What a profile comes to on one BIOS.

    Attributes:
        changes: attributes to set, by the name this BIOS has for them.
        holds: attributes that are as wanted, with their values.
        unknown: settings for which this BIOS has no attribute that the profile knows.
    """

    changes: dict[str, Attribute] = field(default_factory=dict)
    holds: dict[str, Attribute] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


def names() -> list[str]:
    """The profiles there are."""
    return sorted(file.stem for file in _folder().glob("*.yaml"))


def load(name: str) -> BiosProfile:
    """The profile of that name.

    Raises:
        UnknownName: there is none.
        ConfigError: its file does not fit the schema; the message names file, line and key.
    """
    if name not in names():
        raise UnknownName(
            f"there is no BIOS profile '{name}'",
            tried=f"{_folder()}",
            next_step=f"take one of {', '.join(names())}, or write one beside them",
        )
    return load_model(_folder() / f"{name}.yaml", BiosProfile)


def plan(profile: BiosProfile, bios: Bios) -> Plan:
    """What would have to be set; what waits for the next boot already counts as set."""
    coming = {**bios.attributes, **bios.pending}
    changes: dict[str, Attribute] = {}
    holds: dict[str, Attribute] = {}
    unknown: list[str] = []
    for setting in profile.settings:
        known = list(_known(setting.attributes, coming))
        if not known:
            unknown.append(setting.id)
        for name, attribute in known:
            value = coming[name]
            # Some say true where others say "Enabled"; a profile's keys are texts.
            wanted = attribute.change.get(str(value))
            if wanted is None:
                holds[name] = value
            else:
                changes[name] = wanted
    return Plan(changes, holds, tuple(unknown))


def apply(bmc: Bmc, profile: BiosProfile) -> tuple[Plan, Answer | None]:
    """Set what does not hold yet; the answer is None where there is nothing to set.

    Raises:
        BmcRefused: this BMC has no BIOS attributes, or refuses one.
    """
    found = plan(profile, bmc.bios())
    return found, bmc.set_bios(found.changes) if found.changes else None


def _known(
    attributes: Iterable[ProfileAttribute], coming: dict[str, Attribute]
) -> Iterable[tuple[str, ProfileAttribute]]:
    for attribute in attributes:
        for name in coming:
            if attribute.matches(name):
                yield name, attribute


def _folder() -> Path:
    return paths.firmware() / "bios"
