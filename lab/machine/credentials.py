"""Credentials of one install: made fresh for it, kept owner-only under its stamp, forgotten with it.

An install leaves a stamp on the disk it wrote. Whoever finds a stamp looks here for what belongs to it: the
key the lab logs in with and the host key the system must show. A stamp without its credentials means a new
install (design.md, rules of conduct 5 and 6).
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab import paths

STAMP_PATH = "/etc/lab/stamp.json"
"""Where the installed system carries its stamp."""

_UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_STAMP, _PHASE, _CLIENT_KEY, _HOST_KEY = "stamp.json", "phase", "client_key", "host_key"


class Stamp(BaseModel):
    """What an install writes onto its disk to be known by; the content of `/etc/lab/stamp.json`.

    `release_digest` is the SHA-256 of the release file, `image_digest` the BLAKE2b of the image written,
    `disk` the serial (or WWN) of the disk, `installed_at` the moment the install was prepared.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    install_id: str = Field(default_factory=lambda: str(uuid.uuid4()), pattern=_UUID)
    rack: str
    server: str
    release: str
    release_digest: str
    image_digest: str
    disk: str
    installed_at: datetime = Field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    @classmethod
    def parse(cls, text: str) -> Stamp | None:
        """The stamp in `text`; None where that is not a stamp."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            return None


class Phase(StrEnum):
    """How far an install came; what it means for the disk."""

    PREPARED = "prepared"
    """Nothing was fetched: the disk is as it was."""
    WRITING = "writing"
    """The image was fetched: the disk may be half written."""
    INSTALLED = "installed"
    """The server said done."""


@dataclass(frozen=True)
class Credentials:
    """One install's stamp and keys, in a folder of its own. Printing one shows no key.

    Attributes:
        stamp: what the disk carries.
        folder: owner-only folder of the files.
    """

    stamp: Stamp
    folder: Path = field(repr=False)

    @property
    def client_key(self) -> Path:
        """The lab's private key for this install (OpenSSH format, mode 0600)."""
        return self.folder / _CLIENT_KEY

    @property
    def client_public_key(self) -> str:
        """The line for `authorized_keys`."""
        return self._public(_CLIENT_KEY)

    @property
    def host_key(self) -> Path:
        """The private host key this install travels with (OpenSSH format, mode 0600)."""
        return self.folder / _HOST_KEY

    @property
    def host_public_key(self) -> str:
        """The host key that the installed system must show, `ssh-ed25519 BASE64 COMMENT`."""
        return self._public(_HOST_KEY)

    @property
    def phase(self) -> Phase:
        """How far the install came."""
        return Phase((self.folder / _PHASE).read_text())

    def reached(self, phase: Phase) -> None:
        """Put down how far the install came.

        From `WRITING` on, whatever an earlier install left on the same disk is gone: it is forgotten.
        """
        _write(self.folder / f"{_PHASE}.new", phase.value)
        (self.folder / f"{_PHASE}.new").replace(self.folder / _PHASE)
        if phase is not Phase.PREPARED:
            for other in installs_of(self.stamp.rack, self.stamp.server):
                if other.stamp.disk == self.stamp.disk and other.stamp.install_id != self.stamp.install_id:
                    forget(other.stamp.install_id)

    def _public(self, name: str) -> str:
        return (self.folder / f"{name}.pub").read_text().strip()


def create(stamp: Stamp) -> Credentials:
    """Fresh credentials for the install that `stamp` names, on disk when this returns.

    What an earlier run prepared for this server and never began is forgotten.
    """
    home = _home()
    for stale in installs_of(stamp.rack, stamp.server):
        if stale.phase is Phase.PREPARED:
            forget(stale.stamp.install_id)
    folder = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
    try:
        for name in (_CLIENT_KEY, _HOST_KEY):
            _make_key(folder / name, f"lab-{name.replace('_', '-')}-{stamp.install_id}")
        _write(folder / _STAMP, stamp.model_dump_json(indent=2) + "\n")
        _write(folder / _PHASE, Phase.PREPARED.value)
        folder.rename(home / stamp.install_id)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Credentials(stamp, home / stamp.install_id)


def load(install_id: str) -> Credentials | None:
    """The credentials of that install; None where there are none (any more), which means a new install."""
    try:
        folder = _home() / str(uuid.UUID(install_id))
        stamp = Stamp.model_validate_json((folder / _STAMP).read_text())
    except (ValueError, OSError):
        return None
    whole = all((folder / name).is_file() for name in (_CLIENT_KEY, _HOST_KEY, f"{_HOST_KEY}.pub", _PHASE))
    return Credentials(stamp, folder) if whole and stamp.install_id == folder.name else None


def installs_of(rack: str, server: str) -> list[Credentials]:
    """Every install kept for that server, newest first."""
    kept = [found for found in _kept() if (found.stamp.rack, found.stamp.server) == (rack, server)]
    return sorted(kept, key=lambda found: found.stamp.installed_at, reverse=True)


def latest(rack: str, server: str) -> Credentials | None:
    """The newest install that touched a disk of that server; its phase says whether it came to the end."""
    touched = (found for found in installs_of(rack, server) if found.phase is not Phase.PREPARED)
    return next(touched, None)


def forget(install_id: str) -> None:
    """Remove an install's credentials; none being there is fine."""
    shutil.rmtree(_home() / str(uuid.UUID(install_id)), ignore_errors=True)


def _kept() -> Iterator[Credentials]:
    for folder in _home().iterdir():
        if (found := load(folder.name)) is not None:
            yield found


def _home() -> Path:
    folder = paths.state() / "installs"
    folder.mkdir(exist_ok=True, mode=0o700)
    return folder


def _make_key(file: Path, comment: str) -> None:
    key = Ed25519PrivateKey.generate()
    _write(file, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    _write(file.with_suffix(".pub"), f"{public} {comment}\n")


def _write(file: Path, text: str) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
