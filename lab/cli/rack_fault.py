"""`lab rack fault`: how the BMCs of a virtual rack that is up err, changed while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli import complete
from lab.cli.output import Json, print_json, print_table

if TYPE_CHECKING:
    from lab.rack.virtual import FaultEntry


def fault(
    server: Annotated[str, typer.Argument(help="The server.", autocompletion=complete.servers)],
    kind: Annotated[
        str | None, typer.Argument(help="A fault to put in force.", autocompletion=complete.fault_kinds)
    ] = None,
    rack: Annotated[str, typer.Option("--rack", autocompletion=complete.racks)] = "virtual",
    profile: Annotated[
        str | None, typer.Option(help="Let the BMC be that profile.", autocompletion=complete.bmc_profiles)
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="End every fault and the profile first.")] = False,
    after: Annotated[int | None, typer.Option(help="Events that pass first.")] = None,
    times: Annotated[int | None, typer.Option(help="Events that are hit; one where nothing is said.")] = None,
    probability: Annotated[float | None, typer.Option(help="With which each is hit, 0 to 1.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes the draws repeatable.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long, or how late.")] = None,
    way: Annotated[str | None, typer.Option(help="Which way it goes, such as lags or lies.")] = None,
    status: Annotated[int | None, typer.Option(help="HTTP status of a refusal.")] = None,
    retry_after: Annotated[int | None, typer.Option(help="Its Retry-After, in seconds.")] = None,
    method: Annotated[str | None, typer.Option(help="Only requests by this method.")] = None,
    path: Annotated[str | None, typer.Option(help="Only requests whose path has this pattern.")] = None,
    json: Json = False,
) -> None:
    """Put a fault in force at a virtual BMC, let it be a vendor's, or end both; then show what holds.

    `lab rack fault uefi-1 refusal --status 503 --times 3`

    `lab rack fault uefi-1 --profile hpe-ilo5`
    """
    from lab.rack.load import find_server, load_rack
    from lab.virtual import control_faults

    loaded = load_rack(rack)
    find_server(loaded, server)
    given: dict[str, object] = {
        "after": after,
        "times": times,
        "probability": probability,
        "seed": seed,
        "seconds": seconds,
    }
    given |= {"way": way, "status": status, "retry_after": retry_after, "method": method, "path": path}
    entry = _entry(kind, {name: value for name, value in given.items() if value is not None})
    if clear:
        control_faults.clear_faults(loaded, server)
    if profile is not None:
        control_faults.profile(loaded, server, profile)
    found = (
        control_faults.fault(loaded, server, entry)
        if entry is not None
        else control_faults.faults(loaded, server)
    )
    if json:
        entries = [one.model_dump(exclude_defaults=True) for one in found.faults]
        print_json({"profile": found.profile, "faults": entries, "played": found.played})
        return
    rows = [("profile", found.profile, "")] if found.profile else []
    rows += [("fault", _said(one), "") for one in found.faults]
    rows += [("played", name, str(count)) for name, count in sorted(found.played.items())]
    print_table(("What", "Which", "Times"), rows, empty=f"{server}'s BMC keeps to the specification")


def _entry(kind: str | None, given: dict[str, object]) -> FaultEntry | None:
    from pydantic import ValidationError

    from lab.errors import ConfigError
    from lab.rack.virtual import FaultEntry

    if kind is None:
        if given:
            raise ConfigError(
                f"--{next(iter(given)).replace('_', '-')} without a fault",
                next_step="name the fault too, such as `lab rack fault SERVER refusal --times 3`",
            )
        return None
    try:
        return FaultEntry.model_validate({"fault": kind, **given})
    except ValidationError as error:
        said = [detail["msg"].removeprefix("Value error, ") for detail in error.errors(include_url=False)]
        raise ConfigError(
            f"{kind}: {'; '.join(said)}", next_step="see `lab rack fault --help` and FaultEntry's description"
        ) from error


def _said(entry: FaultEntry) -> str:
    members = entry.model_dump(exclude_defaults=True)
    return " ".join([str(members.pop("fault")), *(f"{name}={value}" for name, value in members.items())])
