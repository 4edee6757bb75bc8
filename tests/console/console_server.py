"""A console server for tests: one TCP port on loopback that says what it is told to, and can hang up."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class ConsoleServer:
    """Takes one client at a time; what clients send is in `received`."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._client: socket.socket | None = None
        self._came = threading.Event()
        self.received = bytearray()
        self.clients = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """`HOST:PORT`."""
        return f"127.0.0.1:{self._listening.getsockname()[1]}"

    def say(self, data: bytes, *, bytewise: bool = False) -> None:
        """Send to the client, waiting for one first."""
        assert self._came.wait(5), "no client came"
        client = self._client
        assert client is not None
        if not bytewise:
            client.sendall(data)
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data:
            client.sendall(bytes([byte]))

    def hang_up(self) -> None:
        """End the client's connection; the next may come."""
        assert self._came.wait(5), "no client came"
        self._came.clear()
        assert self._client is not None
        self._client.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> ConsoleServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Refuse everybody from now on."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                with client:
                    self._client = client
                    self.clients += 1
                    self._came.set()
                    with contextlib.suppress(OSError):
                        while data := client.recv(4096):
                            self.received += data
