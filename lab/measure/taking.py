"""Taking measurements on a host: commands run, raw output kept, values typed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Literal

from lab.measure.model import Area, Evidence, Measured, Measurement

if TYPE_CHECKING:
    from lab.hypervisors.contract import Host

Unit = Literal["B", "s", "count"]


class Taking:
    """The measurements of one area in the making, on one host."""

    def __init__(self, host: Host, area: Area) -> None:
        self._host = host
        self._area = area
        self._evidence: list[Evidence] = []
        self._measurements: list[Measurement] = []

    def check(self, command: str, timeout_s: float = 60.0) -> Evidence:
        """Run a command that must succeed, and keep what it printed.

        Raises:
            HypervisorFailure: it failed or did not end.
            LabFault: the connection is lost.
        """
        evidence = self._host.check(command, timeout_s)
        self._evidence.append(evidence)
        return evidence

    def add(self, metric: str, samples: Sequence[float], unit: Unit, *, method: str, command: str) -> None:
        """Put down a measurement: the median of `samples`, spread (max - min), and how it was taken."""
        self._measurements.append(
            Measurement(
                server=self._host.server.name,
                release=self._host.release.name,
                family=self._host.release.family,
                origin=self._host.origin,
                area=self._area,
                metric=metric,
                value=median(samples),
                unit=unit,
                samples=tuple(samples),
                spread=max(samples) - min(samples),
                method=method,
                command=command,
            )
        )

    def measured(self) -> Measured:
        """All of it."""
        return Measured(tuple(self._measurements), tuple(self._evidence))
