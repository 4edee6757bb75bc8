"""A server's serial port as a permanent hub: the server and the BMC's SOL side may both come and go.

`ipmi_sim` waits ten seconds before it connects again to a serial port that went away, which would cost the
first seconds of every boot; so it stays connected here while servers are powered on and off. Source:
facts/virtual-rack.md section 1, "SOL traps".
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

_CHUNK = 65536


class SerialHub:
    """Copies the server's output to a raw log and to every connected SOL side, and SOL input to the server.

    Nothing is dropped: where the SOL side reads slowly the server's serial port is slowed down, as flow
    control would. Output while no SOL side is connected goes to the log alone.
    """

    def __init__(self, raw: Path) -> None:
        self._raw = raw
        self._server: asyncio.StreamWriter | None = None
        self._sol: set[asyncio.StreamWriter] = set()
        self._listener: asyncio.Server | None = None
        self._copying: set[asyncio.Task[None]] = set()
        self.port = 0

    async def open(self) -> None:
        """Listen for the SOL side on a free loopback port, kept in `port`."""
        self._raw.touch(mode=0o600)
        self._listener = await asyncio.start_server(self._serve_sol, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def plug(self) -> socket.socket:
        """A serial cable: the end to hand to a server that powers on."""
        ours, theirs = socket.socketpair()
        reader, self._server = await asyncio.open_connection(sock=ours)
        task = asyncio.create_task(self._copy_from_server(reader, self._server))
        self._copying.add(task)
        task.add_done_callback(self._copying.discard)
        return theirs

    async def drained(self) -> None:
        """Return when everything that ended servers wrote has been copied."""
        if self._copying:
            await asyncio.wait(set(self._copying))

    async def close(self) -> None:
        """Disconnect everybody."""
        if self._listener is not None:
            self._listener.close()
        for writer in [*self._sol, *([self._server] if self._server else [])]:
            writer.close()
        for task in self._copying:
            task.cancel()

    async def _copy_from_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._raw.open("ab", buffering=0) as raw:
            while data := await _read(reader):
                raw.write(data)
                for sol in list(self._sol):
                    sol.write(data)
                for sol in list(self._sol):
                    with contextlib.suppress(ConnectionError):
                        await sol.drain()
        if self._server is writer:
            self._server = None
        writer.close()

    async def _serve_sol(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sol.add(writer)
        try:
            while data := await _read(reader):
                if self._server is not None:
                    self._server.write(data)
                    with contextlib.suppress(ConnectionError):
                        await self._server.drain()
        finally:
            self._sol.discard(writer)
            writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(_CHUNK)
    except ConnectionError:
        return b""
