"""Debian packages on an installed system: sizes, and what each package group of the release brings.

Source: xen-kvm-debian.md §5; deb-substvars(5) for Installed-Size (KiB, an estimate made at build time);
Debian Policy §7.1 for the syntax of dependencies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lab.measure.model import Evidence
from lab.measure.reading import reading, unreadable

DPKG_QUERY = (
    r"dpkg-query -W -f '${Package}\t${Version}\t${Installed-Size}\t${db:Status-Status}\t"
    r"${Provides}\t${Pre-Depends}, ${Depends}\n'"
)
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_COLUMNS = 6


@dataclass(frozen=True)
class Package:
    """An installed package; `size` in bytes, `needs` one tuple of alternatives per dependency."""

    name: str
    version: str
    size: int
    provides: tuple[str, ...]
    needs: tuple[tuple[str, ...], ...]


def parse_packages(evidence: Evidence) -> list[Package]:
    """The installed packages in the output of `DPKG_QUERY`; removed ones with settings left are passed over.

    Raises:
        HypervisorFailure: the output has another form, or names no package.
    """
    found = []
    with reading(evidence):
        for line in evidence.output.splitlines():
            parts = line.split("\t")
            if len(parts) != _COLUMNS:
                raise ValueError(f"the line {line!r} has {len(parts)} columns, not {_COLUMNS}")
            name, version, size, status, provides, needs = parts
            if status == "installed":
                found.append(
                    Package(
                        name,
                        version,
                        int(size or 0) * 1024,
                        tuple(_names(provides, ",")),
                        tuple(_needs(needs)),
                    )
                )
    if not found:
        raise unreadable(evidence, "it lists no installed package")
    return found


def _needs(text: str) -> Iterable[tuple[str, ...]]:
    return (tuple(_names(one, "|")) for one in text.split(",") if one.strip())


def _names(text: str, separator: str) -> Iterable[str]:
    found = (_NAME.match(part.strip()) for part in text.split(separator))
    return (match[0] for match in found if match)


def group_sizes(packages: Iterable[Package], groups: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """Bytes that each package group brings beyond the groups before it, with all it depends on.

    Whatever no group asks for (Essential packages, apt) is `system`, and comes before all groups. The
    values add up to the size of all packages.
    """
    installed = {package.name: package for package in packages}
    providers: dict[str, list[str]] = {}
    for package in installed.values():
        for name in package.provides:
            providers.setdefault(name, []).append(package.name)
    reached: dict[str, set[str]] = {}
    for group, names in groups.items():
        reached[group] = _closure(names, installed, providers)
    everything = set().union(*reached.values())
    unasked = set(installed) - everything
    counted = _closure(unasked, installed, providers)
    sizes = {"system": sum(installed[name].size for name in counted)}
    for group, members in reached.items():
        sizes[group] = sum(installed[name].size for name in members - counted)
        counted |= members
    return sizes


def _closure(
    names: Iterable[str], installed: Mapping[str, Package], providers: Mapping[str, list[str]]
) -> set[str]:
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        for real in [name] if name in installed else providers.get(name, []):
            if real not in found:
                found.add(real)
                pending += [other for alternatives in installed[real].needs for other in alternatives]
    return found
