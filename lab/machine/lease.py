"""Leases: a server belongs to one run at a time.

A lease is a small JSON file in the state folder, named after the server's BMC, so that two rack files
naming one server still meet. A lease whose process is gone on this host, or which ran out on another, is
taken over with a note: the note is the reason to detect the machine's state afresh.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from lab import paths
from lab.errors import ServerBusy, UnknownName
from lab.rack.model import Rack, Server

DEFAULT_TERM = timedelta(hours=12)


class Lease(BaseModel):
    """Who holds which server: process, host and user, since when and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rack: str
    server: str
    key: str
    run: str
    user: str
    host: str
    pid: int
    process_started: float
    since: datetime
    until: datetime

    @property
    def holder(self) -> str:
        """The holder in a few words."""
        who = f"run {self.run} of {self.user} on {self.host}, process {self.pid}"
        return f"{who}, since {self.since:%Y-%m-%d %H:%M:%S} UTC"

    @property
    def lapsed(self) -> str | None:
        """Why the lease no longer counts; None while it does."""
        if self.host == socket.gethostname():
            return None if _same_process(self.pid, self.process_started) else "its process is gone"
        return "it ran out" if datetime.now(UTC) > self.until else None


def server_key(server: Server) -> str:
    """The file name part that stands for this server's BMC."""
    address = (server.bmc.redfish or server.bmc.ipmi or server.name).split("//")[-1]
    return re.sub(r"[^A-Za-z0-9.-]", "_", address)


def take(rack: Rack, server: Server, run: str, term: timedelta = DEFAULT_TERM) -> tuple[Lease, str | None]:
    """Lease `server` to this process.

    Returns:
        The lease, and a note when a lapsed one was taken over.

    Raises:
        ServerBusy: another run holds it.
    """
    now = datetime.now(UTC)
    lease = Lease(
        rack=rack.rack,
        server=server.name,
        key=server_key(server),
        run=run,
        user=getpass.getuser(),
        host=socket.gethostname(),
        pid=os.getpid(),
        process_started=psutil.Process().create_time(),
        since=now,
        until=now + term,
    )
    note = None
    with _guard():
        held = _read(_file(lease.key))
        if held is not None and held.lapsed is None:
            raise ServerBusy(
                f"leased to {held.holder}, until {held.until:%Y-%m-%d %H:%M} UTC",
                server=server.name,
                next_step=f"wait for that run, or end it and say `lab lease release {server.name}`",
            )
        if held is not None:
            note = f"took over the lease of {held.holder}: {held.lapsed}"
        file = _file(lease.key)
        fresh = file.with_suffix(".new")
        fresh.write_text(lease.model_dump_json(indent=1))
        fresh.replace(file)
    return lease, note


def give_up(lease: Lease) -> None:
    """End a lease of ours; one that was taken over meanwhile is left alone."""
    with _guard():
        held = _read(_file(lease.key))
        if held is not None and (held.pid, held.process_started, held.host) == (
            lease.pid,
            lease.process_started,
            lease.host,
        ):
            _file(lease.key).unlink()


def leases() -> list[Lease]:
    """Every lease there is, the oldest first."""
    found = (_read(file) for file in _folder().glob("*.json"))
    return sorted((lease for lease in found if lease is not None), key=lambda lease: lease.since)


def release(name: str, *, force: bool = False) -> Lease:
    """Remove the lease on the server called `name` (its name or its key).

    Raises:
        UnknownName: nobody has leased such a server.
        ServerBusy: its process is alive and `force` is not given.
    """
    with _guard():
        for lease in leases():
            if name not in (lease.server, lease.key):
                continue
            if lease.lapsed is None and not force:
                raise ServerBusy(
                    f"leased to {lease.holder}, which is alive",
                    server=lease.server,
                    next_step="end that run first, or repeat with --force if you are sure it does nothing",
                )
            _file(lease.key).unlink()
            return lease
    raise UnknownName(f"no lease on '{name}'", next_step="see `lab lease list`")


def _same_process(pid: int, started: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - started) < 1.0
    except psutil.Error:
        return False


def _folder() -> Path:
    folder = paths.state() / "leases"
    folder.mkdir(exist_ok=True, mode=0o700)
    return folder


def _file(key: str) -> Path:
    return _folder() / f"{key}.json"


def _guard() -> FileLock:
    return FileLock(_folder() / "guard.lock", timeout=10)


def _read(file: Path) -> Lease | None:
    try:
        return Lease.model_validate_json(file.read_text())
    except FileNotFoundError:
        return None
    except (ValidationError, UnicodeDecodeError):
        file.unlink()  # cut off by a power failure; nobody can be holding it
        return None
