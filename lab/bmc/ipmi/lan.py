"""pyghmi's session, without the ways in which its log-in hangs, misreads or blocks (facts/bmc.md, 2.1).

pyghmi 1.6.19 does framing, keys and encryption for us. What is ours (section numbers: IPMI 2.0):

- each object is a session of its own: nothing is shared with, or taken from, another owner (1, 9);
- cipher suites are offered in order, and one that was not honoured is given up for the next (2; 13.17);
- session ids and tags of an earlier try are never used again, so that its late answers are not taken for
  those of this one; a RAKP message with tag 0 is taken where all else fits (Q28; 13.21);
- a RAKP 2 that proves nothing may be a stray (Q28): only when no better one comes is the password wrong;
- "inactive session" begins the log-in anew, so many times (Q19); pyghmi waits, or gives up;
- nothing blocks inside the event loop; a datagram that cannot be understood is dropped, not thrown (7);
- it never resends a request by itself once logged in, and has no keep-alive.
"""

from __future__ import annotations

import hmac
import os
import random
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from pyghmi import exceptions as pyghmi_errors
from pyghmi.ipmi.private import constants
from pyghmi.ipmi.private import session as pyghmi_session
from pyghmi.ipmi.private.session import Session

from lab.bmc.ipmi import pyghmi_loop

STUMBLES = (
    pyghmi_errors.PyghmiException,
    struct.error,
    OSError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    AssertionError,
    NotImplementedError,
    ArithmeticError,
)
"""What pyghmi throws, here and there, when a BMC answers oddly."""
SUITES = (17, 3)
"""Cipher suites in the order they are offered: HMAC-SHA256, HMAC-SHA1; both AES-CBC-128 (table 22-20)."""
BUSY_WORDS = "no free session"
OLD_WORDS = "it speaks IPMI 1.5 alone"
USER_WORDS = "no such user, or one that is disabled or locked"
PASSWORD_WORDS = "incorrect password"  # noqa: S105  # words, no password
_PROOF_S = 0.4
"""Seconds to wait for a better RAKP 2 after one that proves nothing."""
_FIRST_S = (0.3, 0.6)
"""Seconds after which the first message of a log-in is sent again, or the log-in begun anew."""
_AGAIN_S = 0.7
"""Seconds before the question for a privilege level, which harms nobody, is put again."""
_FULL = {0x01, 0x0B}
_STALE = {0x02, 0x08}
_NO_ROLE = {0x09, 0x0A}
_NO_NAME = 0x0D
_BAD_PROOF = 0x0F
_SHA1_BYTES = 20
_ADMINISTRATOR, _OPERATOR = 4, 3


class LanSession(Session):  # type: ignore[misc]  # pyghmi is untyped
    """One RMCP+ session, logging in from its construction on; somebody must drive the event loop.

    Args:
        told: called once with `{"success": True}` or `{"error": why}`.
        suites: cipher suites to offer, in order.
        retries: how often a log-in that ended in an inactive session is begun anew.
    """

    sessioncontext: str | None
    privlevel: int
    timeout: float
    lastpayload: bytearray | None

    def __new__(cls, host: str, port: int, *_: object, **_named: object) -> LanSession:
        """A new object, always, on a socket that no other session with this BMC uses."""
        self: LanSession = object.__new__(cls)
        self.forbidsock = list[socket.socket]()
        for *__, found in socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM):
            mapped = len(found) == 2 and pyghmi_session.ipv6support
            address = (f"::ffff:{found[0]}", found[1], 0, 0) if mapped else found
            owners = Session.bmc_handlers.get(address, {}).values()
            self.forbidsock += [owner.socket for owner in owners]
        return self

    def __init__(
        self,
        host: str,
        port: int,
        user: bytes,
        password: bytes,
        told: Callable[[dict[str, Any]], None],
        *,
        suites: tuple[int, ...] = SUITES,
        retries: int = 2,
    ) -> None:
        self.stumble = ""
        """The last datagram that could not be understood, and why."""
        self._told: Callable[[dict[str, Any]], None] | None = told
        self._suites = suites
        self._suite = 0
        self._retries = retries
        self._unproven = False
        self._ask_again_at: float | None = None
        self._abandoned: list[int] = []
        super().__init__(bmc=host, userid=user, password=password, port=port, onlogon=self._finished)
        pyghmi_session.Session.initting_sessions.pop((host, user, password, port, None), None)

    @property
    def answered(self) -> bool:
        """Whether anything that looks like IPMI has come from the BMC."""
        return self.sockaddr is not None

    def nudge(self) -> None:
        """Put the last question of the log-in again where its answer is late."""
        if self._ask_again_at is not None and time.monotonic() >= self._ask_again_at:
            self._ask_privilege()

    def process_pktqueue(self) -> None:
        """Take what has arrived; what cannot be understood is dropped."""
        while self.pktqueue:
            try:
                super().process_pktqueue()
            except STUMBLES as problem:
                self.stumble = f"{type(problem).__name__}: {problem}"

    def logout(self, sessionok: bool = True) -> dict[str, bool]:
        """Close Session (22.19) without waiting for its answer, then forget; never raises."""
        del sessionok
        if self.logged and not self.broken:
            try:
                self.incommand = False
                handle = tuple(self.sessionid.to_bytes(4, "little"))
                self.raw_command(netfn=6, command=0x3C, data=handle, retry=False, callback=_ignore)
            except STUMBLES as problem:
                self.stumble = f"{type(problem).__name__}: {problem}"
        pyghmi_loop.forget(self)
        return {"success": True}

    def _finished(self, result: dict[str, Any]) -> None:
        told, self._told = self._told, None
        if told is not None:
            told(result)

    def _mark_broken(self, error: str | None = None) -> None:
        self.errormsg = error
        pyghmi_loop.forget(self)
        self._finished({"error": error or "session ended"})

    def _end(self, why: str) -> None:
        self.sessioncontext = "FAILED"
        self._ask_again_at = None
        self._mark_broken(why)

    def _initsession(self) -> None:
        super()._initsession()
        self.attemptedhash = 256 if self._suites[self._suite] == 17 else 1
        self.localsid = int.from_bytes(os.urandom(4), "little") & 0x7FFFFFFF | 1
        self.rmcptag = random.randrange(1, 200)  # noqa: S311  # tells answers apart, guards nothing
        self.timeout = random.uniform(*_FIRST_S)  # noqa: S311  # spreads what many ask at once
        self._unproven = False

    def _again(self) -> None:
        """Begin the log-in anew, with ids that no late answer can have."""
        self._initsession()
        self._get_channel_auth_cap()

    def _next_suite(self) -> bool:
        if self._suite + 1 >= len(self._suites):
            return False
        self._suite += 1
        self._again()
        return True

    def _timedout(self) -> None:
        """Ask again until whoever waits has had enough; RAKP messages must not be seen twice by a BMC."""
        if self._unproven:
            self._end(PASSWORD_WORDS)
            return
        if not self.lastpayload:
            return
        if self.sessioncontext in ("EXPECTINGRAKP2", "EXPECTINGRAKP4"):
            if self.sessioncontext == "EXPECTINGRAKP4":
                # Where only the answer was lost, the BMC has opened that session.
                self._abandoned.append(self.pendingsessionid)
            self._again()
            return
        self.timeout = min(2.0, self.timeout * 1.5)
        if self.sessioncontext == "OPENSESSION":
            self.lastpayload = None
            self._open_rmcpplus_request()
        else:
            self.send_payload()

    def _get_session_challenge(self) -> None:
        self._end(OLD_WORDS)

    def _got_rmcp_response(self, data: bytearray) -> None:
        """RMCP+ Open Session Response (13.18)."""
        if self.sessioncontext != "OPENSESSION" or len(data) < 2 or data[0] != self.rmcptag:
            return
        if data[1] in _FULL:
            self._end(f"{BUSY_WORDS} ({_status(data[1])})")
        elif data[1]:
            if not self._next_suite():
                offered = ", ".join(map(str, self._suites))
                self._end(f"none of the cipher suites {offered} ({_status(data[1])})")
        elif len(data) >= 20 and self.attemptedhash == 256 and data[16] & 0x3F == 1 and self._next_suite():
            # It means SHA-1 whatever is offered; the next suite is just that.
            return
        else:
            super()._got_rmcp_response(data)

    def _got_rakp2(self, data: bytearray) -> None:
        """RAKP Message 2 (13.21): who the BMC is, proven by the password."""
        if self.sessioncontext != "EXPECTINGRAKP2" or len(data) < 8 or data[0] not in (self.rmcptag, 0):
            return
        if data[1]:
            self._refused(data[1])
            return
        if int.from_bytes(data[4:8], "little") != self.localsid or len(data) < 40 + _SHA1_BYTES:
            return
        if self.attemptedhash == 256 and len(data) < 40 + 32:
            if not self._next_suite():
                self._end("it answers SHA-256 with SHA-1, and cipher suite 3 may not be used")
            return
        proof = bytes(data[40 : 40 + self.currhashlib().digest_size])
        if not hmac.compare_digest(proof, self._proof(bytes(data))):
            self._unproven = True
            # pyghmi's own clock, which is not that of `time`.
            self.expiration = pyghmi_session._monotonic_time() + _PROOF_S
            Session.waiting_sessions[self] = {"ipmisession": self, "timeout": self.expiration}
            return
        self._unproven = False
        data[0] = self.rmcptag
        super()._got_rakp2(data)

    def _proof(self, data: bytes) -> bytes:
        told = struct.pack("<II", self.localsid, self.pendingsessionid) + self.randombytes + data[8:40]
        told += bytes((self.nameonly | self.privlevel, len(self.userid))) + self.userid
        return hmac.new(self.password, told, self.currhashlib).digest()

    def _got_rakp4(self, data: bytearray) -> None:
        """RAKP Message 4 (13.23): whether the BMC believes us."""
        if self.sessioncontext != "EXPECTINGRAKP4" or len(data) < 8 or data[0] not in (self.rmcptag, 0):
            return
        if data[1]:
            self._refused(data[1])
            return
        data[0] = self.rmcptag
        super()._got_rakp4(data)

    def _refused(self, status: int) -> None:
        """A RAKP status other than 0 (table 13-15)."""
        if status in _STALE and self._retries > 0:
            self._retries -= 1
            self._again()
        elif status in {*_NO_ROLE, _NO_NAME} and self.privlevel == _ADMINISTRATOR:
            # Some say "no such name" of a user that has a lesser role.
            self.privlevel = _OPERATOR
            self._again()
        elif status == _NO_NAME:
            self._end(f"{USER_WORDS} ({_status(status)})")
        elif status in _NO_ROLE:
            self._end(f"this user has not the privilege of an operator ({_status(status)})")
        elif status == _BAD_PROOF:
            self._end(f"{PASSWORD_WORDS} ({_status(status)})")
        elif status in _FULL:
            self._end(f"{BUSY_WORDS} ({_status(status)})")
        else:
            self._end(_status(status))

    def _req_priv_level(self) -> None:
        self.logged = 1
        self.logoutexpiry = None
        # These bound how long a caller of pyghmi's blocking calls can wait: under seven seconds.
        self.maxtimeout, self.logontries = 2, 0
        self._ask_privilege()

    def _ask_privilege(self) -> None:
        """Set Session Privilege Level (22.18)."""
        self._ask_again_at = time.monotonic() + _AGAIN_S
        self.incommand = False
        self.raw_command(
            netfn=6, command=0x3B, data=[self.privlevel], retry=False, callback=self._got_privilege
        )

    def _got_privilege(self, response: dict[str, Any]) -> None:
        self._ask_again_at = None
        self.incommand = False
        code = int(response.get("code", 0xFF))
        if code in (0x80, 0x81) and self.privlevel == _ADMINISTRATOR:
            self.privlevel = _OPERATOR
            self._ask_privilege()
        elif code:
            self._end(f"this user has not the privilege of an operator (completion code 0x{code:02x})")
        else:
            self.logging = False
            self._close_abandoned()
            self._finished({"success": True})

    def _close_abandoned(self) -> None:
        """Close what log-ins of ours that were begun anew may have left; refused where there is nothing."""
        for number in self._abandoned:
            handle = tuple(number.to_bytes(4, "little"))
            self.raw_command(netfn=6, command=0x3C, data=handle, retry=False, callback=_ignore)
            self.incommand = False
        self._abandoned = []


def _status(code: int) -> str:
    known = constants.rmcp_codes.get(code, "a code of the vendor's own" if code >= 0xC0 else "unknown")
    return f"RMCP+ status 0x{code:02x}: {known}"


def _ignore(_: object) -> None:
    return None
