"""The system event log (IPMI 2.0, chapters 31 and 32); one record at a time, decoded by pyghmi.

A log changes while it is read: entries are deleted, reservations are lost. What is there is read; what has
gone is passed over.
"""

from __future__ import annotations

import struct
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from pyghmi.ipmi import events
from pyghmi.ipmi.private import constants

from lab.bmc.api import LogEntry
from lab.bmc.ipmi.lan import STUMBLES
from lab.bmc.ipmi.sdr import Asks, Repository
from lab.bmc.ipmi.sensors import health
from lab.bmc.ipmi.session import CompletionCode, TooSlow
from lab.deadline import Deadline

_STORAGE = 0x0A
_RECORD = 16
_END = 0xFFFF
_WHOLE, _PIECE = 0xFF, 8
_GONE = {0xC9, 0xCB, 0xCD}
"""Codes by which a BMC says that it has not that record, or not any more."""
_TOO_LONG = {0xC7, 0xC8, 0xCA}
_LOST_RESERVATION, _ERASING = 0xC5, 0x81
_TRIES = 5
_LOOK_EVERY_S = 0.5
_EARLIEST = 0x20000000
"""Timestamps below this count seconds since the BMC started (IPMI 2.0, 37.1), not since 1970."""
UNSPECIFIED = 0xFFFFFFFF


class Start:
    """When a BMC whose clock counts from its start was started.

    Worked out at each reading, but kept while it agrees within a few seconds: an entry must not get another
    time, and seem to be another entry, each time the log is read.
    """

    _SAME_S = 5.0

    def __init__(self) -> None:
        self._at: datetime | None = None

    def known(self, uptime: int) -> datetime:
        """The moment of the start, given what the clock says now."""
        fresh = (datetime.now(UTC) - timedelta(seconds=uptime)).replace(microsecond=0)
        if self._at is None or abs((fresh - self._at).total_seconds()) > self._SAME_S:
            self._at = fresh
        return self._at


def read_records(session: Asks, deadline: Deadline) -> list[bytes]:
    """The 16-byte records, oldest first."""
    records: list[bytes] = []
    seen: set[int] = set()
    record = 0
    while record != _END and record not in seen:
        TooSlow.after(deadline)
        seen.add(record)
        answer = _entry(session, record)
        if answer is None:
            # Deleted under us: those after it are found by walking on from the last one that is there.
            if record == 0 or not records:
                break
            record = _after(session, records[-1], seen)
            continue
        records.append(answer[2 : 2 + _RECORD])
        record = int.from_bytes(answer[:2], "little")
    return records


def clear(session: Asks, once: Asks) -> None:
    """Reserve and clear (31.4, 31.9) and wait until it is erased; a lost reservation is taken again.

    Args:
        session: asks what is harmless.
        once: sends what is not, as one datagram.

    Raises:
        CompletionCode: the BMC said no.
    """
    for attempt in range(_TRIES):
        reservation = session.ask(_STORAGE, 0x42)[:2].ljust(2, b"\x00")
        try:
            once.ask(_STORAGE, 0x47, (*reservation, *b"CLR", 0xAA))
        except CompletionCode as no:
            # The BMC says that it did not clear: an entry came in between.
            if no.code != _LOST_RESERVATION or attempt == _TRIES - 1:
                raise
        else:
            return


def count(session: Asks) -> int:
    """Entries in the log, by Get SEL Info (31.2)."""
    return int.from_bytes(session.ask(_STORAGE, 0x40)[1:3], "little")


def wait_for_at_most(session: Asks, entries: int, deadline: Deadline) -> int:
    """How many entries there are, as soon as there are no more than `entries`, or at the deadline."""
    while (left := count(session)) > entries and not deadline.passed:
        # Erasing takes some BMCs seconds, and nothing tells when it is done.
        time.sleep(min(_LOOK_EVERY_S, deadline.left))
    return left


def decode(
    record: bytes, repository: Repository, now: int = UNSPECIFIED, start: Start | None = None
) -> LogEntry:
    """One record (32.1 to 32.3) as a log entry.

    Args:
        record: 16 bytes; a shorter one is filled up.
        repository: names of the sensors.
        now: what the BMC's clock says.
        start: of the BMC's clock, where that counts from there.
    """
    padded = record.ljust(_RECORD, b"\x00")[:_RECORD]
    try:
        event = dict(_handler(repository)._sel_decode(padded))
    except STUMBLES:
        event = {"record_id": int.from_bytes(padded[:2], "little")}
    described = [str(event[part]) for part in ("component", "event", "event_data") if event.get(part)]
    if event.get("deassertion"):
        described.append("(deasserted)")
    undecoded = not event.get("event")
    if undecoded:
        described.append(f"record type 0x{padded[2]:02x}: {padded[3:].hex()}")
    severity = event.get("severity")
    return LogEntry(
        id=str(event.get("record_id", "")),
        at=_moment(event.get("timecode"), now, start or Start()),
        severity=health(severity) if isinstance(severity, int) and not undecoded else "unknown",
        message=" ".join(described),
    )


def timestamp(seconds: int) -> datetime | None:
    """The moment an IPMI timestamp means; None for one that is unspecified or counts from BMC start."""
    if seconds == UNSPECIFIED or seconds < _EARLIEST:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def _moment(seconds: int | None, now: int, start: Start) -> datetime | None:
    if seconds is None:
        return None
    if seconds <= now < _EARLIEST:
        return start.known(now) + timedelta(seconds=seconds)
    return timestamp(seconds)


def _handler(repository: Repository) -> Any:  # noqa: ANN401  # pyghmi is untyped
    """pyghmi's decoder without its vendor modules, so that nothing unexpected is sent."""
    plain = SimpleNamespace(
        get_event_constants=lambda: constants,
        _oem=SimpleNamespace(process_event=lambda *_: None),
    )
    return events.EventHandler(repository, plain)


def _entry(session: Asks, record: int) -> bytes | None:
    """Id of the record that follows, and the record; None where it has gone."""
    for _ in range(_TRIES):
        try:
            answer = session.ask(_STORAGE, 0x43, (0, 0, *struct.pack("<H", record), 0, _WHOLE))
        except CompletionCode as no:
            if no.code in _GONE:
                return None
            if no.code in _TOO_LONG:
                return _in_pieces(session, record)
            if no.code in (_LOST_RESERVATION, _ERASING):
                continue
            raise
        return answer if len(answer) >= 2 + _RECORD else None
    return None


def _in_pieces(session: Asks, record: int) -> bytes | None:
    """For a BMC that cannot give a record whole; that needs a reservation (31.5)."""
    for _ in range(_TRIES):
        reservation = session.ask(_STORAGE, 0x42)[:2].ljust(2, b"\x00")
        following, data = b"", b""
        try:
            for offset in range(0, _RECORD, _PIECE):
                asked = (*reservation, *struct.pack("<H", record), offset, _PIECE)
                answer = session.ask(_STORAGE, 0x43, asked)
                following, data = answer[:2], data + answer[2 : 2 + _PIECE]
        except CompletionCode as no:
            if no.code == _LOST_RESERVATION:
                continue
            return None
        return following + data if len(data) == _RECORD else None
    return None


def _after(session: Asks, last: bytes, seen: set[int]) -> int:
    """The record that follows the last one read, as the log is now; the end where that is no other."""
    answer = _entry(session, int.from_bytes(last[:2], "little"))
    following = _END if answer is None else int.from_bytes(answer[:2], "little")
    return _END if following in seen else following
