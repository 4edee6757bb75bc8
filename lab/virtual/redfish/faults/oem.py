"""Vendors' own ways to the virtual CD: HPE's boot-next (Q11), Supermicro's IsoConfig (Q18)."""

from __future__ import annotations

import dataclasses

from lab.bmc.api import BootDevice
from lab.virtual.board import Override
from lab.virtual.faulty_board import FaultyBoard
from lab.virtual.redfish import media, messages
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
from lab.virtual.redfish.faults.habit import DRIVE, edited

_NEXT = "BootOnNextServerReset"
_HPE = ("Hpe", "Hp")
_VM = f"{MANAGER}/VM1"
CONFIG = f"{_VM}/CfgCD"
_CD = f"{_VM}/CD1"
_MOUNT, _UNMOUNT = "IsoConfig.Mount", "IsoConfig.UnMount"
_MEMBERS = ("Host", "Path", "Username", "Password")


class HpeBootNext:
    """`Oem/Hpe/BootOnNextServerReset` of the drive: the next boot is from it."""

    def __init__(self, board: FaultyBoard) -> None:
        self._board = board
        self._ours: Override | None = None

    def wrap(self, path: str, base: Resource | None) -> Resource | None:
        """The drive with that member, which can be written."""
        if path != DRIVE or base is None:
            return base
        return dataclasses.replace(
            edited(base, self._show), patch=lambda face, body: self._patch(face, body, base)
        )

    def _show(self, _: RedfishFace, body: Json) -> None:
        pending = self._ours is not None and self._board.override is self._ours
        for vendor in _HPE:
            pointer.write(body, f"Oem/{vendor}/{_NEXT}", pending)

    async def _patch(self, face: RedfishFace, body: Json, base: Resource) -> None:
        asked = [pointer.read(body, f"Oem/{vendor}/{_NEXT}") for vendor in _HPE]
        rest = {name: value for name, value in body.items() if name != "Oem"}
        if rest:
            if base.patch is None:
                raise messages.read_only(next(iter(rest)))
            await base.patch(face, rest)
        for wanted in asked:
            if isinstance(wanted, bool):
                self._ours = Override(BootDevice.CD if wanted else BootDevice.NONE)
                await self._board.set_override(self._ours)


class SupermicroIsoConfig:
    """`Managers/1/VM1/CfgCD`: where the image is, as host and path, and actions to mount and unmount it."""

    def __init__(self) -> None:
        self._config: dict[str, str] = dict.fromkeys(_MEMBERS, "")

    def wrap(self, path: str, base: Resource | None) -> Resource | None:
        """The collection, the configuration, its actions, and the drive while it holds an image."""
        found = {
            _VM: Resource(self._list),
            CONFIG: Resource(self._read, self._patch),
            f"{CONFIG}/Actions/{_MOUNT}": Resource(post=self._mount),
            f"{CONFIG}/Actions/{_UNMOUNT}": Resource(post=self._unmount),
            _CD: Resource(self._drive),
        }.get(path)
        if found is not None:
            return found
        if path == MANAGER and base is not None:
            return edited(base, lambda _, body: pointer.write(body, "VirtualMedia", link(_VM)))
        return base

    def _list(self, face: RedfishFace) -> Json:
        members = [_CD] if face.chassis.media is not None else []
        body = collection(_VM, "VirtualMediaCollection", "Virtual Media Collection", members)
        pointer.write(body, "Oem/Supermicro/VirtualMediaConfig", link(CONFIG))
        return body

    def _read(self, _: RedfishFace) -> Json:
        return heading(CONFIG, "IsoConfig.v1_0_0.IsoConfig", "Virtual CD configuration") | {
            **self._config,
            "Password": None,
            "Actions": {f"#{name}": action(f"{CONFIG}/Actions/{name}") for name in (_MOUNT, _UNMOUNT)},
        }

    async def _patch(self, _: RedfishFace, body: Json) -> None:
        for name, value in body.items():
            if name not in _MEMBERS:
                raise messages.unknown_property(name)
            if not isinstance(value, str):
                raise messages.wrong_type(name, value)
        self._config |= body

    def _drive(self, face: RedfishFace) -> Json:
        inserted = face.chassis.media
        if inserted is None:
            raise messages.not_found(_CD)
        return heading(_CD, "VirtualMedia.v1_0_0.VirtualMedia", "Virtual CD") | {
            "MediaTypes": ["CD", "DVD"],
            "Image": inserted.url,
            "Inserted": True,
            "ConnectedVia": "URI",
        }

    async def _mount(self, face: RedfishFace, _: Json) -> Reply:
        host, path = self._config["Host"], self._config["Path"].replace("\\", "/")
        if "://" not in host:
            host = f"http://{host}"
        wanted: Json = {"Image": f"{host.rstrip('/')}/{path.lstrip('/')}"}
        if self._config["Username"]:
            wanted |= {"UserName": self._config["Username"], "Password": self._config["Password"]}
        return await media.insert(face, wanted)

    async def _unmount(self, face: RedfishFace, _: Json) -> Reply:
        return await media.eject(face, {})
