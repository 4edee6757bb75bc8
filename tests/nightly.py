"""`make nightly`: the longer proofs, one cell after the other, resumable.

A cell is a command. A cell that passed on this very tree is not run again; `--again` forgets that.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from lab import paths

PYTEST = [sys.executable, "-m", "pytest", "-q"]
RELEASES = ("xen-4.17-debian12", "kvm-debian12")
SERVERS = ("uefi-1", "bios-1")


@dataclass(frozen=True)
class Cell:
    """One proof: its name, its command, and how long it may take in seconds."""

    name: str
    command: list[str]
    limit_s: int


def cells() -> list[Cell]:
    """Every cell, the cheapest to learn from first."""
    whole = [
        Cell(
            f"install-{release}-{server}",
            [
                *PYTEST,
                "testcases",
                "--rack",
                "virtual",
                "--fresh",
                "--hypervisor",
                release,
                "--server",
                server,
            ],
            1500,
        )
        for release in RELEASES
        for server in SERVERS
    ]
    return [
        Cell("lab-nightly-tests", [*PYTEST, "tests", "-m", "nightly", "--timeout", "1800"], 3600),
        *whole,
        Cell("provision-benchmark", [sys.executable, "-m", "benchmarks.provision", "--json"], 1500),
        Cell("overhead-benchmark", [sys.executable, "-m", "benchmarks.overhead", "--json"], 600),
    ]


def tree() -> str:
    """A digest of the tree under test: the commit, and what is changed against it."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, check=True).stdout
    change = subprocess.run(["git", "diff", "HEAD"], capture_output=True, check=True).stdout
    return hashlib.sha256(commit + change).hexdigest()[:16]


def main() -> int:
    """Run what has not passed yet; returns the number of cells that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", action="store_true", help="run cells that have passed on this tree, too")
    parser.add_argument("--list", action="store_true", help="only say what has passed and what is left")
    parser.add_argument("cell", nargs="*", help="only these cells")
    options = parser.parse_args()
    folder = paths.project() / ".make" / "nightly"
    folder.mkdir(parents=True, exist_ok=True)
    now, failed = tree(), 0
    for cell in cells():
        if options.cell and cell.name not in options.cell:
            continue
        record = folder / f"{cell.name}.json"
        last = json.loads(record.read_text()) if record.is_file() else {}
        done = last.get("tree") == now and last.get("passed")
        if options.list or (done and not options.again):
            print(f"{cell.name}: {'passed on this tree' if done else 'to run'}", flush=True)
            continue
        failed += not _run(cell, record, folder / f"{cell.name}.log", now)
    return failed


def _run(cell: Cell, record: Path, log: Path, now: str) -> bool:
    print(f"{cell.name}: running, log in {log}", flush=True)
    started = time.monotonic()
    with log.open("w") as out:
        try:
            status = subprocess.run(
                cell.command, stdout=out, stderr=subprocess.STDOUT, timeout=cell.limit_s, check=False
            )
            passed, why = status.returncode == 0, f"exit {status.returncode}"
        except subprocess.TimeoutExpired:
            passed, why = False, f"longer than {cell.limit_s} s"
    seconds = time.monotonic() - started
    record.write_text(json.dumps({"tree": now, "passed": passed, "why": why, "seconds": round(seconds, 1)}))
    print(f"{cell.name}: {'passed' if passed else 'FAILED'} ({why}, {seconds:.0f} s)", flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main())
