"""A server that does not do as its BMC says: power that lags or lies, media that detach, dead overrides."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from lab.bmc.api import BootDevice, Power, PowerAction
from lab.errors import LabFault
from lab.rack.model import Server
from lab.virtual.board import Board, Media, Override
from lab.virtual.faults import Faults
from lab.virtual.folder import ServerFolder
from lab.virtual.settings import FirmwareSettings

_SWITCHES: dict[PowerAction, Power] = {
    PowerAction.ON: "on",
    PowerAction.OFF: "off",
    PowerAction.GRACEFUL_OFF: "off",
}
_log = logging.getLogger(__name__)


class FaultyBoard:
    """A `Board` between the BMC faces and the real one; without a fault in force it only passes on.

    Attributes:
        ignores_graceful: whether the power button does nothing, as without an agent in the system (Q27).
    """

    def __init__(self, inner: Board, faults: Faults) -> None:
        self.inner = inner
        self.ignores_graceful = False
        self._faults = faults
        self._mask: Power | None = None
        self._unmask: asyncio.TimerHandle | None = None
        self._dead: tuple[Override, Override] | None = None
        self._detaching: set[asyncio.Task[None]] = set()

    @property
    def server(self) -> Server:
        """The rack file's entry."""
        return self.inner.server

    @server.setter
    def server(self, server: Server) -> None:
        self.inner.server = server

    @property
    def folder(self) -> ServerFolder:
        """The server's folder."""
        return self.inner.folder

    @folder.setter
    def folder(self, folder: ServerFolder) -> None:
        self.inner.folder = folder

    @property
    def override(self) -> Override:
        """What the next boots are said to come from."""
        if self._dead is not None and self._dead[0] is self.inner.override:
            return self._dead[1]
        return self.inner.override

    @override.setter
    def override(self, override: Override) -> None:
        self.inner.override = override

    @property
    def media(self) -> Media | None:
        """What is in the CD drive."""
        return self.inner.media

    @media.setter
    def media(self, media: Media | None) -> None:
        self.inner.media = media

    @property
    def identify(self) -> bool:
        """Whether the lamp is lit."""
        return self.inner.identify

    @identify.setter
    def identify(self, on: bool) -> None:
        self.inner.identify = on

    @property
    def settings(self) -> FirmwareSettings:
        """The firmware settings."""
        return self.inner.settings

    @settings.setter
    def settings(self, settings: FirmwareSettings) -> None:
        self.inner.settings = settings

    @property
    def last_reset(self) -> datetime | None:
        """When the server last started."""
        return self.inner.last_reset

    @last_reset.setter
    def last_reset(self, at: datetime | None) -> None:
        self.inner.last_reset = at

    @property
    def acts(self) -> Counter[str]:
        """What was really done."""
        return self.inner.acts

    @acts.setter
    def acts(self, acts: Counter[str]) -> None:
        self.inner.acts = acts

    @property
    def changed(self) -> list[Callable[[], None]]:
        """Who is told of changes."""
        return self.inner.changed

    @changed.setter
    def changed(self, listeners: list[Callable[[], None]]) -> None:
        self.inner.changed = listeners

    @property
    def power(self) -> Power:
        """The power state that the BMC shows."""
        return self._mask or self.inner.power

    async def act(self, action: PowerAction) -> None:
        """Carry out one power action, or only say so."""
        if action is PowerAction.GRACEFUL_OFF and self.ignores_graceful:
            self._faults.log.note("Q27", action)
            return
        wanted, before = _SWITCHES.get(action), self.inner.power
        fault = None
        if wanted is not None and wanted != before:
            fault = self._faults.take("power-lags", action)
        if fault is not None and fault.chosen_way == "lies":
            self._show(wanted, fault.lasting_s)
            return
        if fault is not None:
            self._show(before, fault.lasting_s)
        await self.inner.act(action)

    async def cycle(self) -> None:
        """Off and on again."""
        await self.inner.cycle()

    async def graceful_restart(self) -> None:
        """Restart, if the system obeys."""
        if not self.ignores_graceful:
            await self.inner.graceful_restart()

    async def set_override(self, override: Override) -> None:
        """Name what the next boots come from."""
        self._dead = None
        await self.inner.set_override(override)

    async def set_dead_override(self) -> None:
        """Let the override in force read as it does, and the server boot from its disk all the same."""
        shown = self.inner.override
        real = dataclasses.replace(shown, device=BootDevice.DISK, uri=None)
        self._dead = (real, shown)
        await self.inner.set_override(real)

    def set_identify(self, on: bool) -> None:
        """The lamp."""
        self.inner.set_identify(on)

    async def insert(self, media: Media) -> None:
        """Put an image into the CD drive, perhaps not for long."""
        await self.inner.insert(media)
        fault = self._faults.take("media-detaches", media.url)
        if fault is not None:
            task = asyncio.create_task(self._detach(media, fault.lasting_s))
            self._detaching.add(task)
            task.add_done_callback(self._detaching.discard)

    async def eject(self) -> None:
        """Empty the CD drive."""
        await self.inner.eject()

    def close(self) -> None:
        """End what was to come later."""
        for task in self._detaching:
            task.cancel()
        if self._unmask is not None:
            self._unmask.cancel()

    def _show(self, power: Power | None, seconds: float) -> None:
        if self._unmask is not None:
            self._unmask.cancel()
        self._mask = power
        self._unmask = asyncio.get_running_loop().call_later(seconds, self._tell_the_truth)
        self._notify()

    def _tell_the_truth(self) -> None:
        self._mask = None
        self._notify()

    def _notify(self) -> None:
        for listener in self.inner.changed:
            listener()

    async def _detach(self, media: Media, seconds: float) -> None:
        # The fault itself: a drive that lets go after a while.
        await asyncio.sleep(seconds)
        if self.inner.media is media:
            with contextlib.suppress(LabFault):
                await self.inner.eject()
            _log.info("%s: media detached by itself", self.server.name)
