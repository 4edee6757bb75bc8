"""One run of QEMU, from power-on to power-off: the process, its monitor, and what its firmware says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from qemu.qmp import QMPClient, QMPError

from lab.deadline import Deadline
from lab.errors import LabFault
from lab.rack.model import Server
from lab.virtual import hardware
from lab.virtual.folder import ServerFolder

_ANSWER_SECONDS = 20.0
"""QEMU answers its monitor in milliseconds; on an overloaded controller a start was seen to take seconds."""
_END_SECONDS = 5.0
_SEABIOS_READS_BOOT_ORDER = b"boot order:"
_SETUP_KEY_SECONDS = 20.0
_SETUP_KEY_EVERY_S = 0.2


class Qemu:
    """A started QEMU whose guest waits for `cont`. Made by `start`."""

    def __init__(
        self,
        server: Server,
        folder: ServerFolder,
        process: asyncio.subprocess.Process,
        monitor: QMPClient,
        firmware: socket.socket,
    ) -> None:
        self._server = server
        self._folder = folder
        self._process = process
        self._monitor = monitor
        self._firmware = firmware

    @classmethod
    async def start(
        cls,
        server: Server,
        folder: ServerFolder,
        power_on: hardware.PowerOn,
        order: Mapping[str, int],
        serial: socket.socket,
        networks: Mapping[str, socket.socket],
        environment: Mapping[str, str],
    ) -> Qemu:
        """Start QEMU and connect to its monitor; the cables `serial` and `networks` (by MAC) are taken over.

        Raises:
            ConfigError: the hardware cannot be built as the rack file describes it.
            LabFault: QEMU is not there, ends at once, or does not answer.
        """
        monitor_here, monitor_there = socket.socketpair()
        firmware_here, firmware_there = socket.socketpair()
        theirs = [monitor_there, firmware_there, serial, *networks.values()]
        numbers = {mac: cable.fileno() for mac, cable in networks.items()}
        wires = hardware.Wires(monitor_there.fileno(), serial.fileno(), firmware_there.fileno(), numbers)
        try:
            command = hardware.command(server, power_on, wires, order)
            process = await _spawn(server, folder, command, [end.fileno() for end in theirs], environment)
        except LabFault:
            monitor_here.close()
            firmware_here.close()
            raise
        finally:
            for end in theirs:
                end.close()
        monitor = QMPClient(server.name)
        found = cls(server, folder, process, monitor, firmware_here)
        try:
            await asyncio.wait_for(monitor.connect(monitor_here), _ANSWER_SECONDS)
        except (QMPError, TimeoutError) as error:
            await found.end()
            firmware_here.close()
            raise LabFault(
                f"QEMU ended or hung at power-on: {found.last_words}",
                server=server.name,
                tried=" ".join(command),
                next_step="see what QEMU says; a port in use or a damaged disk image are the usual causes",
            ) from error
        return found

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The last lines QEMU itself wrote."""
        text = self._folder.qemu_log.read_text(errors="replace") if self._folder.qemu_log.exists() else ""
        return " / ".join(text.strip().splitlines()[-3:]) or "nothing"

    async def execute(self, command: str, **arguments: object) -> object:
        """One monitor command.

        Raises:
            LabFault: QEMU refuses it, does not answer, or is gone.
        """
        try:
            done: Any = await asyncio.wait_for(
                self._monitor.execute(command, arguments or None), _ANSWER_SECONDS
            )
        except (QMPError, TimeoutError, EOFError, OSError) as error:
            raise LabFault(
                f"QEMU does not carry out {command}: {error or type(error).__name__}",
                server=self._server.name,
                next_step=f"see {self._folder.qemu_log}",
            ) from error
        found: object = done
        return found

    async def set_boot_order(self, order: Mapping[str, int]) -> None:
        """Give the devices these places from the next reset on; -1 is none.

        Raises:
            LabFault: QEMU refuses.
        """
        # QEMU refuses an index that is taken, so all are freed first.
        for index in (dict.fromkeys(order, -1), order):
            for name, place in index.items():
                await self.execute(
                    "qom-set", path=f"/machine/peripheral/{name}", property="bootindex", value=place
                )

    async def press_setup_key(self) -> None:
        """Press the set-up key while the firmware starts; in OVMF's set-up itself F2 does nothing."""
        deadline = Deadline.after(_SETUP_KEY_SECONDS, "the firmware to take the set-up key")
        with contextlib.suppress(LabFault):
            while not deadline.passed:
                await self.execute("send-key", keys=[{"type": "qcode", "data": "f2"}])
                await asyncio.sleep(_SETUP_KEY_EVERY_S)

    async def resets(self) -> AsyncIterator[None]:
        """Once per reset of the machine, right after it; the boot order of what follows is fixed by then."""
        with self._monitor.listener(["RESET"]) as events:
            async for _ in events:
                yield

    async def boots(self) -> AsyncIterator[None]:
        """Once per boot that SeaBIOS begins, by its own log, which is kept; never under UEFI.

        SeaBIOS follows up a reset with one to three hard ones of its own before it starts (seen with 1.16.2
        under TCG), so a reset alone does not yet spend an override.
        """
        reader, writer = await asyncio.open_connection(sock=self._firmware)
        with (
            self._folder.firmware_log.open("wb", buffering=0) as log,
            contextlib.suppress(ConnectionError),
            contextlib.closing(writer),
        ):
            while line := await reader.readline():
                log.write(line)
                if line.strip() == _SEABIOS_READS_BOOT_ORDER:
                    yield

    async def wait(self) -> int:
        """Return QEMU's exit code once it has ended."""
        code = await self._process.wait()
        with contextlib.suppress(QMPError, EOFError, OSError):
            await self._monitor.disconnect()
        return code

    async def end(self) -> None:
        """End QEMU: asked first, then killed; returns when it is gone."""
        for signal in (self._process.terminate, self._process.kill):
            with contextlib.suppress(ProcessLookupError):
                signal()
            try:
                await asyncio.wait_for(self._process.wait(), _END_SECONDS)
            except TimeoutError:
                continue
            return


async def _spawn(
    server: Server,
    folder: ServerFolder,
    command: Sequence[str],
    descriptors: Sequence[int],
    environment: Mapping[str, str],
) -> asyncio.subprocess.Process:
    with folder.qemu_log.open("wb") as log:
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                cwd=folder.path,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=descriptors,
            )
        except OSError as error:
            raise LabFault(
                f"QEMU cannot be started: {error}", server=server.name, next_step="install qemu-system-x86"
            ) from error
