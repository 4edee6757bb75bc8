"""What a habit is: something with a memory that puts its own resource in the place of one of ours."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Awaitable, Callable
from typing import Protocol

from lab.virtual.redfish.face import Json, RedfishFace, Resource

MEDIA_OF_MANAGER = "/redfish/v1/Managers/1/VirtualMedia"
DRIVE = f"{MEDIA_OF_MANAGER}/Cd"
Change = Callable[[RedfishFace, Json], None]


class Habit(Protocol):
    """One way in which a BMC differs from ours."""

    def wrap(self, path: str, base: Resource | None) -> Resource | None:
        """What lies at `path` instead of `base`; None where nothing does."""


def edited(base: Resource, change: Change) -> Resource:
    """`base`, shown with a change."""
    read = base.read
    if read is None:
        return base

    async def read_edited(face: RedfishFace) -> Json:
        body = copy.deepcopy(await settled(read(face)))
        change(face, body)
        return body

    return dataclasses.replace(base, read=read_edited)


async def settled(body: Json | Awaitable[Json]) -> Json:
    """The body, awaited where it has to be."""
    return await body if inspect.isawaitable(body) else body
