"""An IPMI session for commands: each call is answered, refused, or told to be unanswered, within its time.

- pyghmi's module-global queues are touched by one thread at a time, behind one lock, per exchange;
- no keep-alive: a session that was idle is left and made anew before the next command;
- each request is one datagram unless the caller, who knows whether it is harmless, allows more.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pyghmi import exceptions as pyghmi_errors
from pyghmi.ipmi.private import constants
from pyghmi.ipmi.private.session import Session

from lab.bmc.ipmi.lan import STUMBLES, LanSession
from lab.bmc.ipmi.look import Seen, look
from lab.bmc.ipmi.refusals import login_failed, not_understood
from lab.bmc.quirk_model import Behaviour
from lab.bmc.target import Account, Target
from lab.deadline import Deadline
from lab.errors import BmcBusy, LabFault

__all__ = ["STUMBLES", "CompletionCode", "IpmiSession", "NoAnswer", "TooSlow", "pyghmi_lock"]

LOGIN_S = 8.0
"""Seconds to log in."""
ANSWER_S = (0.4, 0.8, 1.6)
"""Seconds to wait for the answer to each datagram of a harmless request; ipmipower begins with 0.4 s too."""
_FAREWELL_S = (0.2, 0.4)
"""Seconds to wait for the answer to each log-out; a BMC that got the first does not answer the second."""
IDLE_S = 25.0
"""Seconds after which a session is not trusted any more: BMCs drop one after 60 s without traffic."""
BUSY_TRIES, _BUSY_S = 3, 1.0
"""How often a log-in is tried where all sessions are taken, and seconds in between."""
_LOOK_AFTER_S = 1.2
"""Seconds without any answer after which we look what else may be there."""
_LOOK_S = 1.0
_APP, _CLOSE_SESSION = 0x06, 0x3C

pyghmi_lock = threading.RLock()
_let_in: set[tuple[str, int, str]] = set()
"""Users that this process was logged in as: one that is unknown afterwards has been locked out."""


class CompletionCode(Exception):
    """The BMC answered a request with a completion code other than 0 (IPMI 2.0, table 5-2)."""

    def __init__(self, code: int, netfn: int, command: int) -> None:
        known = constants.ipmi_completion_codes.get(code, "command-specific code")
        super().__init__(f"completion code 0x{code:02x} ({known}) to request 0x{netfn:02x}/0x{command:02x}")
        self.code = code


class TooSlow(Exception):
    """A read of many answers was not done within its time limit."""

    @classmethod
    def after(cls, deadline: Deadline) -> None:
        """Raise where the deadline has passed: half a list must not look like a whole one."""
        if deadline.passed:
            raise cls(f"not within the time limit: {deadline.why}")


class NoAnswer(Exception):
    """A request that may be sent only once was not answered; whether it was carried out is open."""


class IpmiSession:
    """One logged-in session, made when first needed and made anew when it has gone stale.

    Attributes:
        behaviour: cipher suites, log-in retries and command spacing, as quirks say; may be replaced any time.
    """

    def __init__(
        self, target: Target, host: str, port: int, account: Account, behaviour: Behaviour | None = None
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self._target = target
        self._host = host
        self._port = port
        self._account = account
        self._session: LanSession | None = None
        self._used_at = 0.0
        self._sent_at = 0.0

    @contextmanager
    def stumbles(self, tried: str) -> Iterator[None]:
        """Turn whatever pyghmi throws into a `LabFault`."""
        try:
            yield
        except STUMBLES as problem:
            self._drop()
            raise not_understood(self._target, tried, f"{type(problem).__name__}: {problem}") from problem

    def connect(self) -> None:
        """Make sure that there is a live session.

        Raises:
            BmcUnreachable: nothing answers within `LOGIN_S`.
            BmcCredentials: user or password is wrong; BmcAccountLocked where the user was good before.
            BmcBusy: all its sessions are taken.
            NotABmc: something else answers there.
            LabFault: it answers, but not as an IPMI 2.0 BMC.
        """
        with pyghmi_lock:
            if self._session is not None:
                if self._session.logged and self.idle < IDLE_S:
                    return
                self._drop()
            for tries_left in reversed(range(BUSY_TRIES)):
                try:
                    self._log_in(f"IPMI log-in as {self._account.user}")
                except BmcBusy:
                    if not tries_left:
                        raise
                else:
                    return
                # A session that somebody just left may take the BMC a moment to free; nothing tells when.
                time.sleep(_BUSY_S)

    @property
    def idle(self) -> float:
        """Seconds since the BMC last answered."""
        return time.monotonic() - self._used_at

    @property
    def privilege(self) -> int:
        """The session's privilege level (IPMI 2.0, 22.18): 4 administrator, 3 operator; 0 for no session."""
        return 0 if self._session is None else self._session.privlevel

    @property
    def bmc_id(self) -> int:
        """The id by which the BMC knows the session; 0 without one."""
        return 0 if self._session is None else int(self._session.sessionid)

    def ask(self, netfn: int, command: int, data: Sequence[int] = (), *, lun: int = 0) -> bytes:
        """The answer's data to a harmless request, which is repeated until answered.

        Raises:
            CompletionCode: the BMC said no.
            BmcUnreachable: no answer to several datagrams and to a new log-in.
        """
        tried = f"IPMI request 0x{netfn:02x}/0x{command:02x}"
        for _ in range(2):
            self.connect()
            for wait in ANSWER_S:
                answer = self._send(netfn, command, data, wait, lun, tried)
                if answer is not None:
                    return _data(answer, netfn, command)
            self._drop()
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
            self._drop()
            raise NoAnswer(f"{tried}: no answer in {wait:.0f} s")
        return _data(answer, netfn, command)

    def close(self) -> None:
        """Log out, so that the BMC has the session back also where a datagram is lost; never raises."""
        with pyghmi_lock:
            session = self._session
            if session is not None and session.logged and self.idle < IDLE_S:
                handle = tuple(int(session.sessionid).to_bytes(4, "little"))
                with contextlib.suppress(LabFault):
                    for wait in _FAREWELL_S:
                        if self._send(_APP, _CLOSE_SESSION, handle, wait, 0, "logging out") is not None:
                            session.logged = 0
                            break
            self._drop()

    def _drop(self) -> None:
        """Leave a session that is of no use, without waiting for anything."""
        with pyghmi_lock:
            session, self._session = self._session, None
            if session is not None:
                session.logout()

    def _log_in(self, tried: str) -> None:
        result: list[dict[str, Any]] = []
        deadline = Deadline.after(LOGIN_S, "the BMC lets us log in")
        seen: Seen | None = None
        who = (self._host, self._port, self._account.user)
        began = time.monotonic()
        try:
            session = self._session = LanSession(
                self._host,
                self._port,
                self._account.user.encode(),
                self._account.password().encode(),
                result.append,
                suites=self.behaviour.cipher_suites,
                retries=self.behaviour.login_retries,
            )
            while not result and not deadline.passed:
                Session.wait_for_rsp(timeout=min(0.1, deadline.left))
                session.nudge()
                if seen is None and time.monotonic() - began > _LOOK_AFTER_S:
                    seen = look(self._host, self._port, deadline.within(_LOOK_S, "a look at the port"))
                    if seen in (Seen.CLOSED, Seen.NO_ROUTE, Seen.ECHO, Seen.OTHER):
                        break
        except (OSError, pyghmi_errors.IpmiException) as problem:
            self._drop()
            raise self._target.unreachable(tried, str(problem)) from problem
        error = str(result[0].get("error", "")) if result else "no answer"
        if error:
            self._drop()
            raise login_failed(
                self._target, tried, error, session.stumble, seen, self._port, let_in_before=who in _let_in
            )
        _let_in.add(who)
        self._used_at = time.monotonic()

    def _send(
        self, netfn: int, command: int, data: Sequence[int], wait: float, lun: int, tried: str
    ) -> dict[str, Any] | None:
        self._keep_spacing()
        with pyghmi_lock, self.stumbles(tried):
            session = self._session
            if session is None or not session.logged:
                return None
            answers: list[dict[str, Any]] = []
            deadline = Deadline.after(wait, "the answer")
            session.raw_command(
                netfn=netfn, command=command, data=data, rslun=lun, retry=False, callback=answers.append
            )
            while not answers and not deadline.passed:
                Session.wait_for_rsp(timeout=deadline.left)
            # pyghmi leaves this to whoever gives a callback.
            session.incommand = False
            while session.evq:
                session.evq.popleft().set()
            if answers:
                self._used_at = time.monotonic()
            return answers[0] if answers else None

    def _keep_spacing(self) -> None:
        """Let as much time pass between two commands as this BMC needs (Q33)."""
        spacing = self.behaviour.command_spacing_s
        if spacing > 0:
            # There is nothing to wait for but the time itself.
            time.sleep(max(0.0, self._sent_at + spacing - time.monotonic()))
        self._sent_at = time.monotonic()


def _data(answer: dict[str, Any], netfn: int, command: int) -> bytes:
    code = int(answer.get("code", 0xFF))
    if code:
        raise CompletionCode(code, netfn, command)
    return bytes(answer["data"])
