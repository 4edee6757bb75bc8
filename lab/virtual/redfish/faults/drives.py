"""Virtual drives with habits: what an eject leaves behind, how they are loaded, and drives that do not boot.

Facts: Q4, Q11, Q15, Q20, Q31, Q32.
"""

from __future__ import annotations

import dataclasses
import time

from lab.virtual.board import Media
from lab.virtual.faults import FaultLog
from lab.virtual.faulty_board import FaultyBoard
from lab.virtual.profiles import DeadSlot, MediaHabit
from lab.virtual.redfish import messages, tasks
from lab.virtual.redfish.face import Json, RedfishFace, Reply, Resource, action, heading, link
from lab.virtual.redfish.faults.habit import DRIVE, MEDIA_OF_MANAGER, edited
from lab.virtual.redfish.work import Work, WorkFailed

_INSERT, _EJECT = "VirtualMedia.InsertMedia", "VirtualMedia.EjectMedia"


class Drives:
    """Plays a `MediaHabit` on the drive that is there and beside it."""

    def __init__(self, habit: MediaHabit, board: FaultyBoard, log: FaultLog) -> None:
        self._habit = habit
        self._board = board
        self._log = log
        self._last: Media | None = board.media
        self._ejected_at: float | None = None
        self._dead = {f"{MEDIA_OF_MANAGER}/{slot.id}": _Dead(slot, log) for slot in habit.dead_slots}
        board.changed.append(self._look)

    def close(self) -> None:
        """No longer be told."""
        self._board.changed.remove(self._look)

    def wrap(self, path: str, base: Resource | None) -> Resource | None:
        """The drives and their collection as this vendor has them."""
        for drive, dead in self._dead.items():
            if path == drive or path.startswith(f"{drive}/"):
                return dead.resource(drive, path)
        if base is None:
            return None
        if path == MEDIA_OF_MANAGER and self._dead:
            return edited(base, self._list)
        if path == f"{DRIVE}/Actions/{_INSERT}" and self._habit.by_task:
            return dataclasses.replace(base, post=lambda face, body: _insert_by_task(face, body, base))
        if path != DRIVE:
            gone = self._habit.by_patch and path.startswith(f"{DRIVE}/Actions/")
            return None if gone else base
        shown = edited(base, self._show)
        if not self._habit.by_patch:
            return dataclasses.replace(shown, patch=None)
        return dataclasses.replace(shown, patch=lambda face, body: self._load(face, body, base))

    def _look(self) -> None:
        if self._board.media is not None:
            self._last, self._ejected_at = self._board.media, None
        elif self._last is not None and self._ejected_at is None:
            self._ejected_at = time.monotonic()

    def _list(self, _: RedfishFace, body: Json) -> None:
        body["Members"] = [link(drive) for drive in self._dead] + body["Members"]
        body["Members@odata.count"] = len(body["Members"])

    def _show(self, face: RedfishFace, body: Json) -> None:
        if self._habit.by_patch:
            body.pop("Actions", None)
        if face.chassis.media is not None or self._last is None or self._ejected_at is None:
            return
        stale = time.monotonic() - self._ejected_at < self._habit.inserted_stays_s
        if stale:
            self._log.note("Q4", "reads Inserted after an eject")
            body |= {"Inserted": True, "ConnectedVia": "URI"}
        if stale or self._habit.image_stays:
            body["Image"] = self._last.url
            if self._habit.image_stays:
                self._log.note("Q15", "Image stays after an eject")

    async def _load(self, face: RedfishFace, body: Json, base: Resource) -> None:
        for name in self._habit.patch_refuses:
            if name in body:
                self._log.note("patch-refused", name)
                raise messages.read_only(name)
        image = body.get("Image")
        if image and self._habit.patch_needs_inserted and body.get("Inserted") is not True:
            self._log.note("Q20", "PATCH without Inserted")
            text = "The property Inserted is required to connect an image."
            raise messages.RedfishError(400, "PropertyMissing", text, arguments=["Inserted"])
        if base.patch is None:
            raise messages.method_not_allowed("PATCH", base.methods)
        wanted: Json = dict(body)
        wanted["Inserted"] = bool(image) and body.get("Inserted", True) is True
        if not wanted["Inserted"]:
            wanted = {"Inserted": False, "Image": None}
        await base.patch(face, wanted)


async def _insert_by_task(face: RedfishFace, body: Json, base: Resource) -> Reply:
    async def insert(_: Work) -> None:
        if base.post is None:
            raise WorkFailed("The drive takes no image.")
        try:
            await base.post(face, body)
        except messages.RedfishError as refusal:
            raise WorkFailed(str(refusal)) from refusal

    work = face.tasks.start("Insert media", f"{DRIVE}/Actions/{_INSERT}", insert, face.behaviour.task_kept_s)
    return tasks.answer(work)


class _Dead:
    """A drive that no server boots from."""

    def __init__(self, slot: DeadSlot, log: FaultLog) -> None:
        self._slot = slot
        self._log = log
        self._image: str | None = None

    def resource(self, drive: str, path: str) -> Resource | None:
        """What lies at `path`, which is the drive or below it."""
        if path == drive:
            return Resource(lambda _: self._read(drive))
        if self._slot.insert == 405:
            refusing = Resource(read=lambda _: {"@odata.id": path})  # so that a POST is answered 405
            return refusing if "/Actions/" in path else None
        if path == f"{drive}/Actions/{_INSERT}":
            return Resource(post=self._insert)
        if path == f"{drive}/Actions/{_EJECT}":
            return Resource(post=self._eject)
        return None

    def _read(self, drive: str) -> Json:
        body = heading(drive, "VirtualMedia.v1_6_0.VirtualMedia", f"Virtual drive {self._slot.id}") | {
            "MediaTypes": list(self._slot.types),
            "Image": self._image,
            "ImageName": None,
            "Inserted": self._image is not None,
            "WriteProtected": True,
            "ConnectedVia": "URI" if self._image else "NotConnected",
        }
        if self._slot.insert != 405:
            body["Actions"] = {f"#{name}": action(f"{drive}/Actions/{name}") for name in (_INSERT, _EJECT)}
        return body

    async def _insert(self, face: RedfishFace, body: Json) -> Reply:
        self._log.note("dead-slot", f"insert into {self._slot.id}")
        if self._slot.insert == 400:
            text = f"The drive {self._slot.id} cannot take an image of this type."
            raise messages.RedfishError(400, "ActionNotSupported", text, arguments=[_INSERT])
        if not isinstance(body.get("Image"), str):
            raise messages.missing_parameter(_INSERT, "Image")
        self._image = body["Image"]
        return Reply()

    async def _eject(self, face: RedfishFace, body: Json) -> Reply:
        self._image = None
        return Reply()
