"""Finding and reading rack files."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from lab import paths
from lab.errors import NoErasableDisk, UnknownName
from lab.rack.model import Disk, Rack, Server
from lab.strict_yaml import Document


def rack_names() -> list[str]:
    """Every rack in `inventory/`, sorted; the quirks of its BMCs (`quirks.yaml`) are no rack."""
    return sorted(file.stem for file in paths.inventory().glob("*.yaml") if file.name != "quirks.yaml")


def find_rack(name: str) -> Path:
    """The file of a rack, given its path or its name in `inventory/`.

    Raises:
        UnknownName: there is no such file.
    """
    for candidate in (Path(name), paths.inventory() / f"{name}.yaml", paths.inventory() / name):
        if candidate.is_file():
            return candidate
    raise UnknownName(
        f"no rack '{name}'",
        tried=f"the path {name}, and {paths.inventory()}",
        next_step=f"{_choose(name, rack_names())}, or give the path of a rack file",
    )


def load_rack(name: str) -> Rack:
    """The rack of that path or name, checked.

    Raises:
        UnknownName: there is no such file.
        ConfigError: the file does not fit the schema; the message names file, line and key.
    """
    document = Document.read(find_rack(name))
    rack = document.as_model(Rack)
    rack._file = document.file.resolve()
    for index, server in enumerate(rack.servers):
        server._place = document.place("servers", index)
    return rack


def find_server(rack: Rack, name: str) -> Server:
    """The server of that name.

    Raises:
        UnknownName: the rack has no such server.
    """
    for server in rack.servers:
        if server.name == name:
            return server
    raise UnknownName(
        f"rack {rack.rack} has no server '{name}'",
        next_step=_choose(name, [server.name for server in rack.servers]),
    )


def erasable_disk(server: Server) -> Disk:
    """The disk that an install of this server writes: the first that the rack file lets the lab erase.

    Raises:
        NoErasableDisk: it lists none; the message names file, line and key.
    """
    if not server.erasable:
        raise NoErasableDisk(
            f"{server.where('disks')}: no disk has `erase: true`",
            server=server.name,
            next_step="mark the disk that the lab may overwrite with `erase: true`, or leave this server out",
        )
    return server.erasable[0]


def _choose(name: str, known: list[str]) -> str:
    listed = ", ".join(known) or "none"
    near = get_close_matches(name, known, n=1)
    return f"choose from {listed} (nearest: {near[0]})" if near else f"choose from {listed}"
