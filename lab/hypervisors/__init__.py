"""Hypervisor families: one module each, found by name, imported when asked for; none imports another."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from lab.errors import UnknownName

if TYPE_CHECKING:
    from lab.hypervisors.contract import Family

FAMILIES = ("kvm", "linux", "xen")
"""Names of the families; each is a module of this package with a `FAMILY`."""


def family(name: str) -> Family:
    """The family that a release names.

    Raises:
        UnknownName: there is no such family.
    """
    if name not in FAMILIES:
        raise UnknownName(
            f"no hypervisor family '{name}'",
            next_step=f"choose from {', '.join(FAMILIES)} in the release file",
        )
    return cast("Family", import_module(f"lab.hypervisors.{name}").FAMILY)
