"""Finding our server in a BMC's Redfish tree, by links and never by fixed names."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab.bmc.redfish.json import Json, allowed, as_dict, as_list, link, links, strings, text
from lab.bmc.redfish.reply import Reply
from lab.bmc.redfish.session import ROOT, RedfishSession
from lab.bmc.target import Target
from lab.deadline import Deadline

_LARGEST_COLLECTION = 5000
"""Members of one collection that are read; event logs may have more, of which the rest is left."""


@dataclass
class _Pass:
    """What one pass has read, and until when it may read more."""

    deadline: Deadline
    read: dict[str, Reply] = field(default_factory=dict)


class RedfishTree:
    """The resources of one server: its system, the managers and chassis that belong to it."""

    def __init__(self, session: RedfishSession, target: Target, macs: Sequence[str] = ()) -> None:
        self._session = session
        self._target = target
        self._macs = {mac.lower() for mac in macs}
        self._system: str | None = None
        self._local = threading.local()

    @contextmanager
    def within(self, seconds: float, what: str) -> Iterator[None]:
        """One pass over many resources by this thread: each is read once, and all within a limit.

        A pass around it stays in force.

        Raises:
            LabFault: at the first read after the limit has passed.
        """
        if self._pass is not None:
            yield
            return
        self._local.running = _Pass(Deadline.after(seconds, what))
        try:
            yield
        finally:
            self._local.running = None

    @property
    def _pass(self) -> _Pass | None:
        running: _Pass | None = getattr(self._local, "running", None)
        return running

    def read(self, path: str) -> Json:
        """A resource that must be there.

        Raises:
            LabFault: it is not.
        """
        reply = self._get(path)
        if not reply.good:
            raise self._problem(path, reply)
        return reply.body

    def look(self, path: str | None) -> Json:
        """A resource that may be missing or broken: then an empty object."""
        if not path:
            return {}
        reply = self._get(path)
        return reply.body if reply.good else {}

    def members(self, path: str | None) -> Iterator[Json]:
        """The members of a collection, read one by one, the given ones as they are where expanded."""
        seen, pages, given = 0, set[str](), set[str]()
        while path and path not in pages:
            pages.add(path)
            page = self.look(path)
            for member in as_list(page.get("Members") or as_dict(page.get("links")).get("Member")):
                seen += 1
                if seen > _LARGEST_COLLECTION:
                    return
                where = link({"it": member}, "it")
                if where in given:
                    continue  # a BMC that gives its first page for every one
                given.update([where] if where else [])
                expanded = len([name for name in member if not name.startswith("@")]) > 1
                yield member if expanded else self.look(where)
            # DMTF's own example has it without the member's name.
            following = page.get("Members@odata.nextLink") or page.get("@odata.nextLink")
            path = following if isinstance(following, str) else None

    def references(self, path: str | None) -> Iterator[str]:
        """Where the members of a collection are, without reading them."""
        yield from links(self.look(path).get("Members"))

    @property
    def root(self) -> Json:
        """The service root."""
        self._session.connect()
        return self._session.root

    @property
    def system_path(self) -> str:
        """Where our ComputerSystem is; among several it is the one with the rack file's MACs.

        Raises:
            LabFault: there is none, or it cannot be told which.
        """
        if self._system is None:
            self._system = self._find_system()
        return self._system

    @property
    def system(self) -> Json:
        """Our ComputerSystem, read now."""
        return self.read(self.system_path)

    def managers(self, system: Json) -> Iterator[Json]:
        """The managers of this system; all of them where the BMC does not link any (Huawei)."""
        return self._linked(as_dict(system.get("Links")).get("ManagedBy"), "Managers")

    def chassis(self, system: Json) -> Iterator[Json]:
        """The chassis of this system; all of them where the BMC does not link any."""
        return self._linked(as_dict(system.get("Links")).get("Chassis"), "Chassis")

    def interfaces(self, system: Json) -> Iterator[Json]:
        """The system's EthernetInterfaces."""
        return self.members(link(system, "EthernetInterfaces"))

    def parameters(self, action: Json) -> dict[str, Json]:
        """What an action takes, by name, as its ActionInfo says (DSP0266, 7.6.2)."""
        info = self.look(text(action, "@Redfish.ActionInfo") or link(action, "@Redfish.ActionInfo"))
        return {text(one, "Name"): one for one in as_list(info.get("Parameters", [])) if text(one, "Name")}

    def values(self, action: Json, parameter: str) -> list[str] | None:
        """What `parameter` of an action may be, as told there or in ActionInfo; None if untold."""
        direct = allowed(action, parameter)
        if direct is not None:
            return direct
        listed = self.parameters(action).get(parameter, {}).get("AllowableValues")
        return strings(listed) if isinstance(listed, list) else None

    def _get(self, path: str) -> Reply:
        running = self._pass
        if running is None:
            return self._session.get(path)
        if path not in running.read:
            if running.deadline.passed:
                raise self._target.fault(
                    f"GET {path}",
                    f"it answers, but too slowly for {running.deadline.why}",
                    "close other sessions to this BMC, reset it, or update it",
                )
            running.read[path] = self._session.get(path)
        return running.read[path]

    def _linked(self, references: object, collection: str) -> Iterator[Json]:
        found = False
        for path in links(references):
            resource = self.look(path)
            if resource:
                found = True
                yield resource
        if not found:
            yield from self.members(link(self.root, collection))

    def _find_system(self) -> str:
        collection = link(self.root, "Systems") or f"{ROOT}Systems"
        paths = links(self.read(collection).get("Members", []))
        ours = paths if len(paths) == 1 else [path for path in paths if self._has_our_macs(path)]
        if len(ours) == 1:
            return ours[0]
        raise self._target.fault(
            f"finding the server in {collection}",
            f"it manages {len(paths)} systems, of which {len(ours)} have a MAC of the rack file",
            "list the server's NICs in the rack file with the MACs that the BMC reports",
        )

    def _has_our_macs(self, path: str) -> bool:
        theirs = {
            text(nic, name).lower()
            for nic in self.interfaces(self.look(path))
            for name in ("MACAddress", "PermanentMACAddress")
        }
        return bool(theirs & self._macs)

    def _problem(self, path: str, reply: Reply) -> Exception:
        if reply.status in (401, 403):
            return self._target.credentials(f"GET {path}", reply.why)
        return self._target.fault(f"GET {path}", reply.why, "reset the BMC, or update it")
