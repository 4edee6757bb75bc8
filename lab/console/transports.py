"""Ways to reach a console, each a `ByteStream`; this module alone imports pyserial."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from pathlib import Path
from queue import Empty, Queue

import serial

from lab.deadline import Deadline
from lab.errors import ConfigError, ConsoleLost

_CONNECT_LIMIT = 5.0
_WRITE_LIMIT = 5.0
_CHUNK = 65536
_LOOK_UP = 0.5


def _lost(what: str, error: object, next_step: str) -> ConsoleLost:
    return ConsoleLost(f"{what}: {error}", next_step=next_step)


def host_and_port(address: str) -> tuple[str, int]:
    """`HOST:PORT` or `[ADDRESS]:PORT` taken apart.

    Raises:
        ConfigError: it is neither.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(
            f"console address '{address}' is not HOST:PORT", next_step="mend it in the rack file"
        )
    return host.strip("[]"), int(port)


class TcpStream:
    """A raw TCP port of a console server.

    Keepalive finds a console server that went away without a word within about 25 s.

    Raises:
        ConfigError: from the constructor, the address is wrong.
        ConsoleLost: from the constructor, `read` and `write`.
    """

    def __init__(self, address: str) -> None:
        self._what = f"console at tcp {address}"
        try:
            self._socket = socket.create_connection(host_and_port(address), timeout=_CONNECT_LIMIT)
        except OSError as error:
            raise _lost(
                self._what, error, "check that the console server's port is up and not in use"
            ) from error
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
            self._socket.setsockopt(socket.IPPROTO_TCP, option, value)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def read(self) -> bytes:
        """What has arrived."""
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise _lost(self._what, error, "look at the console server") from error
        if not data:
            raise _lost(self._what, "closed by the other side", "look at the console server")
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`, within 5 s."""
        deadline = Deadline.after(_WRITE_LIMIT, f"{self._what} to take input")
        rest = memoryview(data)
        try:
            while rest:
                if not select.select([], [self._socket], [], deadline.left)[1]:
                    raise _lost(
                        self._what, f"takes no input for {_WRITE_LIMIT:.0f} s", "look at the console server"
                    )
                rest = rest[self._socket.send(rest) :]
        except OSError as error:
            raise _lost(self._what, error, "look at the console server") from error

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._socket.close()


class SerialStream:
    """A serial port of the controller, opened for us alone.

    Raises:
        ConsoleLost: from the constructor, `read` and `write`.
    """

    def __init__(self, port: Path, baud: int) -> None:
        self._what = f"serial port {port}"
        try:
            self._port = serial.Serial(str(port), baud, timeout=0, write_timeout=_WRITE_LIMIT, exclusive=True)
        except (serial.SerialException, OSError, ValueError) as error:
            raise _lost(
                self._what, error, "check the cable, the port's name and group dialout; end other users of it"
            ) from error

    def fileno(self) -> int:
        """The port's descriptor."""
        number: int = self._port.fileno()
        return number

    def read(self) -> bytes:
        """What has arrived."""
        try:
            data: bytes = self._port.read(_CHUNK)
        except (
            serial.SerialException,
            OSError,
            TypeError,
        ) as error:  # TypeError: pyserial's port closed meanwhile
            raise _lost(self._what, error, "check that the adapter is still plugged in") from error
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`, within 5 s."""
        try:
            self._port.write(data)
        except (serial.SerialException, OSError) as error:
            raise _lost(self._what, error, "check the cable and flow control") from error

    def close(self) -> None:
        """Close the port."""
        with contextlib.suppress(serial.SerialException, OSError):
            self._port.close()


class Rfc2217Stream:
    """A port of a console server that speaks RFC 2217.

    pyserial's client (3.5) has no descriptor to select, so a thread carries its bytes into a pipe. They are
    taken from its queue, because its `read` throws away what has arrived when the connection ends.

    Raises:
        ConfigError: from the constructor, the address is wrong.
        ConsoleLost: from the constructor, `read` and `write`.
    """

    def __init__(self, address: str, baud: int) -> None:
        host_and_port(address)
        self._what = f"console at rfc2217 {address}"
        try:
            self._port = serial.serial_for_url(f"rfc2217://{address}", baudrate=baud, timeout=0.5)
        except (serial.SerialException, OSError, ValueError) as error:
            raise _lost(
                self._what, error, "check that the console server's port is up and speaks RFC 2217"
            ) from error
        self._why = "closed by the other side"
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        self._thread = threading.Thread(target=self._carry, name=self._what, daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """The reading end of the pipe."""
        return self._out

    def read(self) -> bytes:
        """What has arrived."""
        try:
            data = os.read(self._out, _CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise _lost(self._what, error, "look at the console server") from error
        if not data:
            raise _lost(self._what, self._why, "look at the console server")
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        try:
            self._port.write(data)
        except (serial.SerialException, OSError) as error:
            raise _lost(self._what, error, "look at the console server") from error

    def close(self) -> None:
        """Close the connection; the thread ends with it."""
        with contextlib.suppress(OSError):
            os.close(self._out)
        self._out = -1
        with contextlib.suppress(serial.SerialException, OSError):
            self._port.close()
        self._thread.join(_CONNECT_LIMIT)

    def _carry(self) -> None:
        queue: Queue[bytes | None] = self._port._read_buffer
        try:
            while self._port.is_open:
                with contextlib.suppress(Empty):
                    piece = [queue.get(timeout=_LOOK_UP)]
                    with contextlib.suppress(Empty):
                        while piece[-1] is not None:
                            piece.append(queue.get_nowait())
                    _write_all(self._in, b"".join(filter(None, piece)))
                    if piece[-1] is None:  # pyserial's word for the end
                        break
        except OSError as error:  # nobody reads the pipe any more
            self._why = str(error)
        finally:
            os.close(self._in)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
