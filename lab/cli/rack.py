"""`lab rack`: the virtual rack up and down, and drafting rack files for real servers."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli import complete
from lab.cli.output import Json, print_json, print_table, progress

if TYPE_CHECKING:
    from lab.rack.draft import Trust
    from lab.rack.model import Rack

app = typer.Typer(
    no_args_is_help=True, help="The virtual rack, up and down; drafts of rack files for real servers."
)

RackName = Annotated[
    str, typer.Option("--rack", help="A virtual rack's name or file.", autocompletion=complete.racks)
]


@app.command()
def up(rack: RackName = "virtual", json: Json = False) -> None:
    """Bring a virtual rack up: its BMCs answer, its servers are off. What is up already is left alone."""
    from lab.virtual.control import up as bring_up

    loaded = _virtual(rack)
    with progress(f"rack {loaded.rack}") as steps:
        bring_up(loaded, steps)
    _show_status(loaded, json)


@app.command()
def status(rack: RackName = "virtual", json: Json = False) -> None:
    """Which servers of a virtual rack are up, and where their BMCs and consoles listen."""
    _show_status(_virtual(rack), json)


@app.command()
def down(
    rack: RackName = "virtual",
    force: Annotated[bool, typer.Option("--force", help="Even while a run has one of its servers.")] = False,
) -> None:
    """Take a virtual rack down: its servers lose power, its BMCs end. The disks are kept."""
    from lab.virtual.control import down as take_down

    loaded = _virtual(rack)
    if not force:
        _refuse_in_use(loaded)
    with progress(f"rack {loaded.rack}") as steps:
        take_down(loaded, steps)
    typer.echo(f"rack {loaded.rack} is down")


@app.command("import")
def import_server(
    redfish: Annotated[str, typer.Option(help="The BMC's URL, such as https://192.0.2.12.")],
    user: Annotated[str, typer.Option(help="The BMC's user.")] = "root",
    ca: Annotated[Path | None, typer.Option(help="PEM file of the authority behind its certificate.")] = None,
    fingerprint: Annotated[
        str | None, typer.Option(help="Its certificate's own fingerprint, sha256:HEX.")
    ] = None,
    insecure_http: Annotated[
        bool,
        typer.Option("--insecure-http", help="Consent to an http:// URL: the password goes out readable."),
    ] = False,
) -> None:
    """Draft a server's entry for a rack file from what its BMC reports, on stdout.

    The password is taken from LAB_BMC_PASSWORD, else asked for. Reads only. No disk is marked erasable in the
    draft; every guess carries a remark.

    `lab rack import --redfish https://192.0.2.12 --user lab >> inventory/rack7.yaml`
    """
    from lab.rack.draft import PASSWORD_VARIABLE, Trust, draft

    rack = _asking_rack(redfish, user, Trust(ca, fingerprint, insecure_http))
    endpoints = rack.servers[0].bmc
    if not os.environ.get(PASSWORD_VARIABLE):
        os.environ[PASSWORD_VARIABLE] = _ask_password(f"Password of {user} at {redfish}", PASSWORD_VARIABLE)
    if redfish.startswith("https"):
        from lab.rack.tls import trusted_certificate

        trusted_certificate(redfish, ca=ca, fingerprint=fingerprint)
    from lab.bmc import open_bmc

    with progress(redfish, lines=False) as steps:
        steps("asking the BMC")
        bmc = open_bmc(rack, rack.servers[0])
        try:
            seen = bmc.inventory()
        finally:
            bmc.close()
    typer.echo(draft(endpoints, seen), nl=False)


def _ask_password(prompt: str, variable: str) -> str:
    from lab.errors import MissingSecret

    if not sys.stdin.isatty():
        raise MissingSecret(
            "no password, and nobody to ask", next_step=f"set the environment variable {variable}"
        )
    return str(typer.prompt(prompt, hide_input=True, err=True))


def _asking_rack(url: str, user: str, trust: Trust) -> Rack:
    from pydantic import ValidationError

    from lab.errors import ConfigError
    from lab.rack.draft import asking_rack

    if url.startswith("http://") and not trust.insecure_http:
        raise ConfigError(
            f"{url} is plain http: the password would cross the network readable",
            next_step="use https, or consent with --insecure-http",
        )
    try:
        return asking_rack(url, user, trust)
    except ValidationError as error:
        complaints = {
            detail["msg"].removeprefix("Value error, ") for detail in error.errors(include_url=False)
        }
        raise ConfigError(
            f"cannot ask {url}: {'; '.join(sorted(complaints))}",
            next_step="see `lab rack import --help` for how to name and trust a BMC",
        ) from error


def _virtual(name: str) -> Rack:
    from lab.errors import ConfigError
    from lab.rack.load import load_rack

    loaded = load_rack(name)
    if not loaded.is_virtual:
        raise ConfigError(
            f"rack {loaded.rack} is of real servers", next_step=f"see `lab check {name}` for how they are"
        )
    return loaded


def _refuse_in_use(rack: Rack) -> None:
    from lab.errors import ServerBusy
    from lab.machine.lease import leases, server_key

    keys = {server_key(server) for server in rack.servers}
    for lease in leases():
        if lease.key in keys and lease.lapsed is None:
            raise ServerBusy(
                f"leased to {lease.holder}",
                server=lease.server,
                next_step="wait for that run, or repeat with --force to cut its servers' power",
            )


def _show_status(rack: Rack, json: bool) -> None:
    from lab.virtual.control import status as ask_status

    found = ask_status(rack)
    if json:
        print_json([asdict(one) for one in found])
        return
    print_table(
        ("Server", "BMC", "Power", "Redfish", "IPMI", "SSH", "Next boot from", "Media"),
        (
            (
                one.server,
                "answers" if one.answering else "down",
                one.power,
                one.redfish or "-",
                one.ipmi or "-",
                one.ssh or "-",
                "its own order" if one.boot_override == "none" else one.boot_override,
                one.media or "-",
            )
            for one in found
        ),
        empty=f"rack {rack.rack} has no servers",
    )
