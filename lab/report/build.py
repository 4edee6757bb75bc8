"""`lab report build`: the Allure site, the comparison page and an index, self-contained in one folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lab import paths
from lab.progress import Progress, silent
from lab.report.allure_site import allure_site
from lab.report.comparison import Link, comparison_page, index_page
from lab.report.merge import read_run
from lab.report.rundir import RunFolder, write_whole


@dataclass(frozen=True)
class Site:
    """The built pages; `allure` is None where the run has no test results."""

    path: Path
    index: Path
    comparison: Path
    allure: Path | None


def build(run: Path | None = None, site: Path | None = None, progress: Progress = silent) -> Site:
    """Build the pages of a run.

    Everything that the pages link to is copied beside them, so that the folder can be published as it is.

    Args:
        run: the run's folder; the latest run for None.
        site: where the pages go; `reports/site` for None. What an earlier build left there is replaced.

    Raises:
        UnknownName: there is no such run.
        ConfigError: the Allure generator is not installed or refuses the results; a run file is damaged.
    """
    source = RunFolder.find(run)
    target = site or paths.reports() / "site"
    target.mkdir(parents=True, exist_ok=True)
    progress(f"reading run {source.id}")
    measured, timeline = read_run(source)
    allure = allure_site(source, target / "allure", progress)
    progress("copying logs and evidence")
    links = _files(source, target, allure)
    progress("drawing the comparison page")
    comparison, index = target / "comparison.html", target / "index.html"
    write_whole(comparison, comparison_page(measured, timeline, source.facts, links))
    first = Link(
        "comparison.html", "Comparison", "footprints, memory, attack surface, boot", comparison.stat().st_size
    )
    write_whole(index, index_page(source.id, source.facts, [first, *links]))
    progress(f"done: {index}")
    return Site(target, index, comparison, allure)


def _files(run: RunFolder, site: Path, allure: Path | None) -> list[Link]:
    """Copy what the pages link to; the links, most wanted first."""
    links = []
    if allure is not None:
        links.append(
            Link(
                "allure/index.html", "Allure report", "every test, step and attachment", allure.stat().st_size
            )
        )
    for folder in ("serial", "evidence"):
        shutil.rmtree(site / folder, ignore_errors=True)
        if (run.path / folder).is_dir():
            shutil.copytree(
                run.path / folder, site / folder, ignore=shutil.ignore_patterns("*.raw", "*.index")
            )
    for log in sorted((site / "serial").glob("*.log")):
        links.append(
            Link(
                f"serial/{log.name}",
                f"Serial log of {log.stem}",
                "console, firmware to power-off",
                log.stat().st_size,
            )
        )
    for name, what in (
        ("measurements.json", "every figure with method, samples and evidence"),
        ("timeline.json", "every state, phase and milestone"),
        ("run.json", "who ran what, where and when"),
        ("junit.xml", "results for CI"),
    ):
        (site / name).unlink(missing_ok=True)
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, site / name)
            links.append(Link(name, name, what, (site / name).stat().st_size))
    return links
