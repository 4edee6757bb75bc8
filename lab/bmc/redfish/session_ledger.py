"""Redfish sessions that are open, written down, so that those of a killed process are deleted by the next.

BMCs have as few as eight (facts/bmc.md Q8). What is kept is where the session is, never its token: the next
process of the same user may delete it with its own.
"""

from __future__ import annotations

import os
import re
import socket
import uuid
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from lab import paths


class OpenSession(BaseModel):
    """One open session and the process that opened it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str
    user: str
    location: str
    host: str
    pid: int
    process_started: float

    @property
    def orphan(self) -> bool:
        """Whether its process was of this host and is gone."""
        if self.host != socket.gethostname():
            return False
        try:
            return psutil.Process(self.pid).create_time() != self.process_started
        except psutil.Error:
            return True


def note(address: str, user: str, location: str) -> Path:
    """Write down a session of this process; the file to `forget` once it is deleted."""
    mine = psutil.Process()
    entry = OpenSession(
        address=address,
        user=user,
        location=location,
        host=socket.gethostname(),
        pid=mine.pid,
        process_started=mine.create_time(),
    )
    file = _folder() / f"{_key(address)}-{mine.pid}-{uuid.uuid4().hex[:8]}.json"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(entry.model_dump_json())
    return file


def forget(file: Path | None) -> None:
    """The session of that entry is no more."""
    if file is not None:
        file.unlink(missing_ok=True)


def orphans(address: str, user: str) -> list[tuple[Path, str]]:
    """Entry and path of each session at this BMC whose process is gone."""
    found: list[tuple[Path, str]] = []
    for file in sorted(_folder().glob(f"{_key(address)}-*.json")):
        try:
            entry = OpenSession.model_validate_json(file.read_text())
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, ValidationError):
            # Cut short by the same kill; it tells nothing, now or later.
            file.unlink(missing_ok=True)
            continue
        if (entry.address, entry.user) == (address, user) and entry.orphan:
            found.append((file, entry.location))
    return found


def _folder() -> Path:
    folder = paths.state() / "bmc-sessions"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _key(address: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]", "_", address.split("//")[-1])
