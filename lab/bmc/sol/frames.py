"""What passes between the lab and the process that holds a SOL session: frames on one pipe.

A frame is a kind (one byte), a length (four bytes, big-endian) and that many bytes. Console bytes and
events travel on the same pipe, so that an event stands exactly where it happened in the output.
"""

from __future__ import annotations

import struct
from enum import IntEnum

HEADER = struct.Struct(">BI")
LARGEST = 4096 - HEADER.size
"""Bytes in one frame; a frame of at most PIPE_BUF bytes (pipe(7)) is written whole or not at all."""


class Kind(IntEnum):
    """What a frame holds."""

    OUTPUT = 1
    """Bytes that the server printed."""
    EVENT = 2
    """A note for whoever reads the console, UTF-8."""
    OPEN = 3
    """The console is open for the first time, UTF-8 note."""
    FAILED = 4
    """The end: `KIND reason`, where KIND is credentials, unreachable, busy or fault."""


def frame(kind: Kind, payload: bytes) -> bytes:
    """One frame; `payload` has at most `LARGEST` bytes."""
    return HEADER.pack(kind, len(payload)) + payload
