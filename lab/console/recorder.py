"""The recorder: one owner per console, from before power-on until the lease ends."""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
from collections.abc import Sequence
from pathlib import Path

from lab.bmc.api import ByteStream, Opener
from lab.console.api import MarkKind, Match, NotSeen, OnMark, Pattern, Position
from lab.console.record import Record, now
from lab.console.search import Found, Search, failure, match_of
from lab.deadline import Deadline
from lab.errors import BmcCredentials, ConsoleLost, LabError, LabFault

_BACK_OFF = (0.1, 0.2, 0.5, 1.0, 2.0)
_TICK = 1.0
_SETTLE = 0.3
_TAIL = 20
_CLOSE_LIMIT = 15.0


class Console:
    """The console of one server: records all of it, and waits for patterns in it.

    A thread reads whether or not anybody waits. What arrives is in `SERVER.raw` and `SERVER.log` at once
    (`lab.console.journal` has the format). A lost stream is opened again, ever slower up to every 2 s, and
    the log says from when to when and why. One Console records one lease; it is opened once.

    Args:
        server: whose console; names the files.
        opener: opens the stream; called again after each loss.
        folder: where the files go.
        zero: the run's beginning on `time.monotonic()`; offsets in the log count from it.
        on_mark: told of every mark, from any thread; must be quick and never raise.

    Raises:
        OSError: the files cannot be made.
    """

    def __init__(
        self, server: str, opener: Opener, folder: Path, *, zero: float, on_mark: OnMark | None = None
    ) -> None:
        self.server = server
        self._opener = opener
        self._record = Record(server, folder, zero, on_mark)
        self._stream: ByteStream | None = None
        self._lost: str | None = "not opened yet"
        self._writing = threading.Lock()
        self._stopping = threading.Event()
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name=f"console {server}", daemon=True)

    # ---- the lease ------------------------------------------------------------------------------------

    def open(self, deadline: Deadline) -> None:
        """Open the stream and start recording.

        Raises:
            ConsoleLost: it cannot be opened by the deadline.
            BmcCredentials, ConfigError: it can never be opened so; not tried again.
        """
        self._stream, self._lost = self._connect(deadline), None
        self._record.mark("note", "recording begins")
        self._thread.start()

    def close(self) -> None:
        """Take in what has already arrived, then end the recording; the files are complete. Never raises."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        if self._thread.ident is None:
            self._finish()
            return
        with contextlib.suppress(OSError):  # the thread may have failed and taken the pipe with it
            os.write(self._wake_write, b".")
        self._thread.join(_CLOSE_LIMIT)  # longer only while a stream is being opened; it then ends by itself

    # ---- what it said ---------------------------------------------------------------------------------

    @property
    def silent_for(self) -> float:
        """Seconds since the last byte arrived, or since the recording began."""
        return self._record.silent_for

    @property
    def lost(self) -> str | None:
        """Why the stream is disconnected at this moment; None while it is connected."""
        return self._lost

    @property
    def log(self) -> Path:
        """The log for people."""
        return self._record.log

    @property
    def incomplete(self) -> str | None:
        """Why the files lack something, where the disk refused it; the log has a gap line there."""
        return self._record.incomplete

    def position(self) -> Position:
        """The end of the text as of now; take it before causing what is then waited for."""
        return self._record.position()

    def text(self, since: Position, until: Position | None = None) -> str:
        """The decoded text between two positions, the end by default; marks are not in it."""
        return self._record.text(since, until)

    def tail(self, count: int = _TAIL) -> tuple[str, ...]:
        """The last lines, oldest first, the growing one included."""
        return self._record.tail(count)

    def lines_between(self, start: float, end: float) -> str:
        """The log between two moments on `time.monotonic()`, marks included, as `SERVER.log` shows it."""
        return self._record.lines_between(start, end)

    def seen(
        self, patterns: Sequence[Pattern], since: Position, until: Position | None = None
    ) -> tuple[Match, ...]:
        """The first match of each pattern between two positions, in the order of the text; no waiting."""
        return self._record.seen(patterns, since, until)

    # ---- talking to it --------------------------------------------------------------------------------

    def note(self, text: str, kind: MarkKind = "note") -> None:
        """Write a mark into the log, such as `power on sent`."""
        self._record.mark(kind, text)

    def write(self, data: bytes) -> None:
        """Send bytes to the server.

        Raises:
            ConsoleLost: there is no stream at this moment.
        """
        stream = self._stream
        if stream is None:
            raise ConsoleLost(
                f"cannot type on the console: {self._lost}",
                server=self.server,
                next_step="wait for the console to come back, or look at the console server or BMC",
            )
        with self._writing:
            stream.write(data)

    # ---- waiting --------------------------------------------------------------------------------------

    def expect(
        self,
        wanted: Pattern | Sequence[Pattern],
        deadline: Deadline,
        *,
        failures: Sequence[Pattern],
        since: Position | None = None,
    ) -> Match:
        """Wait until one of the wanted patterns is seen, watching for failures all the while.

        What comes first in the text wins, also in text that is there already. `since` is where to begin,
        by default now. Of several failures on one line the one listed first is raised.

        Raises:
            LabFault, InstallFailure, HypervisorFailure: a failure pattern was seen; its blame chooses.
            NotSeen: nothing of all that by the deadline.
            ConsoleLost: the recording has ended.
        """
        patterns = (wanted,) if isinstance(wanted, Pattern) else tuple(wanted)
        record = self._record
        search = Search(patterns, failures, (since or record.position()).offset)
        while True:
            with record.changed:
                end, ended = record.transcript.end, record.ended
                window = search.window(record.transcript)
            late = deadline.passed
            found = search.look(window)  # not under the lock: recording goes on
            if found is not None:
                break
            if ended or late:
                raise self._over(patterns, deadline) if ended else self._not_seen(patterns, deadline)
            with record.changed:
                while record.transcript.end == end and not record.ended and not deadline.passed:
                    record.changed.wait(deadline.left)
        if found.pattern in search.failures:
            raise self._failure(search, found, deadline)
        with record.changed:
            return match_of(found, record.transcript, search.since)

    def _failure(self, search: Search, found: Found, deadline: Deadline) -> LabError:
        record = self._record
        with record.changed:  # the rest of the line that proves it may still be on its way
            record.changed.wait_for(
                lambda: record.transcript.line_complete(found.start) or record.ended, _SETTLE
            )
            line = record.transcript.line_at(found.start)
            around = record.transcript.lines_around(found.start, before=_TAIL - 6, after=5)
        pattern = search.most_telling(found, line)
        return failure(pattern, line, server=self.server, tried=deadline.why, console=around)

    def _not_seen(self, patterns: Sequence[Pattern], deadline: Deadline) -> NotSeen:
        names = tuple(pattern.name for pattern in patterns)
        return NotSeen(
            self.server, names, deadline.why, tail=self.tail(), silent_for=self.silent_for, lost=self._lost
        )

    def _over(self, patterns: Sequence[Pattern], deadline: Deadline) -> ConsoleLost:
        return ConsoleLost(
            f"the recording ended before {' or '.join(pattern.name for pattern in patterns)} was seen",
            server=self.server,
            tried=deadline.why,
            console=self.tail(),
            next_step="wait only during the lease; while it lasts, look for the recorder's traceback",
        )

    # ---- recording ------------------------------------------------------------------------------------

    def _connect(self, deadline: Deadline) -> ByteStream:
        waits = iter(_BACK_OFF)
        pause = 0.0
        while True:
            try:
                return self._opener()
            except BmcCredentials:
                raise
            except (LabFault, OSError) as error:
                pause = next(waits, pause)
                if deadline.left <= pause or self._stopping.wait(pause):
                    raise ConsoleLost(
                        f"the console cannot be opened: {getattr(error, 'message', error)}",
                        server=self.server,
                        tried=deadline.why,
                        next_step=getattr(error, "next_step", "check the console's address in the rack file"),
                    ) from error

    def _run(self) -> None:
        try:
            stream = self._stream
            while stream is not None and not self._stopping.is_set():
                reason = self._pump(stream)
                if reason is not None:
                    stream = self._reconnect(stream, reason)
        finally:
            self._finish()

    def _pump(self, stream: ByteStream) -> str | None:
        """Read until asked to stop (None) or until the stream is lost (why)."""
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(stream, selectors.EVENT_READ)
                selector.register(self._wake_read, selectors.EVENT_READ)
                while not self._stopping.is_set():
                    selector.select(_TICK)
                    self._read(stream)
                drain = Deadline.after(0.5, "what has arrived already")
                while self._read(stream) and not drain.passed:
                    continue
        except (LabFault, OSError, ValueError) as error:  # ValueError: select of a descriptor that was closed
            return str(getattr(error, "message", error)) or type(error).__name__
        return None

    def _read(self, stream: ByteStream) -> bool:
        data = stream.read()
        if data:
            self._record.take(data)
        events = getattr(stream, "events", None)  # only some transports know what happened to the stream
        for event in events() if events else ():
            self._happened(event)
        return bool(data)

    def _happened(self, event: str) -> None:
        if event.startswith("gap:"):
            self._record.cut()
            self._record.mark("gap", event)
        else:
            self._record.mark("note", event)

    def _reconnect(self, stream: ByteStream, reason: str) -> ByteStream | None:
        """A fresh stream, or None when asked to stop before there is one."""
        since = now()
        self._stream, self._lost = None, reason
        stream.close()
        self._record.cut()
        self._record.mark("gap", f"gap begins: {reason}; connecting again")
        fresh: ByteStream | None = None
        while fresh is None and not self._stopping.is_set():
            with contextlib.suppress(LabError):
                fresh = self._connect(Deadline.after(60.0, "the console to come back"))
            if fresh is None:
                self._stopping.wait(_BACK_OFF[-1])
        self._stream, self._lost = fresh, None if fresh else reason
        until = now()
        span = f"{since.wall:%Y-%m-%dT%H:%M:%S.%f}Z to {until.wall:%Y-%m-%dT%H:%M:%S.%f}Z"
        length = until.monotonic - since.monotonic
        self._record.mark("gap", f"gap: {span} ({length:.3f} s), what was said then may be lost: {reason}")
        return fresh

    def _finish(self) -> None:
        stream, self._stream = self._stream, None
        self._lost = "the recording has ended"
        self._record.end(
            "recording ends" if self._stopping.is_set() else "recording ends: the recorder failed"
        )
        if stream is not None:
            stream.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
