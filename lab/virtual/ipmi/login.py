"""Logging in to the responder: Open Session and RAKP 1 to 4, with the faults that real BMCs show there.

Source: IPMI v2.0 rev 1.1 sections 13.17 to 13.24; status codes: table 13-15.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from enum import IntEnum

from lab.virtual.ipmi.config import Account
from lab.virtual.ipmi.in_force import InForce
from lab.virtual.ipmi.rakp import SHA256_AUTHENTICATION, SUITES, Exchange, Keys, Suite
from lab.virtual.ipmi.rmcp import PayloadType
from lab.virtual.ipmi.session import ADMINISTRATOR, Address, Session, SessionTable

Reply = tuple[PayloadType, bytes]
_NAME_LIMIT = 16
_OPEN_BYTES = 32


class Status(IntEnum):
    """RMCP+ and RAKP message status codes (table 13-15)."""

    OK = 0x00
    INSUFFICIENT_RESOURCES = 0x01
    INVALID_SESSION = 0x02
    INVALID_AUTHENTICATION = 0x04
    INACTIVE_SESSION = 0x08
    INVALID_ROLE = 0x09
    INVALID_NAME_LENGTH = 0x0C
    UNAUTHORIZED_NAME = 0x0D
    INVALID_CHECK = 0x0F
    NO_SUITE = 0x11


class Login:
    """Answers the messages by which sessions are made."""

    def __init__(
        self,
        table: SessionTable,
        accounts: Sequence[Account],
        guid: bytes,
        faults: InForce,
    ) -> None:
        self._table = table
        self._accounts = {account.name.encode(): account for account in accounts}
        self._guid = guid
        self._faults = faults
        self.refused = 0
        """Log-ins that were refused, for whatever reason."""

    def answer(self, kind: int, payload: bytes, peer: Address) -> list[Reply]:
        """The datagrams that answer one; none for what is no log-in message."""
        if kind == PayloadType.OPEN_SESSION_REQUEST and len(payload) >= _OPEN_BYTES:
            return [(PayloadType.OPEN_SESSION_RESPONSE, self._open(payload, peer))]
        if kind == PayloadType.RAKP_1 and len(payload) >= 28:
            return self._rakp1(payload)
        if kind == PayloadType.RAKP_3 and len(payload) >= 8:
            return self._rakp3(payload)
        return []

    def _open(self, payload: bytes, peer: Address) -> bytes:
        tag, role, console_id = payload[0], payload[1] & 0x0F, payload[4:8]
        suite = self._suite(payload)
        if suite is None:
            known = {SUITES[number].authentication for number in self._faults.now.suites}
            matches = payload[12] & 0x3F in known
            status = Status.NO_SUITE if matches else Status.INVALID_AUTHENTICATION
            if payload[12] & 0x3F in {suite.authentication for suite in SUITES.values()} - known:
                self._faults.played("suites")
            return self._refusal(tag, status, console_id)
        session = self._table.asked_before(peer, payload)
        if session is None:
            exchange = Exchange(suite, console_id, b"", self._guid)
            session = None if self._is_full() else self._table.add(exchange, peer, payload)
        if session is None:
            return self._refusal(tag, Status.INSUFFICIENT_RESOURCES, console_id)
        chosen = b"".join(
            bytes([kind, 0, 0, 8, algorithm, 0, 0, 0])
            for kind, algorithm in enumerate((suite.authentication, suite.integrity, suite.confidentiality))
        )
        granted = role or ADMINISTRATOR
        return bytes([tag, Status.OK, granted, 0]) + console_id + session.exchange.managed_id + chosen

    def _is_full(self) -> bool:
        """Whether the session table is said to be full."""
        injected = self._faults.injected("session-table-full", "Open Session")
        return self._faults.hits("table_full") or injected is not None

    def _suite(self, payload: bytes) -> Suite | None:
        """The suite that is asked for, if it is offered; an absent algorithm (length 0) is any."""
        fields = (payload[8:16], payload[16:24], payload[24:32])
        asked = [field[4] & 0x3F if field[3] else None for field in fields]
        if self._faults.now.sha1_for_sha256 and asked[0] == SHA256_AUTHENTICATION:
            self._faults.played("sha1_for_sha256")
            return SUITES[3]
        for number in sorted(self._faults.now.suites, reverse=True):
            suite = SUITES[number]
            algorithms = (suite.authentication, suite.integrity, suite.confidentiality)
            if all(want in (None, have) for want, have in zip(asked, algorithms, strict=True)):
                return suite
        return None

    def _rakp1(self, payload: bytes) -> list[Reply]:
        tag, number = payload[0], int.from_bytes(payload[4:8], "little")
        session = self._table.find(number)
        if session is None or session.keys is not None:
            return [(PayloadType.RAKP_2, self._refusal(tag, Status.INVALID_SESSION, bytes(4)))]
        if payload in session.repeats:
            return [(PayloadType.RAKP_2, session.repeats[payload])]
        status = self._accept(session, payload)
        if status is Status.OK and self._faults.hits("inactive_session"):
            status = Status.INACTIVE_SESSION
        if self._faults.now.rakp2_tag_zero:
            self._faults.played("rakp2_tag_zero")
            tag = 0
        exchange = session.exchange
        if status is not Status.OK or session.account is None:
            self._table.remove(session)
            return [(PayloadType.RAKP_2, self._refusal(tag, status, exchange.console_id))]
        exchange.managed_random = secrets.token_bytes(16)
        code = exchange.rakp2_code(session.account.password.encode())
        rest = exchange.managed_random + self._guid + code
        session.repeats = {payload: bytes([tag, Status.OK, 0, 0]) + exchange.console_id + rest}
        replies = [(PayloadType.RAKP_2, session.repeats[payload])]
        if self._faults.hits("stray_rakp2"):
            foreign = secrets.token_bytes(4 + 16 + 16 + len(code))
            replies.insert(0, (PayloadType.RAKP_2, bytes([(tag - 1) & 0xFF, Status.OK, 0, 0]) + foreign))
        return replies

    def _accept(self, session: Session, payload: bytes) -> Status:
        exchange = session.exchange
        exchange.console_random = payload[8:24]
        exchange.role = payload[24]
        length = payload[27]
        exchange.name = payload[28 : 28 + length]
        role = exchange.role & 0x0F
        if length > _NAME_LIMIT or len(exchange.name) != length:
            return Status.INVALID_NAME_LENGTH
        if not 0 < role <= ADMINISTRATOR:
            return Status.INVALID_ROLE
        session.limit = role
        session.account = self._accounts.get(exchange.name)
        return Status.OK if session.account is not None else Status.UNAUTHORIZED_NAME

    def _rakp3(self, payload: bytes) -> list[Reply]:
        tag, status, number = payload[0], payload[1], int.from_bytes(payload[4:8], "little")
        session = self._table.find(number)
        if session is not None and payload in session.repeats:
            return [(PayloadType.RAKP_4, session.repeats[payload])]
        if session is None or session.account is None or session.keys is not None:
            return [(PayloadType.RAKP_4, self._refusal(tag, Status.INVALID_SESSION, bytes(4)))]
        if status != Status.OK:  # the client did not believe us, and expects no answer
            self.refused += 1
            self._table.remove(session)
            return []
        exchange, password = session.exchange, session.account.password.encode()
        if not secrets.compare_digest(exchange.rakp3_code(password), payload[8:]):
            self._table.remove(session)
            return [(PayloadType.RAKP_4, self._refusal(tag, Status.INVALID_CHECK, exchange.console_id))]
        key = exchange.session_key(password)
        answer = bytes([tag, Status.OK, 0, 0]) + exchange.console_id + exchange.rakp4_code(key)
        session.repeats = {payload: answer}
        self._table.establish(session, Keys(exchange.suite, key))
        return [(PayloadType.RAKP_4, answer)]

    def _refusal(self, tag: int, status: Status, console_id: bytes) -> bytes:
        self.refused += 1
        return bytes([tag, status, 0, 0]) + console_id
