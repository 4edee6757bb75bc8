"""TaskService: the tasks that long work is followed by, and the monitors that answer 202 until it is done.

Source: DSP0266 section 12.2. A finished task is forgotten after a while, as on real BMCs (facts/bmc.md Q9).
"""

from __future__ import annotations

from lab.virtual.redfish import messages
from lab.virtual.redfish.face import OK, ROOT, Json, RedfishFace, Reply, Resource, collection, heading, link
from lab.virtual.redfish.work import Work

SERVICE = f"{ROOT}/TaskService"
TASKS, MONITORS = f"{SERVICE}/Tasks", f"{SERVICE}/TaskMonitors"
RETRY_AFTER_S = 1
_STATUS = {"Exception": "Critical", "Cancelled": "Warning"}


def resources() -> dict[str, Resource]:
    """The fixed paths."""
    return {
        SERVICE: Resource(read_service),
        TASKS: Resource(
            lambda face: collection(
                TASKS, "TaskCollection", "Tasks", [f"{TASKS}/{work.id}" for work in face.tasks.all()]
            )
        ),
    }


def find(face: RedfishFace, path: str) -> Resource | None:
    """A task or a task's monitor by its path."""
    folder, _, key = path.rpartition("/")
    work = face.tasks.get(key) if folder in (TASKS, MONITORS) else None
    if work is None:
        return None

    async def remove(face: RedfishFace) -> Reply:
        face.tasks.remove(key)
        return Reply()

    if folder == TASKS:
        return Resource(lambda _: read_task(work), delete=remove)
    return Resource(monitor=lambda _: answer(work), delete=remove)


def read_service(face: RedfishFace) -> Json:
    """TaskService."""
    return heading(SERVICE, "TaskService.v1_2_1.TaskService", "Task Service") | {
        "ServiceEnabled": True,
        "DateTime": face.clock.now(),
        "CompletedTaskOverWritePolicy": "Oldest",
        "LifeCycleEventOnTaskStateChange": False,
        "Status": OK,
        "Tasks": link(TASKS),
    }


def read_task(work: Work) -> Json:
    """A task as it is now."""
    path = f"{TASKS}/{work.id}"
    status = _STATUS.get(work.state, "OK")
    found = heading(path, "Task.v1_7_4.Task", work.name) | {
        "TaskState": work.state,
        "TaskStatus": status,
        "PercentComplete": work.percent,
        "StartTime": work.started.isoformat(timespec="seconds"),
        "TaskMonitor": f"{MONITORS}/{work.id}",
        "Payload": {"TargetUri": work.target, "HttpOperation": "POST"},
        "Messages": [
            {
                "@odata.type": "#Message.v1_1_2.Message",
                "MessageId": "Base.1.15.0.Success" if status == "OK" else "Base.1.15.0.GeneralError",
                "Message": work.message,
                "MessageSeverity": status,
            }
        ],
    }
    if work.ended is not None:
        found["EndTime"] = work.ended.isoformat(timespec="seconds")
    return found


def answer(work: Work) -> Reply:
    """What the request that began the work, and its monitor afterwards, are answered with.

    Raises:
        RedfishError: 400 once the work has failed.
    """
    if work.state == "Exception":
        raise messages.RedfishError(400, "GeneralError", work.message)
    if work.finished:
        return Reply(200, read_task(work))
    headers = {"Location": f"{MONITORS}/{work.id}", "Retry-After": str(RETRY_AFTER_S)}
    return Reply(202, read_task(work), headers)
