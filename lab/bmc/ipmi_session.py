"""An IPMI session on pyghmi, without the ways in which pyghmi 1.6.19 hangs, resends or raises at random.

What is wrapped away (numbers: facts/bmc.md, 2.1):

- credentials are bytes, so that a second session to the same BMC does not hang (1);
- a BMC that answers SHA-256 with SHA-1 is logged into again with SHA-1 (2);
- whatever its event loop throws becomes one of our errors (2, 7);
- its module-global queues are touched by one thread at a time, behind one lock;
- no keep-alive of its own: a session that was idle is left and made anew before the next command;
- each request is one datagram unless the caller, who knows whether it is harmless, allows more.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from pyghmi import exceptions as pyghmi_errors
from pyghmi.ipmi.private import constants
from pyghmi.ipmi.private.session import Session

from lab.bmc.target import Account, Target
from lab.deadline import Deadline

LOGIN_S = 8.0
"""Seconds to log in; pyghmi's own retries end after about five."""
ANSWER_S = 1.2
"""Seconds to wait for the answer to one datagram of a harmless request."""
IDLE_S = 25.0
"""Seconds after which a session is not trusted any more: BMCs drop one after 60 s without traffic."""

_PASSWORD_WORDS = ("incorrect password", "unauthorized name", "invalid role", "privilege", "integrity check")
_SILENCE_WORDS = ("timeout", "no answer", "Session failed to initialize", "Name or service not known")
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
)
"""What pyghmi throws, here and there, when a BMC answers oddly."""
pyghmi_lock = threading.RLock()


class CompletionCode(Exception):
    """The BMC answered a request with a completion code other than 0 (IPMI 2.0, table 5-2)."""

    def __init__(self, code: int, netfn: int, command: int) -> None:
        known = constants.ipmi_completion_codes.get(code, "command-specific code")
        super().__init__(f"completion code 0x{code:02x} ({known}) to request 0x{netfn:02x}/0x{command:02x}")
        self.code = code


class NoAnswer(Exception):
    """A request that may be sent only once was not answered; whether it was carried out is open."""


class _Sha1Session(Session):  # type: ignore[misc]  # pyghmi is untyped
    """A session that offers SHA-1 from the start, for BMCs that ignore an offer of SHA-256."""

    def _initsession(self) -> None:
        super()._initsession()
        self.attemptedhash = 1


class IpmiSession:
    """One logged-in session, made when first needed and made anew when it has gone stale."""

    def __init__(self, target: Target, host: str, port: int, account: Account) -> None:
        self._target = target
        self._host = host
        self._port = port
        self._account = account
        self._kind: type[Session] = Session
        self._session: Any = None
        self._used_at = 0.0

    @contextmanager
    def stumbles(self, tried: str) -> Iterator[None]:
        """Hold pyghmi's lock and turn whatever it throws into a `LabFault`."""
        with pyghmi_lock:
            try:
                yield
            except STUMBLES as problem:
                self._forget()
                raise self._target.fault(
                    tried,
                    f"its answer could not be understood ({type(problem).__name__}: {problem})",
                    "is this an IPMI 2.0 BMC? try `ipmitool -I lanplus mc info` against it",
                ) from problem

    def connect(self) -> None:
        """Make sure that there is a live session.

        Raises:
            BmcUnreachable: nothing answers within `LOGIN_S`.
            BmcCredentials: user or password is wrong.
            LabFault: it answers, but not as an IPMI 2.0 BMC.
        """
        with pyghmi_lock:
            if self._session is not None:
                if self._session.logged and self.idle < IDLE_S:
                    return
                self.close()
            tried = f"IPMI log-in as {self._account.user}"
            try:
                self._log_in(tried)
            except struct.error:
                # The answer was shorter than the hash we offered: the BMC speaks SHA-1 without saying so.
                self._forget()
                self._kind = _Sha1Session
                with self.stumbles(tried):
                    self._log_in(tried)

    @property
    def idle(self) -> float:
        """Seconds since the BMC last answered."""
        return time.monotonic() - self._used_at

    def ask(self, netfn: int, command: int, data: Sequence[int] = (), *, lun: int = 0) -> bytes:
        """The answer's data to a harmless request, which is repeated until answered.

        Raises:
            CompletionCode: the BMC said no.
            BmcUnreachable: no answer to several datagrams and to a new log-in.
        """
        tried = f"IPMI request 0x{netfn:02x}/0x{command:02x}"
        self.connect()
        for last in (False, True):
            for _ in range(3):
                answer = self._send(netfn, command, data, ANSWER_S, lun, tried)
                if answer is not None:
                    return _data(answer, netfn, command)
            self._forget()
            if not last:
                self.connect()
        raise self._target.unreachable(tried, "it lets us log in, but does not answer requests")

    def ask_once(self, netfn: int, command: int, data: Sequence[int], wait: float = 5.0) -> bytes:
        """The answer's data to a request that goes onto the wire as exactly one datagram.

        Raises:
            CompletionCode: the BMC said no.
            NoAnswer: nothing came within `wait` seconds.
        """
        tried = f"IPMI request 0x{netfn:02x}/0x{command:02x}, sent once"
        self.connect()
        answer = self._send(netfn, command, data, wait, 0, tried)
        if answer is None:
            self._forget()
            raise NoAnswer(f"{tried}: no answer in {wait:.0f} s")
        return _data(answer, netfn, command)

    def close(self) -> None:
        """Log out, if it can be done without waiting; never raises."""
        with pyghmi_lock:
            session, self._session = self._session, None
            if session is not None:
                try:
                    session.logout()
                except STUMBLES:
                    session.logged = 0

    def _log_in(self, tried: str) -> None:
        result: list[dict[str, Any]] = []
        deadline = Deadline.after(LOGIN_S, "the BMC lets us log in")
        try:
            self._session = self._kind(
                bmc=self._host,
                userid=self._account.user.encode(),
                password=self._account.password().encode(),
                port=self._port,
                onlogon=result.append,
            )
            while not result and not deadline.passed:
                Session.wait_for_rsp(timeout=min(0.05, deadline.left))
        except (OSError, pyghmi_errors.IpmiException) as problem:
            self._forget()
            raise self._target.unreachable(tried, str(problem)) from problem
        error = result[0].get("error") if result else "no answer"
        if error:
            self._forget()
            text = str(error)
            kind = failure_kind(text)
            if kind == "credentials":
                raise self._target.credentials(tried, text)
            if kind == "unreachable":
                raise self._target.unreachable(tried, "no answer to IPMI over UDP")
            raise self._target.fault(
                tried, text, "close other sessions to this BMC, or wait a minute until they expire"
            )
        # Its keep-alive would resend and log in by itself in the middle of somebody else's request.
        Session.keepalive_sessions.pop(self._session, None)
        self._used_at = time.monotonic()

    def _send(
        self, netfn: int, command: int, data: Sequence[int], wait: float, lun: int, tried: str
    ) -> dict[str, Any] | None:
        with self.stumbles(tried):
            session = self._session
            answers: list[dict[str, Any]] = []
            deadline = Deadline.after(wait, "the answer")
            session.raw_command(
                netfn=netfn, command=command, data=data, rslun=lun, retry=False, callback=answers.append
            )
            while not answers and not deadline.passed:
                Session.wait_for_rsp(timeout=min(0.05, deadline.left))
            # pyghmi leaves this to whoever gives a callback.
            session.incommand = False
            while session.evq:
                session.evq.popleft().set()
            if answers:
                self._used_at = time.monotonic()
            return answers[0] if answers else None

    def _forget(self) -> None:
        """Drop a session that is of no use, so that nothing of it is found and reused."""
        session, self._session = self._session, None
        Session.initting_sessions.clear()
        if session is None:
            return
        session.logged = 0
        session.logging = False
        if not session.broken:
            session.broken = True
            Session.socketpool[session.socket] -= 1
        for table in (Session.waiting_sessions, Session.keepalive_sessions):
            table.pop(session, None)
        for by_port in Session.bmc_handlers.values():
            for port in [port for port, owner in by_port.items() if owner is session]:
                del by_port[port]


def failure_kind(text: str) -> Literal["credentials", "unreachable", "fault"]:
    """What pyghmi means by the text with which a log-in ended."""
    if any(word in text.lower() for word in _PASSWORD_WORDS):
        return "credentials"
    return "unreachable" if any(word in text for word in _SILENCE_WORDS) else "fault"


def _data(answer: dict[str, Any], netfn: int, command: int) -> bytes:
    code = int(answer.get("code", 0xFF))
    if code:
        raise CompletionCode(code, netfn, command)
    return bytes(answer["data"])
