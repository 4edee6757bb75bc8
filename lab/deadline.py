"""A deadline is a moment with a reason; waits take one instead of a bare number of seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock and why we wait until then.

    Attributes:
        at: seconds on `time.monotonic()`.
        why: what is awaited, for the message when it does not come.
    """

    at: float
    why: str

    @classmethod
    def after(cls, seconds: float, why: str) -> Deadline:
        """The deadline `seconds` from now."""
        return cls(time.monotonic() + seconds, why)

    @property
    def left(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the moment is behind us."""
        return time.monotonic() >= self.at

    def within(self, seconds: float, why: str) -> Deadline:
        """A nested deadline that never outlives this one."""
        return Deadline(min(self.at, time.monotonic() + seconds), why)
