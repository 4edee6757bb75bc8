"""The one protocol for BMCs and the words it speaks; providers implement it, callers know only this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

from lab.bmc.bill import FirmwareMode, Inventory
from lab.bmc.capability import Capability, Identity

Power = Literal["on", "off"]
Attribute = str | int | bool | None


class BootDevice(StrEnum):
    """What a server can be told to boot from, once."""

    DISK = "disk"
    CD = "cd"
    PXE = "pxe"
    HTTP = "http"
    SETUP = "setup"
    NONE = "none"


class PowerAction(StrEnum):
    """One intent of power; a reset is sent at most once per intent."""

    ON = "on"
    OFF = "off"
    GRACEFUL_OFF = "graceful-off"
    RESET = "reset"
    CYCLE = "cycle"
    """Off and on again by the BMC itself; where it cannot, off and then on."""
    NMI = "nmi"


class Outcome(StrEnum):
    """How a set ended. There is no "sent"; a refusal is raised as `BmcRefused`."""

    VERIFIED = "verified"
    PENDING = "accepted, takes effect at the next boot"
    UNVERIFIABLE = "accepted, but cannot be read back"


@dataclass(frozen=True)
class Answer:
    """What a set came to: the outcome, who answered, in how many tries, and the redacted raw evidence."""

    outcome: Outcome
    provider: str
    tries: int = 1
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Thresholds:
    """Where a reading begins to be a warning (non-critical), critical or fatal, in the sensor's unit."""

    lower_fatal: float | None = None
    lower_critical: float | None = None
    lower_warning: float | None = None
    upper_warning: float | None = None
    upper_critical: float | None = None
    upper_fatal: float | None = None


@dataclass(frozen=True)
class SensorReading:
    """One sensor; `value` is None for a discrete one, whose state is in `states`."""

    name: str
    kind: str
    value: float | None
    unit: str
    health: Literal["ok", "warning", "critical", "unknown"]
    states: tuple[str, ...] = ()
    thresholds: Thresholds = Thresholds()


@dataclass(frozen=True)
class LogEntry:
    """One entry of the system event log, oldest first in a list."""

    id: str
    at: datetime | None
    severity: Literal["ok", "warning", "critical", "unknown"]
    message: str


@dataclass(frozen=True)
class LogMark:
    """The event log as it stood at some moment; `new_since` tells what came afterwards.

    It holds the entries themselves rather than a number or a time: numbers begin again when a log is
    cleared, and a BMC's clock may jump.
    """

    seen: frozenset[LogEntry]

    def new(self, log: Sequence[LogEntry]) -> list[LogEntry]:
        """The entries of `log` that were not there at the mark, in the order of `log`."""
        return [entry for entry in log if entry not in self.seen]


@dataclass(frozen=True)
class Bios:
    """BIOS attributes by the vendor's own names: as they are, and what waits for the next boot."""

    attributes: dict[str, Attribute] = field(default_factory=dict)
    pending: dict[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class Tpm:
    """A trusted platform module."""

    interface: str
    firmware: str = ""
    enabled: bool | None = None


@dataclass(frozen=True)
class Security:
    """Secure Boot and TPMs; `secure_boot` is None where the BMC cannot say."""

    secure_boot: bool | None = None
    mode: str = ""
    tpms: tuple[Tpm, ...] = ()


@dataclass(frozen=True)
class SolSettings:
    """Serial over LAN at the BMC; `bit_rate` in bit/s, None where it cannot be read."""

    enabled: bool
    bit_rate: int | None = None


@dataclass(frozen=True)
class SessionSeen:
    """A session that is open at the BMC."""

    user: str
    peer: str = ""
    kind: str = ""
    ours: bool = False


@dataclass(frozen=True)
class MediaSource:
    """An image for a virtual CD drive.

    `url` is http, https, nfs (`nfs://HOST/PATH`) or cifs (`cifs://HOST/SHARE/PATH`); the account is for
    those that want one. `slot` pins the drive (its Redfish Id); None takes the first that boots.
    """

    url: str
    slot: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)


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

    def boot_once(self, device: BootDevice, mode: FirmwareMode, *, uri: str | None = None) -> Answer:
        """Name the device of the next boot; `NONE` clears the override. `uri` goes with `HTTP` only."""

    def boot_always(self, device: BootDevice, mode: FirmwareMode) -> Answer:
        """Name the device of every boot from now on; `NONE` clears the override."""

    def did_not_boot(self, device: BootDevice) -> bool:
        """Told that the console proved the named device did not boot, whatever the BMC says.

        True where there is another way to name it, which `boot_once` takes from now on (facts/bmc.md Q16).
        """

    def boot_override(self) -> BootDevice | None:
        """The override now in force; None where the BMC cannot say."""

    def insert_media(self, source: MediaSource) -> Answer:
        """Attach a CD image; whatever was attached is ejected first."""

    def eject_media(self) -> Answer:
        """Detach whatever CD image is attached."""

    def media(self) -> str | None:
        """URL of the attached CD image, or None."""

    def sol(self) -> SolSettings:
        """Whether Serial over LAN is enabled, and how fast it is."""

    def enable_sol(self) -> Answer:
        """Enable Serial over LAN; nothing is sent where it is."""

    def identify(self, on: bool) -> Answer:
        """Light or put out the identification lamp."""

    def sensors(self) -> list[SensorReading]:
        """Every sensor that can be read now."""

    def power_draw(self) -> float | None:
        """Watts the server takes now; None where the BMC has no such reading."""

    def event_log(self) -> list[LogEntry]:
        """The system event log, oldest first."""

    def clear_event_log(self) -> Answer:
        """Empty the system event log."""

    def inventory(self) -> Inventory:
        """What the server is made of, as far as this BMC can say."""

    def bios(self) -> Bios:
        """BIOS attributes, and those that wait for the next boot."""

    def set_bios(self, changes: Mapping[str, Attribute]) -> Answer:
        """Ask for these attributes from the next boot on; nothing is sent for those that hold already."""

    def security(self) -> Security:
        """Secure Boot and TPMs."""

    def clock(self) -> datetime | None:
        """The BMC's clock, timezone-aware; None where it has none."""

    def reset_bmc(self, *, deadline_s: float = 300.0) -> Answer:
        """Restart the BMC itself, once, and wait until it answers again; the server keeps running."""

    def sessions(self) -> list[SessionSeen]:
        """Who is logged in at the BMC, as far as it tells."""

    def identity(self) -> Identity:
        """Who the BMC says it is."""

    def capabilities(self) -> list[Capability]:
        """What this BMC can do, found out without changing anything; one entry per area and provider."""

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
