"""What a BMC face sees of a server: its power, boot override, CD drive, lamp and firmware settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lab.bmc.api import BootDevice, Power, PowerAction
from lab.rack.model import Server
from lab.virtual.folder import ServerFolder
from lab.virtual.settings import FirmwareSettings


@dataclass(frozen=True)
class Override:
    """What the next boots are told to boot from; `once` is forgotten at the next reset or power-on."""

    device: BootDevice = BootDevice.NONE
    once: bool = True
    uri: str | None = None
    """What `BootDevice.HTTP` fetches."""


@dataclass(frozen=True)
class Media:
    """The image in the CD drive: where it was fetched from, and the file, relative to the server's folder."""

    url: str
    file: str


class Board(Protocol):
    """A server under a BMC: a `Chassis` with QEMU behind it, or a `LightChassis` with nothing behind it.

    Methods may raise `LabFault`; several faces may call them at once.
    """

    server: Server
    folder: ServerFolder
    override: Override
    media: Media | None
    identify: bool
    settings: FirmwareSettings
    last_reset: datetime | None
    acts: Counter[str]
    changed: list[Callable[[], None]]

    @property
    def power(self) -> Power:
        """The power state now."""

    async def act(self, action: PowerAction) -> None:
        """Carry out one power action; `GRACEFUL_OFF` returns when the button is pressed."""

    async def cycle(self) -> None:
        """Off and on again, as one action."""

    async def graceful_restart(self) -> None:
        """Press the power button, and power on again once the system has shut itself down."""

    async def set_override(self, override: Override) -> None:
        """Name what the next boot (`once`) or every boot goes to; `BootDevice.NONE` clears it."""

    def set_identify(self, on: bool) -> None:
        """Light or put out the identification lamp."""

    async def insert(self, media: Media) -> None:
        """Put an image into the CD drive in place of what is there; a running server sees the change."""

    async def eject(self) -> None:
        """Empty the CD drive, even where the running system has locked it."""
