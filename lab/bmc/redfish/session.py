"""A Redfish session: reads that are repeated, writes that are sent once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from lab.bmc.quirk_model import Behaviour, Intent
from lab.bmc.redfish.connection import RedfishConnection
from lab.bmc.redfish.errors import NoAnswer as NoAnswer
from lab.bmc.redfish.etag import IfMatch
from lab.bmc.redfish.json import Json, text
from lab.bmc.redfish.login import ROOT as ROOT
from lab.bmc.redfish.reply import Reply, retry_after, title
from lab.bmc.target import Account, Target
from lab.deadline import Deadline
from lab.rack.model import Tls

READ_TRIES = 3
REFUSALS_S = 90.0
"""Seconds for which a refused write is sent again where the caller gives no deadline."""
AWAY_S = 90.0
"""Seconds that a BMC may be away, restarting, while what became of a write is still open."""
_AWAY = {502, 503, 504}
"""Statuses by which a BMC says "later"."""
_SPOILED_EVERY_S = 0.2


class RedfishSession(RedfishConnection):
    """Reads and writes over one session with one BMC. Safe to share between threads."""

    def __init__(
        self,
        target: Target,
        account: Account,
        tls: Tls | Literal["none"] | None,
        behaviour: Behaviour | None = None,
    ) -> None:
        super().__init__(target, account, tls, behaviour)
        self._tags: dict[str, str] = {}

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
                        raise self._lost(f"GET {path}, {attempt} times", silence) from silence
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
            return self._counted(self._connected(), "POST", path, limit_s, body=body, headers=headers)

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
