"""What an IPMI BMC says, in our words: sensors, event log and FRU, decoded by pyghmi.

pyghmi's decoders fetch what they need by themselves; here they fetch through our session, so that time
limits hold, and without its vendor modules, so that nothing unexpected is sent.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pyghmi import exceptions as pyghmi_errors
from pyghmi.ipmi import events, fru, sdr
from pyghmi.ipmi.command import Command
from pyghmi.ipmi.oem import generic

from lab.bmc.api import LogEntry, SensorReading
from lab.bmc.ipmi_session import CompletionCode, IpmiSession
from lab.deadline import Deadline

Health = Literal["ok", "warning", "critical", "unknown"]
_EARLIEST = 0x20000000
"""Timestamps below this count seconds since the BMC started (IPMI 2.0, 37.1), not since 1970."""
_UNSPECIFIED = 0xFFFFFFFF
_GET_SDR, _WHOLE_RECORD = (0x0A, 0x23), (0, 0xFF)


class Decoder(Command):  # type: ignore[misc]  # pyghmi is untyped
    """pyghmi's command surface over our session.

    Args:
        session: asks on its behalf.
        limit: seconds that one decode may take altogether.
    """

    def __init__(self, session: IpmiSession, limit: float) -> None:
        self._ask = session.ask
        self._deadline = Deadline.after(limit, "sensors and events are read")
        self._sdrcachedir = None
        self._sdr = None
        self._oem = generic.OEMHandler(None, None)
        self._oemknown = True
        self.bmc = ""
        # Shared by BMCs that look alike, in the whole process: another server's sensors would answer.
        sdr.shared_sdrs.clear()

    def raw_command(
        self, netfn: int, command: int, data: Sequence[int] = (), rslun: int = 0, **_: object
    ) -> dict[str, Any]:
        """Ask; a completion code is part of the answer."""
        if self._deadline.passed:
            raise pyghmi_errors.IpmiException(f"not within the time limit: {self._deadline.why}")
        try:
            answer = self._ask(netfn, command, tuple(data), lun=rslun)
        except CompletionCode as no:
            return {"code": no.code, "error": str(no), "data": b""}
        if (netfn, command) == _GET_SDR and tuple(data[4:6]) == _WHOLE_RECORD and len(answer) > 6:
            # ipmi_sim appends stray bytes, which pyghmi would take for a part of the sensor's name.
            answer = answer[: 2 + 5 + answer[6]]
        return {"code": 0, "netfn": netfn + 1, "command": command, "data": bytearray(answer)}

    def xraw_command(
        self, netfn: int, command: int, data: Sequence[int] = (), rslun: int = 0, **_: object
    ) -> dict[str, Any]:
        """Ask; a completion code is raised."""
        answer = self.raw_command(netfn, command, data, rslun)
        if "error" in answer:
            raise pyghmi_errors.IpmiException(answer["error"], answer["code"])
        return answer


def read_sensors(session: IpmiSession, limit: float) -> list[SensorReading]:
    """Every sensor that has a reading now."""
    return [
        SensorReading(
            name=str(reading.name),
            kind=str(reading.type),
            value=None if reading.value is None else round(float(reading.value), 6),
            unit=str(reading.units or "").strip(),
            health=_health(reading.health),
            states=tuple(str(state) for state in reading.states or ()),
        )
        for reading in Decoder(session, limit).get_sensor_data()
        if not reading.unavailable
    ]


def read_events(session: IpmiSession, limit: float) -> list[LogEntry]:
    """The system event log as the BMC keeps it, oldest first, with the BMC's own times."""
    deadline = Deadline.after(limit, "the event log is read")
    records: list[bytes] = []
    record = 0
    while record != 0xFFFF and not deadline.passed:
        try:
            answer = session.ask(0x0A, 0x43, (0, 0, *struct.pack("<H", record), 0, 0xFF))
        except CompletionCode as no:
            if no.code == 0xCB:  # "requested data not present": the log is empty
                break
            raise
        following = int.from_bytes(answer[:2], "little")
        records.append(answer[2:18])
        if following == record:
            break
        record = following
    if not records:
        return []
    decoder = Decoder(session, deadline.left)
    handler = events.EventHandler(decoder.init_sdr(), decoder)
    now = int.from_bytes(session.ask(0x0A, 0x48)[:4], "little")
    return [decode_event(handler, record, now) for record in records]


def decode_event(handler: Any, record: bytes, now: int = _UNSPECIFIED) -> LogEntry:  # noqa: ANN401  # untyped
    """One 16-byte SEL record (IPMI 2.0, 32.1) as a log entry; `now` is what the BMC's clock says."""
    padded = record.ljust(16, b"\x00")
    event = handler._sel_decode(padded)
    seconds = event.get("timecode")
    described = [str(event[part]) for part in ("component", "event", "event_data") if event.get(part)]
    if event.get("deassertion"):
        described.append("(deasserted)")
    return LogEntry(
        id=str(event.get("record_id", "")),
        at=None if seconds is None else _since_start(seconds, now) or timestamp(seconds),
        severity=_health(event["severity"]) if "severity" in event else "unknown",
        message=" ".join(described) or f"record type 0x{padded[2]:02x}: {padded[3:].hex()}",
    )


def timestamp(seconds: int) -> datetime | None:
    """The moment an IPMI timestamp means; None for one that is unspecified or counts from BMC start."""
    if seconds == _UNSPECIFIED or seconds < _EARLIEST:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def _since_start(seconds: int, now: int) -> datetime | None:
    """The moment of an entry of a clock that counts from the BMC's start, by its distance from `now`."""
    if seconds <= now < _EARLIEST:
        return datetime.now(UTC) - timedelta(seconds=now - seconds)
    return None


def decode_fru(raw: bytes) -> dict[str, str]:
    """The text fields of a FRU (Platform Management FRU Information Storage 1.0), named as pyghmi does.

    Unreadable areas are left out: an odd FRU says less, it does not stop anybody.
    """
    if not raw:
        return {}
    parsed = fru.FRU.__new__(fru.FRU)
    parsed.rawfru, parsed.sdr, parsed.info, parsed.databytes = raw, None, {}, bytearray(raw)
    if raw[0] == 1:
        for area in (parsed._parse_chassis, parsed._parse_board, parsed._parse_prod):
            try:
                area()
            except (pyghmi_errors.PyghmiException, LookupError, ValueError, TypeError, struct.error):
                continue
    return {name: value for name, value in parsed.info.items() if isinstance(value, str) and value}


def _health(value: int) -> Health:
    # pyghmi ORs together 1 (warning), 2 (critical) and 4 (failed).
    return "critical" if value >= 2 else "warning" if value else "ok"
