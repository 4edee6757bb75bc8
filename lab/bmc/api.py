"""The one protocol for BMCs and the words it speaks; providers implement it, callers know only this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

Power = Literal["on", "off"]
FirmwareMode = Literal["uefi", "bios"]


class BootDevice(StrEnum):
    """What a server can be told to boot from, once."""

    DISK = "disk"
    CD = "cd"
    PXE = "pxe"
    SETUP = "setup"
    NONE = "none"


class PowerAction(StrEnum):
    """One intent of power; a reset is sent at most once per intent."""

    ON = "on"
    OFF = "off"
    GRACEFUL_OFF = "graceful-off"
    RESET = "reset"
    NMI = "nmi"


class Outcome(StrEnum):
    """How a set ended. There is no "sent"; a refusal is raised as `BmcRefused`."""

    VERIFIED = "verified"
    UNVERIFIABLE = "accepted, but cannot be read back"


@dataclass(frozen=True)
class Answer:
    """What a set came to: the outcome, who answered, in how many tries, and the redacted raw evidence."""

    outcome: Outcome
    provider: str
    tries: int = 1
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class SensorReading:
    """One sensor; `value` is None for a discrete one, whose state is in `states`."""

    name: str
    kind: str
    value: float | None
    unit: str
    health: Literal["ok", "warning", "critical", "unknown"]
    states: tuple[str, ...] = ()


@dataclass(frozen=True)
class LogEntry:
    """One entry of the system event log, oldest first in a list."""

    id: str
    at: datetime | None
    severity: Literal["ok", "warning", "critical", "unknown"]
    message: str


@dataclass(frozen=True)
class DiskSeen:
    """A disk as the BMC reports it."""

    serial: str
    model: str = ""
    size: int | None = None
    wwn: str | None = None


@dataclass(frozen=True)
class Inventory:
    """What the BMC says the server is made of; empty tuples where it cannot say."""

    vendor: str = ""
    model: str = ""
    serial: str = ""
    firmware_mode: FirmwareMode | None = None
    macs: tuple[str, ...] = ()
    disks: tuple[DiskSeen, ...] = ()
    firmware: dict[str, str] = field(default_factory=dict)


class Bmc(Protocol):
    """A session with one server's BMC. All calls may raise `LabFault` or one of its kinds.

    `name` says which provider (or chain of providers) this is. Every call has a time limit of its own.
    """

    name: str

    def power(self) -> Power:
        """The power state as the BMC reads it now."""

    def set_power(self, action: PowerAction, *, deadline_s: float = 60.0) -> Answer:
        """Carry out one power action and wait until the state shows it.

        `ON` when on and `OFF` when off are verified without sending anything. A time-out is settled by
        reading the state, never by sending again.
        """

    def boot_once(self, device: BootDevice, mode: FirmwareMode) -> Answer:
        """Name the device of the next boot; `NONE` clears the override."""

    def boot_override(self) -> BootDevice | None:
        """The override now in force; None where the BMC cannot say."""

    def insert_media(self, url: str) -> Answer:
        """Attach a CD image by URL; whatever was attached is ejected first."""

    def eject_media(self) -> Answer:
        """Detach whatever CD image is attached."""

    def media(self) -> str | None:
        """URL of the attached CD image, or None."""

    def identify(self, on: bool) -> Answer:
        """Light or put out the identification lamp."""

    def sensors(self) -> list[SensorReading]:
        """Every sensor that can be read now."""

    def event_log(self) -> list[LogEntry]:
        """The system event log, oldest first."""

    def clear_event_log(self) -> Answer:
        """Empty the system event log."""

    def inventory(self) -> Inventory:
        """What the server is made of, as far as this BMC can say."""

    def clock(self) -> datetime | None:
        """The BMC's clock, timezone-aware; None where it has none."""

    def close(self) -> None:
        """End the session; never raises."""


class ByteStream(Protocol):
    """A console as a stream of bytes; closed for good when `read` raises `ConsoleLost`."""

    def fileno(self) -> int:
        """A descriptor that `select` finds readable when `read` has something."""

    def read(self) -> bytes:
        """What has arrived; empty when nothing has. Never blocks."""

    def write(self, data: bytes) -> None:
        """Send bytes to the server."""

    def close(self) -> None:
        """Close; never raises."""


Opener = Callable[[], ByteStream]
