"""Finding our server in a BMC's Redfish tree, by links and never by fixed names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.bmc.redfish_json import Json, as_dict, as_list, link, links, text
from lab.bmc.redfish_reply import Reply
from lab.bmc.redfish_session import ROOT, RedfishSession
from lab.bmc.target import Target

_LARGEST_COLLECTION = 2000
"""Members of one collection that are read; event logs may have more, of which the rest is older."""


class RedfishTree:
    """The resources of one server: its system, the managers and chassis that belong to it."""

    def __init__(self, session: RedfishSession, target: Target, macs: Sequence[str] = ()) -> None:
        self._session = session
        self._target = target
        self._macs = {mac.lower() for mac in macs}
        self._system: str | None = None

    def read(self, path: str) -> Json:
        """A resource that must be there.

        Raises:
            LabFault: it is not.
        """
        reply = self._session.get(path)
        if not reply.good:
            raise self._problem(path, reply)
        return reply.body

    def look(self, path: str | None) -> Json:
        """A resource that may be missing or broken: then an empty object."""
        if not path:
            return {}
        reply = self._session.get(path)
        return reply.body if reply.good else {}

    def members(self, path: str | None) -> Iterator[Json]:
        """The members of a collection, read one by one, the given ones as they are where expanded."""
        seen, pages = 0, set[str]()
        while path and path not in pages:
            pages.add(path)
            page = self.look(path)
            for member in as_list(page.get("Members", [])):
                seen += 1
                if seen > _LARGEST_COLLECTION:
                    return
                where = link({"it": member}, "it")
                expanded = len([name for name in member if not name.startswith("@")]) > 1
                yield member if expanded else self.look(where)
            following = page.get("Members@odata.nextLink")
            path = following if isinstance(following, str) else None

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
