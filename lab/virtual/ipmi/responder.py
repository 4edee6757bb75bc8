"""The virtual BMC's own RMCP+ service: one UDP socket per BMC, any number of them in one event loop.

It plays what `ipmi_sim` cannot: cipher suite 17, boot flags that read back, NMI, and the faults of
`lab.virtual.ipmi.faults`. Source: IPMI v2.0 rev 1.1 sections 13 (RMCP+), 6.12 (sessions), 15.9 (SOL).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any, NamedTuple

from lab.virtual.ipmi import rmcp
from lab.virtual.ipmi.bmc import Bmc
from lab.virtual.ipmi.commands import carry_out
from lab.virtual.ipmi.commands.application import APP
from lab.virtual.ipmi.line import Line
from lab.virtual.ipmi.login import Login
from lab.virtual.ipmi.rmcp import Message, Packet, PayloadType, Ping
from lab.virtual.ipmi.session import Address, Session

_log = logging.getLogger(__name__)
_HOUSEKEEPING_SECONDS = 0.5


class _Reboot(NamedTuple):
    """A restart for so many seconds; `unheard` where the command that met it is not carried out."""

    seconds: float
    unheard: bool


class Responder(asyncio.DatagramProtocol):
    """Answers IPMI over LAN for one BMC.

    Attributes:
        bmc: what the commands act on.
        requests: commands that came in a session, and were new.
        stale: datagrams of sessions that were repeated, too old or not genuine; none of them is obeyed.
        reboots: how often the BMC has restarted.
    """

    def __init__(self, bmc: Bmc) -> None:
        self.bmc = bmc
        self.requests = self.stale = self.reboots = 0
        faults, identity = bmc.faults, bmc.identity
        self._login = Login(bmc.sessions, identity.accounts, identity.guid, faults)
        self._inward, self._outward = Line("in", faults), Line("out", faults)
        self._away_until = self._back_at = 0.0
        self._commanded_at = float("-inf")
        self._transport: asyncio.DatagramTransport | None = None
        self._housekeeping: asyncio.TimerHandle | None = None
        bmc.restart = self.restart
        bmc.sol.send = self._send_sol
        bmc.sol.drop = bmc.drop_session

    async def open(self) -> None:
        """Listen; OSError where the port is taken."""
        loop = asyncio.get_running_loop()
        place = (self.bmc.identity.address, self.bmc.identity.port)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, place)
        self._keep_house()

    async def close(self) -> None:
        """Stop listening, end every session."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        for line in (self._inward, self._outward):
            line.close()
        await self.bmc.close()
        if self._transport is not None:
            self._transport.close()

    @property
    def away(self) -> bool:
        """Whether the BMC answers nothing now: it restarts, or hangs."""
        return time.monotonic() < self._away_until

    @property
    def restarting(self) -> bool:
        """Whether the BMC is away because it restarts."""
        return time.monotonic() < self._back_at

    def restart(self, seconds: float) -> None:
        """The BMC goes away for so long; sessions and SOL are lost, the server runs on."""
        _log.info("%s: the BMC restarts, away for %g s", self.bmc.identity.server, seconds)
        self.reboots += 1
        self._away_until = self._back_at = time.monotonic() + seconds
        self.bmc.sol.stop()
        self.bmc.sessions.clear()

    def status(self) -> dict[str, Any]:
        """Numbers for judges."""
        bmc = self.bmc
        return {
            "sessions": bmc.sessions.status(),
            "log_ins_refused": self._login.refused,
            "requests": self.requests,
            "chassis_control": dict(bmc.controls),
            "stale": self.stale,
            "sol_activated": bmc.sol.activated,
            "sol_open": bmc.sol.owner is not None,
            "reboots": self.reboots,
            "lost": self._inward.lost + self._outward.lost,
            "doubled": self._inward.doubled + self._outward.doubled,
            "delayed": self._inward.delayed + self._outward.delayed,
        }

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """A datagram, by way of a network that may lose or delay it."""
        self._inward.carry(data, lambda datagram: self._take(datagram, addr))

    def error_received(self, exc: Exception) -> None:
        """A client is gone; its session will time out."""

    def _take(self, datagram: bytes, peer: Address) -> None:
        if self.away:
            return
        session = self.bmc.sessions.find(rmcp.session_of(datagram))
        keys = session.keys if session is not None else None
        packet = rmcp.decode(datagram, keys.code_bytes if keys is not None else 0)
        if isinstance(packet, Ping):
            self._send(rmcp.pong(packet.tag), peer)
        elif packet is not None and packet.session == 0:
            self._outside(packet, peer)
        elif packet is not None and session is not None:
            self._inside(session, packet, peer)

    def _outside(self, packet: Packet, peer: Address) -> None:
        if packet.type != PayloadType.IPMI:
            for kind, payload in self._login.answer(packet.type, packet.payload, peer):
                self._send(rmcp.outside_session(kind, payload), peer)
            return
        request = rmcp.decode_message(packet.payload)
        if request is not None:
            completion, data = carry_out(self.bmc, request, None)
            answer = rmcp.encode_response(request, completion, data)
            self._send(rmcp.outside_session(PayloadType.IPMI, answer, plus=packet.plus), peer)

    def _inside(self, session: Session, packet: Packet, peer: Address) -> None:
        keys = session.keys
        genuine = keys is not None and packet.encrypted and keys.vouches(packet.signed, packet.code)
        payload = keys.decrypt(packet.payload) if keys is not None and genuine else None
        if payload is None or not session.is_new(packet.sequence):
            self.stale += 1
            return
        session.heard, session.peer = time.monotonic(), peer
        if packet.type == PayloadType.SOL:
            self.bmc.sol.receive(session, payload)
        elif packet.type == PayloadType.IPMI:
            request = rmcp.decode_message(payload)
            if request is not None:
                self._command(session, request)

    def _command(self, session: Session, request: Message) -> None:
        self.requests += 1
        if self._hangs(request):
            return
        reboot = self._reboot(request)
        if reboot is not None and reboot.unheard:
            self.bmc.restart(reboot.seconds)
            return
        completion, data = carry_out(self.bmc, request, session)
        if reboot is not None:
            self.bmc.restart(reboot.seconds)
        else:
            self._send_in(session, PayloadType.IPMI, rmcp.encode_response(request, completion, data))

    def _reboot(self, request: Message) -> _Reboot | None:
        """Whether the BMC restarts over this command."""
        faults = self.bmc.faults
        if faults.hits("reboot"):
            return _Reboot(faults.now.reboot_s, faults.now.reboot_unheard)
        words = f"{request.network_function:#04x}/{request.command:#04x}"
        entry = faults.injected("bmc-reboot", words)
        return _Reboot(entry.lasting_s, entry.chosen_way == "before") if entry is not None else None

    def _hangs(self, request: Message) -> bool:
        """Whether this command comes too soon after another, for a BMC that minds (Q33)."""
        faults = self.bmc.faults.now
        if not faults.spacing_s or request.network_function == APP:
            return False
        now = time.monotonic()
        too_soon = now - self._commanded_at < faults.spacing_s
        self._commanded_at = now
        if too_soon:
            self.bmc.faults.played("spacing_s", f"{request.network_function:#04x}/{request.command:#04x}")
            self._away_until = now + faults.hang_s
        return too_soon

    def _send_sol(self, session: Session, payload: bytes) -> None:
        self._send_in(session, PayloadType.SOL, payload)

    def _send_in(self, session: Session, kind: PayloadType, payload: bytes) -> None:
        keys = session.keys
        if keys is None:
            return
        sequence = session.next_sequence()
        signed = rmcp.in_session(kind, session.console_id, sequence, keys.encrypt(payload))
        self._send(rmcp.RMCP_HEADER + signed + keys.code(signed), session.peer)

    def _send(self, datagram: bytes, peer: Address) -> None:
        self._outward.carry(datagram, lambda data: self._put(data, peer))

    def _put(self, datagram: bytes, peer: Address) -> None:
        if self._transport is not None and not self._transport.is_closing() and not self.away:
            with contextlib.suppress(OSError):
                self._transport.sendto(datagram, peer)

    def _keep_house(self) -> None:
        self.bmc.expire_sessions()
        self.bmc.follow_board()
        loop = asyncio.get_running_loop()
        self._housekeeping = loop.call_later(_HOUSEKEEPING_SECONDS, self._keep_house)
