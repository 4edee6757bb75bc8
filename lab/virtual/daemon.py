"""The daemon of one virtual rack: owns every server's slot until it is told to end."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import signal
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path

from lab.errors import LabFault
from lab.rack.model import Rack
from lab.virtual import accel, ports
from lab.virtual.folder import RackFolder
from lab.virtual.network import Network
from lab.virtual.requests import Requests
from lab.virtual.slot import Slot

_log = logging.getLogger(__name__)


def digest(file: Path) -> str:
    """What tells one version of a rack file from another."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


class RackDaemon:
    """Runs a rack from `run` until SIGTERM or SIGINT."""

    def __init__(self, rack: Rack, folder: RackFolder) -> None:
        self._rack = rack
        self._folder = folder
        names = {nic.network or "" for server in rack.servers for nic in server.nics if not nic.boot}
        self._networks = {name: Network() for name in sorted(names)}
        self._slots = {server.name: Slot(rack, server, folder, self._networks) for server in rack.servers}
        self._control: asyncio.Server | None = None

    async def run(self, progress: Callable[[str], None], ready: Callable[[], None]) -> None:
        """Bring the rack up, call `ready`, serve until told to end, take everything down.

        Raises:
            LabFault: another daemon has the rack, a port is taken, or a face does not come up.
        """
        lock = self._lock()
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        try:
            await self._open(progress)
            ready()
            await ended.wait()
            _log.info("told to end")
        finally:
            await self._close()
            self._folder.control_socket.unlink(missing_ok=True)
            os.close(lock)

    async def _open(self, progress: Callable[[str], None]) -> None:
        ports.require_free(self._rack)
        progress(f"servers run under {await asyncio.to_thread(accel.choose)}")
        tls = None
        if self._folder.server_pem.exists():
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.minimum_version = ssl.TLSVersion.TLSv1_2
            tls.load_cert_chain(self._folder.server_pem)
        # Paths of unix sockets are short: both ends name this one relative to the rack's folder.
        os.chdir(self._folder.path)
        self._folder.control_socket.unlink(missing_ok=True)
        requests = Requests(self._slots, digest(self._rack.file))
        self._control = await asyncio.start_unix_server(requests.serve, self._folder.control_socket.name)
        self._folder.control_socket.chmod(0o600)
        for slot in self._slots.values():
            progress(f"{slot.server.name}: BMC")
        await _all_or_none([slot.open(tls) for slot in self._slots.values()])

    async def _close(self) -> None:
        if self._control is not None:
            self._control.close()
        failures = await asyncio.gather(
            *(slot.close() for slot in self._slots.values()), return_exceptions=True
        )
        for failure in failures:
            if isinstance(failure, BaseException):
                _log.error("while ending: %s", failure, exc_info=failure)
        for network in self._networks.values():
            network.close()

    def _lock(self) -> int:
        lock = os.open(self._folder.daemon_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise LabFault(
                f"another daemon has the virtual rack {self._rack.rack}",
                next_step="use it, or end it with `lab rack down`",
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        return lock


async def _all_or_none(works: list[Coroutine[None, None, None]]) -> None:
    """Wait for all; where one fails the others are cancelled before its error goes on."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
