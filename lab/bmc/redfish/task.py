"""Following a task that a Redfish service answers with 202 (DSP0266, 12.2), to an end that can be believed.

Locations may be absolute URLs: only their path is used, so that no credential leaves for another host.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from lab.bmc.redfish.json import Json, as_list, link, text
from lab.bmc.redfish.reply import Reply, retry_after
from lab.bmc.redfish.session import RedfishSession
from lab.deadline import Deadline
from lab.errors import BmcUnreachable

GRACE_S = 30.0
"""Seconds for which a task that was just created may be unknown (facts/bmc.md Q7: 3 x 10 s)."""
_GRACE_EVERY_S = 2.0
_ENDED = {"Completed", "Exception", "Killed", "Cancelled"}
_WITH_ERRORS = re.compile(r"completed with (some )?errors", re.I)


@dataclass(frozen=True)
class TaskEnd:
    """How a task ended.

    Attributes:
        how: "done"; "failed"; "vanished": finished tasks may be gone within a minute (Q9), so the result
            itself must tell; "running": the deadline came first.
        told: the service's last words on it.
        body: the task, or what the operation answers, as last read.
    """

    how: Literal["done", "failed", "vanished", "running"]
    told: str
    body: Json


def monitor_of(reply: Reply) -> str | None:
    """Path to look at, of an answer 202: the task monitor, or the task itself."""
    where = reply.headers.get("location") or text(reply.body, "TaskMonitor") or link({"it": reply.body}, "it")
    return (urlsplit(where).path or None) if where else None


def follow(
    session: RedfishSession,
    reply: Reply,
    deadline: Deadline,
    watch: Callable[[Json], None] = lambda task: None,
) -> TaskEnd:
    """Look at the task of `reply` until it ends, pausing as long as the BMC asks.

    An answer other than 202, or one that names no task, has ended already. A BMC that is away meanwhile is
    looked at again until the deadline. `watch` is given the task each time it was read.

    Raises:
        LabFault: an answer that is no JSON, wrong credentials.
    """
    path = monitor_of(reply)
    if reply.status != 202 or path is None:
        return TaskEnd("done" if reply.good else "failed", reply.why, reply.body)
    grace = deadline.within(GRACE_S, "the task to be known")
    found, last = False, reply
    while True:
        pause = retry_after(last, session.behaviour.poll_tasks_below_s)
        if deadline.passed:
            return TaskEnd("running", _told(last), last.body)
        # A task tells nobody when it ends; events are not what BMCs do well.
        time.sleep(min(pause, deadline.left))
        try:
            last = session.get(path)
        except BmcUnreachable:
            continue
        if last.status in (404, 410):
            if found or grace.passed:
                return TaskEnd("vanished", _told(last), {})
            time.sleep(min(_GRACE_EVERY_S, grace.left))
            continue
        found = True
        watch(last.body)
        ended = _end(last)
        if ended is not None:
            return ended


def _end(reply: Reply) -> TaskEnd | None:
    told = _told(reply)
    if not reply.good:
        # 5xx: the monitor could not be read; 4xx: this is what the operation ended with.
        return None if reply.status >= 500 else TaskEnd("failed", told, reply.body)
    state = text(reply.body, "TaskState")
    if reply.status == 202 and state not in _ENDED:
        return None
    if state and state not in _ENDED:
        return None
    bad = state in ("Exception", "Killed", "Cancelled") or text(reply.body, "TaskStatus") == "Critical"
    if bad or _WITH_ERRORS.search(told):
        return TaskEnd("failed", told, reply.body)
    return TaskEnd("done", told, reply.body)


def _told(reply: Reply) -> str:
    state = text(reply.body, "TaskState")
    said = " ".join(text(message, "Message", "MessageId") for message in as_list(reply.body.get("Messages")))
    return " ".join(part for part in (state, said) if part) or reply.why
