"""Geometry of the charts, in per cent of their width: text in them then keeps its size on any screen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.measure.model import Mark, Span, TimelineFile
from lab.report.figures import INSTALLED_DISK, Figure, Row, release_title
from lab.report.units import show_clock, show_round_bytes, show_seconds

PHASES = ("firmware", "loader", "hypervisor", "control-domain", "kernel", "deploy", "services")
"""Phases of a boot in their order; each has a colour in `reports/templates/page.css`."""

_LANES = ("edge", "install", "boot")
_TICKS_WANTED = 5
_NICE_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_BOOT_GAP_S = 1.0
_ROW_PX, _ROW_BESIDE_PX = 50, 66
_CHARACTER = 0.8  # per cent of a chart 920 pixels wide that one character takes


@dataclass(frozen=True)
class Tick:
    """A grid line: where, and what it says."""

    at: float
    label: str


@dataclass(frozen=True)
class Bar:
    """One row of the bar chart; `beside` are other metrics, with their place on the same axis."""

    row: Row
    figure: Figure
    width: float
    beside: tuple[tuple[str, Figure, float], ...]

    @property
    def height(self) -> int:
        """Pixels that the row takes."""
        return _ROW_BESIDE_PX if self.beside else _ROW_PX


@dataclass(frozen=True)
class BarChart:
    """Installed disk on a logarithmic axis of whole decades."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Block:
    """A stretch of a lane."""

    name: str
    kind: str
    x: float
    width: float
    seconds: float
    title: str

    @property
    def label(self) -> str:
        """Its name where that fits on a wide screen; the title has it in any case."""
        return self.name if self.width >= len(self.name) * _CHARACTER + _CHARACTER else ""


@dataclass(frozen=True)
class Lane:
    """One line of a Gantt chart."""

    name: str
    label: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Gantt:
    """What happened on one server, over the time of the run or of one boot."""

    server: str
    release: str
    lanes: tuple[Lane, ...]
    marks: tuple[tuple[Mark, float, str], ...]
    ticks: tuple[Tick, ...]
    seconds: float


def bar_chart(rows: Iterable[Row], beside: Sequence[str] = ()) -> BarChart | None:
    """The rows that may be plotted, smallest first; None if there is none.

    Args:
        beside: metrics marked on the same axis, under the bar of a row that has them.
    """
    plotted = [row for row in rows if row.plotted and INSTALLED_DISK in row.figures]
    plotted.sort(key=lambda row: (row.figures[INSTALLED_DISK].value, row.product))
    values = [
        figure.value
        for row in plotted
        for metric in (INSTALLED_DISK, *beside)
        if (figure := row.figures.get(metric)) is not None and figure.value > 0
    ]
    if not values:
        return None
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)

    def place(value: float) -> float:
        return 100 * (math.log10(value) - low) / (high - low) if value > 0 else 0.0

    return BarChart(
        bars=tuple(
            Bar(
                row,
                row.figures[INSTALLED_DISK],
                place(row.figures[INSTALLED_DISK].value),
                tuple(
                    (metric, row.figures[metric], place(row.figures[metric].value))
                    for metric in beside
                    if metric in row.figures
                ),
            )
            for row in plotted
        ),
        ticks=tuple(
            Tick(100 * (power - low) / (high - low), show_round_bytes(10**power))
            for power in range(low, high + 1)
        ),
    )


def run_gantts(timeline: TimelineFile) -> tuple[Gantt, ...]:
    """The whole run of each server, on the run's one clock, so that servers line up under each other."""
    servers = sorted({span.server for span in timeline.spans})
    end = max((span.end for span in timeline.spans), default=0.0)
    return tuple(
        _gantt(
            server,
            [span for span in timeline.spans if span.server == server],
            [mark for mark in timeline.marks if mark.server == server],
            0.0,
            end,
        )
        for server in servers
        if end > 0
    )


def boot_gantts(timeline: TimelineFile) -> tuple[Gantt, ...]:
    """The last boot of each release on each server, from power-on, on one common scale."""
    boots = [
        (
            server,
            list(
                _last_boot(
                    [
                        span
                        for span in timeline.spans
                        if span.lane == "boot" and span.server == server and span.release == release
                    ]
                )
            ),
        )
        for server, release in sorted(
            {(span.server, span.release or "") for span in timeline.spans if span.lane == "boot"}
        )
    ]
    longest = max((boot[-1].end - boot[0].start for _, boot in boots if boot), default=0.0)
    return tuple(
        _gantt(
            server,
            boot,
            [
                mark
                for mark in timeline.marks
                if mark.server == server
                and mark.kind == "milestone"
                and boot[0].start <= mark.at <= boot[-1].end
            ],
            boot[0].start,
            boot[0].start + longest,
        )
        for server, boot in boots
        if boot and longest > 0
    )


def _last_boot(spans: Sequence[Span]) -> Iterable[Span]:
    """The spans since the last power-on: firmware, or a span that does not follow on the one before."""
    boot: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if boot and (span.name == "firmware" or span.start - boot[-1].end > _BOOT_GAP_S):
            boot = []
        boot.append(span)
    return boot


def _gantt(server: str, spans: Sequence[Span], marks: Sequence[Mark], start: float, end: float) -> Gantt:
    scale = 100 / (end - start)
    releases = dict.fromkeys(span.release for span in spans if span.release)
    return Gantt(
        server=server,
        release=", ".join(release_title(release) for release in releases),
        lanes=tuple(
            Lane(
                lane,
                {"edge": "state", "install": "install", "boot": "boot"}[lane],
                tuple(_block(span, start, scale) for span in spans if span.lane == lane),
            )
            for lane in _LANES
            if any(span.lane == lane for span in spans)
        ),
        marks=tuple(
            (mark, (mark.at - start) * scale, show_seconds(mark.at - start))
            for mark in marks
            if start <= mark.at <= end
        ),
        ticks=_time_ticks(end - start),
        seconds=max((span.end for span in spans), default=start) - start,
    )


def _block(span: Span, start: float, scale: float) -> Block:
    seconds = span.end - span.start
    evidence = f" - {span.evidence}" if span.evidence else ""
    return Block(
        name=span.name,
        kind=span.name if span.lane != "edge" else "edge",
        x=(span.start - start) * scale,
        width=max(seconds * scale, 0.15),
        seconds=seconds,
        title=f"{span.name}: {show_seconds(seconds)}, from {show_seconds(span.start - start)}{evidence}",
    )


def _time_ticks(seconds: float) -> tuple[Tick, ...]:
    step = next(
        (nice for nice in _NICE_S if seconds / nice <= _TICKS_WANTED), max(seconds / _TICKS_WANTED, 1)
    )
    return tuple(
        Tick(100 * index * step / seconds, show_clock(index * step))
        for index in range(int(seconds // step) + 1)
    )
