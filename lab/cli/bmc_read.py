"""`lab bmc sensors`, `inventory`, `sessions`: what a BMC says; read-only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from lab.cli.bmc_open import RackName, ServerName, reading
from lab.cli.output import Json, print_json, print_table

if TYPE_CHECKING:
    from lab.bmc.api import SensorReading

_HEALTH = {"warning": "yellow", "critical": "bold red"}


def sensors(server: ServerName, rack: RackName = "virtual", json: Json = False) -> None:
    """Every sensor's reading and health, and the power the server draws.

    `lab bmc sensors r7u12 --rack rack7`
    """
    from rich.text import Text

    with reading(rack, server, "sensors") as bmc:
        found = bmc.sensors()
        watts = _optional(bmc.power_draw)
    if json:
        print_json({"sensors": [asdict(one) for one in found], "power_draw_w": watts})
        return
    print_table(
        ("Sensor", "Kind", "Reading", "Health"),
        ((one.name, one.kind, _reading(one), Text(one.health, _HEALTH.get(one.health, ""))) for one in found),
        empty="the BMC has no sensors",
    )
    if watts is not None:
        typer.echo(f"draws {watts:g} W")


def inventory(server: ServerName, rack: RackName = "virtual", json: Json = False) -> None:
    """What the server is made of, as its BMC says: CPUs, memory, ports, disks, firmware versions.

    `lab bmc inventory r7u12 --rack rack7 --json`
    """
    with reading(rack, server, "inventory") as bmc:
        seen = bmc.inventory()
    if json:
        print_json(asdict(seen))
        return
    named = " ".join(part for part in (seen.vendor, seen.model) if part) or "unknown model"
    typer.echo(f"{server}: {named}, serial {seen.serial or 'unknown'}, boots {seen.firmware_mode or '?'}")
    rows: list[tuple[str, str, str, str]] = []
    rows += [("CPU", cpu.socket, cpu.model, f"{cpu.cores or '?'} cores") for cpu in seen.processors]
    rows += [("memory", dimm.slot, f"{dimm.kind} {dimm.part}", _size(dimm.size)) for dimm in seen.memory]
    rows += [("port", port.mac, f"{port.name} {port.model}", _speed(port.speed)) for port in seen.ports]
    rows += [
        ("disk", disk.serial or "?", f"{disk.kind} {disk.model}", _size(disk.size)) for disk in seen.disks
    ]
    rows += [("firmware", name, version, "") for name, version in seen.firmware.items()]
    print_table(("Part", "Name", "What", "Size"), rows, empty="the BMC names no parts")


def sessions(server: ServerName, rack: RackName = "virtual", json: Json = False) -> None:
    """Who is logged in at the BMC, as far as it tells.

    `lab bmc sessions r7u12 --rack rack7`
    """
    with reading(rack, server, "sessions") as bmc:
        found = bmc.sessions()
    if json:
        print_json([asdict(one) for one in found])
        return
    print_table(
        ("User", "From", "Kind", "Ours"),
        ((one.user, one.peer or "-", one.kind or "-", "yes" if one.ours else "") for one in found),
        empty="nobody is logged in",
    )


def _optional(ask: Callable[[], float | None]) -> float | None:
    """An answer that a BMC may have no way to give."""
    from lab.errors import BmcRefused

    try:
        return ask()
    except BmcRefused:
        return None


def _reading(one: SensorReading) -> str:
    value = "" if one.value is None else f"{one.value:g} {one.unit}".strip()
    return ", ".join(part for part in (value, *one.states) if part) or "-"


def _size(size: int | None) -> str:
    return "" if size is None else f"{size / 2**30:.0f} GiB"


def _speed(speed: int | None) -> str:
    return "" if speed is None else f"{speed} Mbit/s"
