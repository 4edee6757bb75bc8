"""Fixtures of the console's tests: a console server on loopback and a Console that records it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from lab.console.recorder import Console
from lab.console.transports import TcpStream
from lab.deadline import Deadline
from tests.console.console_server import ConsoleServer


@pytest.fixture
def far_end() -> Iterator[ConsoleServer]:
    with ConsoleServer() as server:
        yield server


@pytest.fixture
def console(far_end: ConsoleServer, tmp_path: Path) -> Iterator[Console]:
    """Records `far_end` as server `box`, files in `tmp_path`."""
    console = Console("box", partial(TcpStream, far_end.address), tmp_path, zero=time.monotonic())
    console.open(Deadline.after(5, "the console to open"))
    yield console
    console.close()
