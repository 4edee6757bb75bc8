"""`lab bmc`: the capability matrix of any BMC, and the smaller commands beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli import bmc_act, bmc_read, complete
from lab.cli.bmc_open import RackName, find
from lab.cli.output import Json, print_json, print_table, progress

if TYPE_CHECKING:
    from lab.bmc.capability import Capability
    from lab.bmc.probe import Probe
    from lab.rack.model import Rack, Server

app = typer.Typer(
    no_args_is_help=True, help="Any BMC: what it can do, what it says; power, log, BIOS, firmware update."
)

_STYLE = {"yes": "green", "no": "dim", "unknown": "yellow", "not asked": "bold red"}


@app.command()
def probe(
    server: Annotated[
        str | None,
        typer.Argument(metavar="[SERVER]", help="A server of a rack file.", autocompletion=complete.servers),
    ] = None,
    rack: RackName = "virtual",
    redfish: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Any BMC's Redfish service; http:// consents to plain HTTP."),
    ] = None,
    ipmi: Annotated[str | None, typer.Option(metavar="HOST[:PORT]", help="Any BMC's IPMI over LAN.")] = None,
    user: Annotated[str, typer.Option(help="The BMC's user, with --redfish and --ipmi.")] = "root",
    ca: Annotated[Path | None, typer.Option(help="PEM file of the authority behind its certificate.")] = None,
    fingerprint: Annotated[
        str | None, typer.Option(help="Its certificate's own fingerprint, sha256:HEX.")
    ] = None,
    json: Json = False,
) -> None:
    """What can this BMC do, and how is that known? Reads only: nothing is switched, mounted or written.

    Name a SERVER of a rack file, or any BMC by --redfish, --ipmi or both; its password is then taken from
    LAB_BMC_PASSWORD, else asked for. A way that does not answer is told with the reason; others are asked.

    `lab bmc probe r7u12 --rack rack7`

    `lab bmc probe --redfish https://192.0.2.12 --ipmi 192.0.2.12 --user lab --json`
    """
    from lab.bmc import probe as probing
    from lab.bmc.open import providers_of
    from lab.errors import ConfigError

    typed = redfish is not None or ipmi is not None
    if typed == (server is not None):
        raise ConfigError(
            "name a server or a BMC's address, one of both",
            next_step="`lab bmc probe SERVER`, or `lab bmc probe --redfish URL`, or `--ipmi HOST`",
        )
    if server is not None:
        loaded, entry = find(rack, server)
    else:
        from lab.cli.address import typed_rack
        from lab.rack.draft import Trust

        plain = redfish is not None and redfish.startswith("http://")
        loaded = typed_rack(redfish, ipmi, user, Trust(ca, fingerprint, plain))
        entry = loaded.servers[0]
    providers = providers_of(loaded, entry)
    try:
        with progress(f"probing {entry.name}", lines=False) as steps:
            found = probing.probe(entry.name, providers, first=_certificate(loaded, entry), progress=steps)
    finally:
        for provider in providers:
            provider.close()
    if json:
        print_json(found.report().model_dump(mode="json"))
    else:
        _show(found, [provider.name for provider in providers])


def _certificate(rack: Rack, server: Server) -> Mapping[str, Callable[[], object]]:
    """A look at the certificate first: it says more than a session that does not come about."""
    from lab.rack.endpoints import Tls
    from lab.rack.tls import trusted_certificate

    url, tls = server.bmc.redfish, server.bmc.tls
    if url is None or not url.startswith("https"):
        return {}
    ca = rack.resolve(tls.ca) if isinstance(tls, Tls) and tls.ca else None
    pin = tls.fingerprint if isinstance(tls, Tls) else None
    return {"redfish": lambda: trusted_certificate(url, ca=ca, fingerprint=pin)}


def _show(found: Probe, providers: list[str]) -> None:
    from rich.text import Text

    from lab.bmc.capability import Area

    identity = found.matrix.identity
    told = [identity.vendor, identity.model, identity.generation, identity.firmware]
    typer.echo(f"{found.matrix.server}: {', '.join(part for part in told if part) or 'says not who it is'}")
    cells = {(one.area, one.provider): one for one in found.matrix.capabilities}

    def cell(area: Area, provider: str) -> Text:
        known = cells.get((area, provider))
        can = known.can if known else "not asked" if provider in found.errors else "-"
        return Text(can, _STYLE.get(can, ""))

    print_table(
        ("Area", *providers),
        ((str(area), *(cell(area, provider) for provider in providers)) for area in Area),
        empty="",
    )
    print_table(
        ("Area", "By", "Allowed", "How it was learned"),
        ((one.area, one.provider, ", ".join(one.allowed) or "-", one.learned) for one in _by_area(found)),
        empty="nothing could be learned",
    )
    for name, error in found.errors.items():
        typer.echo(f"{name} could not be asked: {error.message}", err=True)
        typer.echo(f"  next: {error.next_step}", err=True)
    for name in found.matrix.quirks:
        advice = next((text.partition(": ")[2] for text in found.advice if text.startswith(f"{name}:")), "")
        typer.echo(f"quirk {name}" + (f": {advice}" if advice else ""))


def _by_area(found: Probe) -> Iterator[Capability]:
    from lab.bmc.capability import Area

    order = list(Area)
    yield from sorted(found.matrix.capabilities, key=lambda one: order.index(one.area))


for _command in (
    bmc_act.power,
    bmc_read.sensors,
    bmc_act.log,
    bmc_read.inventory,
    bmc_act.bios,
    bmc_read.sessions,
    bmc_act.reset,
    bmc_act.update,
):
    app.command()(_command)
