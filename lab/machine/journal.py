"""What the lab was last doing to a server, kept on disk so that the next run can say what it found."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from lab import paths
from lab.machine.lease import server_key
from lab.rack.model import Server


class Entry(BaseModel):
    """The last thing known of a server.

    `installing` while a disk is being written: found by a later run, it means a half-written disk.
    `dirty` when a server could not be given back clean; `detail` says why.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Literal["clean", "installing", "installed", "dirty"] = "clean"
    install_id: str | None = None
    detail: str = ""
    at: datetime


class Journal:
    """The journal of one server; one small file in the state folder, replaced atomically."""

    def __init__(self, server: Server) -> None:
        folder = paths.state() / "servers"
        folder.mkdir(exist_ok=True, mode=0o700)
        self._file: Path = folder / f"{server_key(server)}.json"

    def read(self) -> Entry:
        """The last entry; a clean one where there is none."""
        try:
            return Entry.model_validate_json(self._file.read_text())
        except (FileNotFoundError, ValidationError):
            return Entry(at=datetime.now(UTC))

    def write(
        self,
        status: Literal["clean", "installing", "installed", "dirty"],
        *,
        install_id: str | None,
        detail: str = "",
    ) -> None:
        """Put down what is true now, on disk before returning."""
        entry = Entry(status=status, install_id=install_id, detail=detail, at=datetime.now(UTC))
        fresh = self._file.with_suffix(".new")
        fresh.write_text(entry.model_dump_json(indent=1))
        fresh.replace(self._file)
