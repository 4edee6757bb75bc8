"""From what each process of a run wrote to the run's `measurements.json` and `timeline.json`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from lab.errors import ConfigError
from lab.measure.model import Bill, Frozen, MeasurementsFile, TimelineFile
from lab.report.rundir import RunFolder, write_whole

File = TypeVar("File", bound=Frozen)


def merge(run: RunFolder) -> tuple[MeasurementsFile, TimelineFile]:
    """Write the run's two files from its parts; the same parts give the same bytes, in whatever order.

    Raises:
        ConfigError: a part is not what `lab/measure/model.py` says.
    """
    measured = [read(file, MeasurementsFile) for file in sorted(run.parts.glob("measurements-*.json"))]
    timelines = [read(file, TimelineFile) for file in sorted(run.parts.glob("timeline-*.json"))]
    bills: dict[str, Bill] = {}
    for part in measured:
        bills |= part.bills
    measurements = MeasurementsFile(
        run=run.id,
        measurements=tuple(
            sorted(
                {entry for part in measured for entry in part.measurements},
                key=lambda entry: (
                    entry.server,
                    entry.release,
                    entry.area,
                    entry.metric,
                    entry.at,
                    entry.value,
                ),
            )
        ),
        bills=dict(sorted(bills.items())),
    )
    timeline = TimelineFile(
        run=run.id,
        started=min((part.started for part in timelines), default=_started(run)),
        spans=tuple(
            sorted(
                {span for part in timelines for span in part.spans},
                key=lambda span: (span.start, -span.end, span.server, span.lane, span.name),
            )
        ),
        marks=tuple(
            sorted(
                {mark for part in timelines for mark in part.marks},
                key=lambda mark: (mark.at, mark.server, mark.kind, mark.name),
            )
        ),
    )
    write_whole(run.measurements, measurements.model_dump_json(indent=1) + "\n")
    write_whole(run.timeline, timeline.model_dump_json(indent=1) + "\n")
    return measurements, timeline


def read(file: Path, model: type[File]) -> File:
    """The content of one of a run's files.

    Raises:
        ConfigError: it cannot be read or is not what the model says.
    """
    try:
        return model.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigError(
            f"{file}: not a {model.__name__}: {error}",
            next_step="it is damaged or of another version of the lab; move it away and try again",
        ) from error


def read_run(run: RunFolder) -> tuple[MeasurementsFile, TimelineFile]:
    """The run's two files; merged now from its parts where the run was cut off before its end.

    Raises:
        ConfigError: a file is not what `lab/measure/model.py` says.
    """
    if run.measurements.is_file() and run.timeline.is_file():
        return read(run.measurements, MeasurementsFile), read(run.timeline, TimelineFile)
    return merge(run)


def _started(run: RunFolder) -> datetime:
    facts = run.facts
    return (
        datetime.fromisoformat(facts.started)
        if facts
        else datetime.fromtimestamp(run.path.stat().st_mtime, UTC)
    )
