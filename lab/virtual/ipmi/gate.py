"""The door in front of `ipmi_sim`: every datagram of the BMC's public port passes here.

It is there because `ipmi_sim` accepts cipher suite 0 (RAKP-none: no password is checked) whatever its
configuration says (seen with 2.0.33; its table of suites holds 0). The gate answers such a request as a
BMC with suite 0 disabled does. It is also where datagrams are lost, doubled and delayed, both ways, and
where an `ipmi_sim` is that restarts or whose session table is full.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import OrderedDict
from collections.abc import Callable

from lab.virtual.ipmi.in_force import InForce
from lab.virtual.ipmi.line import Line

Address = tuple[str, int]
_CLIENT_LIMIT = 256
_RMCP_IPMI = (0x06, 0x07)
_RMCP_PLUS = 0x06
_OPEN_SESSION_REQUEST, _OPEN_SESSION_RESPONSE = 0x10, 0x11
_INSUFFICIENT_RESOURCES, _INVALID_AUTHENTICATION_ALGORITHM = 0x01, 0x04
_HEADER = 16
_REQUEST_BYTES = 32


def refusal(datagram: bytes, faults: InForce | None = None) -> bytes | None:
    """The answer to an Open Session Request that is not passed on; None for anything else.

    That is one that asks for no authentication, and any while the session table is to be full. Source: IPMI
    v2.0 rev 1.1, sections 13.6 (RMCP+ header), 13.17, 13.18 and table 13-15 (status codes).
    """
    if len(datagram) < _HEADER + _REQUEST_BYTES or (datagram[0], datagram[3] & 0x1F) != _RMCP_IPMI:
        return None
    if datagram[4] != _RMCP_PLUS or datagram[5] & 0x3F != _OPEN_SESSION_REQUEST:
        return None
    request = datagram[_HEADER:]
    named, algorithm = request[11] != 0, request[12] & 0x3F
    if named and algorithm == 0:
        status = _INVALID_AUTHENTICATION_ALGORITHM
    elif faults is not None and faults.injected("session-table-full", "Open Session") is not None:
        status = _INSUFFICIENT_RESOURCES
    else:
        return None
    tag, console_session = request[0], request[4:8]
    body = bytes([tag, status, 0, 0]) + console_session
    header = bytes([0x06, 0x00, 0xFF, 0x07, _RMCP_PLUS, _OPEN_SESSION_RESPONSE])
    return header + bytes(8) + struct.pack("<H", len(body)) + body


def _is_command(datagram: bytes) -> bool:
    """Whether it is an IPMI command in a session (payload type 0, encrypted or not)."""
    return (
        len(datagram) > _HEADER
        and datagram[4] == _RMCP_PLUS
        and datagram[5] & 0x3F == 0
        and any(datagram[6:10])
    )


class Gate(asyncio.DatagramProtocol):
    """Passes datagrams between clients and one inner port; each client has an inner socket of its own.

    Args:
        inner: where `ipmi_sim` listens.
        faults: what happens to datagrams on their way.
    """

    def __init__(self, inner: Address, faults: InForce | None = None) -> None:
        self._inner = inner
        self._faults = faults or InForce()
        self._inward, self._outward = Line("in", self._faults), Line("out", self._faults)
        self._away_until = 0.0
        self.restart: Callable[[float], None] = self.shut
        """Makes the BMC go away for so many seconds, where a fault says so."""
        self._public: asyncio.DatagramTransport | None = None
        self._clients: OrderedDict[Address, asyncio.Task[asyncio.DatagramTransport]] = OrderedDict()

    async def open(self, address: str, port: int) -> None:
        """Listen on the BMC's public port; OSError where it is taken."""
        loop = asyncio.get_running_loop()
        self._public, _ = await loop.create_datagram_endpoint(lambda: self, (address, port))

    def close(self) -> None:
        """Stop listening and forget every client."""
        if self._public is not None:
            self._public.close()
        for line in (self._inward, self._outward):
            line.close()
        while self._clients:
            self._forget()

    @property
    def is_shut(self) -> bool:
        """Whether nothing passes now."""
        return time.monotonic() < self._away_until

    def status(self) -> dict[str, int]:
        """What happened to datagrams so far, both ways."""
        return {
            "lost": self._inward.lost + self._outward.lost,
            "doubled": self._inward.doubled + self._outward.doubled,
            "delayed": self._inward.delayed + self._outward.delayed,
        }

    def shut(self, seconds: float) -> None:
        """Let nothing through for so long, as while a BMC restarts."""
        self._away_until = time.monotonic() + seconds

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """A client's datagram, by way of a network that may lose or delay it."""
        self._inward.carry(data, lambda datagram: self._take(datagram, addr))

    def answer(self, data: bytes, client: Address) -> None:
        """Send to a client from the public port."""
        self._outward.carry(data, lambda datagram: self._put(datagram, client))

    def _take(self, data: bytes, client: Address) -> None:
        """Answer a client's datagram here, or pass it on."""
        if self.is_shut or self._public is None or self._public.is_closing():
            return
        answer = refusal(data, self._faults)
        if answer is not None:
            self.answer(answer, client)
            return
        reboot = self._faults.injected("bmc-reboot", "a command") if _is_command(data) else None
        if reboot is None or reboot.chosen_way == "after":
            self._pass_on(data, client)
        if reboot is not None:
            self.restart(reboot.lasting_s)

    def _pass_on(self, data: bytes, client: Address) -> None:
        task = self._clients.pop(client, None) or asyncio.create_task(self._introduce(client))
        self._clients[client] = task  # moved to the end: the longest silent client is the first
        if len(self._clients) > _CLIENT_LIMIT:
            self._forget()
        task.add_done_callback(lambda done: _send(done, data))

    def _put(self, data: bytes, client: Address) -> None:
        if self._public is not None and not self._public.is_closing() and not self.is_shut:
            self._public.sendto(data, client)

    async def _introduce(self, client: Address) -> asyncio.DatagramTransport:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Inner(self, client), remote_addr=self._inner
        )
        return transport

    def _forget(self) -> None:
        _, task = self._clients.popitem(last=False)
        task.add_done_callback(_close)


class _Inner(asyncio.DatagramProtocol):
    """The inner side of one client."""

    def __init__(self, gate: Gate, client: Address) -> None:
        self._gate = gate
        self._client = client

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._gate.answer(data, self._client)

    def error_received(self, exc: Exception) -> None:
        """Nobody at the inner port: `ipmi_sim` is being started again, and the client asks once more."""


def _send(done: asyncio.Task[asyncio.DatagramTransport], data: bytes) -> None:
    if not done.cancelled() and done.exception() is None and not done.result().is_closing():
        done.result().sendto(data)


def _close(done: asyncio.Task[asyncio.DatagramTransport]) -> None:
    if not done.cancelled() and done.exception() is None:
        done.result().close()
