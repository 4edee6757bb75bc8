"""The words of the console: patterns, matches, positions, marks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Stage = Literal[
    "firmware", "loader", "deploy", "hypervisor", "control-domain", "kernel", "services", "shutdown"
]
Blame = Literal["lab", "install", "hypervisor"]
MarkKind = Literal["power", "note", "gap"]

OnMark = Callable[[MarkKind, str, float], None]
"""Told of every mark in a console's record: its kind, its text, and its moment on `time.monotonic()`."""


@dataclass(frozen=True)
class Pattern:
    """One entry of `firmware/consoles/*.yaml`.

    A milestone proves progress, a failure proves the opposite; `blame` says which error a failure becomes.
    `regex` is searched, line starts and ends counting (`re.MULTILINE`), in decoded console text without
    ANSI sequences, as soon as text has arrived: also in a line that is still growing.

    Attributes:
        means: what a failure tells, one sentence.
        next_step: what the reader of the error should do.
        error: the class of `lab.errors` that a failure is raised as, where narrower than the blame's own.
    """

    name: str
    kind: Literal["milestone", "failure"]
    stage: Stage
    regex: str
    blame: Blame | None = None
    means: str = ""
    next_step: str = ""
    error: str | None = None


@dataclass(frozen=True)
class Position:
    """A place in one console's record: the offset into its decoded text, and when it was taken.

    `monotonic` is seconds on `time.monotonic()`.
    """

    offset: int
    monotonic: float


@dataclass(frozen=True)
class Match:
    """A pattern seen on the console.

    `at` (UTC) and `monotonic` (seconds on `time.monotonic()`) say when the last character of the match
    arrived; `line` is the line it starts on, as far as that had arrived; `before` is the text between the
    start of the wait and the match.
    """

    pattern: Pattern
    text: str
    line: str
    at: datetime
    monotonic: float
    before: str
    end: Position


class NotSeen(Exception):
    """A wait reached its deadline; whoever waited knows the machine's state and decides whose fault that is.

    Attributes:
        server: whose console.
        wanted: names of the patterns waited for.
        why: the deadline's reason.
        tail: the last console lines, oldest first.
        silent_for: seconds since the last byte arrived (since the recording began, if none ever did).
        lost: why the console is disconnected at this moment; None while it is connected.
    """

    def __init__(
        self,
        server: str,
        wanted: tuple[str, ...],
        why: str,
        *,
        tail: tuple[str, ...],
        silent_for: float,
        lost: str | None,
    ) -> None:
        super().__init__(
            f"{server}: {' or '.join(wanted)} not seen in time ({why}); "
            + (f"the console is disconnected: {lost}" if lost else f"no output for {silent_for:.1f} s")
        )
        self.server = server
        self.wanted = wanted
        self.why = why
        self.tail = tail
        self.silent_for = silent_for
        self.lost = lost
