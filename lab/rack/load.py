"""Finding and reading rack files."""

from __future__ import annotations

from pathlib import Path

from lab import paths
from lab.errors import UnknownName
from lab.rack.model import Rack, Server
from lab.strict_yaml import load_model


def find_rack(name: str) -> Path:
    """The file of a rack, given its path or its name in `inventory/`.

    Raises:
        UnknownName: there is no such file.
    """
    for candidate in (Path(name), paths.inventory() / f"{name}.yaml", paths.inventory() / name):
        if candidate.is_file():
            return candidate
    known = ", ".join(sorted(file.stem for file in paths.inventory().glob("*.yaml"))) or "none"
    raise UnknownName(
        f"no rack '{name}' (in {paths.inventory()}: {known})",
        next_step="give --rack a name from that list or the path of a rack file",
    )


def load_rack(name: str) -> Rack:
    """The rack of that path or name, checked.

    Raises:
        UnknownName: there is no such file.
        ConfigError: the file does not fit the schema; the message names file, line and key.
    """
    file = find_rack(name)
    rack = load_model(file, Rack)
    rack._file = file.resolve()
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
        next_step=f"choose from {', '.join(server.name for server in rack.servers)}",
    )
