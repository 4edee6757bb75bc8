"""What a rack file may say; every field is checked, an unknown one is refused."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, WithJsonSchema, field_validator, model_validator

from lab import paths
from lab.rack.endpoints import (
    BmcEndpoints,
    Console,
    Rfc2217Console,
    SerialConsole,
    SolConsole,
    TcpConsole,
    Tls,
)
from lab.rack.values import (
    Flag,
    Identifier,
    Mac,
    Name,
    OnOff,
    SecretReference,
    Size,
    Strict,
    complain,
    parse_size,
)
from lab.rack.virtual import VirtualDisk, VirtualServer
from lab.secret import Secret
from lab.strict_yaml import Place

__all__ = [
    "BmcEndpoints",
    "Controller",
    "Disk",
    "Host",
    "Mac",
    "Name",
    "Nic",
    "Permission",
    "Rack",
    "Rfc2217Console",
    "SecretReference",
    "SerialConsole",
    "Server",
    "Size",
    "SolConsole",
    "Strict",
    "TcpConsole",
    "Tls",
    "VirtualDisk",
    "VirtualServer",
    "parse_size",
]

PowerAfter = Annotated[
    Literal["off", "on", "as-found"], OnOff, WithJsonSchema({"enum": ["off", "on", "as-found", False, True]})
]
Permission = Literal["power-cut", "nmi", "bmc-reset", "hot-plug", "disk-fault", "clock"]


class Host(Strict):
    """Where the installed system answers SSH; absent, the authenticated phone-home tells."""

    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]*$")]
    ssh_port: Annotated[int, Field(ge=1, le=65535)] = 22


class Nic(Strict):
    """A network port by its MAC; `boot` marks the one that installs and PXE use."""

    mac: Mac
    network: str | None = None
    boot: Flag = False


class Disk(Strict):
    """A disk by serial or WWN. Only `erase: true` lets the lab write to it."""

    serial: Identifier | None = None
    wwn: Identifier | None = None
    erase: Flag = False

    @model_validator(mode="after")
    def _named(self) -> Disk:
        if self.serial is None and self.wwn is None:
            raise ValueError("a disk is named by serial, wwn or both")
        return self

    @property
    def name(self) -> str:
        """What messages call this disk."""
        return self.serial or f"wwn {self.wwn}"


class Server(Strict):
    """One entry of a rack: everything the lab knows of a server before it touches it."""

    name: Name
    model: str = "unknown"
    firmware: Literal["uefi", "bios"]
    bmc: BmcEndpoints
    console: Console
    host: Host | None = None
    nics: Annotated[tuple[Nic, ...], Field(min_length=1)]
    disks: tuple[Disk, ...] = ()
    allow: frozenset[Permission] = frozenset()
    install_by: Literal["virtual-media", "pxe"] | None = None
    power_after: PowerAfter = "off"
    virtual: VirtualServer | None = None
    _place: Place | None = PrivateAttr(default=None)

    @field_validator("disks")
    @classmethod
    def _disks_differ(cls, disks: tuple[Disk, ...]) -> tuple[Disk, ...]:
        for field in ("serial", "wwn"):
            _refuse_twice(field, (((index, field), getattr(disk, field)) for index, disk in enumerate(disks)))
        return disks

    @field_validator("nics")
    @classmethod
    def _one_boot_nic(cls, nics: tuple[Nic, ...]) -> tuple[Nic, ...]:
        marked = [index for index, nic in enumerate(nics) if nic.boot]
        if not marked:
            complain("mark the NIC that installs use with `boot: true`")
        if len(marked) > 1:
            complain("a second NIC is marked `boot: true`; mark exactly one", marked[1], "boot")
        return nics

    @model_validator(mode="after")
    def _consistent(self) -> Server:
        if isinstance(self.console, SolConsole) and self.bmc.ipmi is None:
            complain("Serial over LAN needs bmc.ipmi", "console", "sol")
        if self.install_by == "virtual-media" and self.bmc.redfish is None:
            complain("virtual media needs bmc.redfish", "install_by")
        if self.virtual is not None:
            if set(self.virtual.disks) != {disk.serial for disk in self.disks}:
                complain("name exactly the serials listed under the server's disks", "virtual", "disks")
            if set(self.virtual.nics) != {nic.mac for nic in self.nics}:
                complain("name exactly the MACs listed under the server's nics", "virtual", "nics")
            faces = {"redfish": self.bmc.redfish, "ipmi": self.bmc.ipmi}
            for index, fault in enumerate(self.virtual.bmc.faults):
                if fault.face is not None and faces[fault.face] is None:
                    complain(
                        f"{fault.fault} needs bmc.{fault.face}", "virtual", "bmc", "faults", index, "fault"
                    )
        return self

    @property
    def boot_nic(self) -> Nic:
        """The NIC that installs and PXE use."""
        return next(nic for nic in self.nics if nic.boot)

    @property
    def erasable(self) -> tuple[Disk, ...]:
        """The disks that the lab may write, in the order of the rack file."""
        return tuple(disk for disk in self.disks if disk.erase)

    @property
    def installs_by(self) -> Literal["virtual-media", "pxe"]:
        """How install media reaches this server: as the rack says, else virtual media where Redfish is."""
        return self.install_by or ("virtual-media" if self.bmc.redfish else "pxe")

    def where(self, *keys: str | int) -> str:
        """Where the rack file says something of this server, `FILE:LINE: KEY`; for messages."""
        if self._place is None:
            return ".".join(map(str, (self.name, *keys)))
        return self._place.where(*keys)


class Controller(Strict):
    """The machine this lab runs on, as the rack sees it.

    `media_address` is where BMCs fetch media from; `install_address` is where a server that boots it
    reaches us (the same, unless networks differ). `media_port` 0 lets the system choose; another number is
    the first of as many ports as the rack has servers, one each. `pxe_interface` is the one interface on
    which PXE may answer; absent, it never starts. `pxe_range` (`FIRST-LAST`, IPv4) makes PXE give out
    addresses too, one per server; absent, it only adds boot information to the DHCP server that is there.
    """

    media_address: str
    install_address: str | None = None
    media_port: Annotated[int, Field(ge=0, le=65535)] = 0
    pxe_interface: str | None = None
    pxe_range: str | None = None

    @field_validator("pxe_range")
    @classmethod
    def _range(cls, text: str | None) -> str | None:
        if text is not None:
            first, dash, last = text.partition("-")
            if not dash or ipaddress.IPv4Address(first) > ipaddress.IPv4Address(last):
                raise ValueError(f"'{text}' is not a range such as 10.0.7.100-10.0.7.150")
        return text

    @field_validator("media_address", "install_address")
    @classmethod
    def _address(cls, text: str | None) -> str | None:
        if text is not None:
            ipaddress.ip_address(text)
        return text

    @property
    def address_for_servers(self) -> str:
        """Where a booted server reaches the controller."""
        return self.install_address or self.media_address


class Rack(Strict):
    """A whole rack file."""

    rack: Name
    controller: Controller
    servers: Annotated[tuple[Server, ...], Field(min_length=1)]
    _file: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _servers_differ(self) -> Rack:
        servers = list(enumerate(self.servers))
        _refuse_twice("server name", ((("servers", n, "name"), server.name) for n, server in servers))
        _refuse_twice(
            "MAC",
            (
                (("servers", n, "nics", m, "mac"), nic.mac)
                for n, server in servers
                for m, nic in enumerate(server.nics)
            ),
        )
        # Two servers may see one shared disk, but then neither may be allowed to write it.
        shared = [(n, m, disk) for n, server in servers for m, disk in enumerate(server.disks)]
        for field in ("serial", "wwn"):
            erasable = {getattr(disk, field) for _, _, disk in shared if disk.erase} - {None}
            _refuse_twice(
                f"{field} of an erasable disk",
                (
                    (("servers", n, "disks", m, field), value)
                    for n, m, disk in shared
                    if (value := getattr(disk, field)) in erasable
                ),
            )
        odd = next((n for n, server in servers if (server.virtual is None) == self.is_virtual), None)
        if odd is not None:
            complain("a rack is virtual as a whole or not at all", "servers", odd)
        return self

    @property
    def is_virtual(self) -> bool:
        """Whether the servers are QEMU processes of the virtual rack."""
        return self.servers[0].virtual is not None

    @property
    def origin(self) -> Literal["hardware", "emulated"]:
        """The origin of every measurement taken on this rack from a real product."""
        return "emulated" if self.is_virtual else "hardware"

    @property
    def file(self) -> Path:
        """The file this rack was read from."""
        return self._file

    def secret(self, reference: str) -> Secret:
        """The secret that a reference in this file means (relative paths: relative to the file)."""
        named = [
            server.where("bmc", *keys)
            for server in self.servers
            for keys, named in server.bmc.secrets()
            if named == reference
        ]
        return Secret(reference, self._file.parent, named[0] if named else "")

    def resolve(self, path: Path) -> Path:
        """The file that a path in this rack file means, such as `bmc.tls.ca`.

        `{state}` is the user's state folder, `~` the home; a relative path is relative to the rack file.
        """
        return paths.expand(str(path), self._file.parent)


def _refuse_twice(what: str, values: Iterable[tuple[tuple[str | int, ...], str | None]]) -> None:
    """Refuse the second of two equal values; case does not tell serials, WWNs or MACs apart."""
    seen: set[str] = set()
    for at, value in values:
        if value is None:
            continue
        if value.lower() in seen:
            complain(f"{what} {value} is listed twice", *at)
        seen.add(value.lower())
