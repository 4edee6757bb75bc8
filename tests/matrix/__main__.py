"""The fault matrix: under every quirk and fault an install succeeds, or ends in one fault that names it.

    python -m tests.matrix                every quirk and the twelve faults, and some with a real hypervisor
    python -m tests.matrix --sample       the six cells that CI runs
    python -m tests.matrix --more         also what lies beyond the twelve faults
    python -m tests.matrix CELL…          only these
    python -m tests.matrix --list         which cells there are, and what is left to run
    … --again                             also what has passed on this very tree
    … --json                              the results as JSON instead of a table
    … --jobs N                            installs beside each other (default 2)
    … --place N                           the first place, of ten ports from 9651 + 10 N (default 0)

Each cell is a process with a rack of its own, so it can be ended and run again. Logs lie in `.make/matrix/`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import queue
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lab.cli.output import print_table
from lab.media.deploy import build_deploy
from lab.media.image import build_image
from lab.release import load_release
from tests.matrix.cells import RELEASE, Cell, cells
from tests.matrix.judge import Happened, complaints, duplicates, leaked, resets
from tests.proofs import Record, folder, tree


def chosen(known: dict[str, Cell], names: list[str], *, sample: bool, more: bool) -> list[Cell]:
    """The cells that a command line means; those with a hypervisor first, because they last longest.

    Raises:
        SystemExit: there is no cell of that name.
    """
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"no cell {', '.join(unknown)}; --list shows them")
    if names:
        return [known[name] for name in names]
    if sample:
        return [cell for cell in known.values() if cell.sample]
    wanted = [cell for cell in known.values() if more or cell.kind != "more"]
    return sorted(wanted, key=lambda cell: (cell.release == RELEASE, cell.kind == "quirk"))


def run(cell: Cell, record: Record, place: int, digest: str) -> dict[str, Any]:
    """Run one cell to its end and judge it; what is kept of it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="matrix-") as name, record.log.open("w") as log:
        file = Path(name, "happened.json")
        command = [sys.executable, "-m", "tests.matrix.install", cell.name, str(place), str(file)]
        try:
            subprocess.run(command, stdout=log, stderr=log, timeout=cell.limit_s, check=False)
            why = "it left no result"
        except subprocess.TimeoutExpired:
            why = f"longer than {cell.limit_s:.0f} s"
        happened = (
            Happened(**json.loads(file.read_text()))
            if file.is_file()
            else Happened("nothing", f"{why}; see {record.log}")
        )
    kinds = tuple(entry.fault for entry in cell.play.faults)
    wrong = complaints(happened, cell.play.names, kinds)
    kept = {
        "cell": cell.name,
        "kind": cell.kind,
        "quirk": cell.quirk,
        "release": cell.release,
        "resets": resets(happened.after) - resets(happened.before),
        "duplicate_resets": duplicates(happened),
        "leaked_sessions": leaked(happened),
        "wrong": wrong,
        **{
            key: value
            for key, value in dataclasses.asdict(happened).items()
            if key not in ("before", "after")
        },
    }
    kept["seconds"] = {**kept["seconds"], "whole": round(time.monotonic() - started, 1)}
    record.keep(digest, passed=not wrong, **kept)
    return record.last


def show(results: list[dict[str, Any]]) -> None:
    """The table: one line per cell, what is wrong below it."""
    print_table(
        ("Cell", "Quirk", "Outcome", "Install s", "Whole s", "Resets", "Duplicate", "Leaked", "Right"),
        (
            (
                result["cell"],
                result["quirk"] or "",
                result["outcome"],
                f"{result['seconds'].get('install', '')}",
                f"{result['seconds']['whole']}",
                f"{result['resets']}",
                f"{result['duplicate_resets']}",
                f"{result['leaked_sessions']}",
                "yes" if result["passed"] else "NO",
            )
            for result in results
        ),
        empty="no cell was chosen",
    )
    for result in results:
        for line in result["wrong"]:
            print(f"{result['cell']}: {line}")
        if result["passed"] and result["text"]:
            print(f"{result['cell']}: ended in a fault that names it: {result['text']}")


def main() -> int:
    """Run what has not passed yet; returns 1 where a cell is not right."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cell", nargs="*", help="only these cells")
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--more", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--place", type=int, default=0)
    options = parser.parse_args()
    digest, place = tree(), folder("matrix")
    wanted = chosen(cells(), options.cell, sample=options.sample, more=options.more)
    records = {cell.name: Record(place, cell.name) for cell in wanted}
    left = [cell for cell in wanted if options.again or not records[cell.name].passed_on(digest)]
    if options.list:
        for cell in wanted:
            print(f"{cell.name}: {'to run' if cell in left else 'passed on this tree'}")
        return 0
    for release in dict.fromkeys(cell.release for cell in left):
        build_image(load_release(release), _say)
    build_deploy(_say)
    places: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(options.place, options.place + options.jobs):
        places.put(number)

    def one(cell: Cell) -> None:
        mine = places.get()
        try:
            _say(f"{cell.name}: running")
            result = run(cell, records[cell.name], mine, digest)
            said = "right" if result["passed"] else f"WRONG: {'; '.join(result['wrong'])}"
            _say(f"{cell.name}: {result['outcome']} in {result['seconds']['whole']:.0f} s, {said}")
        finally:
            places.put(mine)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, left))
    results = [records[cell.name].last for cell in wanted]
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        show(results)
    return int(not all(result["passed"] for result in results))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
