"""What an iDRAC has of its own: attributes, by which alone the virtual CD boots (Q1), and jobs (Q9)."""

from __future__ import annotations

from lab.bmc.api import BootDevice
from lab.virtual.board import Override
from lab.virtual.faulty_board import FaultyBoard
from lab.virtual.redfish import messages
from lab.virtual.redfish.face import (
    MANAGER,
    Json,
    RedfishFace,
    Reply,
    Resource,
    action,
    collection,
    heading,
    link,
)
from lab.virtual.redfish.faults import pointer
from lab.virtual.redfish.faults.habit import edited

ATTRIBUTES = f"{MANAGER}/Oem/Dell/DellAttributes/iDRAC.Embedded.1"
_OLDER = f"{MANAGER}/Attributes"
JOBS = f"{MANAGER}/Jobs"
_SERVICE = f"{MANAGER}/Oem/Dell/DellJobService"
_DELETE_QUEUE = "DellJobService.DeleteJobQueue"
_BOOT_ONCE, _FIRST = "ServerBoot.1.BootOnce", "ServerBoot.1.FirstBootDevice"
_DEVICES = {
    "Normal": BootDevice.NONE,
    "HDD": BootDevice.DISK,
    "PXE": BootDevice.PXE,
    "BIOS": BootDevice.SETUP,
    "VCD-DVD": BootDevice.CD,
}
QUEUE = "JobQueue"
"""The name under which refusals know the state of the job queue: `pending` or empty."""
_JOB = "JID_471147114711"


class Attributes:
    """The attributes of the iDRAC, of which ServerBoot.1 sets the device of the next boot.

    Args:
        values: those there are, shared with the refusals that depend on one.
        board: whose boots they set.
    """

    def __init__(self, values: dict[str, object], board: FaultyBoard) -> None:
        self._values = values
        self._board = board
        self._ours: Override | None = None
        values |= {
            _BOOT_ONCE: "Disabled",
            _FIRST: "Normal",
            "VirtualConsole.1.PluginType": values.get("VirtualConsole.1.PluginType", "HTML5"),
            "VirtualMedia.1.Attached": "AutoAttach",
        }

    def wrap(self, path: str, base: Resource | None) -> Resource | None:
        """The attributes, and the links to them."""
        if path in (ATTRIBUTES, _OLDER):
            return Resource(lambda _: self._read(path), self._patch)
        return edited(base, _link_attributes) if path == MANAGER and base is not None else base

    def _read(self, path: str) -> Json:
        if self._ours is not None and self._board.override is not self._ours:  # spent, or set by other means
            self._ours = None
            self._values |= {_BOOT_ONCE: "Disabled", _FIRST: "Normal"}
        shown = {name: value for name, value in self._values.items() if name != QUEUE}
        kind = "DellAttributes.v1_0_0.DellAttributes"
        return heading(path, kind, "OEMAttributeRegistry") | {"Attributes": shown}

    async def _patch(self, _: RedfishFace, body: Json) -> None:
        asked = body.get("Attributes")
        if not isinstance(asked, dict):
            raise messages.wrong_type("Attributes", asked)
        for name, value in asked.items():
            if name not in self._values or name == QUEUE:
                raise messages.unknown_property(name)
            if name == _FIRST and value not in _DEVICES:
                raise messages.not_in_list(name, value, list(_DEVICES))
        self._values |= asked
        if _FIRST in asked or _BOOT_ONCE in asked:
            device = _DEVICES[str(self._values[_FIRST])]
            self._ours = Override(device, once=self._values[_BOOT_ONCE] == "Enabled")
            await self._board.set_override(self._ours)


class JobQueue:
    """A queue with one unfinished job of somebody else, until it is cleared."""

    def __init__(self, values: dict[str, object]) -> None:
        self._values = values
        values[QUEUE] = "pending"

    def wrap(self, path: str, base: Resource | None) -> Resource | None:
        """The jobs, the service that deletes them, and the links to both."""
        waiting = [f"{JOBS}/{_JOB}"] if self._values[QUEUE] else []
        if path == JOBS:
            return Resource(lambda _: collection(JOBS, "DellJobCollection", "JobQueue", waiting))
        if path in waiting:
            return Resource(lambda _: _job(path), delete=self._delete)
        if path == _SERVICE:
            return Resource(lambda _: _service())
        if path == f"{_SERVICE}/Actions/{_DELETE_QUEUE}":
            return Resource(post=self._clear)
        return edited(base, _link_jobs) if path == MANAGER and base is not None else base

    async def _delete(self, _: RedfishFace) -> Reply:
        self._values[QUEUE] = ""
        return Reply()

    async def _clear(self, _: RedfishFace, body: Json) -> Reply:
        if body.get("JobID") not in ("JID_CLEARALL", "JID_CLEARALL_FORCE", _JOB):
            raise messages.missing_parameter(_DELETE_QUEUE, "JobID")
        self._values[QUEUE] = ""
        return Reply()


def _job(path: str) -> Json:
    return heading(path, "DellJob.v1_4_0.DellJob", "Configure: BIOS.Setup.1-1") | {
        "JobState": "Scheduled",
        "JobType": "BIOSConfiguration",
        "Message": "Task successfully scheduled.",
        "MessageId": "JCP001",
        "PercentComplete": 0,
    }


def _service() -> Json:
    return heading(_SERVICE, "DellJobService.v1_2_0.DellJobService", "DellJobService") | {
        "Actions": {f"#{_DELETE_QUEUE}": action(f"{_SERVICE}/Actions/{_DELETE_QUEUE}")}
    }


def _link_attributes(_: RedfishFace, body: Json) -> None:
    pointer.write(body, "Links/Oem/Dell/DellAttributes", [link(ATTRIBUTES)])
    pointer.write(body, "Links/Oem/Dell/DellAttributes@odata.count", 1)


def _link_jobs(_: RedfishFace, body: Json) -> None:
    pointer.write(body, "Links/Oem/Dell/DellJobService", link(_SERVICE))
    pointer.write(body, "Links/Oem/Dell/Jobs", link(JOBS))
