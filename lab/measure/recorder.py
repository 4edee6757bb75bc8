"""Where measurements go: the run's files and the report, together with what they were read from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lab.report.attach import attach_json, attach_text

if TYPE_CHECKING:
    from lab.measure.model import Bill, Evidence, Measured
    from lab.run import Run


class Recorder:
    """Records for one server and release; tests call it: `record(measure.footprint(host))`."""

    def __init__(self, run: Run, server: str, release: str) -> None:
        self._run = run
        self._server = server
        self._release = release
        self._key = f"{server}/{release}"

    def __call__(self, measured: Measured) -> None:
        """Keep measurements with their raw output, and attach both to the test."""
        areas = list(dict.fromkeys(row.area for row in measured.measurements))
        path = self.evidence(f"{self._release}-{'-'.join(areas)}", measured.evidence)
        key = self._key if self.has_bill else None
        rows = [row.model_copy(update={"evidence": path, "firmware": key}) for row in measured.measurements]
        self._run.measurements.extend(rows)
        attach_json("measurements", [row.model_dump(mode="json") for row in rows])

    @property
    def has_bill(self) -> bool:
        """Whether the server's bill with this release has been kept already."""
        return self._key in self._run.bills

    def bill(self, bill: Bill, evidence: tuple[Evidence, ...]) -> None:
        """Keep the server's bill: firmware and drivers that every measurement of this run refers to."""
        self._run.bills[self._key] = bill
        self.evidence(f"{self._release}-bill", evidence)
        attach_json("bill of the server", bill.model_dump(mode="json"))

    def evidence(self, name: str, evidence: tuple[Evidence, ...]) -> str:
        """Keep and attach raw output; returns its path relative to the run folder."""
        name = re.sub(r"[^A-Za-z0-9._-]", "-", name)
        path = self._run.keep_evidence(self._server, name, evidence)
        attach_text(f"raw output: {name}", (self._run.folder / path).read_text())
        return path
