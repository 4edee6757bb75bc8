"""The record of one console: in memory for waits, on disk for people; filled by one thread, read by any."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from lab.console.api import MarkKind, Match, OnMark, Pattern, Position
from lab.console.decode import Decoder
from lab.console.journal import Journal, line_text, mark_text
from lab.console.search import first_of_each
from lab.console.transcript import Stamp, Transcript


def now() -> Stamp:
    """This moment on both clocks."""
    return Stamp(datetime.now(UTC), time.monotonic())


class Record:
    """Everything one console said and every mark set beside it.

    `changed` guards `transcript` and is notified on every arrival and at the end.

    Raises:
        OSError: the files cannot be made.
    """

    def __init__(self, server: str, folder: Path, zero: float, on_mark: OnMark | None) -> None:
        self.changed = threading.Condition()
        self.transcript = Transcript()
        self.ended = False
        self.log = folder / f"{server}.log"
        self.incomplete: str | None = None
        self._zero = zero
        self._on_mark = on_mark
        self._decoder = Decoder()
        self._journal = Journal(folder, server, zero)
        self._marks: list[tuple[Stamp, str]] = []
        self._unwritten: str | None = None
        self._last_output = time.monotonic()

    # ---- filling --------------------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Keep what arrived just now."""
        with self.changed:
            stamp = now()  # under the lock: what stands later in the log is stamped later
            self._last_output = stamp.monotonic
            self._keep(data, self._decoder.feed(data), stamp)

    def cut(self) -> None:
        """End the growing line: what comes after a gap does not belong to it."""
        with self.changed:
            rest, self._decoder = self._decoder.flush(), Decoder()
            self._keep(b"", rest, now())
            if not self.transcript.at_line_start:
                self._keep(b"", "\n", now())

    def mark(self, kind: MarkKind, text: str) -> None:
        """Set a mark; after the end it is only passed on."""
        with self.changed:
            stamp = now()
            if not self.ended:
                self._marks.append((stamp, text))
                self._write(b"", "", stamp, mark=text)
        if self._on_mark is not None:
            self._on_mark(kind, text, stamp.monotonic)

    def end(self, text: str) -> None:
        """Set the last mark and close the files."""
        with self.changed:
            self._keep(b"", self._decoder.flush(), now())
        self.mark("note", text)
        with self.changed:
            self.ended = True
            self._journal.close()
            self.changed.notify_all()

    def _keep(self, data: bytes, text: str, stamp: Stamp) -> None:
        self.transcript.feed(text, stamp)
        self._write(data, text, stamp)
        self.changed.notify_all()

    def _write(self, data: bytes, text: str, stamp: Stamp, *, mark: str | None = None) -> None:
        """Onto the disk; one that refuses must not stop the console from being drained."""
        try:
            if self._unwritten:
                self._journal.mark(f"gap: not on disk: {self._unwritten}", stamp)
                self._unwritten = None
            self._journal.raw(data)
            self._journal.text(text, stamp)
            if mark is not None:
                self._journal.mark(mark, stamp)
        except OSError as error:
            self.incomplete = self._unwritten = (
                self._unwritten or f"from {stamp.wall:%H:%M:%S} UTC, {error.strerror}"
            )

    # ---- reading --------------------------------------------------------------------------------------

    @property
    def silent_for(self) -> float:
        """Seconds since the last byte arrived, or since the record began."""
        with self.changed:
            return time.monotonic() - self._last_output

    def position(self) -> Position:
        """The end of the text as of now."""
        with self.changed:
            return Position(self.transcript.end, time.monotonic())

    def text(self, since: Position, until: Position | None) -> str:
        """The text between two positions."""
        with self.changed:
            return self.transcript.text(since.offset, until.offset if until else None)

    def tail(self, count: int) -> tuple[str, ...]:
        """The last lines, oldest first."""
        with self.changed:
            return self.transcript.tail(count)

    def lines_between(self, start: float, end: float) -> str:
        """The log between two moments on `time.monotonic()`."""
        with self.changed:
            lines = [
                (s.monotonic, line_text(s, self._zero, t))
                for s, t in self.transcript.lines_between(start, end)
            ]
            marks = [
                (s.monotonic, mark_text(s, self._zero, t))
                for s, t in self._marks
                if start <= s.monotonic < end
            ]
        return "".join(f"{line}\n" for _, line in sorted(lines + marks, key=lambda entry: entry[0]))

    def seen(self, patterns: Sequence[Pattern], since: Position, until: Position | None) -> tuple[Match, ...]:
        """The first match of each pattern between two positions."""
        with self.changed:
            end = until.offset if until else self.transcript.end
            return first_of_each(patterns, self.transcript, since.offset, end)
