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
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qemu.qmp import QMPClient, QMPError
from qemu.qmp.qmp_client import ExecuteError

from lab.bmc.api import BootDevice, Power, PowerAction
from lab.deadline import Deadline
from lab.errors import LabFault
from lab.rack.model import Server
from lab.virtual import accel, hardware
from lab.virtual.folder import ServerFolder
from lab.virtual.network import Network
from lab.virtual.serial_hub import SerialHub

_QMP_SECONDS = 20.0
"""QEMU answers its monitor in milliseconds; on an overloaded controller a start was seen to take seconds."""
_END_SECONDS = 5.0
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
    process: asyncio.subprocess.Process
    monitor: QMPClient
    watcher: asyncio.Task[None] = field(init=False)
    setup: asyncio.Task[None] | None = None


class Chassis:
    """One server of the rack. Methods may raise `LabFault`; they are safe to call from several faces at once."""

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
        return None if self._running is None else self._running.process.pid

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
        """Put an image into the CD drive, in place of what is there; a running server sees the disc change."""
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
        ours, theirs = socket.socketpair()
        serial = await self._hub.plug()
        cables = {
            nic.mac: self._networks[nic.network or ""].plug() for nic in self.server.nics if not nic.boot
        }
        wires = hardware.Wires(
            theirs.fileno(), serial.fileno(), {mac: cable.fileno() for mac, cable in cables.items()}
        )
        start = hardware.PowerOn(accel.choose(), self.ipmi_port, self.media.file if self.media else None)
        order = hardware.boot_order(self.server, self.override.device)
        command = hardware.command(self.server, start, wires, order, rack=self._rack)
        try:
            with self.folder.qemu_log.open("wb") as log:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    cwd=self.folder.path,
                    env=self.environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(wires.monitor, wires.serial, *wires.networks.values()),
                )
        except OSError as error:
            ours.close()
            raise LabFault(
                f"QEMU cannot be started: {error}",
                server=self.server.name,
                next_step="install qemu-system-x86",
            ) from error
        finally:
            for end in (theirs, serial, *cables.values()):
                end.close()
        monitor = QMPClient(self.server.name)
        try:
            await asyncio.wait_for(monitor.connect(ours), _QMP_SECONDS)
        except (QMPError, TimeoutError) as error:
            await _end(process)
            raise LabFault(
                f"QEMU ended or hung at power-on: {self._qemu_said()}",
                server=self.server.name,
                tried=" ".join(command),
                next_step="see what QEMU says above; a port in use or a damaged disk image are the usual causes",
            ) from error
        self._running = _Running(process, monitor)
        self._running.watcher = asyncio.create_task(self._watch(self._running))
        try:
            await self._boots()
            await self._execute("cont")
        except LabFault:
            await self._stop()
            raise
        _log.info("%s: power on, QEMU %s", self.server.name, process.pid)
        self._notify()

    async def _stop(self) -> None:
        if self._running is not None:
            running = self._running
            await _end(running.process)
            await running.watcher

    async def _watch(self, running: _Running) -> None:
        """Follow one QEMU from power-on to its end, whoever ends it."""
        events = asyncio.create_task(self._follow_resets(running))
        code = await running.process.wait()
        events.cancel()
        if running.setup is not None:
            running.setup.cancel()
        with contextlib.suppress(QMPError, EOFError, OSError):
            await running.monitor.disconnect()
        await self._hub.drained()
        if code not in (0, -15, -9):
            _log.error("%s: QEMU ended with %s: %s", self.server.name, code, self._qemu_said())
        _log.info("%s: power off", self.server.name)
        self._running = None
        self._notify()

    async def _follow_resets(self, running: _Running) -> None:
        with running.monitor.listener(["RESET"]) as events:
            async for _ in events:
                with contextlib.suppress(LabFault):
                    await self._boots()

    async def _boots(self) -> None:
        """A boot has taken its order: an override meant for one boot is spent."""
        running = self._running
        if running is not None and running.setup is not None:
            running.setup.cancel()
        if self.override.device is BootDevice.SETUP and running is not None:
            running.setup = asyncio.create_task(self._enter_setup())
        if self.override.once and self.override.device is not BootDevice.NONE:
            self.override = replace(self.override, device=BootDevice.NONE)
            await self._apply_order(BootDevice.NONE)
            self._notify()

    async def _enter_setup(self) -> None:
        """Press the set-up key while the firmware starts, as a BMC does; in OVMF's set-up itself F2 does nothing."""
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

    async def _execute(self, command: str, **arguments: object) -> Any:
        running = self._running
        if running is None:
            raise LabFault(
                f"is off; {command} needs it on", server=self.server.name, next_step="power it on first"
            )
        try:
            return await asyncio.wait_for(running.monitor.execute(command, arguments or None), _QMP_SECONDS)
        except (ExecuteError, QMPError, TimeoutError, EOFError, OSError) as error:
            raise LabFault(
                f"QEMU does not carry out {command}: {error or type(error).__name__}",
                server=self.server.name,
                next_step=f"see {self.folder.qemu_log}",
            ) from error

    def _qemu_said(self) -> str:
        text = self.folder.qemu_log.read_text(errors="replace") if self.folder.qemu_log.exists() else ""
        return " / ".join(text.strip().splitlines()[-3:]) or "nothing"


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a child: asked first, then killed; returns when it is gone."""
    for signal in (process.terminate, process.kill):
        with contextlib.suppress(ProcessLookupError):
            signal()
        try:
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        except TimeoutError:
            continue
        return
