"""The networks between the servers of a virtual rack: Ethernet hubs made of unix sockets."""

from __future__ import annotations

import asyncio
import socket

_FRAME_LIMIT = 65536


class Network:
    """One named network; every frame goes to every other port, and is dropped where a port is not reading."""

    def __init__(self) -> None:
        self._ports: list[socket.socket] = []

    def plug(self) -> socket.socket:
        """A cable to the network: the end to hand to a server. The port goes away when that end closes."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        self._ports.append(ours)
        asyncio.get_running_loop().add_reader(ours, self._forward, ours)
        return theirs

    def close(self) -> None:
        """Unplug everything."""
        for port in list(self._ports):
            self._unplug(port)

    def _forward(self, port: socket.socket) -> None:
        try:
            frame = port.recv(_FRAME_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            self._unplug(port)
            return
        for other in [other for other in self._ports if other is not port]:
            try:
                other.send(frame)
            except BlockingIOError:
                continue  # a full port loses the frame, as Ethernet does
            except OSError:
                self._unplug(other)

    def _unplug(self, port: socket.socket) -> None:
        if port in self._ports:
            self._ports.remove(port)
            asyncio.get_running_loop().remove_reader(port)
            port.close()
