"""Tasks that are not found at first, vanish once finished, or run on though they ended (Q7, Q9)."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter

from lab.virtual.faults import FaultLog
from lab.virtual.profiles import TaskHabit
from lab.virtual.redfish import messages
from lab.virtual.redfish.face import ROOT, Json, RedfishFace, Reply, Resource
from lab.virtual.redfish.faults.habit import settled

_TASK = re.compile(rf"{ROOT}/TaskService/(?:Tasks|TaskMonitors)/([^/]+)")
_ENDED = ("Completed", "Exception", "Killed", "Cancelled")


class Tasks:
    """Plays a `TaskHabit` on whatever tasks our service has."""

    def __init__(self, habit: TaskHabit, log: FaultLog) -> None:
        self._habit = habit
        self._log = log
        self._reads: Counter[str] = Counter()
        self._ended_reads: Counter[str] = Counter()

    def wrap(self, path: str, base: Resource | None) -> Resource | None:
        """A task as this vendor shows it."""
        found = _TASK.fullmatch(path)
        if found is None or base is None:
            return base
        if base.monitor is not None:
            return dataclasses.replace(base, monitor=lambda face: self._monitor(face, found[1], path, base))
        return dataclasses.replace(base, read=lambda face: self._read(face, found[1], path, base))

    def _monitor(self, face: RedfishFace, key: str, path: str, base: Resource) -> Reply:
        self._look(key, path)
        if base.monitor is None:
            raise messages.not_found(path)
        reply = base.monitor(face)
        if reply.body is None or reply.body.get("TaskState") not in _ENDED:
            return reply
        body = self._ended(key, path, reply.body)
        if body.get("TaskState") in _ENDED:
            return Reply(reply.status, body, reply.headers)
        return Reply(202, body, {"Location": path})

    async def _read(self, face: RedfishFace, key: str, path: str, base: Resource) -> Json:
        self._look(key, path)
        if base.read is None:
            raise messages.not_found(path)
        body = dict(await settled(base.read(face)))
        return self._ended(key, path, body)

    def _look(self, key: str, path: str) -> None:
        self._reads[key] += 1
        if self._reads[key] <= self._habit.unknown_reads:
            self._log.note("Q7", f"{path} is not found yet")
            raise messages.not_found(path)

    def _ended(self, key: str, path: str, body: Json) -> Json:
        if body.get("TaskState") not in _ENDED:
            return body
        self._ended_reads[key] += 1
        gone_after = self._habit.vanish_after_reads
        if gone_after is not None and self._ended_reads[key] > gone_after:
            self._log.note("Q9", f"{path} is gone")
            raise messages.not_found(path)
        if self._ended_reads[key] <= self._habit.done_reads_running:
            self._log.note("Q9", f"{path} reads Running though it ended")
            return {**body, "TaskState": "Running", "TaskStatus": "OK"}
        if self._habit.completed_with_errors:
            self._log.note("Q9", f"{path} completed with errors")
            said = [{"MessageId": "IDRAC.2.2.PR21", "Message": "Job completed with errors."}]
            return {**body, "TaskState": "Completed", "TaskStatus": "Warning", "Messages": said}
        return body
