"""Waiting on a machine's console: what silence means is said with power state and last lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab.console.api import Match, NotSeen, Pattern, Position
from lab.deadline import Deadline
from lab.errors import LabError

if TYPE_CHECKING:
    from lab.machine.machine import Machine


def failures_of(watched: Sequence[Pattern]) -> list[Pattern]:
    """Those of the patterns that end a wait in an error."""
    return [pattern for pattern in watched if pattern.kind == "failure"]


def expect(
    machine: Machine,
    wanted: Sequence[Pattern],
    deadline: Deadline,
    watched: Sequence[Pattern],
    blame: type[LabError],
    *,
    since: Position | None = None,
) -> Match:
    """Wait on the console from the power-on of this boot; silence is explained by the power state.

    Raises:
        LabError: a failure was seen, as its pattern says; or `blame`, where nothing was seen in time.
    """
    try:
        return machine.console.expect(
            wanted, deadline, failures=failures_of(watched), since=since or machine.boot.position
        )
    except NotSeen as unseen:
        names = " or ".join(pattern.name for pattern in wanted)
        power = machine.bmc.power()
        silence = f"power is {power}, the console has been silent for {unseen.silent_for:.0f} s"
        raise blame(
            f"{names} was not seen in time: {silence}",
            server=machine.server.name,
            release=machine.release.name if machine.release else None,
            tried=f"waited for {deadline.why}",
            console=unseen.tail[-12:],
            next_step="read the serial log of this server from the power-on onwards",
        ) from unseen
