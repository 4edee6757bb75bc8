"""What a rack file may say; every field is checked, an unknown one is refused."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from lab.secret import Secret, is_reference

_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class Strict(BaseModel):
    """Base of everything read from YAML: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _mac(text: str) -> str:
    plain = text.lower().replace("-", ":")
    if not re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", plain):
        raise ValueError(f"'{text}' is not a MAC address such as b0:7b:25:01:02:03")
    return plain


def _reference(text: str) -> str:
    if not is_reference(text):
        raise ValueError("a secret is named as env:NAME or file:PATH, never written here")
    return text


def parse_size(value: object) -> int:
    """Bytes of `64 GiB`, `500 GB`, `4096`; ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?B|B)\s*", value) if isinstance(value, str) else None
    if not found:
        raise ValueError(f"'{value}' is not a size such as 64 GiB")
    return int(float(found[1]) * _UNITS[found[2]])


Mac = Annotated[str, AfterValidator(_mac)]
SecretReference = Annotated[
    str, AfterValidator(_reference), WithJsonSchema({"type": "string", "pattern": "^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"})
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([KMGT]i?B|B)\s*$"}]}),
]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=63)]
Permission = Literal["power-cut", "nmi", "bmc-reset", "hot-plug", "disk-fault", "clock"]


class Tls(Strict):
    """How the BMC's certificate is trusted: by an authority, or by its own SHA-256 fingerprint."""

    ca: Path | None = None
    fingerprint: Annotated[str, Field(pattern=r"^sha256:([0-9A-Fa-f]{2}:?){32}$")] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Tls:
        if (self.ca is None) == (self.fingerprint is None):
            raise ValueError("give exactly one of ca and fingerprint")
        return self


class BmcEndpoints(Strict):
    """Where the server's BMC is reached and as whom.

    `ipmi` is `HOST` or `HOST:PORT` (default 623). `sol_user`, where given, is a second account for the
    serial console, for BMCs that do not keep two sessions of one account apart.
    """

    redfish: Annotated[str, Field(pattern=r"^https?://[^/\s]+$")] | None = None
    ipmi: Annotated[str, Field(pattern=r"^[^/:\s]+(:\d+)?$|^\[[0-9a-fA-F:]+\](:\d+)?$")] | None = None
    user: str
    password: SecretReference
    sol_user: str | None = None
    sol_password: SecretReference | None = None
    tls: Tls | Literal["none"] | None = None

    @model_validator(mode="after")
    def _reachable(self) -> BmcEndpoints:
        if self.redfish is None and self.ipmi is None:
            raise ValueError("give redfish, ipmi or both")
        if self.redfish is not None and self.redfish.startswith("http://") and self.tls != "none":
            raise ValueError("plain http needs `tls: none` beside it, so that it is on purpose")
        return self


class SerialConsole(Strict):
    """A local serial port of the controller."""

    serial: Path
    baud: int = 115200


class SolConsole(Strict):
    """IPMI Serial over LAN through the server's own BMC."""

    sol: dict[str, str] = Field(default_factory=dict, max_length=0)


class Rfc2217Console(Strict):
    """A port of a console server that speaks RFC 2217, `HOST:PORT`."""

    rfc2217: str
    baud: int = 115200


class TcpConsole(Strict):
    """A raw TCP port of a console server, `HOST:PORT`."""

    tcp: str


class Host(Strict):
    """Where the installed system answers SSH; absent, the authenticated phone-home tells."""

    address: str
    ssh_port: Annotated[int, Field(ge=1, le=65535)] = 22


class Nic(Strict):
    """A network port by its MAC; `boot` marks the one that installs and PXE use."""

    mac: Mac
    network: str | None = None
    boot: bool = False


class Disk(Strict):
    """A disk by serial or WWN. Only `erase: true` lets the lab write to it."""

    serial: Annotated[str, Field(min_length=1)] | None = None
    wwn: Annotated[str, Field(min_length=1)] | None = None
    erase: bool = False

    @model_validator(mode="after")
    def _named(self) -> Disk:
        if self.serial is None and self.wwn is None:
            raise ValueError("a disk is named by serial, wwn or both")
        return self

    @property
    def name(self) -> str:
        """What messages call this disk."""
        return self.serial or f"wwn {self.wwn}"


class VirtualDisk(Strict):
    """How the virtual rack builds one disk."""

    bus: Literal["nvme", "ahci", "megasas", "mptsas1068", "virtio-blk", "virtio-scsi"]
    size: Size = 64 * 2**30


class VirtualServer(Strict):
    """The hardware of a server of the virtual rack; `disks` by serial, `nics` (QEMU models) by MAC."""

    machine: Literal["q35", "pc"] = "q35"
    cpus: Annotated[int, Field(ge=1)] = 2
    memory: Size = 3 * 2**30
    cpu: str = "qemu64,+svm,+npt"
    disks: dict[str, VirtualDisk]
    nics: dict[Mac, Literal["e1000e", "vmxnet3", "virtio-net-pci"]]


class Server(Strict):
    """One entry of a rack: everything the lab knows of a server before it touches it."""

    name: Name
    model: str = "unknown"
    firmware: Literal["uefi", "bios"]
    bmc: BmcEndpoints
    console: SerialConsole | SolConsole | Rfc2217Console | TcpConsole
    host: Host | None = None
    nics: Annotated[tuple[Nic, ...], Field(min_length=1)]
    disks: tuple[Disk, ...] = ()
    allow: frozenset[Permission] = frozenset()
    install_by: Literal["virtual-media", "pxe"] | None = None
    power_after: Literal["off", "on", "as-found"] = "off"
    virtual: VirtualServer | None = None

    @field_validator("disks")
    @classmethod
    def _disks_differ(cls, disks: tuple[Disk, ...]) -> tuple[Disk, ...]:
        for field in ("serial", "wwn"):
            names = [value for disk in disks if (value := getattr(disk, field)) is not None]
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{field} {', '.join(sorted(twice))} is listed twice")
        return disks

    @field_validator("nics")
    @classmethod
    def _one_boot_nic(cls, nics: tuple[Nic, ...]) -> tuple[Nic, ...]:
        if sum(nic.boot for nic in nics) != 1:
            raise ValueError("mark exactly one NIC with `boot: true`")
        return nics

    @model_validator(mode="after")
    def _virtual_hardware_matches(self) -> Server:
        if self.virtual is None:
            return self
        if set(self.virtual.disks) != {disk.serial for disk in self.disks}:
            raise ValueError("virtual.disks must name exactly the serials under disks")
        if set(self.virtual.nics) != {nic.mac for nic in self.nics}:
            raise ValueError("virtual.nics must name exactly the MACs under nics")
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


class Controller(Strict):
    """The machine this lab runs on, as the rack sees it.

    `media_address` is where BMCs fetch media from; `install_address` is where a server that boots it
    reaches us (the same, unless networks differ); `media_port` 0 lets the system choose. `pxe_interface`
    is the one interface on which PXE may answer; absent, it never starts.
    """

    media_address: str
    install_address: str | None = None
    media_port: Annotated[int, Field(ge=0, le=65535)] = 0
    pxe_interface: str | None = None

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
        names = [server.name for server in self.servers]
        macs = [nic.mac for server in self.servers for nic in server.nics]
        for what, values in (("server name", names), ("MAC", macs)):
            twice = {value for value in values if values.count(value) > 1}
            if twice:
                raise ValueError(f"{what} {', '.join(sorted(twice))} is used twice")
        if len({server.virtual is None for server in self.servers}) > 1:
            raise ValueError("a rack is virtual as a whole or not at all")
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
        return Secret(reference, self._file.parent)
