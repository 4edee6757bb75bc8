"""`lab report`: pages from what a run wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.cli.output import progress

app = typer.Typer(no_args_is_help=True, help="Pages from what a run wrote.")


@app.callback()
def group() -> None:
    """Pages from what a run wrote."""


@app.command()
def build(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="The run's folder; the latest, reports/run, when absent."),
    ] = None,
    site: Annotated[Path | None, typer.Option(help="Where the pages go; reports/site when absent.")] = None,
) -> None:
    """Build the Allure site and the comparison page of a run.

    `lab report build`

    `lab report build reports/runs/2026-11-23T10-00-00 --site /tmp/site`
    """
    from lab.report.build import build as build_site

    with progress("report") as steps:
        built = build_site(run, site, steps)
    typer.echo(f"report: {built.index}")
