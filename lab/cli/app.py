"""The root of the `lab` command: its sub-commands and how its errors reach a person."""

from __future__ import annotations

import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lab.cli import bmc, check, lease, rack, release, report, schema
from lab.errors import LabError


class LabGroup(TyperGroup):
    """Turns the errors a person can act on into a message and an exit code, for every sub-command."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - click's own type, which typer does not export
        """Run the sub-command."""
        try:
            return super().invoke(ctx)
        except LabError as error:
            from lab.secret import redact

            if ctx.params.get("debug"):
                typer.echo(redact(traceback.format_exc()), err=True)
            typer.echo(f"error: {redact(str(error))}", err=True)
            raise typer.Exit(error.exit_code) from error
        except (KeyboardInterrupt, typer.Abort) as interrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from interrupt


app = typer.Typer(
    cls=LabGroup,
    name="lab",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"lab {version('hypervisor-lab')}")
        raise typer.Exit


@app.callback(
    epilog="Tests are run by pytest: `pytest testcases --rack RACK --hypervisor RELEASE`. "
    "Exit codes: 1x the inventory or command is wrong, 2x media is missing, 3x the lab failed, "
    "4x the install failed, 5x the product failed, 130 interrupted."
)
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error as well.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A hardware-in-the-loop lab for bare-metal hypervisors.

    Start here:

    `lab rack up`               a rack of virtual servers on this machine

    `lab check virtual`         is everything there that a run needs? changes nothing

    `lab rack import --redfish https://192.0.2.12 --user lab`   draft the entry of a real server

    `lab bmc probe --redfish https://192.0.2.12 --user lab`   what can that BMC do?
    """


app.command()(check.check)
app.command()(schema.schema)
app.add_typer(rack.app, name="rack")
app.add_typer(bmc.app, name="bmc")
app.add_typer(lease.app, name="lease")
app.add_typer(release.app, name="release")
app.add_typer(report.app, name="report")
