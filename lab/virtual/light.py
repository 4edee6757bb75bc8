"""A server with nothing behind it: its state changes as a server's would, but no QEMU runs.

For benchmarks and tests that need many BMCs and no guests:

>>> face = RedfishFace(LightChassis(server, ServerFolder(path)), None, SessionTable(accounts), str(uuid))
>>> await RedfishService(face).open("127.0.1.1", 8000, None)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

from lab.bmc.api import BootDevice, Power, PowerAction
from lab.errors import LabFault
from lab.rack.model import Server
from lab.virtual.board import Media, Override
from lab.virtual.folder import ServerFolder
from lab.virtual.settings import FirmwareSettings


class LightChassis:
    """The board of one such server (`lab.virtual.board.Board`); `folder` has to exist only for virtual media.

    Attributes:
        obeys: whether its system shuts down when the power button is pressed.
        boots: what each power-on and reset booted from, oldest first.
    """

    def __init__(self, server: Server, folder: ServerFolder) -> None:
        self.server = server
        self.folder = folder
        self.override = Override()
        self.media: Media | None = None
        self.identify = False
        self.settings = FirmwareSettings(server.firmware)
        self.last_reset: datetime | None = None
        self.acts: Counter[str] = Counter()
        self.changed: list[Callable[[], None]] = []
        self.obeys = True
        self.boots: list[BootDevice] = []
        self._power: Power = "off"

    @property
    def power(self) -> Power:
        """The power state now."""
        return self._power

    async def act(self, action: PowerAction) -> None:
        """Carry out one power action.

        Raises:
            LabFault: the server is off and the action needs it on.
        """
        if action is PowerAction.ON:
            if self._power == "off":
                self.acts[action] += 1
                self._boot()
            return
        if self._power == "off":
            if action is PowerAction.OFF:
                return
            raise self._is_off(action)
        self.acts[action] += 1
        if action is PowerAction.OFF or (action is PowerAction.GRACEFUL_OFF and self.obeys):
            self._switch("off")
        elif action is PowerAction.RESET:
            self._boot()

    async def cycle(self) -> None:
        """Off and on again, as one action."""
        self.acts[PowerAction.CYCLE] += 1
        self._boot()

    async def graceful_restart(self) -> None:
        """Restart, if its system obeys."""
        if self._power == "off":
            raise self._is_off("graceful-restart")
        self.acts["graceful-restart"] += 1
        if self.obeys:
            self._boot()

    async def set_override(self, override: Override) -> None:
        """Name what the next boot (`once`) or every boot goes to."""
        self.override = override
        self._notify()

    def set_identify(self, on: bool) -> None:
        """Light or put out the identification lamp."""
        self.identify = on
        self._notify()

    async def insert(self, media: Media) -> None:
        """Put an image into the CD drive in place of what is there."""
        await self.eject()
        self.media = media
        self._notify()

    async def eject(self) -> None:
        """Empty the CD drive."""
        if self.media is not None:
            (self.folder.path / self.media.file).unlink(missing_ok=True)
        self.media = None
        self._notify()

    def _boot(self) -> None:
        self.settings.take()
        self.last_reset = datetime.now(UTC)
        self.boots.append(self.override.device)
        if self.override.once:
            self.override = Override()
        self._switch("on")

    def _switch(self, power: Power) -> None:
        self._power = power
        self._notify()

    def _notify(self) -> None:
        for listener in self.changed:
            listener()

    def _is_off(self, action: str) -> LabFault:
        return LabFault(
            f"is off; {action} needs it on", server=self.server.name, next_step="power it on first"
        )
