"""What every Redfish resource of one server is made from, and the shape of a resource."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from aiohttp import BodyPartReader

from lab.virtual.board import Board
from lab.virtual.ipmi.service import IpmiService
from lab.virtual.redfish import messages
from lab.virtual.redfish.ledger import Ledger
from lab.virtual.redfish.sessions import SessionTable
from lab.virtual.redfish.work import TaskTable

Json = dict[str, Any]
ROOT = "/redfish/v1"
SYSTEM = f"{ROOT}/Systems/1"
CHASSIS = f"{ROOT}/Chassis/1"
MANAGER = f"{ROOT}/Managers/1"
OK: Json = {"State": "Enabled", "Health": "OK"}
SESSIONS = f"{ROOT}/SessionService/Sessions"
ACCOUNTS = f"{ROOT}/AccountService/Accounts"


@dataclass(frozen=True)
class Behaviour:
    """What differs from BMC to BMC; times in seconds.

    Attributes:
        reset_s: how long the BMC is away when it is reset.
        keeps_media: whether virtual media outlive that reset.
        task_step_s: how long each fifth of a firmware update takes.
        task_kept_s: how long a finished task can still be read (real ones: 60 s and less, facts/bmc.md Q9).
        page: how many log entries one answer holds.
    """

    reset_s: float = 3.0
    keeps_media: bool = True
    task_step_s: float = 0.2
    task_kept_s: float = 300.0
    page: int = 50


@dataclass
class Clock:
    """The BMC's clock: how far it is from ours, and its time zone."""

    ahead: timedelta = timedelta()
    zone: timedelta = timedelta()

    def now(self) -> str:
        """In Redfish's form of ISO 8601."""
        return (datetime.now(UTC) + self.ahead).astimezone(timezone(self.zone)).isoformat(timespec="seconds")

    @property
    def offset(self) -> str:
        """The time zone as `+HH:MM`."""
        return datetime.now(timezone(self.zone)).isoformat()[-6:]


@dataclass
class RedfishFace:
    """The parts of a server that its Redfish service shows.

    `reset_listeners` are told for how many seconds the BMC is about to be away.
    """

    chassis: Board
    ipmi: IpmiService | None
    sessions: SessionTable
    uuid: str
    media_count: int = 0
    media_busy: bool = False
    behaviour: Behaviour = Behaviour()
    ledger: Ledger = field(default_factory=Ledger)
    clock: Clock = field(default_factory=Clock)
    tasks: TaskTable = field(default_factory=TaskTable)
    dummy_version: str = "1.0.0"
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    reset_listeners: list[Callable[[float], None]] = field(default_factory=list)

    def status(self) -> Json:
        """What judges are shown: everything done, and the sessions."""
        return {**self.ledger.status(), "sessions": self.sessions.status()}


@dataclass(frozen=True)
class Reply:
    """What a POST or DELETE comes to; 204 has no body. `after` runs once the answer is on its way."""

    status: int = 204
    body: Json | None = None
    headers: dict[str, str] = field(default_factory=dict)
    after: Callable[[], Awaitable[None]] | None = None


Parts = AsyncIterator[BodyPartReader]


@dataclass(frozen=True)
class Resource:
    """What lies at one path. A method that is None is answered with 405.

    `patch` changes the resource, whose new state is then answered; `post` is an action or a creation.
    """

    read: Callable[[RedfishFace], Json | Awaitable[Json]] | None = None
    patch: Callable[[RedfishFace, Json], Awaitable[None]] | None = None
    post: Callable[[RedfishFace, Json], Awaitable[Reply]] | None = None
    delete: Callable[[RedfishFace], Awaitable[Reply]] | None = None
    upload: Callable[[RedfishFace, Parts], Awaitable[Reply]] | None = None
    """A POST of parts (`multipart/form-data`) in place of JSON."""
    monitor: Callable[[RedfishFace], Reply] | None = None
    """A GET whose status says how far something is (a task monitor)."""

    @property
    def methods(self) -> list[str]:
        """The methods it answers, for the Allow header."""
        found = ["GET", "HEAD"] if self.read or self.monitor else []
        answered = {
            "PATCH": self.patch is not None,
            "POST": self.post is not None or self.upload is not None,
            "DELETE": self.delete is not None,
        }
        return found + [name for name, yes in answered.items() if yes]


def heading(path: str, kind: str, name: str) -> Json:
    """The members that every resource has; `kind` such as `ComputerSystem.v1_20_0.ComputerSystem`."""
    return {"@odata.id": path, "@odata.type": f"#{kind}", "Id": path.rsplit("/", 1)[-1], "Name": name}


def link(path: str) -> Json:
    """A reference to another resource."""
    return {"@odata.id": path}


def collection(path: str, kind: str, name: str, members: list[str]) -> Json:
    """A collection resource; `kind` such as `ComputerSystemCollection`."""
    found = heading(path, f"{kind}.{kind}", name)
    del found["Id"]
    return {**found, "Members": [link(member) for member in members], "Members@odata.count": len(members)}


def action(path: str, **allowable: list[str]) -> Json:
    """An entry under `Actions`, with the values its parameters may have."""
    return {
        "target": path,
        **{f"{name}@Redfish.AllowableValues": values for name, values in allowable.items()},
    }


def parameters(body: Json, name: str, known: dict[str, type]) -> Json:
    """The parameters of an action, checked for name and type.

    Raises:
        RedfishError: 400 for one that is unknown or of another type.
    """
    for key, value in body.items():
        if key not in known:
            raise messages.unknown_parameter(name, key)
        if not isinstance(value, known[key]):
            raise messages.wrong_type(key, value)
    return body


def one_of(name: str, value: object, allowed: list[str]) -> str:
    """`value`, which has to be one of `allowed`.

    Raises:
        RedfishError: 400 where it is not.
    """
    if not isinstance(value, str):
        raise messages.wrong_type(name, value)
    if value not in allowed:
        raise messages.not_in_list(name, value, allowed)
    return value


def writable(body: Json, known: Json, names: tuple[str, ...]) -> Json:
    """The body of a PATCH, holding nothing but `names`.

    Raises:
        RedfishError: 400 for a property that is read-only, or that is not in `known`, the resource as it is.
    """
    for key in body:
        if key.startswith(("@", "#")) or key in names:
            continue
        raise messages.read_only(key) if key in known else messages.unknown_property(key)
    return {key: value for key, value in body.items() if key in names}
