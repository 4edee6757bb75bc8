"""The faults of one virtual server: which are in force, when each hits, and a log of every one that did.

The log is for judges: a test that wants a fault to have happened reads it, by `control.status` or from
`faults.jsonl` in the server's folder, and does not trust that it was asked for.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lab.rack.virtual import FaultEntry, FaultKind


class FaultLog:
    """What was played: counts by kind (or by quirk, for a profile), and each with its time.

    Args:
        file: one JSON object per line is added there; None keeps only the counts.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._file = file

    def note(self, kind: str, what: str) -> None:
        """`kind` was played; `what` is the request, action or datagram that it hit."""
        self.counts[kind] += 1
        if self._file is not None:
            entry = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "fault": kind, "hit": what}
            with self._file.open("a") as log:
                log.write(json.dumps(entry) + "\n")


class Armed:
    """One fault in force.

    Args:
        entry: what the rack file says of it.
        stream: what its draws are told apart by, besides the entry's seed.
    """

    def __init__(self, entry: FaultEntry, stream: str) -> None:
        self.entry = entry
        self._random = random.Random(f"{entry.seed} {stream}")  # noqa: S311 - repeatable, not secret
        self._events = 0
        self._hits = 0

    @property
    def spent(self) -> bool:
        """Whether it cannot hit any more."""
        times = self.entry.times
        if times is None and self.entry.probability is None:
            times = 1
        return times is not None and self._hits >= times

    def hits(self) -> bool:
        """Whether the event that happens now is hit."""
        if self.spent:
            return False
        self._events += 1
        if self._events <= self.entry.after:
            return False
        chance = self.entry.probability
        hit = chance is None or self._random.random() < chance
        self._hits += hit
        return hit


class Faults:
    """The faults in force at one server.

    Args:
        server: its name, so that two servers with one rack file do not err at the same events.
        entries: those of the rack file.
        log: where every hit is noted.
    """

    def __init__(self, server: str, entries: Sequence[FaultEntry] = (), log: FaultLog | None = None) -> None:
        self.log = log or FaultLog()
        self.changed: list[Callable[[], None]] = []
        """Told when faults were added or cleared."""
        self._server = server
        self._armed: list[Armed] = []
        self.add(*entries)

    @property
    def entries(self) -> list[FaultEntry]:
        """Those in force that can still hit."""
        return [armed.entry for armed in self._armed if not armed.spent]

    def add(self, *entries: FaultEntry) -> None:
        """Put more in force, counted from now."""
        for entry in entries:
            self._armed.append(Armed(entry, f"{self._server} {entry.fault} {len(self._armed)}"))
        for listener in self.changed:
            listener()

    def clear(self) -> None:
        """End them all; the log is kept."""
        self._armed = []
        for listener in self.changed:
            listener()

    def take(
        self, kind: FaultKind, what: str, *, method: str = "", path: str = "", ways: Sequence[str] = ()
    ) -> FaultEntry | None:
        """The fault of that kind which hits this event, noted in the log; None where none does.

        Args:
            kind: what kind of event it is.
            what: what the log says was hit.
            method: of the request, where the event is one.
            path: of the request, where the event is one.
            ways: only faults that go one of these; empty for any.
        """
        for armed in self._armed:
            entry = armed.entry
            if entry.fault != kind or (entry.method or method) != method:
                continue
            if entry.path is not None and not re.search(entry.path, path):
                continue
            if ways and entry.chosen_way not in ways:
                continue
            if armed.hits():
                self.log.note(kind, what)
                return entry
        return None
