"""The refusals of a profile: which request, in which state of the server, how often, and with which words."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

from aiohttp import web

from lab.virtual.board import Board
from lab.virtual.faults import FaultLog
from lab.virtual.profiles import Refusal
from lab.virtual.redfish import messages
from lab.virtual.redfish.face import Json
from lab.virtual.redfish.faults import pointer
from lab.virtual.redfish.faults.moments import Moments


class VendorRefusal(messages.RedfishError):
    """A refusal in a vendor's own registry, such as `IDRAC.2.8.SYS518`."""

    def body(self) -> Json:
        """The JSON of the answer, with the MessageId as the vendor writes it."""
        found = super().body()
        found["error"]["@Message.ExtendedInfo"][0]["MessageId"] = self.message
        return found


class Refusals:
    """Decides of each request whether the profile refuses it."""

    def __init__(
        self,
        refusals: Sequence[Refusal],
        board: Board,
        moments: Moments,
        attributes: Mapping[str, object],
        log: FaultLog,
        name: str,
    ) -> None:
        self._refusals = refusals
        self._board = board
        self._moments = moments
        self._attributes = attributes
        self._log = log
        self._name = name
        self._used: dict[tuple[int, int], int] = {}

    def check(self, request: web.Request, path: str, body: Json | None, raw: bytes) -> None:
        """Let a request through, or not.

        Args:
            request: for its method and headers.
            path: by our own name.
            body: the JSON object sent, if one was.
            raw: what was sent.

        Raises:
            VendorRefusal: it is refused.
        """
        for number, refusal in enumerate(self._refusals):
            if (
                refusal.method == request.method
                and re.fullmatch(refusal.at, path)
                and self._speaks_of(refusal, request, body, raw)
                and self._in_state(refusal)
                and self._in_round(number, refusal)
            ):
                self._log.note(refusal.quirk or self._name, f"{request.method} {path}: {refusal.message_id}")
                raise VendorRefusal(
                    refusal.status, refusal.message_id, refusal.message, headers=refusal.answers
                )

    def _speaks_of(self, refusal: Refusal, request: web.Request, body: Json | None, raw: bytes) -> bool:
        if refusal.no_body and raw.strip():
            return False
        for name, pattern in refusal.headers.items():
            if not re.fullmatch(pattern, request.headers.get(name, "")):
                return False
        for name, wanted in refusal.body.items():
            value = pointer.read(body or {}, name)
            there = value is not pointer.ABSENT
            if wanted in ("present", "absent"):
                if there != (wanted == "present"):
                    return False
            elif not there or not re.fullmatch(wanted, str(value)):
                return False
        return True

    def _in_state(self, refusal: Refusal) -> bool:
        if refusal.power is not None and self._board.power != refusal.power:
            return False
        return refusal.attribute is None or self._attributes.get(refusal.attribute[0]) == refusal.attribute[1]

    def _in_round(self, number: int, refusal: Refusal) -> bool:
        """Whether the refusal is due, which uses it up once."""
        count, began = self._moments.round(refusal.since or "start") or (0, 0.0)
        if not count or (refusal.for_s is not None and time.monotonic() - began > refusal.for_s):
            return False
        if refusal.times is None:
            return True
        used = self._used.get((number, count), 0)
        self._used[number, count] = used + 1
        return used < refusal.times
