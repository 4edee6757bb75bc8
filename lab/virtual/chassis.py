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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab.bmc.api import BootDevice, Power, PowerAction
from lab.deadline import Deadline
from lab.errors import LabFault
from lab.rack.model import Server
from lab.virtual import accel, hardware
from lab.virtual.folder import ServerFolder
from lab.virtual.network import Network
from lab.virtual.qemu import Qemu
from lab.virtual.serial_hub import SerialHub

_SEABIOS_READS_BOOT_ORDER = b"boot order:"
_SETUP_KEY_SECONDS = 20.0
_SETUP_KEY_EVERY_S = 0.2
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Override:
    """What the next boots are told to boot from; `once` is forgotten at the next reset or power-on."""

    device: BootDevice = BootDevice.NONE
    once: bool = True


@dataclass(frozen=True)
class Media:
    """The image in the CD drive: where it was fetched from, and the file, relative to the server's folder."""

    url: str
    file: str


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
        self._hub = hub
        self._networks = networks
        self._rack = rack
        self._running: _Running | None = None
        self._switch = asyncio.Lock()

    @property
    def power(self) -> Power:
        """The power state now."""
        return "off" if self._running is None else "on"

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
                    await self._start()
            elif action is PowerAction.OFF:
                await self._stop()
            elif self._running is None:
                raise LabFault(
                    f"is off; {action} needs it on", server=self.server.name, next_step="power it on first"
                )
            else:
                name = {
                    PowerAction.GRACEFUL_OFF: "system_powerdown",
                    PowerAction.RESET: "system_reset",
                    PowerAction.NMI: "inject-nmi",
                }[action]
                await self._execute(name)

    async def cycle(self) -> None:
        """Off and on again, as one action."""
        async with self._switch:
            await self._stop()
            await self._start()

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
            await self._stop()

    def _forget_file(self, media: Media | None) -> None:
        if media is not None and (self.media is None or self.media.file != media.file):
            (self.folder.path / media.file).unlink(missing_ok=True)

    def _notify(self) -> None:
        for listener in self.changed:
            listener()

    async def _start(self) -> None:
        hardware.prepare(self.server, self.folder)
        power_on = hardware.PowerOn(
            self._rack, accel.choose(), self.ipmi_port, self.media.file if self.media else None
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
        _log.info("%s: power on, QEMU %s", self.server.name, qemu.pid)
        self._notify()

    async def _stop(self) -> None:
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

    async def _follow_resets(self, running: _Running) -> None:
        """Note which override each reset has fixed; under UEFI the boot has begun with it."""
        async for _ in running.qemu.resets():
            running.taken = self.override
            if self.server.firmware == "uefi":
                await self._boots()

    async def _follow_firmware(self, running: _Running) -> None:
        """Keep SeaBIOS's own log, and take its word for when a boot has begun.

        SeaBIOS follows up a reset with one to three hard ones of its own before it starts (seen with 1.16.2
        under TCG), so a reset alone does not yet spend an override.
        """
        with self.folder.firmware_log.open("wb", buffering=0) as log:
            async for line in running.qemu.firmware_lines():
                log.write(line)
                if line.strip() == _SEABIOS_READS_BOOT_ORDER:
                    await self._boots()

    async def _boots(self) -> None:
        """A boot has begun with the order that the last reset fixed: an override for one boot is spent."""
        running = self._running
        if (
            running is None or running.taken is not self.override
        ):  # set since then: meant for the boot after this
            return
        if running.setup is not None:
            running.setup.cancel()
        if self.override.device is BootDevice.SETUP:
            running.setup = asyncio.create_task(self._enter_setup())
        if self.override.once and self.override.device is not BootDevice.NONE:
            self.override = Override()
            with contextlib.suppress(LabFault):  # a server that goes off right now takes its order with it
                await self._apply_order(BootDevice.NONE)
            self._notify()

    async def _enter_setup(self) -> None:
        """Press the set-up key while the firmware starts; in OVMF's set-up itself F2 does nothing."""
        deadline = Deadline.after(_SETUP_KEY_SECONDS, "the firmware to take the set-up key")
        with contextlib.suppress(LabFault):
            while not deadline.passed:
                await self._execute("send-key", keys=[{"type": "qcode", "data": "f2"}])
                await asyncio.sleep(_SETUP_KEY_EVERY_S)

    async def _apply_order(self, device: BootDevice) -> None:
        if self._running is None:
            return
        order = hardware.boot_order(self.server, device)
        # QEMU refuses an index that is taken, so all are freed first.
        for index in (dict.fromkeys(order, -1), order):
            for name, place in index.items():
                await self._execute(
                    "qom-set", path=f"/machine/peripheral/{name}", property="bootindex", value=place
                )

    async def _execute(self, command: str, **arguments: object) -> None:
        if self._running is None:
            raise LabFault(
                f"is off; {command} needs it on", server=self.server.name, next_step="power it on first"
            )
        await self._running.qemu.execute(command, **arguments)
