"""What a BMC can do, by every way that leads to it, without changing anything; one may be dead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import Field

from lab.bmc.capability import Area, Can, Capability, Identity, Matrix
from lab.bmc.provider import Provider
from lab.bmc.quirks import Quirks
from lab.bmc.target import Unsupported
from lab.errors import LabError, MissingSecret
from lab.progress import Progress, silent
from lab.rack.values import Strict
from lab.secret import redact


@runtime_checkable
class _KnowsQuirks(Protocol):
    def quirks(self) -> Quirks:
        """The quirks in force."""


class Row(Strict):
    """One provider's answer for one area of the matrix."""

    area: Area
    provider: str
    can: Can
    allowed: tuple[str, ...] = ()
    learned: str = ""


class Told(Strict):
    """Who the BMC says it is; empty where it does not."""

    vendor: str = ""
    model: str = ""
    generation: str = ""
    firmware: str = ""


class Absent(Strict):
    """A provider that could not be asked: the error's class and exit code (docs/exit-codes.md)."""

    provider: str
    error: str
    exit_code: int
    message: str
    tried: str = ""
    next_step: str


class ProbeReport(Strict):
    """What `lab bmc probe --json` prints.

    `quirks` are identifiers of `lab/bmc/quirks.yaml` or the lab's own file, `advice` what people should know.
    """

    format: Literal[1] = 1
    server: str
    identity: Told
    capabilities: tuple[Row, ...]
    quirks: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    unreachable: Annotated[tuple[Absent, ...], Field(description="Providers that could not be asked")] = ()


@dataclass(frozen=True)
class Probe:
    """What was found, and why some providers could not be asked."""

    matrix: Matrix
    advice: tuple[str, ...] = ()
    errors: dict[str, LabError] = field(default_factory=dict)

    def report(self) -> ProbeReport:
        """The same for programs."""
        absent = [
            Absent(
                provider=provider,
                error=type(error).__name__,
                exit_code=error.exit_code,
                message=redact(error.message),
                tried=redact(error.tried or ""),
                next_step=redact(error.next_step),
            )
            for provider, error in self.errors.items()
        ]
        matrix = {name: value for name, value in asdict(self.matrix).items() if name != "unreachable"}
        return ProbeReport.model_validate(matrix | {"advice": self.advice, "unreachable": tuple(absent)})


def probe(
    server: str,
    providers: Sequence[Provider],
    *,
    first: Mapping[str, Callable[[], object]] | None = None,
    progress: Progress = silent,
) -> Probe:
    """Ask every provider what it can do; nothing is changed, and each session is left to the caller to close.

    Args:
        server: what messages call it.
        providers: whom to ask.
        first: by provider, what to look at before it is asked, such as a certificate; may raise a LabError.
        progress: told which provider is asked.

    Raises:
        MissingSecret: there is no password.
        LabError: no provider could be asked; the error of the first one.
    """
    identities: list[Identity] = []
    rows: list[Capability] = []
    found: list[Quirks] = []
    errors: dict[str, LabError] = {}
    asked = 0
    for provider in providers:
        progress(f"asking by {provider.name}")
        try:
            (first or {}).get(provider.name, lambda: None)()
            provider.connect()
            asked += not provider.last_resort
            rows += provider.capabilities()
            identities.append(_identity(provider))
            if isinstance(provider, _KnowsQuirks):
                found.append(provider.quirks())
        except MissingSecret:
            raise
        except LabError as error:
            errors[provider.name] = error
    if errors and not asked:
        raise next(iter(errors.values()))
    matrix = Matrix(
        server,
        next((one for one in identities if one != Identity()), Identity()),
        tuple(rows),
        tuple(dict.fromkeys(name for one in found for name in one.ids)),
        {name: redact(error.message) for name, error in errors.items()},
    )
    return Probe(matrix, tuple(dict.fromkeys(text for one in found for text in one.advice)), errors)


def _identity(provider: Provider) -> Identity:
    try:
        return provider.identity()
    except Unsupported:
        return Identity()
