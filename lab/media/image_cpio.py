"""Writing cpio archives in the `newc` form that the Linux kernel unpacks as its initramfs.

Everything belongs to root and carries one fixed time, so the same content gives the same bytes.
Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import BinaryIO

_REGULAR, _FOLDER, _LINK = 0o100000, 0o040000, 0o120000


class Cpio:
    """An archive written to `stream` as it is filled; `close` ends it. Parent folders come by themselves."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._number = 0
        self._folders: set[PurePosixPath] = set()

    def file(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """A regular file."""
        self._parents(name)
        self._entry(name, _REGULAR | mode, content)

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self._parents(name)
        self._entry(name, _LINK | 0o777, target.encode())

    def folder(self, name: str, mode: int = 0o755) -> None:
        """A folder, unless it is there already."""
        self._parents(name)
        path = PurePosixPath(name)
        if path not in self._folders:
            self._folders.add(path)
            self._entry(name, _FOLDER | mode, b"")

    def copy(self, source: Path, name: str) -> None:
        """A file of this machine, executable as it is there; links are followed."""
        self.file(name, source.read_bytes(), 0o755 if source.stat().st_mode & 0o100 else 0o644)

    def close(self) -> None:
        """End the archive (the stream stays open)."""
        self._entry("TRAILER!!!", 0, b"")

    def _parents(self, name: str) -> None:
        for parent in reversed(PurePosixPath(name).parents):
            if str(parent) != "." and parent not in self._folders:
                self._folders.add(parent)
                self._entry(str(parent), _FOLDER | 0o755, b"")

    def _entry(self, name: str, mode: int, content: bytes) -> None:
        self._number += 1
        path = name.encode() + b"\0"
        links = 2 if mode & 0o170000 == _FOLDER else 1
        fields = (self._number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(path), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        self._padded(header + path)
        self._padded(content)

    def _padded(self, data: bytes) -> None:
        self._stream.write(data + bytes(-len(data) % 4))
