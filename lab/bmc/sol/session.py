"""One SOL session on pyghmi, without what pyghmi 1.6.19 does wrong with SOL (facts/bmc.md, 2.1).

pyghmi logs in and activates the payload; the payload itself (IPMI 2.0, 15.11) is handled here, because
pyghmi loses bytes of a grown retransmission (3), accepts gaps in silence (4), overlooks that the BMC
deactivated the session (5), gives up on an acknowledged packet (6) and notices a dead BMC after 29 s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from pyghmi.ipmi.console import Console
from pyghmi.ipmi.private.session import Session

from lab.bmc.ipmi import pyghmi_loop
from lab.bmc.ipmi.lan import SUITES, LanSession
from lab.bmc.sol.sender import Sender

TAKEN = "another client took it, or the BMC deactivated it"
HELD = "SOL Session active for another client"
"""What pyghmi says when the payload is still another client's after it was freed once."""
ALIVE_EVERY_S = 1.5
"""Seconds between questions whether the payload is still ours."""
ALIVE_MISSES = 3
"""Unanswered questions after which the session is given up: together under five seconds."""
_OVERRUN, _DEACTIVATED = 0x08, 0x10
_GET_PAYLOAD_INSTANCE_INFO = (0x06, 0x4B)


class _AnyPort(int):
    """A port that equals every other: behind a forwarded port a BMC names its own, which nobody can reach.

    pyghmi compares the two and gives up; the packets travel in the session's own datagrams all the same.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int)

    __hash__ = int.__hash__


class SolSession(Console):  # type: ignore[misc]  # pyghmi is untyped
    """An activated SOL payload.

    Args:
        output: called with bytes that the server printed.
        event: called with a line about something that whoever reads the output should know.
    """

    port: int
    keepaliveid: float | None
    remseq: int
    lastsize: int

    def __init__(
        self,
        host: str,
        port: int,
        user: bytes,
        password: bytes,
        output: Callable[[bytes], None],
        event: Callable[[str], None],
        *,
        force: bool,
        free_first: bool = False,
        suites: tuple[int, ...] = SUITES,
        retries: int = 2,
    ) -> None:
        self._output = output
        self._event = event
        self.lost: str | None = None
        """Why the session is of no use any more; None while it is."""
        self._sender = Sender(self._emit, event, self._lose)
        self._next_question = 0.0
        self._unanswered = 0
        self._free_first = free_first
        self.ipmi_session: Any = None
        self._be_a_console(port, force)
        # pyghmi drops its own reference on an error, and the BMC's session with it.
        self._lan = self.ipmi_session = LanSession(
            host, port, user, password, self._got_session, suites=suites, retries=retries
        )

    def _be_a_console(self, port: int, force: bool) -> None:
        """What pyghmi's constructor sets up, but for its session, which has the defects of its sessions."""
        self.outputlock = threading.RLock()
        self.out_handler = self._told
        self.port = port
        self.force_session = force
        self.keepaliveid = self.callgotsession = None
        self.connected = self.broken = self.activated = self.awaitingack = False
        self.remseq = self.myseq = self.lastsize = self.retriedpayload = 0
        self.pendingoutput = list[Any]()

    @property
    def stumble(self) -> str:
        """The last datagram that could not be understood, and why; empty where there was none."""
        return self._lan.stumble

    @property
    def freed_another(self) -> bool:
        """Whether another client's session was ended to get this one."""
        return bool(self.retriedpayload)

    def _got_session(self, response: dict[str, Any]) -> None:
        """Activate the payload; which port the BMC believes to have must not matter (defect 8)."""
        self.port = _AnyPort(self.port)
        if self._free_first and "error" not in response and self.ipmi_session is not None:
            # A session of nobody would end ours when it times out (Q30); refused where there is none.
            self._free_first = False
            self.ipmi_session.raw_command(netfn=0x06, command=0x49, data=(1, 1, 0, 0, 0, 0))
        super()._got_session(response)

    def pump(self, seconds: float) -> None:
        """Let packets come and go for at most `seconds`; `lost` may be set afterwards."""
        if self.connected and self.lost is None:
            self._adopt()
            self._sender.turn()
            self._ask_if_alive()
        Session.wait_for_rsp(timeout=seconds)
        if self.ipmi_session is not None and not self.connected:
            self.ipmi_session.nudge()

    def type(self, data: bytes) -> None:
        """Queue input for the server."""
        self._sender.type(data)

    @property
    def quiet(self) -> bool:
        """Whether all input has been accepted by the BMC."""
        return self._sender.quiet

    def release(self) -> None:
        """Deactivate the payload, if it is still ours, and log out; nobody waits for the answers."""
        session = self._lan
        if not session.logged:
            pyghmi_loop.forget(session)
            return
        session.sol_handler = None
        session.incommand = False
        farewell = [(0x06, 0x3C, tuple(session.sessionid.to_bytes(4, "little")))]
        if self.lost is None:
            # Deactivating a payload that another client holds by now would end theirs.
            farewell.insert(0, (0x06, 0x49, (1, 1, 0, 0, 0, 0)))
        for netfn, command, data in farewell:
            session.raw_command(netfn=netfn, command=command, data=data, retry=False, callback=_ignore)
            session.incommand = False
        pyghmi_loop.forget(session)

    def _adopt(self) -> None:
        """Take over from pyghmi's keep-alive, which is slow and logs in again without activating SOL."""
        if self.keepaliveid is not None:
            self.ipmi_session.unregister_keepalive(self.keepaliveid)
            self.keepaliveid = None
            Session.keepalive_sessions.pop(self.ipmi_session, None)

    def _told(self, message: bytes | dict[str, Any]) -> None:
        if isinstance(message, dict):
            if "error" in message:
                self._lose(str(message["error"]))
        else:
            self._output(message)

    def _lose(self, why: str) -> None:
        if self.lost is None:
            self.lost = why

    def _got_sol_payload(self, payload: bytearray | dict[str, Any]) -> None:
        """A SOL packet (IPMI 2.0, table 15-2): sequence, acknowledged one, accepted count, status, data."""
        if isinstance(payload, dict):
            self._lose(str(payload.get("error", "session ended")))
            return
        if len(payload) < 4:
            return
        self._unanswered = 0
        self._sender.heard()
        sequence, acknowledged, accepted, status = payload[0] & 0xF, payload[1] & 0xF, payload[2], payload[3]
        if sequence:
            self._take(sequence, bytes(payload[4:]))
        if status & _OVERRUN:
            self._event("gap: the BMC's buffer overran; output was lost")
        if status & _DEACTIVATED:
            self._lose(TAKEN)
            return
        if acknowledged:
            self._sender.acknowledged(acknowledged, accepted, status)

    def _take(self, sequence: int, data: bytes) -> None:
        if sequence == self.remseq:
            fresh = data[self.lastsize :]
        else:
            if self.remseq and sequence != self.remseq % 15 + 1:
                missed = (sequence - self.remseq) % 15 - 1
                self._event(f"gap: {missed} packets of output were lost on the network")
            fresh = data
        self.remseq = sequence
        self.lastsize = len(data)
        if fresh:
            self._output(fresh)
        self._emit(bytes((0, sequence, len(data) & 0xFF, 0)))

    def _emit(self, payload: bytes) -> None:
        if self.ipmi_session is not None and self.ipmi_session.logged:
            self.ipmi_session.send_payload(bytearray(payload), payload_type=1, retry=False)
        else:
            self._lose("the IPMI session ended")

    def _ask_if_alive(self) -> None:
        now = time.monotonic()
        if now < self._next_question:
            return
        if self._unanswered >= ALIVE_MISSES:
            self._lose("the BMC does not answer any more")
            return
        self._next_question = now + ALIVE_EVERY_S
        self._unanswered += 1
        netfn, command = _GET_PAYLOAD_INSTANCE_INFO
        self.ipmi_session.incommand = False
        self.ipmi_session.raw_command(
            netfn=netfn, command=command, data=(1, 1), retry=False, callback=self._still_ours
        )

    def _still_ours(self, response: dict[str, Any]) -> None:
        self._unanswered = 0
        self.ipmi_session.incommand = False
        owner = bytes(response.get("data", b""))[:4]
        if response.get("code") or len(owner) < 4:
            return  # a BMC need not know this question; that it answers is enough
        if int.from_bytes(owner, "little") != self.ipmi_session.sessionid:
            self._lose(TAKEN)


def _ignore(_: object) -> None:
    return None
