"""`lab bmc power`, `log`, `bios`, `reset`, `update`: what acts on a BMC asks first, and holds the lease."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.bmc.api import PowerAction
from lab.cli import complete
from lab.cli.bmc_open import RackName, ServerName, Yes, acting, confirm, reading, say
from lab.cli.output import Json, print_json, print_table, progress

if TYPE_CHECKING:
    from lab.bmc.bios_profile import Plan
    from lab.bmc.chain import BmcChain
    from lab.bmc.redfish.reads import RedfishReads
    from lab.bmc.redfish.update import UpdateResult

_SEVERITY = {"warning": "yellow", "critical": "bold red"}


def power(
    server: Annotated[
        str | None,
        typer.Argument(
            metavar="[SERVER]",
            help="A server's name; without it every server of the rack is read.",
            autocompletion=complete.servers,
        ),
    ] = None,
    action: Annotated[
        PowerAction | None, typer.Argument(help="What to do; without it the state is read.")
    ] = None,
    rack: RackName = "virtual",
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Which servers are on? With SERVER and ACTION, switch one: sent at most once and then read back.

    `lab bmc power --rack rack7`

    `lab bmc power r7u12 graceful-off --rack rack7 --yes`
    """
    if action is None or server is None:
        _show_power(rack, server, json=json)
        return
    confirm(f"Power {action} {server}?", yes=yes)
    with acting(rack, server, f"power {action}") as bmc:
        answer = bmc.set_power(action)
    say(server, answer)


def _show_power(rack: str, name: str | None, *, json: bool) -> None:
    """The power of one server by its chain of providers, or of all by one sweep.

    Raises:
        LabError: the server, or any of them, could not be read; what could be is printed before.
    """
    from lab.bmc.rack_power import Reading, powers
    from lab.rack.load import load_rack

    if name is not None:
        with reading(rack, name, "power") as bmc:
            found = [Reading(name, bmc.power(), bmc.answered["power"])]
    else:
        loaded = load_rack(rack)
        with progress(f"{loaded.rack}: power", lines=False):
            found = powers(loaded, loaded.servers)
    if json:
        print_json(
            [{"server": one.server, "power": one.power, "by": one.by, "error": one.error} for one in found]
        )
    else:
        for one in found:
            typer.echo(f"{one.server}: {one.power or 'unknown'}" + (f" (by {one.by})" if one.by else ""))
    failures = [one.error for one in found if one.error is not None]
    for error in failures[:-1]:
        typer.echo(str(error), err=True)
    if failures:
        raise failures[-1]


def log(
    server: ServerName,
    rack: RackName = "virtual",
    last: Annotated[int | None, typer.Option(help="Only the last N entries.", min=1)] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Print it, then empty it.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """The system event log, oldest first.

    `lab bmc log r7u12 --rack rack7 --last 20`
    """
    from rich.text import Text

    with reading(rack, server, "event log") as bmc:
        entries = bmc.event_log()
    shown = entries[-last:] if last else entries
    if json:
        print_json([asdict(one) for one in shown])
    else:
        print_table(
            ("Id", "At", "Severity", "Message"),
            (
                (one.id, one.at or "-", Text(one.severity, _SEVERITY.get(one.severity, "")), one.message)
                for one in shown
            ),
            empty="the log is empty",
        )
    if clear:
        confirm(f"Empty the event log of {server} ({len(entries)} entries)?", yes=yes)
        with acting(rack, server, "log --clear") as bmc:
            answer = bmc.clear_event_log()
        typer.echo(f"{server}: emptied, {answer.outcome}", err=json)


def bios(
    server: ServerName,
    rack: RackName = "virtual",
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Set what this profile wants.", autocompletion=complete.bios_profiles
        ),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what the profile would set.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """BIOS attributes by the vendor's names, and those that wait for the next boot.

    A profile of `firmware/bios/` sets what it knows of this BIOS and does not hold yet; the rest is named.

    `lab bmc bios r7u12 --rack rack7 --profile virtualization --plan`
    """
    from lab.bmc import bios_profile

    wanted = bios_profile.load(profile) if profile else None
    with reading(rack, server, "BIOS attributes") as bmc:
        seen = bmc.bios()
    if wanted is None:
        if json:
            print_json(asdict(seen))
            return
        print_table(
            ("Attribute", "Value", "After the next boot"),
            ((name, value, seen.pending.get(name, "")) for name, value in sorted(seen.attributes.items())),
            empty="this BIOS shows no attributes",
        )
        return
    found = bios_profile.plan(wanted, seen)
    if json:
        print_json(asdict(found))
    else:
        _show_plan(found)
    if plan or not found.changes:
        return
    confirm(f"Set {len(found.changes)} BIOS attributes of {server}, from its next boot on?", yes=yes)
    with acting(rack, server, f"bios --profile {profile}") as bmc:
        answer = bmc.set_bios(found.changes)
    typer.echo(f"{server}: {answer.outcome} (by {answer.provider})", err=json)


def reset(server: ServerName, rack: RackName = "virtual", yes: Yes = False) -> None:
    """Restart the BMC itself, once, and wait until it answers again; the server keeps running.

    `lab bmc reset r7u12 --rack rack7`
    """
    confirm(f"Restart the BMC of {server}? Its sessions and its virtual media end.", yes=yes)
    with acting(rack, server, "reset") as bmc:
        answer = bmc.reset_bmc()
    say(server, answer)


def update(
    server: ServerName,
    image: Annotated[
        str, typer.Option(metavar="FILE|URL", help="A file, which is pushed, or a URL that the BMC fetches.")
    ],
    rack: RackName = "virtual",
    component: Annotated[
        list[str] | None,
        typer.Option(help="Path of a FirmwareInventory member; repeatable. Absent: the BMC decides."),
    ] = None,
    apply_time: Annotated[
        str | None, typer.Option(help="OperationApplyTime, such as OnReset. Absent: the BMC decides.")
    ] = None,
    typed: Annotated[
        str | None,
        typer.Option("--confirm", metavar="SERVER", help="The server's name, instead of typing it."),
    ] = None,
) -> None:
    """Update firmware by the Redfish UpdateService, and follow its task to the end. No test ever does this.

    `lab bmc update r7u12 --rack rack7 --image ./idrac.exe`
    """
    from lab.bmc.redfish.update import update_firmware

    _typed_name(server, image, typed)
    with acting(rack, server, "update") as bmc:
        redfish = _redfish_of(bmc)
        redfish.connect()
        with progress(f"updating {server}") as steps:

            def told(words: str, percent: int | None) -> None:
                steps(words if percent is None else f"{words}, {percent} %")

            result = update_firmware(
                redfish,
                image if "://" in image else Path(image),
                components=component or (),
                apply_time=apply_time,
                progress=told,
            )
    _show_update(server, result)


def _typed_name(server: str, image: str, typed: str | None) -> None:
    from lab.errors import ConfigError

    if typed is None:
        if not sys.stdin.isatty():
            raise ConfigError(
                "a firmware update must be confirmed, and nobody is there to ask",
                next_step=f"repeat with --confirm {server}",
            )
        typer.echo(f"Firmware of {server} is updated from {image}. Do not cut its power meanwhile.", err=True)
        typed = str(typer.prompt("Type the server's name to go on", err=True))
    if typed.strip() != server:
        raise ConfigError(f"'{typed}' is not {server}; nothing was done", next_step="type the server's name")


def _redfish_of(bmc: BmcChain) -> RedfishReads:
    from lab.bmc.redfish.reads import RedfishReads
    from lab.errors import ConfigError

    for provider in bmc.providers:
        if isinstance(provider, RedfishReads):
            return provider
    raise ConfigError(
        "firmware is updated by Redfish, and the server has no such endpoint",
        server=bmc.server,
        next_step="add `redfish:` under `bmc:` in the rack file, or use the BMC's own page",
    )


def _show_plan(found: Plan) -> None:
    print_table(
        ("Attribute", "Value", "Profile"),
        [
            *((name, value, "set") for name, value in found.changes.items()),
            *((name, value, "holds") for name, value in found.holds.items()),
        ],
        empty="this BIOS has no attribute that the profile knows",
    )
    for name in found.unknown:
        typer.echo(f"not known for this BIOS: {name}")


def _show_update(server: str, result: UpdateResult) -> None:
    typer.echo(f"{server}: {result.outcome}, {result.seconds:.0f} s")
    print_table(
        ("Component", "Before", "After"),
        ((name, before or "-", after or "-") for name, (before, after) in result.changed.items()),
        empty="no version has changed yet",
    )
