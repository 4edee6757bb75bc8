"""The measurement: a typed value with unit, method, samples, origin and evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Origin = Literal["hardware", "emulated", "stand-in"]
Area = Literal["footprint", "memory", "boot", "attack-surface", "devices"]


class Frozen(BaseModel):
    """Base of what is written to run files."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Evidence(Frozen):
    """A command that was run on the server and what it printed, kept whole.

    `output` is standard output alone, so that it can be parsed; `errors` is standard error.
    """

    command: str
    output: str
    exit_status: int = 0
    errors: str = ""


class Measurement(Frozen):
    """One row of `measurements.json`; see design.md, "Definitions of the measurements".

    `value` is the median of `samples` in `unit`; `spread` is (max - min) of the samples in the same unit.
    `evidence` is the path, relative to the run folder, of the raw output, filled in when recorded.
    `firmware` is the key of the server's bill in the same file.
    """

    server: str
    release: str
    family: str
    origin: Origin
    area: Area
    metric: str
    value: float
    unit: Literal["B", "s", "count"]
    samples: tuple[float, ...]
    spread: float
    method: str
    command: str
    evidence: str | None = None
    firmware: str | None = None
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class Measured:
    """Measurements of one area and the raw output that they were read from."""

    measurements: tuple[Measurement, ...]
    evidence: tuple[Evidence, ...]

    def measurement(self, metric: str) -> Measurement:
        """The measurement of that name.

        Raises:
            KeyError: there is none; its name is a bug in the caller.
        """
        for measurement in self.measurements:
            if measurement.metric == metric:
                return measurement
        raise KeyError(
            f"{metric} was not measured; there is {', '.join(m.metric for m in self.measurements)}"
        )

    def value(self, metric: str) -> float:
        """The value of the measurement of that name (its median); KeyError when there is none."""
        return self.measurement(metric).value


class Bill(Frozen):
    """The server's bill: what it is made of and which firmware and driver versions it runs."""

    server: str
    vendor: str = ""
    model: str = ""
    serial: str = ""
    firmware_mode: str = ""
    firmware: dict[str, str] = Field(default_factory=dict)
    drivers: dict[str, str] = Field(default_factory=dict)


class MeasurementsFile(Frozen):
    """The whole of `measurements.json`."""

    schema_version: Literal[1] = 1
    run: str
    measurements: tuple[Measurement, ...] = ()
    bills: dict[str, Bill] = Field(default_factory=dict)


class Span(Frozen):
    """A stretch of time on one server: a state edge, a boot phase; seconds since the run began."""

    server: str
    release: str | None = None
    lane: Literal["edge", "boot", "install"]
    name: str
    start: float
    end: float
    evidence: str = ""


class Mark(Frozen):
    """A moment on one server: a milestone, a power command; seconds since the run began."""

    server: str
    release: str | None = None
    kind: Literal["milestone", "power", "note", "gap"]
    name: str
    at: float
    evidence: str = ""


class TimelineFile(Frozen):
    """The whole of `timeline.json`."""

    schema_version: Literal[1] = 1
    run: str
    started: datetime
    spans: tuple[Span, ...] = ()
    marks: tuple[Mark, ...] = ()
