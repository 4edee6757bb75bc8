"""The words of the console: patterns, matches, positions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Stage = Literal["firmware", "loader", "deploy", "hypervisor", "control-domain", "kernel", "services", "shutdown"]
Blame = Literal["lab", "install", "hypervisor"]


@dataclass(frozen=True)
class Pattern:
    """One entry of `firmware/consoles/*.yaml`.

    A milestone proves progress, a failure proves the opposite; `blame` says which error a failure becomes.
    `regex` is searched in decoded console text without ANSI sequences.
    """

    name: str
    kind: Literal["milestone", "failure"]
    stage: Stage
    regex: str
    blame: Blame | None = None


@dataclass(frozen=True)
class Position:
    """A place in one console's record: the offset into its decoded text, and when it was taken."""

    offset: int
    monotonic: float


@dataclass(frozen=True)
class Match:
    """A pattern seen on the console.

    `at` and `monotonic` are the stamps of the line's arrival; `before` is the text between the start of
    the wait and the match.
    """

    pattern: Pattern
    text: str
    line: str
    at: datetime
    monotonic: float
    before: str
    end: Position
