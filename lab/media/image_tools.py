"""Running the tools that images are made with, and keeping what they made."""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO

from filelock import FileLock

from lab import paths
from lab.errors import MissingMedia
from lab.progress import Progress

HEARTBEAT_SECONDS = 8.0
"""Longest silence towards whoever watches a build."""
_KEEP_UNUSED_SECONDS = 14 * 24 * 3600.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PACKAGE_OF = {
    "apt-config": "apt",
    "apt-get": "apt",
    "debugfs": "e2fsprogs",
    "dpkg-deb": "dpkg",
    "mcopy": "mtools",
    "mke2fs": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mmd": "mtools",
    "sfdisk": "fdisk",
}


def tool_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment tools run in: English messages, UTC, the system's own tool folders."""
    return {**os.environ, "PATH": _PATH, "LC_ALL": "C", "TZ": "UTC", **(extra or {})}


def run(
    command: list[str],
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    output: IO[bytes] | None = None,
) -> str:
    """Run one tool to its end; its standard output, unless that goes to `output`.

    Raises:
        MissingMedia: the tool is not installed, or it failed; the message ends with what it said.
    """
    try:
        done = subprocess.run(
            command,
            input=stdin,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=tool_environment(env),
            cwd=cwd,
            check=False,
        )
    except FileNotFoundError as error:
        raise missing_tool(command[0]) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()[-5:]
        why = " | ".join(said) or "it said nothing"
        raise MissingMedia(
            f"{Path(command[0]).name} failed (exit {done.returncode}): {why}",
            tried=" ".join(command),
            next_step="mend what the tool complains about, then run again",
        )
    return (done.stdout or b"").decode(errors="replace")


def missing_tool(tool: str) -> MissingMedia:
    """The error for a tool that is not on this controller."""
    package = _PACKAGE_OF.get(tool, tool)
    return MissingMedia(
        f"{tool} is not installed", next_step=f"install the Debian package {package} (make setup does)"
    )


class Heartbeat:
    """While open, repeats the newest step to `progress`, so that nobody waits long without a word."""

    def __init__(self, progress: Progress, step: str) -> None:
        self._progress = progress
        self._step = step
        self._started = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._progress(self._step)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closed.set()
        self._thread.join()

    def step(self, text: str) -> None:
        """A new step has begun."""
        self._step = text
        self._progress(text)

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT_SECONDS):
            self._progress(f"{self._step} ({time.monotonic() - self._started:.0f} s)")


def content_key(parts: Iterable[object], files: Iterable[Path]) -> str:
    """One key for everything that goes into a build: values by their text, files by name and content.

    Of Python files the meaning counts, not layout or comments.
    """
    key = hashlib.sha256()
    for part in parts:
        key.update(f"{part}\n".encode())
    for file in sorted(files):
        content = file.read_bytes()
        if file.suffix == ".py":
            content = ast.dump(ast.parse(content)).encode()
        key.update(f"{file.name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return key.hexdigest()[:24]


def files_under(folder: Path) -> list[Path]:
    """Every file below `folder`, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def cached(area: str, label: str, key: str, build: Callable[[Path], None], progress: Progress) -> Path:
    """The folder that `build` fills, made once per key.

    Two builds of one key do not race (lock file), and a folder appears under its final name only when it
    is whole (rename). Entries of the same label that nobody used for two weeks go away.
    """
    home = paths.cache() / area
    home.mkdir(parents=True, exist_ok=True)
    final = home / f"{label}-{key}"
    if not final.is_dir():
        progress(f"building {label}, or waiting for another run that does")
        with FileLock(home / f"{label}-{key}.lock"):
            if not final.is_dir():
                draft = Path(tempfile.mkdtemp(prefix=f".{label}-", dir=home))
                try:
                    build(draft)
                    draft.chmod(0o755)
                    draft.rename(final)
                finally:
                    shutil.rmtree(draft, ignore_errors=True)
    os.utime(final)
    _prune(home, label, final)
    return final


def _prune(home: Path, label: str, current: Path) -> None:
    oldest = time.time() - _KEEP_UNUSED_SECONDS
    for entry in home.glob(f"{label}-*"):
        if entry.is_dir() and entry != current and entry.stat().st_mtime < oldest:
            shutil.rmtree(entry, ignore_errors=True)


def link_or_copy(source: Path, target: Path) -> None:
    """`target` becomes the same content as `source`, without copying it where one file system holds both."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy(source, target)


def blake2b(file: Path) -> str:
    """BLAKE2b-512 of a file, hexadecimal, as coreutils' `b2sum` prints it."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()
