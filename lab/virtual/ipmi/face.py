"""The IPMI face of one server: a supervised `ipmi_sim` that asks the chassis and is told by it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
from collections.abc import Callable
from typing import Any

from lab.bmc.api import BootDevice, PowerAction
from lab.deadline import Deadline
from lab.errors import LabFault
from lab.virtual.board import Board, Override
from lab.virtual.folder import RackFolder
from lab.virtual.ipmi import config, sel, sensors
from lab.virtual.ipmi.gate import Gate
from lab.virtual.ipmi.in_force import InForce
from lab.virtual.leftovers import environment

_log = logging.getLogger(__name__)
_ANSWER_SECONDS = 0.2
_RESTART_SECONDS = 1.0
_BOOT_WORDS = {
    "none": BootDevice.NONE,
    "pxe": BootDevice.PXE,
    "cdrom": BootDevice.CD,
    "default": BootDevice.DISK,
    "bios": BootDevice.SETUP,
}
"""`ipmi_sim`'s words for boot devices; it says `default` for the disk (facts/virtual-rack.md section 1)."""

# RMCP, no session: Get Channel Authentication Capabilities, channel 0Eh, administrator (IPMI v2.0, 22.13).
_ARE_YOU_THERE = bytes.fromhex("0600ff07000000000000000000092018c88100380e0435")


class IpmiFace:
    """Runs `ipmi_sim` for one chassis, restarts it when it ends, and writes down why it ended."""

    def __init__(
        self, chassis: Board, face: config.Face, rack: RackFolder, faults: InForce | None = None
    ) -> None:
        self.face = face
        self._chassis = chassis
        self._folder = chassis.folder.ipmi
        self._rack = rack
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._gate = Gate((face.inner_address, face.port), faults)
        self._gate.restart = self.restart
        self.on_restart: Callable[[float], None] = lambda seconds: None
        """Told when a command makes the BMC restart."""

    @property
    def pid(self) -> int | None:
        """Process id of `ipmi_sim`; None while it is being started again."""
        return None if self._process is None else self._process.pid

    @property
    def port(self) -> int:
        """The UDP port it answers at."""
        return self.face.port

    async def open(self) -> None:
        """Start, and return when it answers.

        Raises:
            LabFault: it is not installed or does not answer in time.
        """
        # What it saved earlier (users, SDRs) would win over the configuration written here.
        shutil.rmtree(self._folder, ignore_errors=True)
        (self._folder / "state").mkdir(parents=True, mode=0o700)
        config.write(self.face, self._folder, self._rack.path)
        self._chassis.changed.append(self.show)
        await self._gate.open(self.face.address, self.face.port)
        await self._start()
        self._supervisor = asyncio.create_task(self._supervise())
        deadline = Deadline.after(10.0, "ipmi_sim to answer")
        while not await self.answers():
            if deadline.passed:
                raise LabFault(
                    f"ipmi_sim does not answer at {self.face.address}:{self.face.port}",
                    server=self.face.server,
                    next_step=f"see {self._folder / 'ipmi_sim.log'}",
                )

    async def close(self) -> None:
        """Close the gate and end `ipmi_sim`."""
        self._gate.close()
        if self._supervisor is not None:
            self._supervisor.cancel()
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def answers(self) -> bool:
        """Whether the BMC answers on the network within a fifth of a second."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            try:
                await loop.sock_connect(client, (self.face.address, self.face.port))
                await loop.sock_sendall(client, _ARE_YOU_THERE)
                return bool(await asyncio.wait_for(loop.sock_recv(client, 256), _ANSWER_SECONDS))
            except TimeoutError:
                return False
            except ConnectionError:
                return False

    async def change(self, name: str, value: str) -> None:
        """Carry out one `set` that an IPMI client asked for (names of ipmi_lan(5), chassis_control)."""
        chassis = self._chassis
        if name == "power":
            await chassis.act(PowerAction.ON if value == "1" else PowerAction.OFF)
        elif name == "reset":
            await chassis.act(PowerAction.RESET)
        elif name == "shutdown":
            await chassis.act(PowerAction.GRACEFUL_OFF)
        elif name == "boot" and value in _BOOT_WORDS:
            await chassis.set_override(Override(_BOOT_WORDS[value]))
        elif name == "identify":
            chassis.set_identify(value.split()[0] not in ("0", ""))
        else:
            raise LabFault(
                f"cannot set {name} to {value}", server=self.face.server, next_step="see ipmi_lan(5)"
            )

    def show(self) -> None:
        """Write down what the chassis script answers, and the readings of this power state."""
        words = {device: word for word, device in _BOOT_WORDS.items()}
        on = self._chassis.power == "on"
        self._replace("chassis-power", "1" if on else "0")
        self._replace("chassis-boot", words.get(self._chassis.override.device, "pxe"))
        for sensor in sensors.ANALOG:
            self._replace(sensor.file, str(sensor.on if on else sensor.off))

    def restart(self, seconds: float) -> None:
        """Answer nothing for so long, as while the BMC restarts; its sessions are lost."""
        if self._gate.is_shut:
            return
        self._gate.shut(seconds)
        if self._process is not None and self._process.returncode is None:
            self._process.kill()  # and it is started again
        self.on_restart(seconds)

    async def events(self) -> list[sel.Event]:
        """The system event log, oldest first."""
        return await sel.read(self.face)

    async def clear_events(self) -> None:
        """Empty the system event log."""
        await sel.clear(self.face)

    def status(self) -> dict[str, Any]:
        """Numbers for judges: what the network did to datagrams."""
        return self._gate.status()

    def reading(self, file: str) -> int:
        """The raw reading of the sensor with that file."""
        return int((self._folder / file).read_text())

    def set_reading(self, file: str, raw: int) -> None:
        """Let a sensor read `raw` (0-255) until the power state changes."""
        self._replace(file, str(raw))

    def _replace(self, name: str, text: str) -> None:
        temporary = self._folder / f"{name}.new"
        temporary.write_text(f"{text}\n")
        temporary.replace(self._folder / name)

    async def _start(self) -> None:
        with (self._folder / "ipmi_sim.log").open("ab") as log:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *("ipmi_sim", "-c", "lan.conf", "-f", "server.emu", "-s", "state", "-n"),
                    cwd=self._folder,
                    env=environment(self._rack),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            except OSError as error:
                raise LabFault(
                    f"ipmi_sim cannot be started: {error}",
                    server=self.face.server,
                    next_step="install openipmi",
                ) from error

    async def _supervise(self) -> None:
        while self._process is not None:
            code = await self._process.wait()
            _log.error("%s: ipmi_sim ended with %s; started again", self.face.server, code)
            await asyncio.sleep(_RESTART_SECONDS)  # a configuration it refuses must not become a busy loop
            await self._start()
