"""A Redfish session: log-in, reads that are repeated, writes that are sent once, and always a log-out."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import urlsplit

import redfish.rest.v1
import requests

from lab.bmc.redfish_json import Json, as_dict, link
from lab.bmc.redfish_reply import Reply, reply_of, retry_after, title
from lab.bmc.redfish_wire import CONNECT_S, WireClient
from lab.bmc.target import ALIVE_S, Account, Target
from lab.deadline import Deadline
from lab.errors import BmcUnreachable
from lab.rack.model import Tls

CONNECT_LIMIT_S = 9.0
"""Seconds until a BMC counts as unreachable."""
READ_S = 20.0
WRITE_S = 30.0
READ_TRIES = 3
_AWAY = {502, 503, 504}
"""Statuses by which a BMC says "later"."""
ROOT = "/redfish/v1/"
_SESSIONS = "/redfish/v1/SessionService/Sessions"
_log = logging.getLogger(__name__)


class NoAnswer(Exception):
    """A write was sent, and no answer came: whether it was carried out is open."""


class RedfishSession:
    """One session with one BMC, opened when first needed. Safe to share between threads."""

    def __init__(self, target: Target, account: Account, tls: Tls | Literal["none"] | None) -> None:
        self._target = target
        self._account = account
        self._tls = tls
        self._client: WireClient | None = None
        self._location: str | None = None
        self._lock = threading.RLock()
        self._answered_at = 0.0
        self.root: Json = {}

    def connect(self) -> None:
        """Make sure that there is a session and that the BMC still answers.

        Raises:
            BmcUnreachable: nothing answers within `CONNECT_LIMIT_S`.
            BmcCredentials: user or password is wrong.
            LabFault: the certificate is not the trusted one, or this is no Redfish service.
        """
        with self._lock:
            client = self._connected()
            if time.monotonic() - self._answered_at > ALIVE_S:
                try:
                    self._quick(
                        client, "GET", ROOT, Deadline.after(CONNECT_LIMIT_S, "an answer"), "GET the root"
                    )
                except BmcUnreachable:
                    self._client = None
                    client.hang_up()
                    raise

    def _connected(self) -> WireClient:
        with self._lock:
            if self._client is not None:
                return self._client
            client = WireClient(self._target.address, self._tls)
            try:
                self._log_in(client, Deadline.after(CONNECT_LIMIT_S, "log-in"))
            except BaseException:
                client.hang_up()
                raise
            self._client = client
            return client

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
                    reply = self._authorised(lambda client: self._exchange(client, "GET", path, READ_S))
                    if reply.status not in _AWAY or attempt == READ_TRIES:
                        return self._json_or_fault(path, reply)
                    # The BMC asked for this pause.
                    time.sleep(retry_after(reply))
                except NoAnswer as silence:
                    if attempt == READ_TRIES:
                        raise self._target.unreachable(
                            f"GET {path}, {attempt} times", str(silence)
                        ) from silence
                attempt += 1

    def write(self, method: str, path: str, body: Json, *, if_match: str | None = None) -> Reply:
        """Send a change exactly once.

        It is sent again only when the BMC said that it did not carry it out: 401 after the session
        expired, or 412 and 428, which ask for another If-Match; then at most four times.

        Raises:
            NoAnswer: it went out, but no answer came.
            BmcUnreachable: it did not go out, since no connection came about.
        """
        with self._lock:
            reply = Reply(0)
            for tag in _etag_ladder(if_match):
                headers = {"If-Match": tag} if tag else {}
                reply = self._authorised(
                    lambda client, headers=headers: self._exchange(  # type: ignore[misc]
                        client, method, path, WRITE_S, body=body, headers=headers
                    )
                )
                if reply.status not in (412, 428):
                    return reply
            return reply

    def close(self) -> None:
        """Delete the session at the BMC and hang up; never raises."""
        with self._lock:
            client, self._client = self._client, None
            location, self._location = self._location, None
            if client is None:
                return
            try:
                if location:
                    self._exchange(client, "DELETE", location, CONNECT_S)
            except Exception as problem:  # noqa: BLE001  # closing must not hide why we close
                _log.warning(
                    "%s: session not deleted at %s: %s", self._target.server, self._target.address, problem
                )
            client.hang_up()

    def _log_in(self, client: WireClient, deadline: Deadline) -> None:
        tried = f"Redfish log-in as {self._account.user}"
        root = self._quick(client, "GET", ROOT, deadline, tried)
        if "RedfishVersion" not in root.body and "Systems" not in root.body:
            raise self._target.fault(
                tried,
                f"no Redfish service answers there ({root.why})",
                "check the URL: is this the BMC's address?",
            )
        self.root = root.body
        sessions = link(as_dict(root.body.get("Links")), "Sessions")
        reply, password = Reply(404), self._account.password()
        if sessions or "SessionService" in root.body:
            reply = self._quick(
                client,
                "POST",
                sessions or _SESSIONS,
                deadline,
                tried,
                body={"UserName": self._account.user, "Password": password},
            )
        token = reply.headers.get("x-auth-token")
        if reply.good and token:
            client.set_session_key(token)
            self._location = _path(reply.headers.get("location") or link({"self": reply.body}, "self"))
            return
        # A BMC may quote what it was sent.
        why = reply.why.replace(password, "********")
        if reply.status in (401, 403):
            raise self._target.credentials(tried, why)
        if reply.status not in (404, 405, 501):
            raise self._target.fault(
                tried,
                f"no session: {why}",
                "close other sessions to this BMC, or wait until they expire",
            )
        self._log_in_basic(client, deadline, tried)

    def _log_in_basic(self, client: WireClient, deadline: Deadline, tried: str) -> None:
        """For services without sessions: credentials with every request (DSP0266, 13.3.4)."""
        pair = f"{self._account.user}:{self._account.password()}".encode()
        client.set_authorization_key(f"Basic {base64.b64encode(pair).decode()}")
        systems = link(self.root, "Systems") or f"{ROOT}Systems"
        reply = self._quick(client, "GET", systems, deadline, tried)
        if reply.status in (401, 403):
            raise self._target.credentials(tried, reply.why)

    def _quick(
        self,
        client: WireClient,
        method: str,
        path: str,
        deadline: Deadline,
        tried: str,
        body: Json | None = None,
    ) -> Reply:
        try:
            return self._exchange(client, method, path, max(0.1, deadline.left), body=body)
        except NoAnswer as silence:
            raise self._target.unreachable(tried, str(silence)) from silence

    def _authorised(self, send: Callable[[WireClient], Reply]) -> Reply:
        client = self._connected()
        reply = send(client)
        if reply.status != 401:
            return reply
        # 401 means that nothing was carried out: the session has expired. Once.
        self._location = None
        self._client = None
        client.hang_up()
        return send(self._connected())

    def _exchange(
        self,
        client: WireClient,
        method: str,
        path: str,
        limit: float,
        *,
        body: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        began = time.monotonic()
        arguments: Json = {"headers": dict(headers or {}), "timeout": (min(CONNECT_S, limit), limit)}
        if method != "GET":
            arguments["body"] = body
        with self._words(method, path):
            raw = getattr(client, method.lower())(path, **arguments)
        reply = reply_of(raw)
        self._answered_at = time.monotonic()
        _log.debug(
            "%s: %s %s: %d, %.2f s", self._target.server, method, path, reply.status, time.monotonic() - began
        )
        if 300 <= reply.status < 400 and reply.status != 304:
            raise self._target.fault(
                f"{method} {path}",
                f"it redirects to {urlsplit(reply.headers.get('location', '')).netloc or 'another path'}, "
                "where our credentials do not belong",
                "give the address it redirects to in the rack file",
            )
        return reply

    @contextmanager
    def _words(self, method: str, path: str) -> Iterator[None]:
        """Turn what requests throws, wrapped by redfish, into our errors."""
        tried = f"{method} {path}"
        try:
            yield
        except redfish.rest.v1.RetriesExhaustedError as wrapped:
            cause = wrapped.__cause__
            if isinstance(cause, requests.exceptions.SSLError):
                raise self._target.fault(
                    tried,
                    f"its certificate is not the trusted one ({_short(cause)})",
                    "compare its SHA-256 fingerprint with the BMC's own, then correct `tls` in the rack file",
                ) from wrapped
            never_sent = isinstance(cause, requests.exceptions.ConnectTimeout) or _refused(cause)
            if never_sent:
                raise self._target.unreachable(tried, _short(cause)) from wrapped
            raise NoAnswer(f"{tried}: no answer ({_short(cause)})") from wrapped

    def _json_or_fault(self, path: str, reply: Reply) -> Reply:
        if reply.good and reply.text.strip() and not reply.body:
            raise self._target.fault(
                f"GET {path}",
                f"the answer is no JSON object ({title(reply.text)})",
                "reset the BMC, or update it",
            )
        return reply


def _etag_ladder(tag: str | None) -> list[str | None]:
    """What to try as If-Match: as given, strong, unquoted, none; some BMCs refuse what others demand."""
    if not tag or not tag.strip('"'):
        return [None]
    strong = tag.removeprefix("W/")
    return list(dict.fromkeys([tag, strong, strong.strip('"'), None]))


def _short(cause: BaseException | None) -> str:
    inner = getattr(cause, "args", None)
    reason = getattr(inner[0], "reason", inner[0]) if inner else cause
    return str(reason).split(": ", 1)[-1][:200]


def _refused(cause: BaseException | None) -> bool:
    """Whether the connection never came about, so that nothing was sent."""
    reason = getattr(cause.args[0], "reason", None) if cause is not None and cause.args else None
    return type(reason).__name__ in ("NewConnectionError", "ConnectTimeoutError", "NameResolutionError")


def _path(location: str | None) -> str | None:
    return urlsplit(location).path if location else None
