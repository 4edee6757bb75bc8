"""What each test about a server leaves in the report: console, timeline, BMC's log, all of its own time."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lab.bmc.answered import as_text
from lab.bmc.chain import BmcChain
from lab.errors import LabError
from lab.report.attach import attach_json, attach_text

if TYPE_CHECKING:
    from lab.machine.machine import Machine
    from lab.pytest_plugin.session import LabSession
    from lab.selection import Target


def attach_evidence(session: LabSession, target: Target, *, since: float, failed: bool) -> None:
    """Attach what `target`'s server said and did since `since` (seconds since the run began).

    The BMC is asked only when something happened to the machine, so that a test which merely looks costs
    nothing.
    """
    server = target.server.name
    machine = session.held(server)
    if machine is None:
        return
    run = session.run
    spans = [span for span in run.spans if span.server == server and span.end >= since]
    marks = [mark for mark in run.marks if mark.server == server and mark.at >= since]
    log = machine.console.lines_between(run.zero + since, run.zero + run.now)
    if log:
        attach_text(f"serial log of {server} during this test", log)
    if spans or marks:
        attach_json(
            "timeline of this test",
            {"spans": [span.model_dump() for span in spans], "marks": [mark.model_dump() for mark in marks]},
        )
    if spans or failed:
        _attach_bmc(machine, run.zero + since)


def _attach_bmc(machine: Machine, since: float) -> None:
    calls = as_text(machine.bmc.journal, since) if isinstance(machine.bmc, BmcChain) else ""
    if calls:
        attach_text("BMC calls: who answered, in how many tries, on what evidence", calls)
    with contextlib.suppress(LabError):
        entries = machine.bmc.event_log()
        lines = [f"{entry.at or '-'} {entry.severity}: {entry.message}" for entry in entries]
        attach_text("system event log", "\n".join(lines) or "empty")
    if machine.answers:
        attach_text("BMC orders and outcomes", "\n".join(machine.answers))
        machine.answers.clear()
