"""The IPMI provider: power, boot-once, identify, sensors, SEL, FRU and clock over RMCP+.

Commands are named after their sections in the IPMI 2.0 specification (28 chassis, 31 SEL, 34 FRU).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

from lab.bmc import ipmi_decode, power
from lab.bmc.api import (
    Answer,
    BootDevice,
    LogEntry,
    Outcome,
    Power,
    PowerAction,
    SensorReading,
)
from lab.bmc.bill import FirmwareMode, Inventory
from lab.bmc.capability import Capability
from lab.bmc.ipmi_session import CompletionCode, IpmiSession, NoAnswer
from lab.bmc.provider import Provider
from lab.bmc.target import ALIVE_S, Account, Target, Unsupported
from lab.deadline import Deadline

_CHASSIS, _APP, _STORAGE = 0x00, 0x06, 0x0A
_CONTROL = {
    PowerAction.OFF: 0,
    PowerAction.ON: 1,
    PowerAction.RESET: 3,
    PowerAction.NMI: 4,
    PowerAction.GRACEFUL_OFF: 5,
}
_SELECTOR = {
    BootDevice.NONE: 0x00,
    BootDevice.PXE: 0x04,
    BootDevice.DISK: 0x08,
    BootDevice.CD: 0x14,
    BootDevice.SETUP: 0x18,
}
_FLAGS_VALID, _EFI = 0x80, 0x20
_UNKNOWN_COMMAND = {0xC1, 0xC2, 0xCC, 0x80}
"""Completion codes by which a BMC says that it does not have a command, or not with this argument."""
_READ_S = 60.0
"""Seconds that reading all sensors or the whole event log may take."""
_FRU_PIECE = 32
"""Bytes per FRU read: ipmi_sim and small BMCs refuse the 224 that pyghmi asks for."""


class IpmiBmc(Provider):
    """A server's BMC by IPMI 2.0 over LAN."""

    name = "ipmi"

    def __init__(self, target: Target, host: str, port: int, account: Account) -> None:
        super().__init__(target)
        self._session = IpmiSession(target, host, port, account)

    def connect(self) -> None:
        """Log in unless there is a session that is alive; raises `LabFault` or one of its kinds."""
        self._session.connect()
        if self._session.idle > ALIVE_S:
            with self._words("asking whether it is there"):
                self._session.ask(_APP, 0x01)

    def power(self) -> Power:
        """Get Chassis Status (28.2)."""
        with self._words("reading the power state"):
            return "on" if self._session.ask(_CHASSIS, 0x01)[0] & 1 else "off"

    def set_power(self, action: PowerAction, *, deadline_s: float = 60.0) -> Answer:
        """Chassis Control (28.3), one datagram at most; then the state is read until it shows."""
        return power.carry_out(self, action, self._control, Deadline.after(deadline_s, f"power {action}"))

    def boot_once(self, device: BootDevice, mode: FirmwareMode, *, uri: str | None = None) -> Answer:
        """Set System Boot Options, parameter 5 (28.12), and read it back (28.13)."""
        flags = 0 if device is BootDevice.NONE else _FLAGS_VALID | (_EFI if mode == "uefi" else 0)
        with self._words(f"boot once from {device}"):
            self._keep_flags_beyond_a_minute()
            self._session.ask(_CHASSIS, 0x08, (5, flags, _SELECTOR[device], 0, 0, 0))
            now_flags, selector = self._boot_flags()
        written, seen = f"{flags:02x} {_SELECTOR[device]:02x}", f"{now_flags:02x} {selector:02x}"
        evidence = (f"boot flags set to {written}, read as {seen}",)
        if not now_flags & _FLAGS_VALID:
            known = device is BootDevice.NONE
            return Answer(Outcome.VERIFIED if known else Outcome.UNVERIFIABLE, self.name, 1, evidence)
        if device is BootDevice.NONE and selector == 0:
            return Answer(Outcome.VERIFIED, self.name, 1, evidence)
        if selector != _SELECTOR[device]:
            raise self._target.refused(f"boot once from {device}", f"it keeps another device; {evidence[0]}")
        same = (now_flags ^ flags) & _EFI == 0
        return Answer(Outcome.VERIFIED if same else Outcome.UNVERIFIABLE, self.name, 1, evidence)

    def boot_override(self) -> BootDevice | None:
        """The device in boot parameter 5; None where the flags read as invalid."""
        with self._words("reading the boot override"):
            flags, selector = self._boot_flags()
        if not flags & _FLAGS_VALID:
            return None
        return next((device for device, value in _SELECTOR.items() if value == selector), None)

    def identify(self, on: bool) -> Answer:
        """Chassis Identify (28.5), verified where the chassis status tells the lamp's state."""
        with self._words("identify"):
            self._session.ask(_CHASSIS, 0x04, (0, 1) if on else (0,))
            status = self._session.ask(_CHASSIS, 0x01)
        told = len(status) > 2 and bool(status[2] & 0x40)
        lit = len(status) > 2 and bool(status[2] & 0x30)
        if told and lit != on:
            raise self._target.refused("identify", f"the lamp stays {'on' if lit else 'off'}")
        outcome = Outcome.VERIFIED if told else Outcome.UNVERIFIABLE
        return Answer(outcome, self.name, 1, (f"chassis status {status.hex()}",))

    def sensors(self) -> list[SensorReading]:
        """Every sensor of the SDR repository that has a reading."""
        with self._words("reading sensors"):
            return ipmi_decode.read_sensors(self._session, _READ_S)

    def event_log(self) -> list[LogEntry]:
        """The SEL, oldest first."""
        with self._words("reading the event log"):
            return ipmi_decode.read_events(self._session, _READ_S)

    def clear_event_log(self) -> Answer:
        """Reserve and clear the SEL (31.4, 31.9), then count what is left."""
        with self._words("clearing the event log"):
            reservation = self._session.ask(_STORAGE, 0x42)[:2]
            self._session.ask(_STORAGE, 0x47, (*reservation, *b"CLR", 0xAA))
            left = int.from_bytes(self._session.ask(_STORAGE, 0x40)[1:3], "little")
        # Many BMCs note in the cleared log that it was cleared.
        if left > 1:
            raise self._target.refused("clearing the event log", f"{left} entries are still there")
        return Answer(Outcome.VERIFIED, self.name, 1, (f"{left} entries left",))

    def inventory(self) -> Inventory:
        """Maker, model and serial from FRU 0, firmware version from Get Device ID (20.1)."""
        with self._words("reading the inventory"):
            device = self._session.ask(_APP, 0x01)
            fields = ipmi_decode.decode_fru(self._read_fru())

        def first(*names: str) -> str:
            return next((fields[name] for name in names if name in fields), "")

        return Inventory(
            vendor=first("Manufacturer", "Board manufacturer"),
            model=first("Product name", "Model", "Board product name"),
            serial=first("Serial Number", "Chassis serial number", "Board serial number"),
            firmware={"BMC": f"{device[2] & 0x7F}.{device[3]:02x}"} if len(device) > 3 else {},
        )

    def clock(self) -> datetime | None:
        """Get SEL Time (31.10), with the UTC offset where the BMC knows it (31.11a), else as UTC."""
        with self._words("reading the clock"):
            seconds = int.from_bytes(self._session.ask(_STORAGE, 0x48)[:4], "little")
            moment = ipmi_decode.timestamp(seconds)
            try:
                minutes = struct.unpack("<h", self._session.ask(_STORAGE, 0x5C)[:2])[0]
            except (CompletionCode, struct.error):
                return moment
        # 0x07ff is "unspecified"; SEL time is local time, ahead of UTC by the offset.
        if moment is None or not -1440 < minutes < 1440:
            return moment
        return moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))

    def capabilities(self) -> list[Capability]:
        """What this BMC can do by IPMI."""
        return []

    def close(self) -> None:
        """Log out."""
        self._session.close()

    def _control(self, action: PowerAction) -> str | None:
        try:
            self._session.ask_once(_CHASSIS, 0x02, (_CONTROL[action],))
        except NoAnswer as silence:
            return str(silence)
        except CompletionCode as no:
            if no.code in _UNKNOWN_COMMAND:
                raise Unsupported(f"power {action}: {no}") from no
            raise self._target.refused(f"power {action}", str(no)) from no
        return None

    def _keep_flags_beyond_a_minute(self) -> None:
        """Ask that the flags outlive the 60 s after which they lapse; OpenBMC does not know how."""
        try:
            self._session.ask(_CHASSIS, 0x08, (3, 8))
        except CompletionCode:
            return

    def _boot_flags(self) -> tuple[int, int]:
        answer = self._session.ask(_CHASSIS, 0x09, (5, 0, 0))
        if len(answer) < 4 or answer[1] & 0x80:  # the parameter itself is marked invalid or locked
            return 0, 0
        return answer[2], answer[3] & 0x3C

    def _read_fru(self) -> bytes:
        try:
            size = int.from_bytes(self._session.ask(_STORAGE, 0x10, (0,))[:2], "little")
        except CompletionCode:
            return b""
        raw = bytearray()
        while len(raw) < size:
            piece = min(_FRU_PIECE, size - len(raw))
            try:
                answer = self._session.ask(_STORAGE, 0x11, (0, *struct.pack("<H", len(raw)), piece))
            except CompletionCode:
                break
            if len(answer) < 2:
                break
            raw += answer[1 : 1 + answer[0]]
        return bytes(raw)

    @contextmanager
    def _words(self, tried: str) -> Iterator[None]:
        """Turn completion codes and what pyghmi's decoders throw into our errors."""
        with self._session.stumbles(tried):
            try:
                yield
            except CompletionCode as no:
                if no.code in _UNKNOWN_COMMAND:
                    raise Unsupported(f"{tried}: {no}") from no
                raise self._target.refused(tried, str(no)) from no
