"""`lab lease`: which servers are in use, by which run."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.cli import complete
from lab.cli.output import Json, print_json, print_table

app = typer.Typer(no_args_is_help=True, help="Which servers are in use, by which run.")


@app.command("list")
def list_leases(json: Json = False) -> None:
    """Every lease, the oldest first; one whose process is gone is taken over by the next run."""
    from lab.machine.lease import leases

    found = leases()
    if json:
        print_json([lease.model_dump(mode="json") | {"lapsed": lease.lapsed} for lease in found])
        return
    print_table(
        ("Server", "Rack", "Run", "Holder", "Since (UTC)", "Until (UTC)", "State"),
        (
            (
                lease.server,
                lease.rack,
                lease.run,
                f"{lease.user}@{lease.host} process {lease.pid}",
                f"{lease.since:%Y-%m-%d %H:%M}",
                f"{lease.until:%Y-%m-%d %H:%M}",
                lease.lapsed or "held",
            )
            for lease in found
        ),
        empty="no server is leased",
    )


@app.command("release")
def release_lease(
    server: Annotated[
        str, typer.Argument(metavar="SERVER", help="The server's name.", autocompletion=complete.leased)
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Even while the run that holds it is alive.")
    ] = False,
) -> None:
    """Remove the lease on a server, such as one left by a run on another host.

    `lab lease release r7u12`
    """
    from lab.machine.lease import release

    removed = release(server, force=force)
    typer.echo(f"released {removed.server}, was leased to {removed.holder}")
