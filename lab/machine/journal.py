"""What was left behind on a server that could not be given back clean, told to the next run.

How far an install came is not kept here but with its credentials (`lab.machine.credentials.Phase`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lab import paths
from lab.machine.lease import server_key
from lab.rack.model import Server


class Dirt(BaseModel):
    """Why a server was given back dirty, and when (UTC)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    why: str
    at: datetime


class Journal:
    """The journal of one server: one small file in the state folder, there only while the server is dirty."""

    def __init__(self, server: Server) -> None:
        folder = paths.state() / "servers"
        folder.mkdir(exist_ok=True, mode=0o700)
        self._file: Path = folder / f"{server_key(server)}.json"

    def read(self) -> Dirt | None:
        """What the last run left behind; None for a clean server."""
        try:
            return Dirt.model_validate_json(self._file.read_text())
        except (FileNotFoundError, ValidationError):
            return None

    def dirty(self, why: str) -> None:
        """Mark the server dirty; on disk before returning."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(Dirt(why=why, at=datetime.now(UTC)).model_dump_json(indent=1))
        fresh.replace(self._file)

    def clean(self) -> None:
        """Mark the server clean."""
        self._file.unlink(missing_ok=True)
