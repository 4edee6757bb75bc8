"""What vendors do in their own way: boot once from the virtual CD, clear a job queue, mount an image.

Each is found by links in the tree, never by a fixed path. Sources: facts/bmc.md Q1, Q9, Q11, Q18.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from lab.bmc.redfish.json import Json, action, as_dict, link, links, text
from lab.bmc.redfish.session import NoAnswer, RedfishSession
from lab.bmc.redfish.tree import RedfishTree

_DELL_DEVICE, _DELL_ONCE = "ServerBoot.1.FirstBootDevice", "ServerBoot.1.BootOnce"
_DELL_VIRTUAL_CD, _DELL_CLEAR = "VCD-DVD", "Normal"
_HPE_NEXT = "BootOnNextServerReset"
MOUNT, UNMOUNT = "IsoConfig.Mount", "IsoConfig.UnMount"


class DellOem:
    """The attributes and the job queue of an iDRAC."""

    def __init__(self, session: RedfishSession, tree: RedfishTree) -> None:
        self._session = session
        self._tree = tree

    def attributes(self) -> Json:
        """The resource that holds the ServerBoot attributes; empty where there is none."""
        for manager in self._tree.managers(self._tree.system):
            places = (as_dict(as_dict(manager.get("Links")).get("Oem")), as_dict(manager.get("Oem")))
            for place in places:
                for path in links(as_dict(place.get("Dell")).get("DellAttributes")):
                    found = self._tree.look(path)
                    if _DELL_DEVICE in as_dict(found.get("Attributes")):
                        return found
        return {}

    def boot_virtual_cd(self, *, clear: bool = False) -> str | None:
        """Name the virtual CD for the next boot; what reads back, None where it did not take."""
        resource = self.attributes()
        path = text(resource, "@odata.id")
        if not path:
            return None
        device = _DELL_CLEAR if clear else _DELL_VIRTUAL_CD
        wanted = {_DELL_ONCE: "Disabled" if clear else "Enabled", _DELL_DEVICE: device}
        try:
            reply = self._session.write("PATCH", path, {"Attributes": wanted}, intent="boot")
            if not reply.good:
                return None
        except NoAnswer:
            pass  # the attributes tell
        now = as_dict(self._tree.look(path).get("Attributes"))
        seen = {name: now.get(name) for name in wanted}
        return f"read {seen}" if seen == wanted else None

    def boots_virtual_cd(self) -> bool:
        """Whether the next boot is from the virtual CD."""
        now = as_dict(self.attributes().get("Attributes"))
        return (now.get(_DELL_ONCE), now.get(_DELL_DEVICE)) == ("Enabled", _DELL_VIRTUAL_CD)

    def clear_jobs(self) -> str | None:
        """Empty the job queue; what was said, None where there is no queue or it refused."""
        for manager in self._tree.managers(self._tree.system):
            oem = as_dict(as_dict(as_dict(manager.get("Links")).get("Oem")).get("Dell"))
            service = self._tree.look(link(oem, "DellJobService"))
            target = text(action(service, "DellJobService.DeleteJobQueue"), "target")
            if target:
                try:
                    reply = self._session.write("POST", target, {"JobID": "JID_CLEARALL"})
                except NoAnswer as silence:
                    return str(silence)
                return f"job queue cleared: {reply.why}" if reply.good else None
        return None


def boot_next_of(slot: Json) -> tuple[str, bool] | None:
    """The Oem member of a virtual drive by which HPE boots from it next, and whether it is set."""
    for vendor in ("Hpe", "Hp"):
        flag = as_dict(as_dict(slot.get("Oem")).get(vendor)).get(_HPE_NEXT)
        if isinstance(flag, bool):
            return vendor, flag
    return None


def boot_next_body(vendor: str, on: bool) -> Json:
    """What to PATCH the drive with."""
    return {"Oem": {vendor: {_HPE_NEXT: on}}}


def iso_configs(tree: RedfishTree, manager: Json) -> Iterator[Json]:
    """Supermicro's own virtual CD, where the manager has it (Q18)."""
    drives = tree.look(link(manager, "VirtualMedia"))
    paths = [link(drives, "CfgCD"), *links(drives.get("Members"))]
    for body in (manager, drives):
        oem = as_dict(as_dict(body.get("Oem")).get("Supermicro"))
        paths += [link(oem, "VirtualMediaConfig"), link(oem, "VirtualMedia")]
    for path in dict.fromkeys(path for path in paths if path):
        body = tree.look(path)
        if action(body, MOUNT):
            yield body


def iso_config_of(url: str, user: str | None, password: str | None) -> Json:
    """Host and Path of an image as IsoConfig wants them: CIFS with backslashes, else a URL's host."""
    parts = urlsplit(url)
    if parts.scheme in ("cifs", "smb"):
        host, path = parts.hostname or "", parts.path.replace("/", "\\")
    else:
        host, path = f"{parts.scheme}://{parts.netloc}", parts.path
    account: Json = {"Username": user, "Password": password} if user else {}
    return {"Host": host, "Path": path, **account}
