"""Starting, stopping and asking a virtual rack, from any process.

>>> started = control.up(rack, progress)
>>> control.status(rack)
>>> control.down(rack, progress)          # only by whoever got True from `up`
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, cast

import filelock

from lab import errors
from lab.bmc.api import BootDevice, Power
from lab.deadline import Deadline
from lab.errors import ConfigError, LabFault
from lab.progress import Progress
from lab.rack.model import Rack, Server
from lab.virtual import credentials, leftovers
from lab.virtual.daemon import digest
from lab.virtual.folder import RackFolder

UP_SECONDS = 60.0
"""A rack of two comes up in about a second; a controller under full load was seen to need ten times that."""
DOWN_SECONDS = 30.0
_ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class ServerStatus:
    """One server of a virtual rack as it is now; without a daemon everything is off and `answering` False."""

    server: str
    answering: bool
    power: Power
    qemu_pid: int | None
    redfish: str | None
    ipmi: str | None
    ssh: str | None
    boot_override: BootDevice
    boot_once: bool
    media: str | None
    counts: dict[str, Any] = field(default_factory=dict)
    """For judges: what was really done to the server (`server`), and by face what was asked of it."""


def up(rack: Rack, progress: Progress) -> bool:
    """Bring the rack up where it is not; True where this call started it. Every BMC face answers afterwards.

    Raises:
        ConfigError: the rack file cannot be built as a virtual rack, or the rack is up from another version.
        LabFault: a port is taken, or a face does not answer within `UP_SECONDS`.
    """
    if not rack.is_virtual:
        raise ConfigError(
            f"rack {rack.rack} is made of real servers",
            next_step="power them by their BMCs; only virtual racks go up",
        )
    folder = RackFolder.of(rack.rack)
    folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _held(folder):
        if _runs(rack, folder):
            return False
        _end_leftovers(folder, progress)
        credentials.ensure(rack, folder)
        try:
            _start(rack, folder, progress)
        except BaseException:  # also when interrupted: nobody else would know that this rack is half up
            _end_leftovers(folder, progress)
            raise
    return True


def down(rack: Rack, progress: Progress) -> None:
    """Take the rack down: power off, every process gone, verified. Nothing to do is no error.

    Raises:
        LabFault: the daemon or a child of it does not end.
    """
    folder = RackFolder.of(rack.rack)
    if not folder.path.is_dir():
        return
    with _held(folder):
        pid = _daemon_pid(folder)
        if pid is not None:
            progress(f"virtual rack {rack.rack}: power off")
            _end(pid, Deadline.after(DOWN_SECONDS, "the virtual rack's daemon to end"))
        _end_leftovers(folder, progress)


def status(rack: Rack) -> list[ServerStatus]:
    """Every server of the rack, in the order of the rack file."""
    folder = RackFolder.of(rack.rack)
    known: dict[str, dict[str, Any]] = {}
    if _daemon_pid(folder) is not None:
        known = {entry["server"]: entry for entry in request(rack, {"do": "status"})["servers"]}
    return [_status(server, known.get(server.name)) for server in rack.servers]


def pxe_folder(rack: Rack, server: Server) -> Path:
    """Where files for the server's PXE boot go; they are served by TFTP, to it alone, while they lie there.

    The boot file is `boot.ipxe` (an iPXE script) for BIOS and `netboot.efi` for UEFI (`folder.BOOT_FILES`).
    """
    folder = RackFolder.of(rack.rack).server(server).tftp
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def request(rack: Rack, message: dict[str, Any]) -> dict[str, Any]:
    """Ask the rack's daemon (messages: `lab.virtual.requests`).

    Raises:
        LabFault: the daemon is not there, does not answer, or refuses.
    """
    folder = RackFolder.of(rack.rack)
    try:
        answer = json.loads(_exchange(folder, json.dumps(message).encode() + b"\n"))
    except (OSError, ValueError) as error:
        raise LabFault(
            f"the daemon of the virtual rack {rack.rack} does not answer: {error}",
            next_step=f"see {folder.log}; `lab rack up`",
        ) from error
    if not answer.get("ok"):
        raise LabFault(
            f"the virtual rack refused {message.get('do')}: {answer.get('error')}",
            next_step=f"see {folder.log}",
        )
    return cast(dict[str, Any], answer)


def _status(server: Server, known: dict[str, Any] | None) -> ServerStatus:
    host = f"{server.host.address}:{server.host.ssh_port}" if server.host else None
    return ServerStatus(
        server=server.name,
        answering=known is not None,
        power=known["power"] if known else "off",
        qemu_pid=known["qemu_pid"] if known else None,
        redfish=server.bmc.redfish,
        ipmi=server.bmc.ipmi,
        ssh=host,
        boot_override=BootDevice(known["boot_override"]) if known else BootDevice.NONE,
        boot_once=known["boot_once"] if known else True,
        media=known["media"] if known else None,
        counts=known["counts"] if known else {},
    )


def _exchange(folder: RackFolder, line: bytes) -> bytes:
    # Through the open folder, because the path of a unix socket may have no more than 107 characters.
    descriptor = os.open(folder.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as daemon:
            daemon.settimeout(_ANSWER_SECONDS)
            daemon.connect(f"/proc/self/fd/{descriptor}/{folder.control_socket.name}")
            daemon.sendall(line)
            with daemon.makefile("rb") as answers:
                return answers.readline()
    finally:
        os.close(descriptor)


def _held(folder: RackFolder) -> filelock.BaseFileLock:
    return filelock.FileLock(folder.up_lock, timeout=UP_SECONDS + DOWN_SECONDS)


def _daemon_pid(folder: RackFolder) -> int | None:
    """The daemon's process id; None when nobody holds its lock, which dies with it."""
    try:
        with folder.daemon_lock.open("rb") as stream:
            return _holder(stream)
    except FileNotFoundError:
        return None


def _holder(stream: BinaryIO) -> int | None:

    try:
        fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = stream.read()
        return int(text) if text else None
    return None


def _runs(rack: Rack, folder: RackFolder) -> bool:
    """Whether a daemon has the rack, from this very version of its file."""
    if _daemon_pid(folder) is None:
        return False
    try:
        running = request(rack, {"do": "status"})["rack"]
    except LabFault:
        if _daemon_pid(folder) is None:  # it was just ending
            return False
        raise
    if running != digest(rack.file):
        raise ConfigError(
            f"the virtual rack {rack.rack} is up from another version of {rack.file}",
            next_step="take it down first: `lab rack down`",
        )
    return True


def _end_leftovers(folder: RackFolder, progress: Progress) -> None:
    for left in leftovers.end(folder):
        progress(f"ended {left.name} (process {left.pid}), left over from a daemon that was killed")


def _start(rack: Rack, folder: RackFolder, progress: Progress) -> None:
    reading, writing = os.pipe()
    try:
        with folder.log.open("ab") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "lab.virtual", str(rack.file), str(writing)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,
            )
    finally:
        os.close(writing)
    try:
        with os.fdopen(reading, "rb", buffering=0) as channel:
            _await_ready(rack, folder, channel, progress)
    except BaseException:
        daemon.terminate()
        try:
            daemon.wait(timeout=DOWN_SECONDS)
        except subprocess.TimeoutExpired:
            daemon.kill()
        raise


def _await_ready(rack: Rack, folder: RackFolder, channel: FileIO, progress: Progress) -> None:
    deadline = Deadline.after(UP_SECONDS, f"the virtual rack {rack.rack} to come up")
    for line in _lines(channel, deadline):
        message = json.loads(line)
        if "progress" in message:
            progress(f"virtual rack {rack.rack}: {message['progress']}")
        elif "fault" in message:
            raise _rebuilt(message["fault"])
        else:
            return
    raise LabFault(
        f"the daemon of the virtual rack {rack.rack} did not come up",
        tried=f"waited for it up to {UP_SECONDS:.0f} s",
        next_step=f"see {folder.log}",
    )


def _lines(channel: FileIO, deadline: Deadline) -> Iterator[bytes]:
    """Lines as they come, until the other side closes or the deadline passes."""
    pending = b""
    while select.select([channel], [], [], deadline.left)[0]:
        data = os.read(channel.fileno(), 4096)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        yield from lines


def _rebuilt(fault: dict[str, Any]) -> errors.LabError:
    kinds = {kind.__name__: kind for kind in errors.every_error()}
    kind = kinds.get(fault.pop("kind"), LabFault)
    return kind(fault.pop("message"), **fault)


def _end(pid: int, deadline: Deadline) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        os.kill(pid, signal.SIGTERM)
        ended = select.select([descriptor], [], [], deadline.left)[0]
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)
    if not ended:
        raise LabFault(
            f"the virtual rack's daemon (process {pid}) does not end",
            tried="SIGTERM",
            next_step="see its log; end it with SIGKILL",
        )
