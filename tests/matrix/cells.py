"""The cells of the fault matrix: which BMC, on which kind of server, with which release (`cells.yaml`)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from lab.rack.values import Name, Strict
from lab.rack.virtual import FaultEntry
from lab.strict_yaml import load_model
from lab.virtual import profiles

FILE = Path(__file__).with_name("cells.yaml")
RELEASE = "tiny-linux"
Kind = Literal["quirk", "fault", "more"]


class ServerKind(Strict):
    """A virtual server; without Redfish it installs by PXE."""

    firmware: Literal["uefi", "bios"]
    machine: Literal["q35", "pc"]
    bus: Literal["nvme", "ahci"]
    nic: Literal["virtio-net-pci", "e1000e", "vmxnet3"]
    redfish: bool


class Play(Strict):
    """What one cell plays; see `cells.yaml`."""

    server: Name = "media"
    profile: Name | None = None
    faults: tuple[FaultEntry, ...] = ()
    names: str = ""


class Hypervisor(Strict):
    """Which cells are also run with a real hypervisor."""

    release: str
    cells: tuple[Name, ...]


class CellsFile(Strict):
    """The whole file."""

    servers: dict[Name, ServerKind]
    quirks: dict[Name, Play]
    faults: dict[Name, Play]
    more: dict[Name, Play] = Field(default_factory=dict)
    sample: tuple[Name, ...]
    hypervisor: Hypervisor


class Cell(Strict):
    """One install.

    Attributes:
        name: what the command line and the table call it.
        quirk: the row of facts/bmc.md, where it plays a profile.
        limit_s: seconds after which the whole cell is ended, whatever it does.
    """

    name: str
    kind: Kind
    play: Play
    server: ServerKind
    release: str = RELEASE
    quirk: str | None = None
    sample: bool = False
    limit_s: float = 300.0


def cells() -> dict[str, Cell]:
    """Every cell by name: quirks, the twelve faults, what is beyond them, and those with a hypervisor.

    Raises:
        ConfigError: the file is wrong.
        KeyError: it names a cell or a kind of server that is not there.
    """
    file = load_model(FILE, CellsFile)
    found: dict[str, Cell] = {}

    def put(name: str, kind: Kind, play: Play, quirk: str | None = None) -> None:
        found[name] = Cell(
            name=name,
            kind=kind,
            play=play,
            server=file.servers[play.server],
            quirk=quirk,
            sample=name in file.sample,
        )

    known = profiles.load()
    for name in [name for name, profile in known.items() if profile.quirk is not None]:
        play = file.quirks.get(name, Play()).model_copy(update={"profile": name})
        put(name, "quirk", play, known[name].quirk)
    for group, kind in ((file.faults, "fault"), (file.more, "more")):
        for name, play in group.items():
            put(name, "fault" if kind == "fault" else "more", play)
    for name in (*file.quirks, *file.sample):
        found[name]  # a name that is no cell is a mistake of the file
    for name in file.hypervisor.cells:
        of = found[name]
        update = {"name": f"{name}-on-{file.hypervisor.release}", "release": file.hypervisor.release}
        found[str(update["name"])] = of.model_copy(update={**update, "sample": False, "limit_s": 600.0})
    return found
