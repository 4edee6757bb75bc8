"""`lab rack`: the virtual rack up and down, and drafting rack files for real servers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli import complete, rack_fault
from lab.cli.output import Json, print_json, print_table, progress

if TYPE_CHECKING:
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


app.command("fault")(rack_fault.fault)


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
    from lab.cli.address import typed_rack
    from lab.errors import ConfigError
    from lab.rack.draft import Trust, draft

    if redfish.startswith("http://") and not insecure_http:
        raise ConfigError(
            f"{redfish} is plain http: the password would cross the network readable",
            next_step="use https, or consent with --insecure-http",
        )
    rack = typed_rack(redfish, None, user, Trust(ca, fingerprint, insecure_http))
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
    typer.echo(draft(rack.servers[0].bmc, seen), nl=False)


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
