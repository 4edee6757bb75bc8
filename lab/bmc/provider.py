"""What every provider is: a `Bmc` that logs in when told to, and says of each thing whether it can do it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import NoReturn

from lab.bmc.api import (
    Answer,
    Attribute,
    Bios,
    BootDevice,
    LogEntry,
    MediaSource,
    Power,
    PowerAction,
    Security,
    SensorReading,
    SessionSeen,
    SolSettings,
)
from lab.bmc.bill import FirmwareMode, Inventory
from lab.bmc.capability import Capability, Identity
from lab.bmc.target import Target, Unsupported


class Provider(ABC):
    """One way to reach a BMC. What a subclass does not override, it cannot do.

    Any call may raise `Unsupported`, before anything was changed, besides what `Bmc` allows.
    """

    name: str
    last_resort: bool = False
    """Asked only where every other provider is unreachable, since what it does is harsher (a PDU)."""

    def __init__(self, target: Target) -> None:
        self._target = target

    @property
    def changes_sent(self) -> int | None:
        """Changes that went out to the BMC so far; None where they are not counted."""
        return None

    @abstractmethod
    def connect(self) -> None:
        """Log in unless there is a session that is alive; raises `LabFault` or one of its kinds."""

    @abstractmethod
    def close(self) -> None:
        """End the session; never raises."""

    @abstractmethod
    def power(self) -> Power:
        """The power state as it reads now."""

    @abstractmethod
    def set_power(self, action: PowerAction, *, deadline_s: float = 60.0) -> Answer:
        """Carry out one power action and wait until the state shows it."""

    @abstractmethod
    def capabilities(self) -> list[Capability]:
        """What this provider can do on this BMC, found out without changing anything."""

    def evidence(self) -> tuple[str, ...]:
        """What went over the wire since this was last asked, oldest first, redacted; for the report."""
        return ()

    def boot_once(self, device: BootDevice, mode: FirmwareMode, *, uri: str | None = None) -> Answer:
        """Name the device of the next boot."""
        self._cannot("a boot override")

    def boot_always(self, device: BootDevice, mode: FirmwareMode) -> Answer:
        """Name the device of every boot from now on."""
        self._cannot("a lasting boot override")

    def did_not_boot(self, device: BootDevice) -> bool:
        """Told that the named device did not boot; whether there is another way to name it."""
        return False

    def boot_override(self) -> BootDevice | None:
        """The override now in force."""
        self._cannot("a boot override")

    def insert_media(self, source: MediaSource) -> Answer:
        """Attach a CD image."""
        self._cannot("virtual media")

    def eject_media(self) -> Answer:
        """Detach whatever CD image is attached."""
        self._cannot("virtual media")

    def media(self) -> str | None:
        """URL of the attached CD image."""
        self._cannot("virtual media")

    def sol(self) -> SolSettings:
        """Whether Serial over LAN is enabled."""
        self._cannot("Serial over LAN settings")

    def enable_sol(self) -> Answer:
        """Enable Serial over LAN."""
        self._cannot("Serial over LAN settings")

    def identify(self, on: bool) -> Answer:
        """Light or put out the identification lamp."""
        self._cannot("an identification lamp")

    def sensors(self) -> list[SensorReading]:
        """Every sensor that can be read now."""
        self._cannot("sensors")

    def power_draw(self) -> float | None:
        """Watts the server takes now."""
        self._cannot("a power reading")

    def event_log(self) -> list[LogEntry]:
        """The system event log, oldest first."""
        self._cannot("an event log")

    def clear_event_log(self) -> Answer:
        """Empty the system event log."""
        self._cannot("an event log")

    def inventory(self) -> Inventory:
        """What the server is made of."""
        self._cannot("an inventory")

    def bios(self) -> Bios:
        """BIOS attributes."""
        self._cannot("BIOS attributes")

    def set_bios(self, changes: Mapping[str, Attribute]) -> Answer:
        """Ask for BIOS attributes from the next boot on."""
        self._cannot("BIOS attributes")

    def security(self) -> Security:
        """Secure Boot and TPMs."""
        self._cannot("Secure Boot and TPM state")

    def clock(self) -> datetime | None:
        """The BMC's clock."""
        self._cannot("a clock")

    def reset_bmc(self, *, deadline_s: float = 300.0) -> Answer:
        """Restart the BMC itself."""
        self._cannot("a restart of the BMC")

    def sessions(self) -> list[SessionSeen]:
        """Who is logged in."""
        self._cannot("a list of sessions")

    def identity(self) -> Identity:
        """Who the BMC says it is."""
        self._cannot("an identity")

    def _cannot(self, what: str) -> NoReturn:
        raise Unsupported(f"{what} over {self.name}")
