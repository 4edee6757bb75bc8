"""The files of one console: `SERVER.raw`, every byte unchanged, and `SERVER.log`, for people.

A line of the log is one of

    2026-11-23T07:00:00.123456Z +12.345678 | text of a console line
    2026-11-23T07:00:00.123456Z +12.345678 |+text that continues the console line which a mark cut in two
    2026-11-23T07:00:00.123456Z +12.345678 -- a mark: power on sent, gap: ... --

with the UTC time and the seconds since the run began at which the first character of the line arrived. A
line that has not ended yet (a prompt) stands at the end of the file without a line feed and grows there, so
that `tail -f` shows it at once and its rest completes it. Everything is handed to the system on arrival.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from io import FileIO
from pathlib import Path

from lab.console.transcript import Stamp


def stamp_text(stamp: Stamp, zero: float) -> str:
    """`2026-11-23T07:00:00.123456Z +12.345678`; `zero` is the run's beginning on `time.monotonic()`."""
    return f"{stamp.wall:%Y-%m-%dT%H:%M:%S.%f}Z {stamp.monotonic - zero:+.6f}"


def line_text(stamp: Stamp, zero: float, text: str) -> str:
    """A console line as the log shows it, without a line feed."""
    return f"{stamp_text(stamp, zero)} |{' ' if text else ''}{text}"


def mark_text(stamp: Stamp, zero: float, text: str) -> str:
    """A mark as the log shows it, without a line feed."""
    return f"{stamp_text(stamp, zero)} -- {' '.join(text.split())} --"


@dataclass(frozen=True)
class LogLine:
    """A line read back from a log: a console line, or a mark. Seconds count from the run's beginning."""

    at: datetime
    seconds: float
    text: str
    mark: bool = False


class Journal:
    """Writes both files; they are continued when they exist. Not thread-safe.

    Raises:
        OSError: from any method, when the disk refuses; later calls may succeed again.
    """

    def __init__(self, folder: Path, server: str, zero: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._zero = zero
        self._raw = FileIO(folder / f"{server}.raw", "a")
        self._log = FileIO(folder / f"{server}.log", "a+")
        if self._log.tell() and os.pread(self._log.fileno(), 1, self._log.tell() - 1) != b"\n":
            _write(self._log, b"\n")  # whoever wrote before did not end; a new recording begins a new line
        # Where the log stands: at a fresh line, within a console line, or behind a mark that cut one in two.
        self._where = "fresh"

    def raw(self, data: bytes) -> None:
        """Append bytes as they came."""
        _write(self._raw, data)

    def text(self, text: str, stamp: Stamp) -> None:
        """Append decoded text, which arrived at `stamp`."""
        out: list[str] = []
        for number, part in enumerate(text.split("\n")):
            if number:
                if self._where == "fresh":
                    out.append(line_text(stamp, self._zero, ""))
                out.append("" if self._where == "cut" else "\n")
                self._where = "fresh"
            if part:
                if self._where != "within":
                    bar = "| " if self._where == "fresh" else "|+"
                    out.append(f"{stamp_text(stamp, self._zero)} {bar}")
                out.append(part)
                self._where = "within"
        _write(self._log, "".join(out).encode())

    def mark(self, text: str, stamp: Stamp) -> None:
        """Append a mark as a line of its own."""
        cut = "\n" if self._where == "within" else ""
        if self._where == "within":
            self._where = "cut"
        _write(self._log, f"{cut}{mark_text(stamp, self._zero, text)}\n".encode())

    def close(self) -> None:
        """Close both files."""
        self._raw.close()
        self._log.close()


def read_log(file: Path) -> Iterator[LogLine]:
    """The lines of a log, the parts of a console line that a mark cut in two put together again.

    Raises:
        ValueError: a line is not of the form that `Journal` writes.
    """
    held: LogLine | None = None
    marks: list[LogLine] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), start=1):
        if not line:
            continue
        at, seconds, rest = [*line.split(" ", 2), "", ""][:3]
        if rest[:2] not in ("|", "| ", "|+", "--"):
            raise ValueError(f"{file}:{number}: not a line of a console log: {line[:80]!r}")
        seen = LogLine(datetime.fromisoformat(at), float(seconds), rest[2:])
        if rest.startswith("--"):
            marks.append(LogLine(seen.at, seen.seconds, rest.strip("- "), mark=True))
        elif rest.startswith("|+") and held is not None:
            held = LogLine(held.at, held.seconds, held.text + seen.text)
        else:
            if held is not None:
                yield held
            yield from marks
            held, marks = seen, []
    if held is not None:
        yield held
    yield from marks


def _write(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
