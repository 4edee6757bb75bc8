"""Several ways to one BMC behind one protocol: each operation goes to the first provider able to do it."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from lab.bmc.answered import Answered, Call
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
from lab.bmc.provider import Provider
from lab.bmc.target import Unsupported
from lab.deadline import Deadline
from lab.errors import BmcBusy, BmcRefused, BmcUnreachable, LabError

_AVOID_S = 30.0
"""Seconds for which a provider that did not answer is asked last."""
AWAY_S = 120.0
"""Seconds for which a BMC that has answered before, and does not now, is taken to restart."""
_AWAY_EVERY_S = 2.0
_JOURNAL = 400
"""Calls that are remembered."""
_T = TypeVar("_T")


class BmcChain:
    """A BMC with one or more providers, in order of preference.

    The next provider is asked when one cannot do a thing, or cannot be reached (or has no session left)
    before anything was sent. A change that was sent is never sent again by another provider; a read may be.
    A BMC that has answered before is waited for where no provider reaches it: it may be restarting.
    A provider of last resort is asked only when every other one was unreachable.

    Args:
        server: its name in the rack file.
        providers: the one to ask first, first.
        media_slot: the drive for virtual media where a caller names none.

    Attributes:
        answered: for each operation, by name, the provider that last answered it.
        journal: the last calls, oldest first: who answered, in how many tries, with what evidence.
    """

    def __init__(self, server: str, providers: Sequence[Provider], *, media_slot: str | None = None) -> None:
        if not providers:
            raise ValueError("a chain needs a provider")
        self.server = server
        self.name = "+".join(provider.name for provider in providers)
        self.answered: dict[str, str] = {}
        self.journal: deque[Answered] = deque(maxlen=_JOURNAL)
        self.providers = tuple(providers)
        self._media_slot = media_slot
        self._avoid_until: dict[str, float] = {}
        self._given_up = False

    def power(self) -> Power:
        """The power state as the BMC reads it now."""
        return self._read("power", lambda bmc: bmc.power())

    def set_power(self, action: PowerAction, *, deadline_s: float = 60.0) -> Answer:
        """Carry out one power action and wait until the state shows it."""
        return self._change(f"power {action}", lambda bmc: bmc.set_power(action, deadline_s=deadline_s))

    def boot_once(self, device: BootDevice, mode: FirmwareMode, *, uri: str | None = None) -> Answer:
        """Name the device of the next boot."""
        return self._change(f"boot once from {device}", lambda bmc: bmc.boot_once(device, mode, uri=uri))

    def boot_always(self, device: BootDevice, mode: FirmwareMode) -> Answer:
        """Name the device of every boot from now on."""
        return self._change(f"boot always from {device}", lambda bmc: bmc.boot_always(device, mode))

    def did_not_boot(self, device: BootDevice) -> bool:
        """Tell the provider that named the device; whether it has another way."""
        named = self.answered.get(f"boot once from {device}")
        return any(one.did_not_boot(device) for one in self.providers if one.name == named)

    def boot_override(self) -> BootDevice | None:
        """The override now in force."""
        return self._read("boot override", lambda bmc: bmc.boot_override())

    def insert_media(self, source: MediaSource) -> Answer:
        """Attach a CD image."""
        if source.slot is None and self._media_slot is not None:
            source = replace(source, slot=self._media_slot)
        return self._change("insert media", lambda bmc: bmc.insert_media(source))

    def eject_media(self) -> Answer:
        """Detach whatever CD image is attached."""
        return self._change("eject media", lambda bmc: bmc.eject_media())

    def media(self) -> str | None:
        """URL of the attached CD image, or None."""
        return self._read("media", lambda bmc: bmc.media())

    def sol(self) -> SolSettings:
        """Whether Serial over LAN is enabled."""
        return self._read("SOL settings", lambda bmc: bmc.sol())

    def enable_sol(self) -> Answer:
        """Enable Serial over LAN."""
        return self._change("enable SOL", lambda bmc: bmc.enable_sol())

    def identify(self, on: bool) -> Answer:
        """Light or put out the identification lamp."""
        return self._change("identify", lambda bmc: bmc.identify(on))

    def sensors(self) -> list[SensorReading]:
        """Every sensor that can be read now."""
        return self._read("sensors", lambda bmc: bmc.sensors())

    def power_draw(self) -> float | None:
        """Watts the server takes now."""
        return self._read("power draw", lambda bmc: bmc.power_draw())

    def event_log(self) -> list[LogEntry]:
        """The system event log, oldest first."""
        return self._read("event log", lambda bmc: bmc.event_log())

    def clear_event_log(self) -> Answer:
        """Empty the system event log."""
        return self._change("clear event log", lambda bmc: bmc.clear_event_log())

    def inventory(self) -> Inventory:
        """What the server is made of."""
        return self._read("inventory", lambda bmc: bmc.inventory())

    def bios(self) -> Bios:
        """BIOS attributes."""
        return self._read("BIOS attributes", lambda bmc: bmc.bios())

    def set_bios(self, changes: Mapping[str, Attribute]) -> Answer:
        """Ask for BIOS attributes from the next boot on."""
        return self._change("set BIOS attributes", lambda bmc: bmc.set_bios(changes))

    def security(self) -> Security:
        """Secure Boot and TPMs."""
        return self._read("security", lambda bmc: bmc.security())

    def reset_bmc(self, *, deadline_s: float = 300.0) -> Answer:
        """Restart the BMC itself."""
        return self._change("reset BMC", lambda bmc: bmc.reset_bmc(deadline_s=deadline_s))

    def sessions(self) -> list[SessionSeen]:
        """Who is logged in."""
        return self._read("sessions", lambda bmc: bmc.sessions())

    def identity(self) -> Identity:
        """Who the BMC says it is."""
        return self._read("identity", lambda bmc: bmc.identity())

    def capabilities(self) -> list[Capability]:
        """What each provider can do; one that cannot be reached is left out (`lab.bmc.probe` names it)."""
        found: list[Capability] = []
        for provider in self.providers:
            with contextlib.suppress(BmcUnreachable, BmcBusy):
                provider.connect()
                found += provider.capabilities()
        return found

    def clock(self) -> datetime | None:
        """The BMC's clock."""
        return self._read("clock", lambda bmc: bmc.clock())

    def close(self) -> None:
        """End every session."""
        for provider in self.providers:
            provider.close()

    def _read(self, what: str, ask: Callable[[Provider], _T]) -> _T:
        return self._first(what, ask, again=True)

    def _change(self, what: str, ask: Callable[[Provider], _T]) -> _T:
        return self._first(what, ask, again=False)

    def _first(self, what: str, ask: Callable[[Provider], _T], *, again: bool) -> _T:
        """The first answer; `again` where asking another provider after a silence harms nobody."""
        call = Call(what)
        away: Deadline | None = None
        while True:
            absent: list[BmcUnreachable | BmcBusy] = []
            cannot: list[str] = []
            known = False
            for provider in self._in_order():
                if provider.last_resort and (cannot or any(isinstance(one, BmcBusy) for one in absent)):
                    continue
                before: int | None = None
                asked = False
                try:
                    provider.connect()
                    before, asked = provider.changes_sent, True
                    answer = ask(provider)
                except Unsupported as reason:
                    cannot.append(f"{provider.name}: {reason}")
                    call.passed_over(provider, f"cannot: {reason}")
                except (BmcUnreachable, BmcBusy) as absence:
                    self._avoid_until[provider.name] = time.monotonic() + _AVOID_S
                    unsent = before is not None and provider.changes_sent == before
                    if asked and not again and not unsent:
                        self.journal.append(call.failed(provider, absence))
                        raise
                    absent.append(absence)
                    answered_before = provider.name in self.answered.values() and not provider.last_resort
                    known = known or (isinstance(absence, BmcUnreachable) and answered_before)
                    call.passed_over(provider, absence.message)
                except LabError as error:
                    self.journal.append(call.failed(provider, error))
                    raise
                else:
                    self._given_up = False
                    self.answered[what] = provider.name
                    self.journal.append(call.answered(provider, answer))
                    return answer
            if known and not self._given_up and (away is None or not away.passed):
                away = away or Deadline.after(AWAY_S, "the BMC to come back")
                # Nobody tells when it is: knocking is all there is.
                time.sleep(_AWAY_EVERY_S)
                continue
            self._given_up = self._given_up or away is not None
            ending = absent[0] if absent else self._nobody_can(what, cannot)
            self.journal.append(call.failed(None, ending))
            raise ending

    def _nobody_can(self, what: str, cannot: Sequence[str]) -> BmcRefused:
        return BmcRefused(
            f"no provider can do this: {what}",
            server=self.server,
            tried="; ".join(cannot),
            next_step="give the server another BMC endpoint in the rack file, or do without",
        )

    def _in_order(self) -> list[Provider]:
        now = time.monotonic()

        def place(provider: Provider) -> tuple[bool, bool]:
            return provider.last_resort, self._avoid_until.get(provider.name, 0.0) > now

        return sorted(self.providers, key=place)
