"""One run of the lab in one process: its folder, its clock, its timeline and its measurements."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lab.secret import redact

if TYPE_CHECKING:
    from lab.measure.model import Bill, Evidence, Mark, Measurement, Span


@dataclass
class Run:
    """What every machine of a run shares within one process.

    Attributes:
        id: the run's name, that of its folder.
        folder: `reports/runs/ID`.
        zero: `time.monotonic()` at the start of the run; every time in the run's files counts from it.
        part: name of this process's share of the run's files (`main`, or an xdist worker's name).
        show: called with (server, text) for live progress.
    """

    id: str
    folder: Path
    zero: float
    part: str = "main"
    show: Callable[[str, str], None] = lambda server, text: None
    spans: list[Span] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    bills: dict[str, Bill] = field(default_factory=dict)

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.zero

    def progress(self, server: str, text: str) -> None:
        """Tell whoever watches what happens on `server`; also kept in `progress.jsonl` of this part."""
        text = redact(text)
        line = json.dumps({"at": round(self.now, 3), "server": server, "text": text})
        with (self.parts / f"progress-{self.part}.jsonl").open("a") as file:
            file.write(line + "\n")
        self.show(server, text)

    @property
    def parts(self) -> Path:
        """Folder of what the processes of this run write, each its own files."""
        folder = self.folder / "parts"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def keep_evidence(self, server: str, name: str, evidence: tuple[Evidence, ...]) -> str:
        """Write the raw output behind a measurement; returns its path relative to the run folder."""
        relative = Path("evidence") / server / f"{name}.txt"
        target = self.folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        text = "\n".join(f"$ {item.command}\n{item.output}" for item in evidence)
        target.write_text(redact(text))
        return str(relative)

    def save(self) -> None:
        """Write this process's share of `measurements.json` and `timeline.json`, atomically."""
        from datetime import UTC, datetime, timedelta

        from lab.measure.model import MeasurementsFile, TimelineFile

        started = datetime.now(UTC) - timedelta(seconds=self.now)
        files = {
            "measurements": MeasurementsFile(
                run=self.id, measurements=tuple(self.measurements), bills=self.bills
            ),
            "timeline": TimelineFile(
                run=self.id, started=started, spans=tuple(self.spans), marks=tuple(self.marks)
            ),
        }
        for name, content in files.items():
            target = self.parts / f"{name}-{self.part}.json"
            fresh = target.with_suffix(".new")
            fresh.write_text(content.model_dump_json(indent=1))
            fresh.replace(target)
