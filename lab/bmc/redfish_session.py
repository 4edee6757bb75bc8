"""A Redfish session: log-in, reads that are repeated, writes that are sent once, and always a log-out."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lab.bmc import quirks
from lab.bmc.capability import Identity
from lab.bmc.quirk_model import Behaviour, Intent
from lab.bmc.redfish_errors import NoAnswer as NoAnswer
from lab.bmc.redfish_etag import UNCONDITIONAL, Condition, IfMatch
from lab.bmc.redfish_exchange import exchange
from lab.bmc.redfish_json import Json, text
from lab.bmc.redfish_login import ROOT as ROOT
from lab.bmc.redfish_login import LogIn
from lab.bmc.redfish_reply import Reply, retry_after, title
from lab.bmc.redfish_wire import CONNECT_S, WireClient
from lab.bmc.target import ALIVE_S, Account, Target
from lab.deadline import Deadline
from lab.errors import BmcUnreachable, LabFault
from lab.rack.model import Tls
from lab.secret import redact

CONNECT_LIMIT_S = 9.0
"""Seconds until a BMC counts as unreachable."""
READ_S = 20.0
WRITE_S = 30.0
READ_TRIES = 3
REFUSALS_S = 90.0
"""Seconds for which a refused write is sent again where the caller gives no deadline."""
_AWAY = {502, 503, 504}
"""Statuses by which a BMC says "later"."""
_SPOILED_EVERY_S = 0.2
_MOST_SEEN = 100
"""Requests that are kept as evidence."""
_log = logging.getLogger(__name__)


@dataclass
class _Open:
    client: WireClient
    log_in: LogIn


class RedfishSession:
    """One session with one BMC, opened when first needed. Safe to share between threads.

    Attributes:
        root: the service root.
        behaviour: how this BMC is dealt with; what is for every BMC, until somebody knows more.
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
        self._tags: dict[str, str] = {}
        self._seen: deque[str] = deque(maxlen=_MOST_SEEN)
        self.root: Json = {}
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

    def get(self, path: str) -> Reply:
        """Read a resource; repeated when the BMC is briefly away, logged in again when the session is gone.

        Raises:
            BmcUnreachable: no answer to any try.
            LabFault: an answer that is no JSON.
        """
        with self._lock:
            attempt = 1
            while True:
                try:
                    reply = self._authorised("GET", path)
                except NoAnswer as silence:
                    # Long-lived connections choke some BMCs (Q33): from now on each request has its own.
                    if self._open is not None:
                        self._open.client.close_each()
                    if attempt == READ_TRIES:
                        raise self._target.unreachable(
                            f"GET {path}, {attempt} times", str(silence)
                        ) from silence
                else:
                    asked = "retry-after" in reply.headers
                    rule = self.behaviour.retry_for("read", reply.status, reply.all_words, asked=asked)
                    spoiled = reply.good and _no_json(reply)
                    tries = rule.times + 1 if rule else READ_TRIES if reply.status in _AWAY or spoiled else 1
                    if attempt >= tries:
                        self._remember(path, reply)
                        return self._json_or_fault(path, reply)
                    # The BMC asked for this pause, or is known to need it.
                    pause = rule.pause_s(attempt) if rule and not asked else retry_after(reply)
                    time.sleep(_SPOILED_EVERY_S if spoiled else pause)
                attempt += 1

    def write(
        self,
        method: str,
        path: str,
        body: Json | None,
        *,
        if_match: str | None = None,
        intent: Intent = "any",
        resource: str | None = None,
        deadline: Deadline | None = None,
        again: Callable[[], bool] = lambda: True,
    ) -> Reply:
        """Send a change exactly once.

        It is sent again only when the BMC said that it did not carry it out: 401 after the session
        expired; 412 and 428, which ask for another If-Match (a ladder that ends); and refusals that a quirk
        or the BMC itself (Retry-After) says to repeat, until `deadline`, while `again` holds.

        Args:
            if_match: the ETag of what is changed, where the caller has read it.
            intent: which refusals may be repeated.
            resource: whose ETag counts, for an action; a PATCH has its own.
            again: asked before each repetition; False settles for the last answer.

        Raises:
            NoAnswer: it went out, but no answer came.
            BmcUnreachable: it did not go out, since no connection came about.
        """
        with self._lock:
            limit = deadline or Deadline.after(REFUSALS_S, "the BMC to take the request")
            self._fresh_connection()
            owner = resource or path
            tag = if_match or (self._tags.get(owner) if self._wants_tag(method) else None)
            condition = IfMatch(tag, self.behaviour.etag_forms)
            tried = 1
            while True:
                reply = self._authorised(method, path, body, condition.now)
                if reply.status in (412, 428):
                    if not condition.refused(self._tag_now(owner)):
                        return reply
                    continue
                self._tags.pop(owner, None)
                asked = "retry-after" in reply.headers
                rule = self.behaviour.retry_for(intent, reply.status, reply.all_words, asked=asked)
                if reply.good or rule is None or tried > rule.times or limit.passed:
                    return reply
                # A refusal that passes: the BMC is busy with something and tells nobody when it is done.
                time.sleep(min(limit.left, retry_after(reply, 60.0) if asked else rule.pause_s(tried)))
                tried += 1
                if not again():
                    return reply

    def upload(self, path: str, body: Json | bytes, limit_s: float) -> Reply:
        """POST a file once: the parts of a form (`MultipartEncoder` fields), or the bare bytes.

        Raises:
            NoAnswer: it went out, but no answer came.
            BmcUnreachable: it did not go out, since no connection came about.
        """
        headers = {"Content-Type": "multipart/form-data"} if isinstance(body, dict) else {}
        with self._lock:
            self._fresh_connection()
            # An expired session is found out by something smaller than a firmware image.
            self._authorised("GET", ROOT)
            return self._exchange(self._connected(), "POST", path, limit_s, body=body, headers=headers)

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
            raise self._target.unreachable(f"{method} {path}", str(silence)) from silence

    def _authorised(
        self, method: str, path: str, body: Json | None = None, condition: Condition = UNCONDITIONAL
    ) -> Reply:
        headers = {"If-Match": condition.header} if condition.header else {}
        if condition.in_body and body is not None:
            body = {"@odata.etag": condition.header, **body}
        limit = READ_S if method == "GET" else WRITE_S
        client = self._connected()
        reply = self._exchange(client, method, path, limit, body=body, headers=headers)
        if reply.status != 401:
            return reply
        # 401 means that nothing was carried out: the session has expired. Once.
        if self._open is not None:
            self._open.log_in.forget()
        self._open = None
        client.hang_up()
        return self._exchange(self._connected(), method, path, limit, body=body, headers=headers)

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

    def _wants_tag(self, method: str) -> bool:
        return method != "POST" or self.behaviour.etag_on_actions

    def _tag_now(self, path: str) -> str | None:
        reply = self.get(path)
        return _tag_of(reply) if reply.good else None

    def _remember(self, path: str, reply: Reply) -> None:
        tag = _tag_of(reply) if reply.good else None
        if tag:
            self._tags[path] = tag
        else:
            self._tags.pop(path, None)

    def _json_or_fault(self, path: str, reply: Reply) -> Reply:
        if reply.good and _no_json(reply):
            raise self._target.fault(
                f"GET {path}",
                f"the answer is no JSON object ({title(reply.text)})",
                "reset the BMC, or update it",
            )
        return reply


def _no_json(reply: Reply) -> bool:
    return bool(reply.text.strip()) and not reply.body


def _tag_of(reply: Reply) -> str | None:
    return reply.headers.get("etag") or text(reply.body, "@odata.etag") or None
