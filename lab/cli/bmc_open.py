"""A server's BMC for one sub-command: found by name, opened, closed; leased where the command acts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli import complete
from lab.cli.output import progress

if TYPE_CHECKING:
    from lab.bmc.api import Answer
    from lab.bmc.chain import BmcChain
    from lab.rack.model import Rack, Server

ServerName = Annotated[
    str, typer.Argument(metavar="SERVER", help="A server's name.", autocompletion=complete.servers)
]
RackName = Annotated[
    str, typer.Option("--rack", help="The rack's name or file.", autocompletion=complete.racks)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def find(rack: str, server: str) -> tuple[Rack, Server]:
    """The rack and its server of that name; raises UnknownName or ConfigError."""
    from lab.rack.load import find_server, load_rack

    loaded = load_rack(rack)
    return loaded, find_server(loaded, server)


@contextmanager
def reading(rack: str, server: str, what: str) -> Iterator[BmcChain]:
    """The server's BMC, closed in the end; a spinner meanwhile."""
    from lab.bmc.chain import BmcChain
    from lab.bmc.open import providers_of

    loaded, entry = find(rack, server)
    bmc = BmcChain(entry.name, providers_of(loaded, entry), media_slot=entry.bmc.media_slot)
    try:
        with progress(f"{entry.name}: {what}", lines=False):
            yield bmc
    finally:
        bmc.close()


@contextmanager
def acting(rack: str, server: str, what: str) -> Iterator[BmcChain]:
    """The same, while the server is leased to this command.

    Raises:
        ServerBusy: a run has it.
    """
    from lab.machine.lease import give_up, take

    loaded, entry = find(rack, server)
    lease, note = take(loaded, entry, f"lab bmc {what}")
    if note:
        typer.echo(note, err=True)
    try:
        with reading(rack, server, what) as bmc:
            yield bmc
    finally:
        give_up(lease)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is done.

    Raises:
        ConfigError: nobody is there to ask.
        typer.Exit: the answer was no.
    """
    from lab.errors import ConfigError

    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} Nobody is there to ask", next_step="repeat with --yes")
    if not typer.confirm(question, err=True):
        typer.echo("nothing was done", err=True)
        raise typer.Exit(1)


def say(server: str, answer: Answer) -> None:
    """What a set came to, with its evidence."""
    tries = "" if answer.tries == 1 else f", {answer.tries} tries"
    typer.echo(f"{server}: {answer.outcome} (by {answer.provider}{tries})")
    for line in answer.evidence:
        typer.echo(f"  {line}")
