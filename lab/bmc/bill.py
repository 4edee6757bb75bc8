"""What a server is made of, as its BMC reports it: the bill that every measurement refers to.

A member is empty (an empty text, an empty tuple, None) where a BMC does not say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

FirmwareMode = Literal["uefi", "bios"]


@dataclass(frozen=True)
class Processor:
    """A CPU in its socket."""

    socket: str
    model: str = ""
    cores: int | None = None
    threads: int | None = None


@dataclass(frozen=True)
class MemoryModule:
    """A DIMM in its slot; `size` in bytes, `speed` in MT/s."""

    slot: str
    size: int | None = None
    kind: str = ""
    speed: int | None = None
    serial: str = ""
    part: str = ""


@dataclass(frozen=True)
class Port:
    """A network port by its MAC (lower case, colons); `speed` in Mbit/s, as linked now."""

    mac: str
    name: str = ""
    model: str = ""
    speed: int | None = None


@dataclass(frozen=True)
class DiskSeen:
    """A disk, also one behind a RAID controller; `size` in bytes."""

    serial: str
    model: str = ""
    size: int | None = None
    wwn: str | None = None
    controller: str = ""
    kind: str = ""


@dataclass(frozen=True)
class PowerSupply:
    """A power supply; `watts` is what it can give."""

    name: str
    model: str = ""
    serial: str = ""
    watts: float | None = None


@dataclass(frozen=True)
class Inventory:
    """The whole bill. `firmware` maps the name of a component to its version."""

    vendor: str = ""
    model: str = ""
    serial: str = ""
    firmware_mode: FirmwareMode | None = None
    processors: tuple[Processor, ...] = ()
    memory: tuple[MemoryModule, ...] = ()
    ports: tuple[Port, ...] = ()
    disks: tuple[DiskSeen, ...] = ()
    supplies: tuple[PowerSupply, ...] = ()
    firmware: dict[str, str] = field(default_factory=dict)

    @property
    def macs(self) -> tuple[str, ...]:
        """The MACs of all ports."""
        return tuple(port.mac for port in self.ports)
