"""One boot of a machine: where it begins on the console, and the milestones it has passed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from lab.console.api import Match, Position
from lab.console.catalogue import patterns
from lab.console.timeline import boot_spans
from lab.errors import BootFailure
from lab.measure.model import Mark

if TYPE_CHECKING:
    from lab.machine.machine import Machine


def restarts(machine: Machine, tried: str) -> BootFailure:
    """What it means when a system that should come up restarts instead."""
    return BootFailure(
        "it restarts by itself instead of coming up",
        server=machine.server.name,
        tried=tried,
        next_step="read the serial log before the restart",
    )


@dataclass
class Boot:
    """From one power-on onwards.

    Attributes:
        position: where on the console it begins, taken before power was switched on.
        at: `time.monotonic()` of the power-on.
        marks: the milestones passed, in order; `at` in seconds since the run began.
    """

    position: Position
    at: float
    marks: list[Mark] = field(default_factory=list)

    @classmethod
    def begin(cls, machine: Machine) -> Boot:
        """The boot that the next power-on starts."""
        return cls(machine.console.position(), time.monotonic())

    def passed(self, machine: Machine, match: Match) -> None:
        """Put down a milestone, on the boot and on the run's timeline."""
        mark = Mark(
            server=machine.server.name,
            release=machine.release.name if machine.release else None,
            kind="milestone",
            name=match.pattern.name,
            at=match.monotonic - machine.run.zero,
            evidence=match.line.strip()[:200],
        )
        self.marks.append(mark)
        machine.run.marks.append(mark)
        machine.run.progress(
            machine.server.name, f"{mark.name} {match.monotonic - self.at:.1f} s after power-on"
        )

    def cut_into_spans(self, machine: Machine, lane: Literal["boot", "install"]) -> None:
        """Put this boot's phases, from the milestones seen so far, on the run's timeline."""
        milestones = [sign for sign in patterns() if sign.kind == "milestone"]
        machine.run.spans.extend(
            boot_spans(
                machine.console.seen(milestones, self.position),
                server=machine.server.name,
                release=machine.release.name if machine.release else None,
                power_on=self.at,
                zero=machine.run.zero,
                lane=lane,
            )
        )

    def mark(self, machine: Machine, name: str, at: float, evidence: str) -> None:
        """Put down a milestone that is not a console line, such as the first SSH command."""
        mark = Mark(
            server=machine.server.name,
            release=machine.release.name if machine.release else None,
            kind="milestone",
            name=name,
            at=at - machine.run.zero,
            evidence=evidence,
        )
        self.marks.append(mark)
        machine.run.marks.append(mark)
        machine.run.progress(machine.server.name, f"{name} {at - self.at:.1f} s after power-on")
