"""From a run's measurements and the published tables to the rows that pages and terminal show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

from lab import paths
from lab.errors import LabError
from lab.measure.model import Area, Measurement, MeasurementsFile
from lab.release import PublishedTable, load_release
from lab.report.units import show, show_exact
from lab.strict_yaml import load_model

INSTALLED_DISK = "installed-disk"
BESIDE_IT = ("allocated-partitions", "package-bytes", "boot-image-bytes")
"""What is always shown with the installed disk; design.md, "Definitions of the measurements"."""

_ORDER: dict[Area, tuple[str, ...]] = {
    "footprint": (INSTALLED_DISK, *BESIDE_IT),
    "memory": ("taken-from-guests", "hypervisor", "control-domain", "total"),
    "attack-surface": (
        "packages",
        "listening-sockets",
        "reachable-sockets",
        "running-services",
        "setuid-files",
        "setgid-files",
        "loaded-modules",
    ),
    "boot": (),
    "devices": ("pci-devices", "pci-devices-driven", "pci-devices-undriven"),
}


@dataclass(frozen=True)
class Figure:
    """One value of a row, and what a reader can ask of it."""

    value: float
    unit: str
    note: str = ""
    evidence: str | None = None
    shown: str = ""

    @property
    def text(self) -> str:
        """As its publisher wrote it; else rounded, with unit."""
        return self.shown or show(self.value, self.unit)

    @property
    def exact(self) -> str:
        """Every digit, and how it was come by."""
        return f"{show_exact(self.value, self.unit)}{f'; {self.note}' if self.note else ''}"


@dataclass(frozen=True)
class Row:
    """One product: published by somebody, or measured on one server of this run."""

    product: str
    origin: str
    where: str
    figures: dict[str, Figure] = field(default_factory=dict)

    @property
    def measured(self) -> bool:
        """Whether this run measured it."""
        return not self.origin.startswith("published")

    @property
    def plotted(self) -> bool:
        """Whether its figures may stand in a chart: a stand-in's never do."""
        return self.origin != "stand-in"


@dataclass(frozen=True)
class Table:
    """Rows and the metrics that are their columns, in order."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def footprints(measured: MeasurementsFile) -> Table:
    """The headline table: what was published, then what this run measured, one row per server and release.

    Raises:
        ConfigError: a file in `firmware/published/` is wrong.
    """
    return Table((INSTALLED_DISK, *BESIDE_IT), (*published(), *area(measured, "footprint").rows))


def footprint_details(measured: MeasurementsFile) -> Table:
    """What else was measured of the footprint: package groups, and what was left out."""
    whole = area(measured, "footprint")
    return Table(tuple(metric for metric in whole.columns if metric not in _ORDER["footprint"]), whole.rows)


def published() -> tuple[Row, ...]:
    """Every row of `firmware/published/*.yaml`, as its publisher gave it.

    Raises:
        ConfigError: a file is wrong.
    """
    tables = [
        load_model(file, PublishedTable) for file in sorted((paths.firmware() / "published").glob("*.yaml"))
    ]
    return tuple(
        Row(
            product=row.product,
            origin=f"published {row.year}",
            where=row.source,
            figures={
                INSTALLED_DISK: Figure(
                    row.installed_disk, "B", f"published in {row.year} as {row.shown}", shown=row.shown
                )
            },
        )
        for table in tables
        for row in table.rows
    )


def area(measured: MeasurementsFile, name: Area) -> Table:
    """What this run measured in one area; the latest value where a metric was measured twice.

    Known metrics come first, in their order; every other one follows, so that a new measurement needs no
    change here: times in the order they were reached, anything else by name.
    """
    entries = [entry for entry in measured.measurements if entry.area == name and compared(entry.release)]
    reached: dict[str, float] = {}
    for entry in entries:
        reached[entry.metric] = min(
            reached.get(entry.metric, entry.value), entry.value if entry.unit == "s" else 0
        )
    known = _ORDER[name]
    others = sorted(set(reached).difference(known), key=lambda metric: (reached[metric], metric))
    groups: dict[tuple[str, str, str], list[Measurement]] = {}
    for entry in sorted(entries, key=_in_order):
        groups.setdefault((entry.release, entry.server, entry.origin), []).append(entry)
    rows = tuple(
        Row(
            product=release_title(release),
            origin=origin,
            where=server,
            figures={entry.metric: _figure(entry) for entry in group},
        )
        for (release, server, origin), group in groups.items()
    )
    return Table((*(metric for metric in known if metric in reached), *others), rows)


def origins(measured: MeasurementsFile) -> Sequence[str]:
    """The origins that occur in this run, hardware first."""
    found: Iterable[str] = {entry.origin for entry in measured.measurements}
    return [origin for origin in ("hardware", "emulated", "stand-in") if origin in found]


@cache
def compared(name: str) -> bool:
    """Whether figures of a release may stand beside others: not those of what the lab installs for itself."""
    try:
        return load_release(name).kind == "hypervisor"
    except LabError:
        return True


@cache
def release_title(name: str) -> str:
    """What people call a release: its title, or its name where its file is gone."""
    try:
        return load_release(name).title
    except LabError:
        return name


def _in_order(entry: Measurement) -> tuple[object, ...]:
    return (entry.origin == "stand-in", entry.release, entry.server, entry.origin, entry.at)


def _figure(entry: Measurement) -> Figure:
    count = len(entry.samples)
    sampled = f"median of {count}, spread {show_exact(entry.spread, entry.unit)}; " if count > 1 else ""
    return Figure(entry.value, entry.unit, f"{sampled}{entry.method}; {entry.command}", entry.evidence)
