"""A server's chassis: QEMU as a process that is there when the power is on and gone when it is off.

Both BMC faces act on the same chassis, so what one sets the other reads. The boot override is carried out
with live `bootindex` changes: QEMU fixes the order of a boot at reset, so changing it back right after the
reset (or, at power-on, before the first instruction) makes "once" true for whoever causes the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lab.bmc.api import BootDevice, Power, PowerAction
from lab.deadline import Deadline
from lab.errors import LabFault
from lab.rack.model import Server
from lab.virtual import accel, hardware
from lab.virtual.board import Media, Override
from lab.virtual.folder import ServerFolder
from lab.virtual.network import Network
from lab.virtual.qemu import Qemu
from lab.virtual.serial_hub import SerialHub
from lab.virtual.settings import FirmwareSettings

_GRACE_SECONDS = 300.0
"""How long a graceful restart waits for the system to shut itself down; then it stays as it is."""
_log = logging.getLogger(__name__)


@dataclass
class _Running:
    qemu: Qemu
    taken: Override
    watcher: asyncio.Task[None] = field(init=False)
    setup: asyncio.Task[None] | None = None


class Chassis:
    """One server of the rack. Methods may raise `LabFault`; several faces may call them at once."""

    def __init__(
        self, server: Server, folder: ServerFolder, hub: SerialHub, networks: dict[str, Network], rack: str
    ) -> None:
        self.server = server
        self.folder = folder
        self.ipmi_port: int | None = None
        self.environment: dict[str, str] = dict(os.environ)
        self.override = Override()
        self.media: Media | None = None
        self.identify = False
        self.changed: list[Callable[[], None]] = []
        self.settings = FirmwareSettings(server.firmware, folder.path / "firmware-settings.json")
        self.last_reset: datetime | None = None
        self.acts: Counter[str] = Counter()
        """What was really done to the server, by whichever BMC face asked; for judges."""
        self._hub = hub
        self._networks = networks
        self._rack = rack
        self._running: _Running | None = None
        self._restart: Deadline | None = None
        self._switch = asyncio.Lock()
        self._background: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def power(self) -> Power:
        """The power state now."""
        return "off" if self._running is None else "on"

    @property
    def _wants_cold_start(self) -> bool:
        """Whether a reset is not enough for the next boot, because QEMU or UEFI variables have to change."""
        return bool(self.settings.pending) or self.override.device is BootDevice.HTTP

    @property
    def pid(self) -> int | None:
        """QEMU's process id; None while off."""
        return None if self._running is None else self._running.qemu.pid

    async def act(self, action: PowerAction) -> None:
        """Carry out one power action; returns when it is done (`GRACEFUL_OFF`: when the button is pressed).

        Raises:
            LabFault: QEMU does not start or does not answer, or the server is off and the action needs it on.
        """
        async with self._switch:
            if action is PowerAction.ON:
                if self._running is None:
                    self.acts[action] += 1
                    await self._start()
            elif action is PowerAction.OFF:
                self.acts[action] += self._running is not None
                await self._stop()
            elif self._running is None:
                raise LabFault(
                    f"is off; {action} needs it on", server=self.server.name, next_step="power it on first"
                )
            else:
                self.acts[action] += 1
                if action is PowerAction.RESET and self._wants_cold_start:
                    await self._stop()
                    await self._start()
                    return
                name = {
                    PowerAction.GRACEFUL_OFF: "system_powerdown",
                    PowerAction.RESET: "system_reset",
                    PowerAction.NMI: "inject-nmi",
                }[action]
                await self._execute(name)

    async def cycle(self) -> None:
        """Off and on again, as one action."""
        async with self._switch:
            self.acts[PowerAction.CYCLE] += 1
            await self._stop()
            await self._start()

    async def graceful_restart(self) -> None:
        """Press the power button, and power on again once the system has shut itself down.

        Returns when the button is pressed. A system that does not listen within five minutes stays as it is.

        Raises:
            LabFault: the server is off, or QEMU does not answer.
        """
        async with self._switch:
            await self._execute("system_powerdown")
            self.acts["graceful-restart"] += 1
            self._restart = Deadline.after(_GRACE_SECONDS, "the system to shut itself down")

    async def set_override(self, override: Override) -> None:
        """Name what the next boot (`once`) or every boot goes to; `BootDevice.NONE` clears it."""
        async with self._switch:
            self.override = override
            await self._apply_order(override.device)
        self._notify()

    def set_identify(self, on: bool) -> None:
        """Light or put out the identification lamp."""
        self.identify = on
        self._notify()

    async def insert(self, media: Media) -> None:
        """Put an image into the CD drive in place of what is there; a running server sees the change."""
        async with self._switch:
            if self._running is not None:
                await self._execute("eject", id=hardware.CD, force=True)
                await self._execute(
                    "blockdev-change-medium", id=hardware.CD, filename=media.file, format="raw"
                )
            previous, self.media = self.media, media
            self._forget_file(previous)
        self._notify()

    async def eject(self) -> None:
        """Empty the CD drive, even where the running system has locked it."""
        async with self._switch:
            if self._running is not None:
                await self._execute("eject", id=hardware.CD, force=True)
            previous, self.media = self.media, None
            self._forget_file(previous)
        self._notify()

    async def screendump(self, file: Path) -> None:
        """Write the server's screen to `file` as PNG."""
        await self._execute("screendump", filename=str(file), format="png")

    async def close(self) -> None:
        """Power off for good."""
        async with self._switch:
            self._closed = True
            await self._stop()

    def _forget_file(self, media: Media | None) -> None:
        if media is not None and (self.media is None or self.media.file != media.file):
            (self.folder.path / media.file).unlink(missing_ok=True)

    def _notify(self) -> None:
        for listener in self.changed:
            listener()

    async def _start(self) -> None:
        hardware.prepare(self.server, self.folder)
        self.settings.take()
        hardware.set_http_boot(self.server, self.folder, self.override)
        power_on = hardware.PowerOn(
            self._rack,
            accel.choose(),
            self.ipmi_port,
            self.media.file if self.media else None,
            self.settings.current,
        )
        cables = {
            nic.mac: self._networks[nic.network or ""].plug() for nic in self.server.nics if not nic.boot
        }
        qemu = await Qemu.start(
            self.server,
            self.folder,
            power_on,
            hardware.boot_order(self.server, self.override.device),
            await self._hub.plug(),
            cables,
            self.environment,
        )
        self._running = _Running(qemu, taken=self.override)
        self._running.watcher = asyncio.create_task(self._watch(self._running))
        try:
            await self._boots()
            await qemu.execute("cont")
        except LabFault:
            await self._stop()
            raise
        self.last_reset = datetime.now(UTC)
        _log.info("%s: power on, QEMU %s", self.server.name, qemu.pid)
        self._notify()

    async def _stop(self) -> None:
        self._restart = None
        if self._running is not None:
            running = self._running
            await running.qemu.end()
            await running.watcher

    async def _watch(self, running: _Running) -> None:
        """Follow one QEMU from power-on to its end, whoever ends it."""
        following = [
            asyncio.create_task(self._follow_resets(running)),
            asyncio.create_task(self._follow_firmware(running)),
        ]
        code = await running.qemu.wait()
        for task in (*following, running.setup):
            if task is not None:
                task.cancel()
        await self._hub.drained()
        if code not in (0, -15, -9):
            _log.error("%s: QEMU ended with %s: %s", self.server.name, code, running.qemu.last_words)
        _log.info("%s: power off", self.server.name)
        self._running = None
        self._notify()
        restart, self._restart = self._restart, None
        if restart is not None and not restart.passed:
            self._background = asyncio.create_task(self._start_again())

    async def _start_again(self, instead_of: _Running | None = None) -> None:
        try:
            async with self._switch:
                if instead_of is not None and self._running is instead_of:
                    await self._stop()
                if self._running is None and not self._closed:
                    await self._start()
        except LabFault as fault:
            _log.error("%s: start after a shut-down or reset: %s", self.server.name, fault)

    async def _follow_resets(self, running: _Running) -> None:
        """Note which override each reset has fixed; under UEFI the boot has begun with it."""
        async for _ in running.qemu.resets():
            if self.override.device is BootDevice.HTTP:  # the server reset itself while that was due
                self._background = asyncio.create_task(self._start_again(running))
                return
            running.taken = self.override
            self.last_reset = datetime.now(UTC)
            if self.server.firmware == "uefi":
                await self._boots()

    async def _follow_firmware(self, running: _Running) -> None:
        async for _ in running.qemu.boots():
            await self._boots()

    async def _boots(self) -> None:
        """A boot has begun with the order that the last reset fixed: an override for one boot is spent."""
        running = self._running
        if running is None or running.taken is not self.override:  # set since: meant for the boot after this
            return
        if running.setup is not None:
            running.setup.cancel()
        if self.override.device is BootDevice.SETUP:
            running.setup = asyncio.create_task(running.qemu.press_setup_key())
        if self.override.once and self.override.device is not BootDevice.NONE:
            self.override = Override()
            with contextlib.suppress(LabFault):  # a server that goes off right now takes its order with it
                await self._apply_order(BootDevice.NONE)
            self._notify()

    async def _apply_order(self, device: BootDevice) -> None:
        if self._running is None:
            return
        await self._running.qemu.set_boot_order(hardware.boot_order(self.server, device))

    async def _execute(self, command: str, **arguments: object) -> None:
        if self._running is None:
            raise LabFault(
                f"is off; {command} needs it on", server=self.server.name, next_step="power it on first"
            )
        await self._running.qemu.execute(command, **arguments)
