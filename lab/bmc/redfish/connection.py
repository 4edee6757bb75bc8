"""One log-in with one BMC and what goes over it: opened when first needed, and always ended."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Literal

from lab.bmc import quirks
from lab.bmc.capability import Identity
from lab.bmc.quirk_model import Behaviour
from lab.bmc.redfish.errors import NoAnswer, TooLarge
from lab.bmc.redfish.etag import UNCONDITIONAL, Condition
from lab.bmc.redfish.exchange import exchange
from lab.bmc.redfish.json import Json
from lab.bmc.redfish.login import ROOT, LogIn
from lab.bmc.redfish.reply import Reply
from lab.bmc.redfish.wire import CONNECT_S, WireClient
from lab.bmc.target import ALIVE_S, Account, Target
from lab.deadline import Deadline
from lab.errors import BmcUnreachable, LabFault
from lab.rack.model import Tls
from lab.secret import redact

CONNECT_LIMIT_S = 9.0
"""Seconds until a BMC counts as unreachable."""
READ_S = 20.0
WRITE_S = 30.0
_MOST_SEEN = 100
"""Requests that are kept as evidence."""
_log = logging.getLogger(__name__)


@dataclass
class _Open:
    client: WireClient
    log_in: LogIn


class RedfishConnection:
    """One session with one BMC; safe to share between threads.

    Attributes:
        root: the service root.
        behaviour: how this BMC is dealt with; what is for every BMC, until somebody knows more.
        sent: requests that change something and went out so far, sessions aside.
    """

    def __init__(
        self,
        target: Target,
        account: Account,
        tls: Tls | Literal["none"] | None,
        behaviour: Behaviour | None = None,
    ) -> None:
        self._target = target
        self._account = account
        self._tls = tls
        self._open: _Open | None = None
        self._lock = threading.RLock()
        self._answered_at = 0.0
        self._seen: deque[str] = deque(maxlen=_MOST_SEEN)
        self.root: Json = {}
        self.sent = 0
        self.behaviour = behaviour or quirks.applying(Identity()).behaviour

    def connect(self) -> None:
        """Make sure that there is a session and that the BMC still answers.

        Raises:
            BmcUnreachable: nothing answers within `CONNECT_LIMIT_S`.
            BmcCredentials: user or password is wrong.
            BmcAccountLocked, BmcCertificate, NotABmc, BmcBusy: each as its name says.
        """
        with self._lock:
            client = self._connected()
            if time.monotonic() - self._answered_at > ALIVE_S:
                deadline = Deadline.after(CONNECT_LIMIT_S, "an answer")
                try:
                    self._quick(client, "GET", ROOT, None, {}, deadline)
                except BmcUnreachable:
                    # The session is kept: where the BMC has forgotten it, a 401 says so.
                    client.hang_up()
                    raise

    @property
    def location(self) -> str | None:
        """Path of our session at the BMC; None where there is none."""
        return self._open.log_in.location if self._open is not None else None

    def alive(self, limit_s: float = 3.0) -> bool:
        """Whether a Redfish service answers at the address now; no session is used or opened for it."""
        client = WireClient(self._target.address, self._tls)
        try:
            reply = self._exchange(client, "GET", ROOT, limit_s)
        except (NoAnswer, LabFault):
            return False
        finally:
            client.hang_up()
        return reply.good and bool(reply.body)

    def close(self) -> None:
        """Delete the session at the BMC and hang up; never raises."""
        with self._lock:
            ending, self._open = self._open, None
            if ending is None:
                return
            try:
                if ending.log_in.location:
                    reply = self._exchange(ending.client, "DELETE", ending.log_in.location, CONNECT_S)
                    # 401: it expired before us.
                    if reply.good or reply.status in (401, 404):
                        ending.log_in.forget()
            except Exception as problem:  # noqa: BLE001  # closing must not hide why we close
                _log.warning(
                    "%s: session not deleted at %s: %s", self._target.server, self._target.address, problem
                )
            ending.client.hang_up()

    def seen(self) -> tuple[str, ...]:
        """What went over the wire since this was last asked, redacted, the oldest first."""
        with self._lock:
            lines = tuple(self._seen)
            self._seen.clear()
            return lines

    def _connected(self) -> WireClient:
        with self._lock:
            if self._open is not None:
                return self._open.client
            deadline = Deadline.after(CONNECT_LIMIT_S, "log-in")
            client = WireClient(
                self._target.address,
                self._tls,
                close_each=self.behaviour.connection_close,
                any_encoding=self.behaviour.encoding == "any",
            )
            client.answered = self._answered_at > 0
            log_in = LogIn(
                self._target,
                self._account,
                client,
                lambda method, path, body, headers: self._quick(
                    client, method, path, body, headers, deadline
                ),
            )
            try:
                log_in.open()
            except BaseException:
                client.hang_up()
                raise
            self._open, self.root = _Open(client, log_in), log_in.root
            return client

    def _quick(
        self,
        client: WireClient,
        method: str,
        path: str,
        body: Json | None,
        headers: dict[str, str],
        deadline: Deadline,
    ) -> Reply:
        limit = max(0.1, deadline.left)
        try:
            return self._exchange(client, method, path, limit, body=body, headers=headers)
        except NoAnswer as silence:
            raise self._lost(f"{method} {path}", silence) from silence

    def _lost(self, tried: str, silence: NoAnswer) -> LabFault:
        """What it means that an answer did not come, or that no end of it did."""
        if isinstance(silence, TooLarge):
            return self._target.fault(tried, str(silence), "reset the BMC, or update it")
        return self._target.unreachable(tried, str(silence))

    def _authorised(
        self, method: str, path: str, body: Json | None = None, condition: Condition = UNCONDITIONAL
    ) -> Reply:
        headers = {"If-Match": condition.header} if condition.header else {}
        if condition.in_body and body is not None:
            body = {"@odata.etag": condition.header, **body}
        limit = READ_S if method == "GET" else WRITE_S
        client = self._connected()
        reply = self._counted(client, method, path, limit, body=body, headers=headers)
        if reply.status != 401:
            return reply
        # 401 means that nothing was carried out: the session has expired. Once.
        if self._open is not None:
            self._open.log_in.forget()
        self._open = None
        client.hang_up()
        reply = self._counted(self._connected(), method, path, limit, body=body, headers=headers)
        if reply.status == 401 and self._open is not None and self._open.log_in.location:
            raise self._target.fault(
                f"{method} {path}, log-in, and again",
                f"it does not take the session that it has just opened: {reply.why}",
                "check what the account may do and how long sessions last, or restart the BMC",
            )
        return reply

    def _counted(
        self,
        client: WireClient,
        method: str,
        path: str,
        limit: float,
        *,
        body: Json | bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """As `_exchange`; a change that goes out is counted. Where no connection came about, none did."""
        before = self.sent
        self.sent += method != "GET"
        try:
            return self._exchange(client, method, path, limit, body=body, headers=headers)
        except BmcUnreachable:
            self.sent = before
            raise

    def _exchange(
        self,
        client: WireClient,
        method: str,
        path: str,
        limit: float,
        *,
        body: Json | bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        try:
            reply = exchange(self._target, client, method, path, limit, body, headers or {})
        except NoAnswer as silence:
            self._note(str(silence))
            raise
        self._note(f"{method} {path}: {reply.why if not reply.good else f'HTTP {reply.status}'}")
        self._answered_at = time.monotonic()
        return reply

    def _note(self, line: str) -> None:
        self._seen.append(redact(line))

    def _fresh_connection(self) -> None:
        """A write goes out on a connection of its own: on an old one, whether it arrived may stay open."""
        if self._open is not None:
            self._open.client.hang_up()
