"""`lab check`: the read-only preflight of a rack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli import complete
from lab.cli.output import Json, print_json, print_table, progress
from lab.errors import BmcUnreachable, ConfigError, LabError

if TYPE_CHECKING:
    from lab.rack.checks import Doors
    from lab.rack.model import Rack
    from lab.rack.preflight import Check, Preflight

_STYLE = {"ok": "green", "failed": "bold red", "skipped": "dim"}


def check(
    rack: Annotated[
        str,
        typer.Argument(
            metavar="RACK", help="A rack's name in inventory/, or a rack file.", autocompletion=complete.racks
        ),
    ],
    server: Annotated[
        list[str] | None,
        typer.Option("--server", "-s", help="Only this server; repeatable.", autocompletion=complete.servers),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Time each server has in all.", min=1)] = 90,
    json: Json = False,
) -> None:
    """Is everything there that a run needs? Reads only: nothing is switched, mounted or written.

    Per server: secrets, an erasable disk, the BMC's certificate, user and password by Redfish and by IPMI,
    the console, firmware mode, MACs and disks as the BMC reports them, and the BMC's clock. What a BMC
    cannot say is skipped with the reason. The exit code is that of the first failure.

    `lab check virtual`

    `lab check inventory/rack7.yaml --server r7u12 --json`
    """
    from lab.rack.load import find_server, load_rack
    from lab.rack.preflight import Check, Preflight, preflight

    try:
        loaded = load_rack(rack)
        chosen = [find_server(loaded, name) for name in server or ()] or loaded.servers
        _require_up(loaded)
    except LabError as error:
        if json:
            name = "schema" if isinstance(error, ConfigError) else "virtual rack"
            print_json(Preflight(rack, (Check.failed(None, name, error),)).as_json())
        raise
    with progress(f"checking {loaded.rack}", lines=False) as steps:
        result = preflight(loaded, chosen, real_doors(), seconds=seconds, progress=steps)
    if json:
        print_json(result.as_json())
    else:
        _show(result)
    raise typer.Exit(result.exit_code)


def real_doors() -> Doors:
    """The ways to real servers: the BMC providers, the console transports and the leases."""
    from lab.bmc import open_bmc
    from lab.console.open import opener
    from lab.machine.lease import leases, server_key
    from lab.rack.checks import Doors

    holders = {lease.key: lease.holder for lease in leases() if lease.lapsed is None}
    return Doors(open_bmc, opener, lambda server: holders.get(server_key(server)))


def _require_up(rack: Rack) -> None:
    """A virtual rack that is down has nothing to check; raises BmcUnreachable."""
    if not rack.is_virtual:
        return
    from lab.virtual.control import status

    if not any(server.answering for server in status(rack)):
        raise BmcUnreachable(
            f"the virtual rack {rack.rack} is down",
            next_step=f"bring it up: `lab rack up --rack {rack.rack}`",
        )


def _show(result: Preflight) -> None:
    from rich.text import Text

    def row(check: Check) -> tuple[str, str, Text, str]:
        return check.server or "(rack)", check.name, Text(check.outcome, _STYLE[check.outcome]), check.detail

    print_table(("Server", "Check", "Outcome", "Detail"), map(row, result.checks), empty="")
    for failure in result.failures:
        typer.echo(f"{failure.server or result.rack}: {failure.name}: {failure.detail}", err=True)
        typer.echo(f"  next: {failure.next_step}", err=True)
    counts = [f"{sum(check.outcome == outcome for check in result.checks)} {outcome}" for outcome in _STYLE]
    typer.echo(f"rack {result.rack}: {', '.join(counts)}")
