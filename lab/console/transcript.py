"""What a console has said so far: decoded text, when each piece of it arrived, and slices of both."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Stamp:
    """A moment on both clocks: `wall` in UTC, `monotonic` in seconds on `time.monotonic()`."""

    wall: datetime
    monotonic: float


class Transcript:
    """The decoded text of one console, in memory, with the arrival of every piece.

    Places are offsets into the text. Finding a line or a moment takes O(log n) steps. Not thread-safe.
    """

    def __init__(self) -> None:
        self._lines = [""]
        self._starts = array("q", [0])
        self._pieces = array("q")
        self._walls = array("d")
        self._monotonics = array("d")

    @property
    def end(self) -> int:
        """The offset just behind the last character."""
        return self._starts[-1] + len(self._lines[-1])

    @property
    def at_line_start(self) -> bool:
        """Whether the last line is complete, so that the next character begins a line."""
        return not self._lines[-1]

    def feed(self, text: str, stamp: Stamp) -> None:
        """Append `text`, which arrived at `stamp`; moments never go backwards."""
        if not text:
            return
        self._pieces.append(self.end)
        self._walls.append(stamp.wall.timestamp())
        self._monotonics.append(stamp.monotonic)
        first, *rest = text.split("\n")
        self._lines[-1] += first
        for line in rest:
            self._starts.append(self.end + 1)
            self._lines.append(line)

    def text(self, since: int, until: int | None = None) -> str:
        """The text from one offset to another, the end by default."""
        until = self.end if until is None else min(until, self.end)
        if since >= until:
            return ""
        first, last = self._line(since), self._line(until)
        start = self._starts[first]
        return "\n".join(self._lines[first : last + 1])[since - start : until - start]

    def line_at(self, offset: int) -> str:
        """The line that holds `offset`."""
        return self._lines[self._line(offset)]

    def line_complete(self, offset: int) -> bool:
        """Whether the line that holds `offset` has ended."""
        return self._line(offset) < len(self._lines) - 1

    def line_start(self, offset: int, before: int = 0) -> int:
        """Where the line that holds `offset` begins, or the one `before` lines above it."""
        return self._starts[max(0, self._line(offset) - before)]

    def arrival(self, offset: int) -> Stamp:
        """When the character at `offset` arrived."""
        piece = max(0, bisect_right(self._pieces, offset) - 1)
        return Stamp(datetime.fromtimestamp(self._walls[piece], UTC), self._monotonics[piece])

    def lines_around(self, offset: int, before: int, after: int) -> tuple[str, ...]:
        """The line that holds `offset`, with some lines before and after it."""
        middle = self._line(offset)
        return tuple(self._lines[max(0, middle - before) : middle + after + 1])

    def tail(self, count: int) -> tuple[str, ...]:
        """The last lines, oldest first; one that is still growing counts, an empty one does not."""
        lines = self._lines if self._lines[-1] else self._lines[:-1]
        return tuple(lines[-count:]) if count > 0 else ()

    def lines_between(self, start: float, end: float) -> list[tuple[Stamp, str]]:
        """Every line of which something arrived in `[start, end)`, stamped with its beginning.

        Both are seconds on `time.monotonic()`.
        """
        first_piece, end_piece = bisect_left(self._monotonics, start), bisect_left(self._monotonics, end)
        if first_piece >= end_piece:
            return []
        until = self._pieces[end_piece] if end_piece < len(self._pieces) else self.end
        lines = range(self._line(self._pieces[first_piece]), self._line(until - 1) + 1)
        return [(self.arrival(self._starts[line]), self._lines[line]) for line in lines]

    def _line(self, offset: int) -> int:
        return bisect_right(self._starts, offset) - 1
