"""`make nightly`: the longer proofs, one cell after the other, resumable.

    make nightly                          what has not passed on this very tree
    python -m tests.nightly --list        the cells, and which of them have passed
    python -m tests.nightly --again       all of them, whatever has passed
    python -m tests.nightly CELL…         only these

A cell is a command. The fault matrix is one cell here and many in itself: `python -m tests.matrix --help`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass

from tests.proofs import Record, folder, tree

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
        Cell("fault-matrix", [sys.executable, "-m", "tests.matrix"], 2400),
        Cell("lab-nightly-tests", [*PYTEST, "tests", "-m", "nightly", "--timeout", "1800"], 3600),
        *whole,
        Cell("provision-benchmark", [sys.executable, "-m", "benchmarks.provision", "--json"], 1500),
        Cell("bmc-benchmark", [sys.executable, "-m", "benchmarks.bmc", "--hold", "600", "--json"], 900),
        Cell("overhead-benchmark", [sys.executable, "-m", "benchmarks.overhead", "--json"], 600),
    ]


def main() -> int:
    """Run what has not passed yet; returns the number of cells that failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--again", action="store_true", help="run cells that have passed on this tree, too")
    parser.add_argument("--list", action="store_true", help="only say what has passed and what is left")
    parser.add_argument("cell", nargs="*", help="only these cells")
    options = parser.parse_args()
    known = {cell.name: cell for cell in cells()}
    if unknown := [name for name in options.cell if name not in known]:
        parser.error(f"no cell {', '.join(unknown)}; choose from {', '.join(known)}")
    place, now, failed = folder("nightly"), tree(), 0
    for cell in [known[name] for name in options.cell] or known.values():
        record = Record(place, cell.name)
        done = record.passed_on(now)
        if options.list or (done and not options.again):
            print(f"{cell.name}: {'passed on this tree' if done else 'to run'}", flush=True)
            continue
        failed += not _run(cell, record, now)
    return failed


def _run(cell: Cell, record: Record, now: str) -> bool:
    print(f"{cell.name}: running, log in {record.log}", flush=True)
    started = time.monotonic()
    with record.log.open("w") as out:
        try:
            status = subprocess.run(
                cell.command, stdout=out, stderr=subprocess.STDOUT, timeout=cell.limit_s, check=False
            )
            passed, why = status.returncode == 0, f"exit {status.returncode}"
        except subprocess.TimeoutExpired:
            passed, why = False, f"longer than {cell.limit_s} s"
    seconds = time.monotonic() - started
    record.keep(now, passed=passed, why=why, seconds=round(seconds, 1))
    print(f"{cell.name}: {'passed' if passed else 'FAILED'} ({why}, {seconds:.0f} s)", flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main())
