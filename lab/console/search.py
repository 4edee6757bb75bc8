"""Looking for patterns in a transcript that is still growing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from lab import errors
from lab.console.api import Blame, Match, Pattern, Position
from lab.console.transcript import Transcript
from lab.errors import HypervisorFailure, InstallFailure, LabError, LabFault

_OVERLAP_LINES = 3
_BLAME: dict[Blame | None, type[LabError]] = {
    "lab": LabFault,
    "install": InstallFailure,
    "hypervisor": HypervisorFailure,
    None: LabFault,
}


@dataclass(frozen=True)
class Window:
    """Text to search: it begins with a line at offset `start`; only matches at `since` or later count."""

    text: str
    start: int
    since: int


@dataclass(frozen=True)
class Found:
    """A pattern, from one offset of the transcript to another."""

    pattern: Pattern
    start: int
    end: int


@lru_cache(maxsize=1024)
def compiled(regex: str) -> re.Pattern[str]:
    """The regex of a pattern, compiled once; line starts and ends count."""
    return re.compile(regex, re.MULTILINE)


def first_in(patterns: Sequence[Pattern], window: Window) -> Found | None:
    """The match that begins first; of two at one place, that of the pattern listed first."""
    best: Found | None = None
    for pattern in patterns:
        hit = compiled(pattern.regex).search(window.text, max(0, window.since - window.start))
        if hit and (best is None or window.start + hit.start() < best.start):
            best = Found(pattern, window.start + hit.start(), window.start + hit.end())
    return best


class Search:
    """One wait's search: every call looks at what is new since the last, and a few lines before it.

    The overlap, `_OVERLAP_LINES` lines of bounded length, is where a match may begin that only new text
    completes. A match that begins earlier in the text wins; at one place a failure wins.
    """

    def __init__(self, wanted: Sequence[Pattern], failures: Sequence[Pattern], since: int) -> None:
        self.wanted = tuple(wanted)
        self.failures = tuple(pattern for pattern in failures if pattern not in self.wanted)
        self.since = since
        self._searched = since

    def window(self, transcript: Transcript) -> Window:
        """What to look at next; moves on to the end of the transcript."""
        start = transcript.line_start(self._searched, _OVERLAP_LINES)
        self._searched = max(self.since, transcript.end)
        return Window(transcript.text(start), start, self.since)

    def look(self, window: Window) -> Found | None:
        """What comes first in the window."""
        return first_in(self.failures + self.wanted, window)

    def most_telling(self, found: Found, line: str) -> Pattern:
        """Of the failures on one line, the one listed first: lists put the narrow before the broad."""
        return next(
            (pattern for pattern in self.failures if compiled(pattern.regex).search(line)), found.pattern
        )


def match_of(found: Found, transcript: Transcript, since: int) -> Match:
    """`found` with its stamps and surroundings."""
    stamp = transcript.arrival(max(found.start, found.end - 1))
    return Match(
        pattern=found.pattern,
        text=transcript.text(found.start, found.end),
        line=transcript.line_at(found.start),
        at=stamp.wall,
        monotonic=stamp.monotonic,
        before=transcript.text(since, found.start),
        end=Position(found.end, stamp.monotonic),
    )


def first_of_each(
    patterns: Sequence[Pattern], transcript: Transcript, since: int, until: int
) -> tuple[Match, ...]:
    """The first match of every pattern between two offsets, in the order of the text."""
    start = transcript.line_start(since)
    window = Window(transcript.text(start, until), start, since)
    found = [hit for pattern in patterns if (hit := first_in((pattern,), window))]
    return tuple(match_of(hit, transcript, since) for hit in sorted(found, key=lambda hit: hit.start))


def failure(pattern: Pattern, line: str, *, server: str, tried: str, console: tuple[str, ...]) -> LabError:
    """The error that a failure pattern stands for."""
    kind = getattr(errors, pattern.error) if pattern.error else _BLAME[pattern.blame]
    error: LabError = kind(
        f"{pattern.means or pattern.name}: {line.strip()}",
        server=server,
        tried=tried,
        console=console,
        next_step=pattern.next_step or f"read the console log of {server} from that line on",
    )
    return error
