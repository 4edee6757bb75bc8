"""Logging in to a Redfish service: is it one, does it know us, has it room for a session."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from lab.bmc.redfish import session_ledger
from lab.bmc.redfish.errors import NoAnswer
from lab.bmc.redfish.json import Json, as_dict, link
from lab.bmc.redfish.reply import Reply
from lab.bmc.redfish.wire import WireClient
from lab.bmc.target import Account, Target
from lab.errors import LabError, LabFault
from lab.secret import conceal

ROOT = "/redfish/v1/"
_SESSIONS = "/redfish/v1/SessionService/Sessions"
_NOT_HERE = {404, 405, 501}
_ROOT_TRIES = 3
_LATER = {429, 500, 502, 503, 504}
_FULL = re.compile(
    r"RAC0218|SessionLimitExceeded|(maximum|limit|too many)[^.]*session|session[^.]*limit", re.I
)
_LOCKED = re.compile(r"lock(ed|out)|too many (failed|invalid)|temporarily (disabled|blocked)", re.I)
_EXPIRED = re.compile(r"PasswordChangeRequired|password[^.]*(expired|must be changed)", re.I)
_log = logging.getLogger(__name__)
Ask = Callable[[str, str, Json | None, dict[str, str]], Reply]
"""Sends method, path, body and headers once, within the log-in's deadline."""


class LogIn:
    """One log-in.

    Attributes:
        root: the service root.
        location: path of the session; None where the service has none and each request carries the account.
    """

    def __init__(self, target: Target, account: Account, client: WireClient, ask: Ask) -> None:
        self.root: Json = {}
        self.location: str | None = None
        self._entry: Path | None = None
        self._target = target
        self._account = account
        self._client = client
        self._ask = ask
        self._tried = f"Redfish log-in as {account.user}"

    def open(self) -> None:
        """Find the service root, delete what a killed process of ours left, open a session.

        Raises:
            BmcUnreachable: no answer, within the log-in's deadline.
            BmcCredentials, BmcAccountLocked: user or password is wrong, expired or locked.
            BmcBusy: it has no session to spare, or is not ready yet.
            NotABmc: this is no Redfish service.
        """
        reply = self._read_root()
        if "RedfishVersion" not in reply.body and "Systems" not in reply.body:
            raise self._no_service(reply)
        self.root = reply.body
        sessions = link(as_dict(self.root.get("Links")), "Sessions")
        if not sessions and "SessionService" not in self.root:
            self._log_in_basic()
            return
        password = conceal(self._account.password())
        left = session_ledger.orphans(self._target.address, self._account.user)
        basic = {"Authorization": self._basic(password)}
        body: Json = {"UserName": self._account.user, "Password": password}
        reply = self._ask("POST", sessions or _SESSIONS, body, {})
        if not reply.good and left and _FULL.search(reply.all_words):
            # What fills the table may be ours; without a session, the account itself must delete it.
            self._reap(left, basic)
            left = []
            reply = self._ask("POST", sessions or _SESSIONS, body, {})
        self._take(reply)
        self._reap(left, {})

    def _read_root(self) -> Reply:
        """The service root; asked for again where a connection broke or the answer is spoiled."""
        for _ in range(_ROOT_TRIES - 1):
            try:
                reply = self._ask("GET", ROOT, None, {})
            except LabFault as silence:
                if not isinstance(silence.__cause__, NoAnswer):
                    raise
                continue
            if reply.body or not reply.good:
                return reply
        return self._ask("GET", ROOT, None, {})

    def forget(self) -> None:
        """The session is deleted, or known to be gone."""
        session_ledger.forget(self._entry)
        self.location, self._entry = None, None

    def _take(self, reply: Reply) -> None:
        token = reply.headers.get("x-auth-token")
        if reply.good and token:
            self._client.set_session_key(conceal(token))
            self.location = _path(reply.headers.get("location") or link({"self": reply.body}, "self"))
            if self.location:
                self._entry = session_ledger.note(self._target.address, self._account.user, self.location)
            return
        if reply.status in _NOT_HERE:
            self._log_in_basic()
            return
        raise self._problem(reply)

    def _problem(self, reply: Reply) -> LabError:
        if _LOCKED.search(reply.all_words):
            return self._target.locked(self._tried, reply.why)
        if _EXPIRED.search(reply.all_words):
            return self._target.credentials(
                self._tried,
                f"the password must be changed first: {reply.why}",
                "change it at the BMC, then put the new one where `password` in the rack file points",
            )
        if _FULL.search(reply.all_words):
            return self._target.busy(self._tried, f"its session table is full: {reply.why}")
        if reply.status in (401, 403):
            return self._target.credentials(self._tried, reply.why)
        if reply.status in _LATER:
            return self._target.busy(self._tried, f"no session: {reply.why}")
        return self._target.fault(
            self._tried, f"no session: {reply.why}", "see the BMC's own log; restart the BMC if it goes on"
        )

    def _no_service(self, reply: Reply) -> LabError:
        if reply.status in _LATER:
            return self._target.busy(self._tried, f"its Redfish service is not ready ({reply.why})")
        return self._target.not_a_bmc(self._tried, f"no Redfish service answers there ({reply.why})")

    def _log_in_basic(self) -> None:
        """For services without sessions: credentials with every request (DSP0266, 13.3.4)."""
        self._client.set_authorization_key(self._basic(conceal(self._account.password())))
        systems = link(self.root, "Systems") or f"{ROOT}Systems"
        reply = self._ask("GET", systems, None, {})
        if reply.status in (401, 403):
            raise self._problem(reply)

    def _basic(self, password: str) -> str:
        pair = base64.b64encode(f"{self._account.user}:{password}".encode()).decode()
        return f"Basic {conceal(pair)}"

    def _reap(self, left: list[tuple[Path, str]], headers: dict[str, str]) -> None:
        for entry, location in left:
            try:
                reply = self._ask("DELETE", location, None, headers)
            except LabError as problem:
                _log.warning("%s: a session left behind stays: %s", self._target.server, problem.message)
                return
            if reply.good or reply.status in (404, 410):
                session_ledger.forget(entry)
                _log.info("%s: deleted the session that a killed process left", self._target.server)
            else:
                _log.warning("%s: a session left behind stays: %s", self._target.server, reply.why)


def _path(location: str | None) -> str | None:
    return (urlsplit(location).path or None) if location else None
