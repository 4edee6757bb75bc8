"""Who may speak: accounts, and sessions with tokens (DSP0266 section 13.3) that end by DELETE or by time."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lab.virtual.ipmi.config import Account
from lab.virtual.redfish import messages
from lab.virtual.redfish.ledger import current

SESSION_LIMIT = 8
"""As small as on real BMCs (facts/bmc.md Q8), so that a leak shows."""
DEFAULT_TIMEOUT_S = 600
TIMEOUT_RANGE_S = (30, 86400)


@dataclass
class Session:
    """One session; `used` is the monotonic time of its last request."""

    id: str
    user: str
    token: str
    used: float
    peer: str
    created: datetime


class SessionTable:
    """The accounts of a service and the sessions open on it.

    Args:
        accounts: who may log in.
        limit: how many sessions may be open at once.
        timeout_s: how long a session lives without a request; clients may change it.
    """

    def __init__(
        self, accounts: Sequence[Account], limit: int = SESSION_LIMIT, timeout_s: int = DEFAULT_TIMEOUT_S
    ) -> None:
        self.accounts = tuple(accounts)
        self.limit = limit
        self.timeout_s = timeout_s
        self.counts: Counter[str] = Counter()
        """How many were created, deleted by their owner, expired, lost to a BMC reset, refused (`full`)."""
        self._sessions: dict[str, Session] = {}
        self._created = 0

    def open(self, user: object, password: object) -> Session:
        """A new session.

        Raises:
            RedfishError: 401 for wrong credentials, 503 when the table is full.
        """
        if not self._knows(user, password):
            raise messages.unauthorized()
        if len(self.all()) >= self.limit:
            self.counts["full"] += 1
            text = "The session cannot be opened: the number of simultaneous sessions has reached its limit."
            raise messages.RedfishError(503, "SessionLimitExceeded", text, headers={"Retry-After": "30"})
        self._created += 1
        self.counts["created"] += 1
        request = current()
        session = Session(
            str(self._created), str(user), secrets.token_hex(16), time.monotonic(), request.peer, request.at
        )
        self._sessions[session.id] = session
        return session

    def all(self) -> list[Session]:
        """The sessions that have not ended."""
        oldest = time.monotonic() - self.timeout_s
        living = {key: session for key, session in self._sessions.items() if session.used >= oldest}
        self.counts["expired"] += len(self._sessions) - len(living)
        self._sessions = living
        return list(self._sessions.values())

    def get(self, key: str) -> Session | None:
        """The session with that id."""
        return next((session for session in self.all() if session.id == key), None)

    def close(self, key: str) -> bool:
        """End a session; False where there is none."""
        found = self._sessions.pop(key, None) is not None
        self.counts["deleted"] += found
        return found

    def expire(self, token: str) -> None:
        """End the session with that token as time would."""
        for session in self.all():
            if hmac.compare_digest(session.token.encode(), token.encode()):
                del self._sessions[session.id]
                self.counts["expired"] += 1

    def forget(self) -> None:
        """End every session, as a reset of the BMC does."""
        self.counts["lost"] += len(self.all())
        self._sessions = {}

    def status(self) -> dict[str, int]:
        """The counts and how many are open now."""
        return {"open": len(self.all()), **self.counts}

    def admit(self, headers: Mapping[str, str]) -> str:
        """The user who sends these headers, by session token or by Basic authentication.

        Raises:
            RedfishError: 401.
        """
        token = headers.get("X-Auth-Token")
        if token is not None:
            for session in self.all():
                if hmac.compare_digest(session.token.encode(), token.encode()):
                    session.used = time.monotonic()
                    return session.user
            raise messages.unauthorized()
        scheme, _, code = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            raise messages.unauthorized()
        try:
            user, _, password = base64.b64decode(code, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise messages.unauthorized() from error
        if not self._knows(user, password):
            raise messages.unauthorized()
        return user

    def _knows(self, user: object, password: object) -> bool:
        if not isinstance(user, str) or not isinstance(password, str):
            return False
        found = False
        for account in self.accounts:  # every account is compared, so that the time taken tells nothing
            same_name = hmac.compare_digest(account.name.encode(), user.encode())
            found |= hmac.compare_digest(account.password.encode(), password.encode()) and same_name
        return found
