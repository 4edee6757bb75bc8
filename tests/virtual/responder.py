"""A responder in this process, in an event loop of its own thread, with nothing behind it.

>>> with responder(IpmiFaults(suites=(17,))) as bmc:
...     bmc.ipmitool("power", "status", cipher=17)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lab.bmc.api import BootDevice
from lab.deadline import Deadline
from lab.rack.model import Server
from lab.rack.virtual import FaultEntry
from lab.virtual.board import Override
from lab.virtual.faults import Faults
from lab.virtual.folder import ServerFolder
from lab.virtual.ipmi.bmc import Bmc, Identity
from lab.virtual.ipmi.config import Account
from lab.virtual.ipmi.faults import IpmiFaults
from lab.virtual.ipmi.fru import Fru
from lab.virtual.ipmi.in_force import InForce
from lab.virtual.ipmi.responder import Responder
from lab.virtual.light import LightChassis
from tests.virtual.rackfile import server, write_rack

USER, PASSWORD = "lab", "s3cret-lab-Pw"
SOL_USER, SOL_PASSWORD = "console", "s3cret-sol-Pw"
GUID = bytes(range(16))
T = TypeVar("T")


@dataclass
class Wire:
    """The server's serial port: what came in, and a way to print."""

    received: bytearray = field(default_factory=bytearray)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    server: asyncio.Server | None = None

    async def open(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self.server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while data := await reader.read(4096):
            self.received += data
        self.writers.remove(writer)
        writer.close()


class Running:
    """A responder that answers at `port`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, entry: Server, folder: Path, faults: IpmiFaults
    ) -> None:
        self.port = _short_port()
        self.board = LightChassis(entry, ServerFolder(folder))
        self.wire = Wire()
        self.rack_faults = Faults("l1")
        self.faults = InForce(faults, self.rack_faults)
        self._loop = loop

    async def open(self) -> None:
        serial = await self.wire.open()

        async def plug(protocol: Callable[[], asyncio.Protocol]) -> asyncio.Transport:
            transport, _ = await asyncio.get_running_loop().create_connection(protocol, "127.0.0.1", serial)
            return transport

        accounts = (Account(USER, PASSWORD), Account(SOL_USER, SOL_PASSWORD))
        unit = Fru("hypervisor-lab", "Light", "part-1", "VR-L1")
        identity = Identity("l1", "127.0.0.1", self.port, GUID, accounts, unit)
        self.responder = Responder(Bmc(self.board, identity, plug, self.faults))
        await self.responder.open()

    async def close(self) -> None:
        await self.responder.close()
        if self.wire.server is not None:
            self.wire.server.close()
        for writer in self.wire.writers:
            writer.close()

    def within(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work done in the responder's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def call(self, work: Callable[[], T]) -> T:
        """The result of a call made in the responder's loop."""

        async def call() -> T:
            return work()

        return self.within(call())

    @property
    def status(self) -> dict[str, Any]:
        return self.call(self.responder.status)

    @property
    def played(self) -> dict[str, int]:
        """How often each fault was, by what the log calls it."""
        return dict(self.rack_faults.log.counts)

    def inject(self, *entries: FaultEntry) -> None:
        """Put faults in force as a rack file does."""
        self.call(lambda: self.rack_faults.add(*entries))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def override(self) -> Override:
        return self.board.override

    def set_override(self, device: BootDevice, *, once: bool = True) -> None:
        """What the other face does."""
        self.within(self.board.set_override(Override(device, once)))

    def print(self, data: bytes) -> None:
        """The server writes to its serial port."""
        self.wait(lambda: bool(self.wire.writers), "SOL to be plugged in")
        self.call(lambda: self.wire.writers[-1].write(data))

    def wait(self, done: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
        """Wait until something has happened in the responder."""
        deadline = Deadline.after(seconds, what)
        while not done():
            assert not deadline.passed, f"no {what} within {seconds} s"
            threading.Event().wait(0.01)

    def ipmitool(
        self, *arguments: str, cipher: int = 3, password: str = PASSWORD, user: str = USER, wait: int = 3
    ) -> subprocess.CompletedProcess[str]:
        command = ["ipmitool", "-I", "lanplus", "-C", str(cipher), "-N", str(wait), "-R", "2"]
        command += ["-H", "127.0.0.1", "-p", str(self.port), "-U", user, "-E"]
        return subprocess.run(
            [*command, *arguments],
            env={**os.environ, "IPMI_PASSWORD": password, "TZ": "UTC"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def _short_port() -> int:
    """A free UDP port of four digits: ipmiconsole 1.6.9 cuts longer ones off."""
    for _ in range(200):
        port = random.randint(2000, 9999)  # noqa: S311
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port of four digits")


@contextlib.contextmanager
def responder(folder: Path, faults: IpmiFaults | None = None) -> Iterator[Running]:
    """A responder inside the block."""
    entry = write_rack(folder, server("l1")).servers[0]
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    running = Running(loop, entry, folder, faults or IpmiFaults())
    try:
        running.within(running.open())
        yield running
    finally:
        running.within(running.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
