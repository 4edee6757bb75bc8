"""`lab report build`: the Allure site, the comparison page and an index, self-contained in one folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import paths
from lab.errors import ConfigError
from lab.progress import Progress, silent
from lab.report.categories import categories, environment
from lab.report.comparison import Link, comparison_page, index_page
from lab.report.merge import read_run
from lab.report.rundir import RunFolder, write_whole

_ALLURE_S = 300.0
_GROUP_BY = ("release", "server", "suite")


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
    allure = _allure_site(source, target, progress)
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


def _allure_site(run: RunFolder, site: Path, progress: Progress) -> Path | None:
    folder = site / "allure"
    shutil.rmtree(folder, ignore_errors=True)
    if not any(run.allure_results.glob("*-result.json")):
        progress("no test results, so no Allure report")
        return None
    progress("generating the Allure report")
    name = f"Hypervisor lab {run.id}"
    history = run.path.parent / "history.jsonl"
    _forget(history, name)
    facts = run.facts
    with tempfile.TemporaryDirectory(prefix="lab-report-") as scratch:
        config = Path(scratch) / "allurerc.json"
        config.write_text(
            json.dumps(
                {
                    "name": name,
                    "output": str(folder),
                    "historyPath": str(history),
                    "categories": {"rules": categories()},
                    "variables": environment(facts) if facts else {},
                }
            )
        )
        # one file, because a browser lets no page fetch its data from file://
        _generate(
            [
                *_generator(),
                *("awesome", str(run.allure_results), "--config", str(config)),
                *("--single-file", "--report-language", "en", "--group-by", ",".join(_GROUP_BY)),
            ],
            Path(scratch),
        )
    return folder / "index.html"


def _generator() -> list[str]:
    """Node and the generator's entry point, both from the project's own environment."""
    script = paths.project() / "node_modules" / "allure" / "cli.js"
    beside = Path(sys.executable).parent / "node"
    node = str(beside) if beside.exists() else shutil.which("node")
    for what, there in (("the Allure generator", script.is_file()), ("Node", node is not None)):
        if not there:
            raise ConfigError(
                f"{what} is not installed in {paths.project()}", next_step="run `make setup`, then try again"
            )
    return [str(node), str(script)]


def _generate(command: list[str], scratch: Path) -> None:
    # no colours, no calls home: the generator runs for a file, often where there is no network
    quiet = os.environ | {"NO_COLOR": "1", "CI": "1", "ALLURE_NO_ANALYTICS": "1"}
    try:
        done = subprocess.run(
            command, cwd=scratch, env=quiet, capture_output=True, text=True, timeout=_ALLURE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"the Allure generator did not end within {_ALLURE_S:.0f} s",
            tried=" ".join(command),
            next_step="look for very large attachments in allure-results/",
        ) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-800:]
        raise ConfigError(
            f"the Allure generator ended with {done.returncode}: {said}",
            tried=" ".join(command),
            next_step="run the command above by hand; `npm ci` repairs a damaged node_modules",
        )


def _forget(history: Path, name: str) -> None:
    """Drop what an earlier build of the same run put into the history: a run counts once."""
    if not history.is_file():
        return
    lines = [line for line in history.read_text(encoding="utf-8").splitlines() if line.strip()]
    kept = [line for line in lines if json.loads(line).get("name") != name]
    if kept != lines:
        write_whole(history, "".join(f"{line}\n" for line in kept))


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
