"""What became of one call to a BMC: who answered, in how many tries, and what was seen; for the report."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from lab.bmc.api import Answer
from lab.bmc.provider import Provider
from lab.errors import LabError
from lab.secret import redact

_LONGEST = 400
"""Letters of one piece of evidence."""


@dataclass(frozen=True)
class Answered:
    """One call, read or set.

    Attributes:
        what: the operation, such as "power reset".
        provider: who answered; empty where nobody did.
        tries: how often it was asked: providers passed over, and what the last one repeated.
        evidence: what was seen, oldest first, redacted.
        seconds: how long it took.
        at: when it ended, on `time.monotonic()`.
        ended: "answered", the outcome of a set, or the name of the error it ended with.
    """

    what: str
    provider: str
    tries: int
    evidence: tuple[str, ...]
    seconds: float
    at: float
    ended: str

    def __str__(self) -> str:
        who = self.provider or "nobody"
        times = "" if self.tries == 1 else f", {self.tries} tries"
        lines = [f"{self.what}: {self.ended} ({who}, {self.seconds:.2f} s{times})", *self.evidence]
        return "\n  ".join(lines)


def as_text(journal: Iterable[Answered], since: float = 0.0) -> str:
    """The calls that ended after `since` (on `time.monotonic()`); a row of like reads is told once."""
    calls = [call for call in list(journal) if call.at >= since]
    parts: list[str] = []
    for (what, provider, ended), row in groupby(calls, key=lambda one: (one.what, one.provider, one.ended)):
        alike = list(row)
        if len(alike) > 2 and ended == "answered":
            parts.append(f"{what}: answered {len(alike)} times ({provider}), the last:")
            alike = alike[-1:]
        parts += map(str, alike)
    return "\n".join(parts)


@dataclass
class Call:
    """A call under way."""

    what: str
    _notes: list[str] = field(default_factory=list)
    _asked: int = 0
    _began: float = field(default_factory=time.monotonic)

    def passed_over(self, provider: Provider, why: str) -> None:
        """`provider` could not serve."""
        self._asked += 1
        self._notes += [*provider.evidence(), f"{provider.name} {why}"]

    def answered(self, provider: Provider, answer: object) -> Answered:
        """`provider` gave `answer`."""
        wire = provider.evidence()
        if isinstance(answer, Answer):
            return self._end(provider.name, answer.tries, str(answer.outcome), *wire, *answer.evidence)
        return self._end(provider.name, 1, "answered", *wire, f"answer: {_plain(answer)}")

    def failed(self, provider: Provider | None, error: LabError) -> Answered:
        """It ended with `error`, raised by `provider` or since there is no other."""
        wire = provider.evidence() if provider else ()
        tried = (f"tried: {error.tried}",) if error.tried else ()
        ended = type(error).__name__
        return self._end(
            provider.name if provider else "", bool(provider), ended, *wire, error.message, *tried
        )

    def _end(self, provider: str, tries: int, ended: str, *evidence: str) -> Answered:
        now = time.monotonic()
        seen = tuple(_short(redact(text)) for text in (*self._notes, *evidence))
        return Answered(self.what, provider, self._asked + tries, seen, now - self._began, now, ended)


def _plain(answer: object) -> str:
    """An answer in a few words; a long list by its length and its first members."""
    if isinstance(answer, list):
        return f"{len(answer)} entries: {answer[:3]}"
    return answer.isoformat() if isinstance(answer, datetime) else str(answer)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
