"""The folder of one run, `reports/runs/ID`: where everything lies, how it is found, what it says of itself.

Imports nothing heavy: the pytest plugin loads it before the first test is collected.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from lab import paths
from lab.errors import ConfigError, UnknownName
from lab.secret import redact

_GIT_S = 5.0


@dataclass(frozen=True)
class RunFacts:
    """What `run.json` says: who ran what, where and when. Times are ISO 8601 in UTC.

    `origin` is that of the rack (`hardware` or `emulated`); a measurement may still be of a stand-in.
    `ended` and `exit_status` are None while the run goes on, and for ever if it was killed.
    """

    id: str
    started: str
    rack: str
    origin: str
    servers: tuple[str, ...]
    releases: tuple[str, ...]
    command: str
    lab_version: str
    revision: str
    ended: str | None = None
    exit_status: int | None = None


@dataclass(frozen=True)
class RunFolder:
    """`reports/runs/ID` and the places in it."""

    path: Path

    @classmethod
    def create(cls, reports: Path | None = None, now: datetime | None = None) -> RunFolder:
        """A new, empty run folder; `reports/run` points to it from now on.

        Its ID is the UTC time and a few random digits: runs sort by age, and two started in the same
        second do not meet.

        Raises:
            ConfigError: `reports/run` is there and is not a link.
        """
        reports = reports or paths.reports()
        moment = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H-%M-%SZ")
        run = cls(reports / "runs" / f"{moment}-{secrets.token_hex(2)}")
        run.path.mkdir(parents=True)
        for folder in (run.allure_results, run.serial, run.evidence, run.parts):
            folder.mkdir()
        _point(reports / "run", run.path)
        return run

    @classmethod
    def find(cls, run: str | Path | None = None, reports: Path | None = None) -> RunFolder:
        """The run of that path or ID; the latest one for None.

        Raises:
            UnknownName: there is no such run.
        """
        reports = reports or paths.reports()
        for candidate in [reports / "run"] if run is None else [Path(run), reports / "runs" / run]:
            if candidate.is_dir():
                return cls(candidate.resolve())
        known = ", ".join(every.id for every in cls.every(reports)[-3:]) or "none yet"
        raise UnknownName(
            f"no run '{run}'" if run else f"no run in {reports}",
            next_step=f"run `pytest testcases` first, or name one in {reports / 'runs'} (latest: {known})",
        )

    @classmethod
    def every(cls, reports: Path | None = None) -> list[RunFolder]:
        """Every run there is, oldest first."""
        folder = (reports or paths.reports()) / "runs"
        return [cls(path) for path in sorted(folder.glob("*")) if path.is_dir()]

    @property
    def id(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def allure_results(self) -> Path:
        """Where allure-pytest writes."""
        return self.path / "allure-results"

    @property
    def serial(self) -> Path:
        """Where consoles are recorded, `SERVER.log` each."""
        return self.path / "serial"

    @property
    def evidence(self) -> Path:
        """Raw output behind measurements."""
        return self.path / "evidence"

    @property
    def parts(self) -> Path:
        """What each process of the run wrote, before it is merged."""
        return self.path / "parts"

    @property
    def junit(self) -> Path:
        """JUnit XML of the run."""
        return self.path / "junit.xml"

    @property
    def measurements(self) -> Path:
        """Every measurement of the run; see `reports/measurements.schema.json`."""
        return self.path / "measurements.json"

    @property
    def timeline(self) -> Path:
        """Every span and mark of the run; see `reports/timeline.schema.json`."""
        return self.path / "timeline.json"

    @property
    def facts(self) -> RunFacts | None:
        """What `run.json` says; None where there is none (a folder made by hand).

        Raises:
            ConfigError: the file is not what a run writes.
        """
        file = self.path / "run.json"
        if not file.is_file():
            return None
        try:
            fields = json.loads(file.read_text())
            for name in ("servers", "releases"):
                fields[name] = tuple(fields[name])
            return RunFacts(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"{file}: not the facts of a run: {error}",
                next_step="choose another run, or delete this file",
            ) from error

    def begin(
        self, *, rack: str, origin: str, servers: Sequence[str], releases: Sequence[str], command: str
    ) -> RunFacts:
        """Write `run.json`, and the Allure categories and environment, at the start of a run."""
        from importlib.metadata import version

        from lab.report.categories import write_categories, write_environment

        facts = RunFacts(
            id=self.id,
            started=_now(),
            rack=rack,
            origin=origin,
            servers=tuple(servers),
            releases=tuple(releases),
            command=redact(command),
            lab_version=version("hypervisor-lab"),
            revision=_revision(),
        )
        self._write(facts)
        write_categories(self.allure_results)
        write_environment(self.allure_results, facts)
        return facts

    def end(self, exit_status: int) -> None:
        """Merge what the processes wrote, and note in `run.json` how the run ended."""
        from lab.report.merge import merge

        merge(self)
        facts = self.facts
        if facts is not None:
            self._write(replace(facts, ended=_now(), exit_status=exit_status))

    def _write(self, facts: RunFacts) -> None:
        write_whole(self.path / "run.json", json.dumps(asdict(facts), indent=1) + "\n")


def write_whole(file: Path, text: str) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _point(link: Path, target: Path) -> None:
    if link.exists() and not link.is_symlink():
        raise ConfigError(
            f"{link} is in the way: it should be a link to the latest run", next_step=f"move {link} away"
        )
    fresh = link.with_name(f".{link.name}.{target.name}")
    fresh.symlink_to(os.path.relpath(target, link.parent))
    fresh.replace(link)


def _revision() -> str:
    """The checkout's commit, `+` where files differ from it; `unknown` outside a checkout."""
    git = [
        "git",
        "-C",
        str(paths.project()),
        "describe",
        "--always",
        "--exclude=*",
        "--abbrev=12",
        "--dirty=+",
    ]
    try:
        done = subprocess.run(git, capture_output=True, text=True, timeout=_GIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
