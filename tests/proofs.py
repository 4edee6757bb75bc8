"""What long proofs share: outcomes are kept, and what passed on this very tree is not run again."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from lab import paths


def folder(name: str) -> Path:
    """Where the outcomes of one kind of proof lie; removed by `make clean`."""
    place = paths.project() / ".make" / name
    place.mkdir(parents=True, exist_ok=True)
    return place


def tree() -> str:
    """A digest of the tree under test: the commit, and what is changed against it."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, check=True).stdout
    change = subprocess.run(["git", "diff", "HEAD"], capture_output=True, check=True).stdout
    return hashlib.sha256(commit + change).hexdigest()[:16]


class Record:
    """The outcome of one cell: a JSON object in a file of its own, and a log beside it."""

    def __init__(self, place: Path, name: str) -> None:
        self.file = place / f"{name}.json"
        self.log = place / f"{name}.log"

    @property
    def last(self) -> dict[str, Any]:
        """The last outcome; empty where there is none."""
        return json.loads(self.file.read_text()) if self.file.is_file() else {}

    def passed_on(self, digest: str) -> bool:
        """Whether it passed on the tree of that digest."""
        last = self.last
        return last.get("tree") == digest and bool(last.get("passed"))

    def keep(self, digest: str, *, passed: bool, **facts: object) -> None:
        """Put down an outcome, whole or not at all."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps({"tree": digest, "passed": passed, **facts}, indent=1))
        fresh.replace(self.file)
