"""The comparison page: one self-contained HTML file, made from a run's files and the published figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lab import paths
from lab.measure.model import MeasurementsFile, TimelineFile
from lab.report import charts, figures
from lab.report.rundir import RunFacts
from lab.report.units import show_bytes, show_seconds

_UPPER = {
    "pci": "PCI",
    "ssh": "SSH",
    "efi": "EFI",
    "uefi": "UEFI",
    "bios": "BIOS",
    "xen": "Xen",
    "kvm": "KVM",
}

_NAMED_IN_HEADLINE = 3


@dataclass(frozen=True)
class Link:
    """A file beside the page, or None in `bytes` for a folder."""

    href: str
    text: str
    what: str = ""
    bytes: int | None = None

    @property
    def size(self) -> str:
        """For people."""
        return "" if self.bytes is None else show_bytes(self.bytes)


def templates() -> Environment:
    """The page templates of `reports/templates/`."""
    environment = Environment(
        loader=FileSystemLoader(paths.reports() / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "heading": heading,
        "percent": lambda value: f"{value:.3f}%",
        "seconds": show_seconds,
    }
    return environment


def comparison_page(
    measured: MeasurementsFile,
    timeline: TimelineFile,
    facts: RunFacts | None,
    links: Sequence[Link] = (),
) -> str:
    """The page as HTML.

    Raises:
        ConfigError: a file in `firmware/published/` is wrong.
    """
    footprints = figures.footprints(measured)
    boots = charts.boot_gantts(
        timeline.model_copy(
            update={"spans": tuple(span for span in timeline.spans if figures.compared(span.release or ""))}
        )
    )
    chart = charts.bar_chart(footprints.rows, figures.BESIDE_IT)
    seen = {block.kind for shown in boots for lane in shown.lanes for block in lane.blocks}
    used = {metric for bar in (chart.bars if chart else ()) for metric, _, _ in bar.beside}
    context: dict[str, Any] = {
        "facts": facts,
        "links": links,
        "origins": figures.origins(measured),
        "headline": headline(footprints),
        "chart": chart,
        "beside": [metric for metric in figures.BESIDE_IT if metric in used],
        "footprints": footprints,
        "details": figures.footprint_details(measured),
        "devices": figures.area(measured, "devices"),
        "memory": figures.area(measured, "memory"),
        "surface": figures.area(measured, "attack-surface"),
        "boot": figures.area(measured, "boot"),
        "boots": boots,
        "phases": [phase for phase in charts.PHASES if phase in seen],
        "runs": charts.run_gantts(timeline),
        "bills": list(measured.bills.values()),
        "publication": "; ".join(dict.fromkeys(row.where for row in footprints.rows if not row.measured)),
    }
    return templates().get_template("comparison.html.j2").render(context)


def index_page(run: str, facts: RunFacts | None, links: Sequence[Link]) -> str:
    """The page that leads to the others, as HTML."""
    return templates().get_template("index.html.j2").render(run=run, facts=facts, links=links)


def heading(metric: str) -> str:
    """`boot-image-bytes` → `Boot image bytes`."""
    words = [_UPPER.get(word, word) for word in metric.replace("_", "-").split("-")]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def headline(footprints: figures.Table) -> str | None:
    """The run's finding in a sentence or two; None where nothing of it may be compared."""
    sizes = [
        (row, row.figures[figures.INSTALLED_DISK])
        for row in footprints.rows
        if row.plotted and figures.INSTALLED_DISK in row.figures
    ]
    sizes.sort(key=lambda entry: entry[1].value)
    mine = [(row, figure) for row, figure in sizes if row.measured and figure.value > 0]
    theirs = [(row, figure) for row, figure in sizes if not row.measured]
    if not mine:
        return None
    sentence = _sizes_in_words(mine)
    if not theirs:
        return sentence
    row, figure = theirs[0]
    times = mine[0][1].value / figure.value
    return (
        f"{sentence} The smallest figure of {row.origin.split()[-1]} was {figure.text} for {row.product}: "
        f"the smallest measured here is {times:.{0 if times >= 10 else 1}f} times that."
    )


def _sizes_in_words(mine: Sequence[tuple[figures.Row, figures.Figure]]) -> str:
    """`A takes 1 GB and B takes 2 GB.`; of many, the range alone."""
    products: dict[str, list[str]] = {}
    for row, figure in mine:
        products.setdefault(row.product, []).append(figure.text)
    if len(products) > _NAMED_IN_HEADLINE:
        return f"{len(products)} products take between {mine[0][1].text} and {mine[-1][1].text}."
    said = [
        f"{product} takes {' to '.join(dict.fromkeys((texts[0], texts[-1])))}"
        for product, texts in products.items()
    ]
    return f"{' and '.join([', '.join(said[:-1]), said[-1]] if len(said) > 1 else said)}."
