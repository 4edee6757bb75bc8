"""How sub-commands print: tables for people, JSON for programs, progress on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.progress import Progress, silent

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH = 240

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def console(*, stderr: bool = False) -> Console:
    """A rich console; plain and wide where nobody looks at a terminal, so that nothing is cut in a pipe."""
    from rich.console import Console

    plain = Console(stderr=stderr, highlight=False)
    return plain if plain.is_terminal else Console(stderr=stderr, highlight=False, width=_PIPE_WIDTH)


def print_json(value: object) -> None:
    """`value` as indented JSON on stdout; what JSON does not know is shown as text."""
    typer.echo(json.dumps(value, indent=2, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """A table on stdout, or `empty` when it has no rows. Cells may carry rich's styles as `Text`."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    if not rows:
        typer.echo(empty)
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    console().print(table)


@contextmanager
def progress(title: str, *, lines: bool = True) -> Iterator[Progress]:
    """Shows steps beside a spinner on a terminal's stderr; elsewhere as plain `lines`, or not at all."""
    shown = console(stderr=True)
    if not shown.is_terminal:
        yield (lambda text: typer.echo(text, err=True)) if lines else silent
        return
    with shown.status(title) as status:
        yield lambda text: status.update(f"{title}: {text}")
