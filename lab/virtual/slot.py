"""One server's slot in the rack: its chassis, its serial hub and its two BMC faces, wired together."""

from __future__ import annotations

import ssl
import uuid
from typing import Any

from lab.rack.model import Rack, Server
from lab.rack.virtual import VirtualBmc
from lab.virtual import hardware, ports, profiles
from lab.virtual.chassis import Chassis
from lab.virtual.errant import ErrantBmc
from lab.virtual.folder import RackFolder
from lab.virtual.ipmi import fru
from lab.virtual.ipmi.bmc import Identity
from lab.virtual.ipmi.config import Account, Face
from lab.virtual.ipmi.face import IpmiFace
from lab.virtual.ipmi.responder_face import ResponderFace
from lab.virtual.ipmi.service import IpmiService
from lab.virtual.leftovers import environment
from lab.virtual.network import Network
from lab.virtual.redfish.face import RedfishFace
from lab.virtual.redfish.service import RedfishService
from lab.virtual.redfish.sessions import SessionTable
from lab.virtual.serial_hub import SerialHub


class Slot:
    """Everything of one server that the daemon runs."""

    def __init__(self, rack: Rack, server: Server, folder: RackFolder, networks: dict[str, Network]) -> None:
        self.server = server
        self.folder = folder.server(server)
        self.hub = SerialHub(self.folder.serial_raw)
        self.chassis = Chassis(server, self.folder, self.hub, networks, rack.rack)
        self.chassis.environment = environment(folder)
        self.errant = ErrantBmc(
            self.chassis, server.virtual.bmc if server.virtual else VirtualBmc(), self.folder.faults
        )
        self.ipmi: IpmiService | None = None
        self.redfish: RedfishService | None = None
        self._rack = rack
        self._rack_folder = folder

    async def open(self, tls: ssl.SSLContext | None) -> None:
        """Bring both faces up, power off; returns when they answer."""
        self.folder.make()
        hardware.prepare(self.server, self.folder)
        self.folder.serial_raw.write_bytes(b"")
        for old in self.folder.media.iterdir():  # fetched for a daemon that is gone; nothing is inserted now
            old.unlink()
        await self.hub.open()
        identity = uuid.uuid5(
            uuid.NAMESPACE_DNS, f"bmc.{self.server.name}.{self._rack.rack}.virtual-rack.invalid"
        )
        accounts = self._accounts()
        place = ports.ipmi(self.server)
        if place is not None:
            self.ipmi = self._ipmi(place, identity, accounts)
            self.ipmi.on_restart = self.errant.reboot
            self.errant.away.append(self.ipmi.restart)
            await self.ipmi.open()
        place = ports.redfish(self.server)
        if place is not None:
            face = RedfishFace(self.errant.board, self.ipmi, SessionTable(accounts), str(identity))
            if self.ipmi is not None:
                face.reset_listeners.append(self.ipmi.restart)
            self.redfish = self.errant.serve(face)
            plain = (self.server.bmc.redfish or "").startswith("http://")
            await self.redfish.open(place.address, place.port, None if plain else tls)

    async def close(self) -> None:
        """Take the faces down, power off, end every child."""
        self.errant.close()
        if self.redfish is not None:
            await self.redfish.close()
        await self.chassis.close()
        if self.ipmi is not None:
            await self.ipmi.close()
        await self.hub.close()

    def status(self) -> dict[str, Any]:
        """What `control.status` shows of this server."""
        media = self.chassis.media
        return {
            "server": self.server.name,
            "power": self.chassis.power,
            "qemu_pid": self.chassis.pid,
            "ipmi_pid": self.ipmi.pid if self.ipmi else None,
            "boot_override": str(self.chassis.override.device),
            "boot_once": self.chassis.override.once,
            "identify": self.chassis.identify,
            "media": media.url if media else None,
            "counts": {
                "server": dict(self.chassis.acts),
                "redfish": self.redfish.face.status() if self.redfish else {},
                "ipmi": self.ipmi.status() if self.ipmi else {},
            },
            "bmc": self.errant.status(),
        }

    def _ipmi(self, place: ports.Endpoint, identity: uuid.UUID, accounts: tuple[Account, ...]) -> IpmiService:
        """Who speaks IPMI here: `ipmi_sim`, or the responder where the rack file or the profile wants it."""
        name, model = self.server.name, self.server.model[:63]
        unit = fru.Fru("hypervisor-lab", model, name, hardware.serial_number(self.server))
        bmc = self.server.virtual.bmc if self.server.virtual else VirtualBmc()
        wanted = bmc.profile is not None and bool(profiles.load()[bmc.profile].ipmi)
        if bmc.ipmi == "responder" or (bmc.ipmi is None and wanted):
            who = Identity(name, place.address, place.port, identity.bytes, accounts, unit)
            return ResponderFace(self.errant.board, who, self.hub.port, self.errant.ipmi)
        self.chassis.ipmi_port = in_band = ports.free_port()
        inner = ports.inner_address()
        wiring = Face(
            name, place.address, place.port, inner, identity.hex, accounts, in_band, self.hub.port, unit
        )
        return IpmiFace(self.errant.board, wiring, self._rack_folder, self.errant.ipmi)

    def _accounts(self) -> tuple[Account, ...]:
        bmc = self.server.bmc
        accounts = [Account(bmc.user, self._rack.secret(bmc.password).reveal())]
        if bmc.sol_user is not None and bmc.sol_user != bmc.user:
            accounts.append(
                Account(bmc.sol_user, self._rack.secret(bmc.sol_password or bmc.password).reveal())
            )
        return tuple(accounts)
