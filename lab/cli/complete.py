"""Names for the shell to complete; fast and silent, whatever state the files are in."""

from __future__ import annotations

from typing import Any

import typer

from lab import paths


def racks(incomplete: str) -> list[str]:
    """Racks in `inventory/`."""
    return _starting(incomplete, [file.stem for file in paths.inventory().glob("*.yaml")])


def releases(incomplete: str) -> list[str]:
    """Releases in `firmware/releases/`."""
    return _starting(incomplete, [file.stem for file in (paths.firmware() / "releases").glob("*.yaml")])


def servers(ctx: typer.Context, incomplete: str) -> list[str]:
    """Servers of the rack named earlier on the command line, else of the virtual one."""
    import yaml

    from lab.errors import UnknownName
    from lab.rack.load import find_rack

    # An option that still waits for its value stops the parser: the words before it are then in `args`.
    unparsed = [word for word in ctx.args if not word.startswith("-")]
    rack = ctx.params.get("rack") or next(iter(unparsed), "virtual")
    try:
        content: Any = yaml.safe_load(find_rack(rack).read_text())
        return _starting(incomplete, [str(server["name"]) for server in content["servers"]])
    except (OSError, UnknownName, yaml.YAMLError, KeyError, TypeError):
        return []  # a shell wants names or nothing; `lab check` tells what is wrong with the file


def bmc_profiles(incomplete: str) -> list[str]:
    """Profiles that a virtual BMC can be."""
    from lab.virtual.profiles import load

    return _starting(incomplete, list(load()))


def fault_kinds(incomplete: str) -> list[str]:
    """Kinds of faults that a virtual BMC plays."""
    from typing import get_args

    from lab.rack.virtual import FaultKind

    return _starting(incomplete, list(get_args(FaultKind)))


def bios_profiles(incomplete: str) -> list[str]:
    """Profiles in `firmware/bios/`."""
    return _starting(incomplete, [file.stem for file in (paths.firmware() / "bios").glob("*.yaml")])


def leased(incomplete: str) -> list[str]:
    """Servers that are leased."""
    from lab.machine.lease import leases

    return _starting(incomplete, [lease.server for lease in leases()])


def _starting(incomplete: str, names: list[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
