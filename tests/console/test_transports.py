"""Transports against real far ends: a pty, a TCP port, pyserial's own RFC 2217 server."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import serial.rfc2217

from lab.bmc.api import ByteStream
from lab.console.api import Pattern, Position
from lab.console.open import opener
from lab.console.recorder import Console
from lab.console.transports import Rfc2217Stream, SerialStream, TcpStream, host_and_port
from lab.deadline import Deadline
from lab.errors import ConfigError, ConsoleLost
from lab.rack.model import Rfc2217Console, SerialConsole, TcpConsole
from tests.console.console_server import ConsoleServer

END = Pattern("end", "milestone", "services", "^END$")


def read_until(stream: ByteStream, size: int) -> bytes:
    data = b""
    deadline = Deadline.after(10, f"{size} bytes")
    while len(data) < size and not deadline.passed:
        select.select([stream], [], [], 0.1)
        data += stream.read()
    return data


@pytest.fixture
def port() -> Iterator[tuple[int, Path]]:
    """A pty: our end, and the path of the end that plays the serial port."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    yield ours, Path(os.ttyname(theirs))
    for end in (ours, theirs):
        with contextlib.suppress(OSError):
            os.close(end)


class Rfc2217Port:
    """pyserial's RFC 2217 server before a loop:// port: what is typed comes back, what is said goes out."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listening.getsockname()[1]}"
        self.client: socket.socket | None = None
        self.manager: serial.rfc2217.PortManager | None = None
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            self.client, _ = self.listening.accept()
            device = serial.serial_for_url("loop://", timeout=0)
            connection = SimpleNamespace(write=self.client.sendall)
            self.manager = serial.rfc2217.PortManager(device, connection)
            while data := self.client.recv(4096):
                device.write(b"".join(self.manager.filter(data)))
                if typed := device.read(4096):
                    self.say(typed)

    def say(self, data: bytes) -> None:
        assert self.client is not None and self.manager is not None
        self.client.sendall(b"".join(self.manager.escape(data)))

    def hang_up(self) -> None:
        for end in (self.client, self.listening):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        self.thread.join(5)


@pytest.fixture
def rfc2217() -> Iterator[Rfc2217Port]:
    far = Rfc2217Port()
    yield far
    far.hang_up()


def test_serial_port_both_ways(port: tuple[int, Path]) -> None:
    ours, path = port
    stream = SerialStream(path, 115200)
    assert stream.read() == b""
    os.write(ours, bytes(range(256)))
    assert read_until(stream, 256) == bytes(range(256))
    stream.write(b"root\r")
    assert os.read(ours, 100) == b"root\r"
    stream.close()
    stream.close()


def test_serial_port_is_ours_alone(port: tuple[int, Path]) -> None:
    stream = SerialStream(port[1], 115200)
    with pytest.raises(ConsoleLost, match="serial port"):
        SerialStream(port[1], 115200)
    stream.close()


def test_serial_port_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConsoleLost, match="ttyUSB9"):
        SerialStream(tmp_path / "ttyUSB9", 115200)


def test_serial_adapter_pulled_out(port: tuple[int, Path], tmp_path: Path) -> None:
    ours, path = port
    console = Console("box", lambda: SerialStream(path, 9600), tmp_path, zero=time.monotonic())
    console.open(Deadline.after(5, "open"))
    os.write(ours, b"before\r\nEND\r\n")
    console.expect(END, Deadline.after(5, "the text"), failures=[], since=Position(0, 0.0))
    os.close(ours)
    deadline = Deadline.after(5, "the loss is noticed")
    while console.lost is None and not deadline.passed:
        threading.Event().wait(0.01)
    assert console.lost is not None
    console.close()
    assert "gap begins: serial port" in console.log.read_text()


def test_tcp_both_ways_and_closed(far_end: ConsoleServer) -> None:
    stream = TcpStream(far_end.address)
    far_end.say(b"\xff\x00hello")
    assert read_until(stream, 7) == b"\xff\x00hello"
    assert stream.read() == b""
    far_end.hang_up()
    select.select([stream], [], [], 5)
    with pytest.raises(ConsoleLost, match="closed by the other side"):
        stream.read()
    stream.close()
    with pytest.raises(ConsoleLost):
        stream.read()


def test_rfc2217_both_ways(rfc2217: Rfc2217Port) -> None:
    stream = Rfc2217Stream(rfc2217.address, 115200)
    rfc2217.say(bytes(range(256)) * 40)
    assert read_until(stream, 256 * 40) == bytes(range(256)) * 40
    stream.write(b"root\xff\r")
    assert read_until(stream, 6) == b"root\xff\r"
    stream.close()
    stream.close()


def test_rfc2217_gives_out_what_had_arrived_when_the_server_hung_up(rfc2217: Rfc2217Port) -> None:
    stream = Rfc2217Stream(rfc2217.address, 115200)
    rfc2217.say(b"last words" * 2000)
    rfc2217.hang_up()
    assert read_until(stream, 20_000) == b"last words" * 2000
    select.select([stream], [], [], 5)
    with pytest.raises(ConsoleLost):
        stream.read()
    stream.close()


def test_rfc2217_server_that_is_not_there() -> None:
    with ConsoleServer() as gone:
        address = gone.address
    with pytest.raises(ConsoleLost, match="rfc2217"):
        Rfc2217Stream(address, 115200)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ts1:4012", ("ts1", 4012)), ("[::1]:4012", ("::1", 4012)), ("10.0.0.1:1", ("10.0.0.1", 1))],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert host_and_port(text) == expected


@pytest.mark.parametrize("text", ["ts1", ":4012", "ts1:telnet", ""])
def test_wrong_addresses_are_the_rack_files_fault(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        TcpStream(text)


@pytest.mark.parametrize(
    ("console", "kind"),
    [
        (SerialConsole(serial=Path("/dev/none")), SerialStream),
        (Rfc2217Console(rfc2217="127.0.0.1:1", baud=9600), Rfc2217Stream),
        (TcpConsole(tcp="127.0.0.1:1"), TcpStream),
    ],
)
def test_the_rack_files_entry_chooses_the_transport(
    monkeypatch: pytest.MonkeyPatch, console: object, kind: Callable[..., ByteStream]
) -> None:
    opens = opener(SimpleNamespace(), SimpleNamespace(console=console))  # type: ignore[arg-type]
    assert getattr(opens, "func", None) is kind
