"""The sessions of the responder: who is logged in, under which keys, and which datagrams were seen."""

from __future__ import annotations

import itertools
import secrets
import time
from dataclasses import dataclass, field

from lab.virtual.ipmi.config import Account
from lab.virtual.ipmi.in_force import InForce
from lab.virtual.ipmi.rakp import Exchange, Keys

Address = tuple[str, int]
USER, OPERATOR, ADMINISTRATOR = 2, 3, 4
"""Privilege levels (section 6.8)."""
LOG_IN_SECONDS = 10.0
"""How long a log-in may take; a session that is not yet one must not hold a place for long."""
_WINDOW = 32
"""How far behind the newest a datagram may be (section 6.12.13)."""


@dataclass
class Session:
    """One session, from Open Session on. `keys` is None while the log-in is not done."""

    id: int
    handle: int
    exchange: Exchange
    peer: Address
    request: bytes
    heard: float
    account: Account | None = None
    keys: Keys | None = None
    privilege: int = USER
    limit: int = ADMINISTRATOR
    had_sol: bool = False
    repeats: dict[bytes, bytes] = field(default_factory=dict)
    """Log-in messages that were answered, and how, for clients that did not hear it."""
    _sent: int = 0
    _newest: int = 0
    _seen: int = 0

    @property
    def console_id(self) -> int:
        """The id the client chose."""
        return int.from_bytes(self.exchange.console_id, "little")

    def next_sequence(self) -> int:
        """The sequence number of the next datagram to the client."""
        self._sent = self._sent % 0xFFFFFFFF + 1
        return self._sent

    def is_new(self, sequence: int) -> bool:
        """Whether a datagram with this number has not been seen yet; it counts as seen afterwards."""
        if sequence > self._newest:
            self._seen = (self._seen << (sequence - self._newest) | 1) & ((1 << _WINDOW) - 1)
            self._newest = sequence
            return True
        behind = self._newest - sequence
        if not sequence or behind >= _WINDOW or self._seen >> behind & 1:
            return False
        self._seen |= 1 << behind
        return True


class SessionTable:
    """Every session of one BMC; counts what judges want to see."""

    def __init__(self, faults: InForce) -> None:
        self._faults = faults
        self.opened = self.closed = self.expired = self.lost = 0
        self._sessions: dict[int, Session] = {}
        self._handles = itertools.count()

    @property
    def limit(self) -> int:
        """How many sessions there can be."""
        return self._faults.now.sessions

    @property
    def active(self) -> list[Session]:
        """Logged-in sessions, oldest first."""
        return [session for session in self._sessions.values() if session.keys is not None]

    def find(self, number: int) -> Session | None:
        """The session with the id that this BMC gave it."""
        return self._sessions.get(number)

    def asked_before(self, peer: Address, request: bytes) -> Session | None:
        """The session that this very Open Session Request, repeated by the same client, has made."""
        for session in self._sessions.values():
            if session.keys is None and session.peer == peer and session.request == request:
                return session
        return None

    def add(self, exchange: Exchange, peer: Address, request: bytes) -> Session | None:
        """A new session for a log-in; None where the table is full."""
        if len(self._sessions) >= self.limit:
            return None
        number = next(n for n in iter(lambda: secrets.randbits(32), None) if n and n not in self._sessions)
        exchange.managed_id = number.to_bytes(4, "little")
        handle = next(self._handles) % 0xFE + 1
        session = Session(number, handle, exchange, peer, request, time.monotonic())
        self._sessions[number] = session
        return session

    def establish(self, session: Session, keys: Keys) -> None:
        """The log-in is done."""
        session.keys = keys
        session.heard = time.monotonic()
        self.opened += 1

    def remove(self, session: Session) -> bool:
        """Forget a session; False where it was gone already."""
        return self._sessions.pop(session.id, None) is not None

    def overdue(self) -> list[Session]:
        """Sessions that have been silent too long."""
        now, timeout_s = time.monotonic(), self._faults.now.session_timeout_s
        log_in_s = min(LOG_IN_SECONDS, timeout_s)
        return [
            session
            for session in self._sessions.values()
            if now - session.heard > (timeout_s if session.keys else log_in_s)
        ]

    def clear(self) -> None:
        """Forget all: the BMC restarts."""
        self.lost += len(self.active)
        self._sessions.clear()

    def status(self) -> dict[str, int]:
        """Numbers for judges: every opened session is closed, expired, lost with the BMC, or open."""
        return {
            "opened": self.opened,
            "closed": self.closed,
            "expired": self.expired,
            "lost": self.lost,
            "open": len(self.active),
        }
