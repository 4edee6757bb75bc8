"""A session table that others have filled, and that locks everybody out once it is full (Q8)."""

from __future__ import annotations

import dataclasses
import time

from lab.virtual.faults import FaultLog
from lab.virtual.profiles import SessionHabit
from lab.virtual.redfish.face import SESSIONS, Json, RedfishFace, Reply, Resource, heading, link
from lab.virtual.redfish.faults.habit import edited
from lab.virtual.redfish.faults.refusals import VendorRefusal


class Logins:
    """Plays a `SessionHabit`."""

    def __init__(self, habit: SessionHabit, log: FaultLog) -> None:
        self._habit = habit
        self._log = log
        self._leaked = {f"leaked-{number}" for number in range(1, habit.leaked + 1)}
        self._locked_until = 0.0

    def wrap(self, path: str, base: Resource | None) -> Resource | None:
        """The session collection, and sessions that nobody ended."""
        if path == SESSIONS and base is not None and base.post is not None:
            listed = edited(base, self._list)
            return dataclasses.replace(listed, post=lambda face, body: self._open(face, body, base))
        key = path.removeprefix(f"{SESSIONS}/")
        if key not in self._leaked:
            return base

        async def close(_: RedfishFace) -> Reply:
            self._leaked.discard(key)
            return Reply()

        body = heading(path, "Session.v1_6_0.Session", "User Session") | {"UserName": "monitor"}
        return Resource(lambda _: body, delete=close)

    def _list(self, _: RedfishFace, body: Json) -> None:
        body["Members"] += [link(f"{SESSIONS}/{key}") for key in sorted(self._leaked)]
        body["Members@odata.count"] = len(body["Members"])

    async def _open(self, face: RedfishFace, body: Json, base: Resource) -> Reply:
        locked = time.monotonic() < self._locked_until
        if locked or len(face.sessions.all()) + len(self._leaked) >= self._habit.limit:
            self._log.note("Q8", "locked out" if locked else "session table full")
            if not locked:
                self._locked_until = time.monotonic() + self._habit.lockout_s
            text = "The maximum number of user sessions has been reached."
            raise VendorRefusal(self._habit.status, self._habit.message_id, text)
        if base.post is None:
            raise TypeError("a session collection that takes no log-in")
        return await base.post(face, body)
