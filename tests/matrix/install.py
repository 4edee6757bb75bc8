"""One cell, in a process of its own: rack up, install, rack down; what happened goes into a JSON file.

>>> python -m tests.matrix.install CELL PLACE FILE
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lab.deadline import Deadline
from lab.errors import LabError, LabFault
from lab.machine.machine import Machine
from lab.rack.model import Rack
from lab.release import load_release
from lab.report.rundir import RunFolder
from lab.run import Run
from lab.virtual import control, control_faults
from tests.matrix.cells import cells
from tests.matrix.judge import Happened, open_sessions
from tests.matrix.rack import rack_for

_CLOSED_S = 5.0


def _counts(rack: Rack) -> dict[str, Any]:
    return control.status(rack)[0].counts


def _settled(rack: Rack, before: dict[str, Any]) -> dict[str, Any]:
    """The counters, once no session is open any more, or in vain: a farewell may still be on its way."""
    deadline = Deadline.after(_CLOSED_S, "the sessions to be closed")
    while open_sessions(counts := _counts(rack)) > open_sessions(before) and not deadline.passed:
        time.sleep(0.2)  # the daemon has no event for it
    return counts


def _install(rack: Rack, release_name: str, folder: Path) -> Happened:
    run = Run(id="matrix", folder=RunFolder.create(folder).path, zero=time.monotonic())
    run.show = lambda server, text: print(f"{run.now:7.2f}  {text}", flush=True)
    before = _counts(rack)
    error: LabError | None = None
    dirty: str | None = None
    try:
        machine = Machine.take(run, rack, rack.servers[0])
        try:
            machine.goto("ready", load_release(release_name), fresh=True)
        finally:
            dirty = machine.give_back()
    except LabError as caught:
        error = caught
        print(caught, flush=True)
    orders = [mark for mark in run.marks if mark.kind == "power"]
    switched_on = [mark.at for mark in orders if mark.name == "on"]
    reached = [mark.at for mark in run.marks if mark.name == "ssh"]
    after = _settled(rack, before)
    print(f"counted before: {json.dumps(before)}\ncounted after: {json.dumps(after)}", flush=True)
    seconds = {"cell": round(run.now, 1)}
    if reached:
        seconds["install"] = round(reached[-1] - switched_on[0], 1)
    return Happened(
        outcome="installed" if error is None else type(error).__name__,
        text="" if error is None else f"{error.message}; tried: {error.tried}",
        is_fault=isinstance(error, LabFault),
        orders=len(orders),
        before=before,
        after=after,
        played=control_faults.faults(rack, rack.servers[0].name).played,
        dirty=dirty,
        seconds=seconds,
    )


def main() -> int:
    """Run the cell named on the command line."""
    name, place, file = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    cell = cells()[name]
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        rack = rack_for(cell, place, Path(folder))
        control.up(rack, print)
        try:
            happened = _install(rack, cell.release, Path(folder, "run"))
        finally:
            control.down(rack, print)
    file.write_text(json.dumps(dataclasses.asdict(happened), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
