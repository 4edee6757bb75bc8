"""What every Redfish resource of one server is made from, and the shape of a resource."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from lab.virtual.chassis import Chassis
from lab.virtual.ipmi.face import IpmiFace
from lab.virtual.redfish import messages
from lab.virtual.redfish.sessions import SessionTable

ROOT = "/redfish/v1"
SYSTEM = f"{ROOT}/Systems/1"
CHASSIS = f"{ROOT}/Chassis/1"
MANAGER = f"{ROOT}/Managers/1"
SESSIONS = f"{ROOT}/SessionService/Sessions"
ACCOUNTS = f"{ROOT}/AccountService/Accounts"
Json = dict[str, Any]


@dataclass
class RedfishFace:
    """The parts of a server that its Redfish service shows."""

    chassis: Chassis
    ipmi: IpmiFace | None
    sessions: SessionTable
    uuid: str
    media_count: int = field(default=0)


@dataclass(frozen=True)
class Reply:
    """What a POST or DELETE comes to; 204 has no body."""

    status: int = 204
    body: Json | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Resource:
    """What lies at one path. A method that is None is answered with 405.

    `patch` changes the resource, whose new state is then answered; `post` is an action or a creation.
    """

    read: Callable[[RedfishFace], Json | Awaitable[Json]] | None = None
    patch: Callable[[RedfishFace, Json], Awaitable[None]] | None = None
    post: Callable[[RedfishFace, Json], Awaitable[Reply]] | None = None
    delete: Callable[[RedfishFace], Awaitable[Reply]] | None = None

    @property
    def methods(self) -> list[str]:
        """The methods it answers, for the Allow header."""
        found = ["GET", "HEAD"] if self.read else []
        found += [name for name in ("PATCH", "POST", "DELETE") if getattr(self, name.lower()) is not None]
        return found


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
