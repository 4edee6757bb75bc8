"""Whole pytest runs as processes of their own, in a project folder of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from lab import paths

XEN = "xen-4.17-debian12"
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass
class Project:
    """A project folder with the checkout's releases; tests and results are its own.

    Attributes:
        testcases: what is run; the checkout's own, unless a test writes others.
    """

    folder: Path
    testcases: Path = CHECKOUT / "testcases"

    @classmethod
    def make(cls, folder: Path) -> Project:
        for name in ("firmware", "inventory"):
            (folder / name).symlink_to(CHECKOUT / name)
        return cls(folder)

    def rack(self, text: str) -> Path:
        """A rack file."""
        file = self.folder / "rack.yaml"
        file.write_text(text)
        return file

    def tests(self, text: str) -> None:
        """Run this instead of the checkout's testcases."""
        self.testcases = self.folder / "testcases"
        self.testcases.mkdir()
        (self.testcases / "test_scripted.py").write_text(text)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """A run, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", str(self.testcases), "-p", "no:cacheprovider", *arguments],
            cwd=CHECKOUT,
            # CI makes pytest repeat every message in full; what is said must not depend on where it runs.
            env=os.environ | {"CI": "", "LAB_PROJECT": str(self.folder)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, **environment: str) -> Ended:
        """A run, to its end."""
        process = self.start(*arguments, **environment)
        said, _ = process.communicate(timeout=90)
        return Ended(process.returncode, said, self.folder / "reports")


@dataclass
class Ended:
    """How a run ended: its exit code, what it said, where its results lie."""

    code: int
    said: str
    reports: Path

    @property
    def runs(self) -> list[Path]:
        """The folders of every run of this project."""
        return sorted((self.reports / "runs").glob("*"))

    @property
    def cases(self) -> list[tuple[str, str, str]]:
        """Name, outcome and message of every test, in the order they ran (JUnit)."""
        found = []
        for case in ElementTree.parse(self.runs[-1] / "junit.xml").iter("testcase"):  # noqa: S314 - our own
            ends = [child for child in case if child.tag in ("failure", "error", "skipped")]
            outcome, message = ("passed", "") if not ends else (ends[0].tag, _message(ends[0]))
            found.append((case.get("name", ""), outcome, message))
        return found

    @property
    def progress(self) -> dict[str, list[str]]:
        """The servers that each process of the run told of, by the process's name."""
        return {
            file.stem.removeprefix("progress-"): [json.loads(line)["server"] for line in file.open()]
            for file in (self.runs[-1] / "parts").glob("progress-*.jsonl")
        }

    @property
    def facts(self) -> dict[str, Any]:
        """`run.json`."""
        facts: dict[str, Any] = json.loads((self.runs[-1] / "run.json").read_text())
        return facts


def _message(end: ElementTree.Element) -> str:
    return f"{end.get('message', '')}\n{end.text or ''}"


def leases_left() -> list[str]:
    """Lease files in the state folder."""
    return [file.name for file in (paths.state() / "leases").glob("*.json")]
