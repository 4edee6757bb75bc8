"""Power of many servers at once over IPMI: open sessions, one thread, all requests on the wire together.

A `Sweep` is for whoever watches a whole rack; one server is driven by `IpmiBmc`. It only ever reads.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pyghmi.ipmi.private.session import Session

from lab.bmc.api import Power
from lab.bmc.ipmi.lan import STUMBLES, SUITES, LanSession
from lab.bmc.ipmi.refusals import login_failed
from lab.bmc.ipmi.session import pyghmi_lock
from lab.bmc.target import Account, Target
from lab.deadline import Deadline
from lab.errors import LabFault

LOGIN_S = 8.0
"""Seconds for all log-ins together; those that are not done then have failed."""
ANSWER_S = 1.0
"""Seconds after which a question that was not answered is put again."""
TRIES = 4
"""How often it is put before the session is given up; reading the power state harms nobody."""
KEEP_S = 20.0
"""Seconds of silence after which a session is used, so that the BMC does not end it (after 60 s)."""
_CHASSIS, _STATUS = 0x00, 0x01


@dataclass(frozen=True)
class Peer:
    """One BMC of a sweep."""

    target: Target
    host: str
    port: int
    account: Account
    suites: tuple[int, ...] = SUITES
    """Cipher suites in the order they are offered."""


@dataclass
class _Seat:
    """A peer with its session."""

    peer: Peer
    session: LanSession | None = None
    logged_on: list[dict[str, Any]] = field(default_factory=list)
    answer: dict[str, Any] | None = None
    asked: bool = False
    used_at: float = 0.0

    @property
    def live(self) -> bool:
        """Whether there is a session that can be asked."""
        return self.session is not None and bool(self.session.logged)


class Sweep:
    """Sessions with many BMCs, opened when first needed, kept while in use. For one thread at a time.

    Attributes:
        logins: how many sessions were opened so far.
    """

    def __init__(self, peers: Sequence[Peer]) -> None:
        self.logins = 0
        self._seats = {peer.target.server: _Seat(peer) for peer in peers}

    def power(self) -> dict[str, Power | LabFault]:
        """The power state of every server by name, or why it cannot be read."""
        with pyghmi_lock:
            failures = self._log_in([seat for seat in self._seats.values() if not seat.live])
            silent = self._ask([seat for seat in self._seats.values() if seat.live])
            lost = {seat.peer.target.server for seat in silent}
            # Their BMC may have forgotten the session; a new one tells whether it is there at all.
            failures |= self._log_in(silent)
            self._ask([seat for seat in silent if seat.live])
            return {
                name: failures[name] if name in failures else _reading(seat, again=name in lost)
                for name, seat in self._seats.items()
            }

    def keep(self) -> None:
        """Use every session that has been silent for `KEEP_S`; to be called at least that often."""
        with pyghmi_lock:
            now = time.monotonic()
            self._ask([seat for seat in self._seats.values() if seat.live and now - seat.used_at >= KEEP_S])

    @property
    def open(self) -> int:
        """Sessions that are open now."""
        return sum(seat.live for seat in self._seats.values())

    def close(self) -> None:
        """Log out everywhere, without waiting for answers; never raises."""
        with pyghmi_lock:
            for seat in self._seats.values():
                _drop(seat)

    def _log_in(self, seats: Sequence[_Seat]) -> dict[str, LabFault]:
        deadline = Deadline.after(LOGIN_S, "all BMCs to let us log in")
        failures: dict[str, LabFault] = {}
        waiting: list[_Seat] = []
        for seat in seats:
            _drop(seat)
            peer = seat.peer
            try:
                seat.session = LanSession(
                    peer.host,
                    peer.port,
                    peer.account.user.encode(),
                    peer.account.password().encode(),
                    seat.logged_on.append,
                    suites=peer.suites,
                )
            except STUMBLES as problem:
                failures[peer.target.server] = _failure(seat, str(problem))
            else:
                waiting.append(seat)
        while waiting and not deadline.passed:
            Session.wait_for_rsp(timeout=min(0.1, deadline.left))
            waiting = [seat for seat in waiting if not seat.logged_on]
            for seat in waiting:
                if seat.session is not None:
                    seat.session.nudge()
        for seat in seats:
            name = seat.peer.target.server
            if name in failures:
                continue
            told = seat.logged_on[0].get("error") if seat.logged_on else "no answer"
            if told:
                failures[name] = _failure(seat, str(told))
                _drop(seat)
                continue
            seat.used_at = time.monotonic()
            self.logins += 1
        return failures

    def _ask(self, seats: Sequence[_Seat]) -> list[_Seat]:
        """Put the question to all at once, again to those that are silent; returns those that stayed so."""
        for seat in seats:
            seat.answer = None
        missing = list(seats)
        for _ in range(TRIES):
            for seat in missing:
                _put(seat)
            deadline = Deadline.after(ANSWER_S, "the answers")
            while missing and not deadline.passed:
                Session.wait_for_rsp(timeout=deadline.left)
                missing = [seat for seat in missing if seat.answer is None and seat.live]
            if not missing:
                break
        return [seat for seat in seats if seat.answer is None]


def _put(seat: _Seat) -> None:
    session = seat.session
    if session is None:
        return

    def answered(response: dict[str, Any]) -> None:
        seat.answer = response
        seat.used_at = time.monotonic()
        session.incommand = False

    try:
        session.incommand = False
        session.raw_command(netfn=_CHASSIS, command=_STATUS, retry=False, callback=answered)
    except STUMBLES:
        session.logged = 0  # not to be asked again


def _reading(seat: _Seat, *, again: bool) -> Power | LabFault:
    answer = seat.answer
    if answer is None:
        return seat.peer.target.unreachable(
            f"reading the power state, {2 * TRIES if again else TRIES} times",
            "it lets us log in, then is silent",
        )
    if answer.get("code") or not answer.get("data"):
        return seat.peer.target.refused("reading the power state", f"completion code {answer.get('code')}")
    return "on" if answer["data"][0] & 1 else "off"


def _failure(seat: _Seat, text: str) -> LabFault:
    peer = seat.peer
    stumble = seat.session.stumble if seat.session is not None else ""
    return login_failed(peer.target, f"IPMI log-in as {peer.account.user}", text, stumble, None, peer.port)


def _drop(seat: _Seat) -> None:
    """Log out, without waiting for the answer, and forget the session."""
    session, seat.session = seat.session, None
    seat.logged_on.clear()
    if session is not None:
        session.logout()
