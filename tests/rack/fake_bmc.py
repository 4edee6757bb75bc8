"""A BMC in this process, for the preflight: it answers what the test tells it to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event

from lab.bmc.api import Answer, ByteStream, Opener, Power, PowerAction
from lab.bmc.bill import DiskSeen, Inventory, Port
from lab.bmc.capability import Capability
from lab.bmc.provider import Provider
from lab.errors import LabError
from lab.rack.checks import Doors
from lab.rack.model import Rack, Server


@dataclass
class FakeBmc(Provider):
    """Answers reads; every set is a failure of the test, because the preflight only reads."""

    inventory_seen: Inventory
    clock_offset_s: float | None = 0.0
    hang: Event | None = None
    name: str = "fake"
    closed: int = 0

    def power(self) -> Power:
        if self.hang is not None:
            self.hang.wait(30)
        return "off"

    def inventory(self) -> Inventory:
        return self.inventory_seen

    def clock(self) -> datetime | None:
        offset = self.clock_offset_s
        return None if offset is None else datetime.now(UTC) + timedelta(seconds=offset)

    def close(self) -> None:
        self.closed += 1

    def set_power(self, action: PowerAction, *, deadline_s: float = 60.0) -> Answer:
        raise AssertionError("the preflight only reads")

    def connect(self) -> None:
        """Always there."""

    def capabilities(self) -> list[Capability]:
        return []


@dataclass
class FakeStream:
    """A console that is silent; what is written to it is a failure of the test."""

    ends: tuple[int, int] = field(default_factory=os.pipe)
    closed: bool = False

    def fileno(self) -> int:
        return self.ends[0]

    def read(self) -> bytes:
        return b""

    def write(self, data: bytes) -> None:
        raise AssertionError("the preflight only reads")

    def close(self) -> None:
        self.closed = True
        for end in self.ends:
            os.close(end)


@dataclass
class FakeDoors:
    """The doors to one kind of BMC; remembers what was opened through them."""

    bmc: FakeBmc
    refuse_bmc: dict[str, LabError] = field(default_factory=dict)
    refuse_console: LabError | None = None
    holder: str | None = None
    opened: list[Server] = field(default_factory=list)
    streams: list[FakeStream] = field(default_factory=list)

    @property
    def doors(self) -> Doors:
        return Doors(self._open_bmc, self._open_console, lambda server: self.holder)

    def _open_bmc(self, rack: Rack, server: Server) -> FakeBmc:
        protocol = "redfish" if server.bmc.redfish else "ipmi"
        if protocol in self.refuse_bmc:
            raise self.refuse_bmc[protocol]
        self.opened.append(server)
        return self.bmc

    def _open_console(self, rack: Rack, server: Server) -> Opener:
        def opener() -> ByteStream:
            if self.refuse_console is not None:
                raise self.refuse_console
            self.streams.append(FakeStream())
            return self.streams[-1]

        return opener


Change = Callable[[Inventory], Inventory]


def matching(server: Server) -> Inventory:
    """The inventory of a server that is exactly as its rack file says."""
    return Inventory(
        vendor="Fake",
        model="F1",
        serial="F0001",
        firmware_mode=server.firmware,
        ports=tuple(Port(nic.mac.upper()) for nic in server.nics),
        disks=tuple(DiskSeen(disk.serial or "", wwn=disk.wwn) for disk in server.disks),
    )
