"""Boot: seconds from power-on to each milestone, the firmware's share apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab.errors import LabFault
from lab.measure.model import Evidence, Mark, Measured
from lab.measure.taking import Taking

if TYPE_CHECKING:
    from lab.hypervisors.contract import Host

_COMMAND = "serial console, stamped on arrival"


def boot(host: Host, marks: Sequence[Mark], power_on: float, *, loader: str | None = None) -> Measured:
    """The times of one boot: a metric per milestone, `firmware`, and `after-firmware` to the last of them.

    Args:
        marks: what the boot passed; `at` in seconds since the run began. Only milestones count, each the
            first time it was passed.
        power_on: when power was switched on, on the same clock.
        loader: the milestone where firmware hands over; the first of them where it is not named.

    Raises:
        LabFault: no milestone was seen, the loader's was not, or one lies before power-on.
    """
    passed: dict[str, Mark] = {}
    for mark in sorted(marks, key=lambda mark: mark.at):
        if mark.kind == "milestone":
            passed.setdefault(mark.name, mark)
    handed_over = passed.get(loader) if loader else next(iter(passed.values()), None)
    if handed_over is None:
        raise _fault(host, f"the milestone {loader} was not seen" if loader else "no milestone was seen")
    early = [mark.name for mark in passed.values() if mark.at < power_on]
    if early:
        raise _fault(host, f"{early[0]} lies before power-on")
    taking = Taking(host, "boot")
    for name, mark in passed.items():
        taking.add(
            name, [mark.at - power_on], "s", method=f"power-on to the first {name} line", command=_COMMAND
        )
    last = max(mark.at for mark in passed.values())
    taking.add(
        "firmware",
        [handed_over.at - power_on],
        "s",
        method=f"power-on to {handed_over.name}: firmware and its search for a loader",
        command=_COMMAND,
    )
    taking.add(
        "after-firmware",
        [last - handed_over.at],
        "s",
        method=f"{handed_over.name} to the last milestone",
        command=_COMMAND,
    )
    lines = "".join(f"{mark.at - power_on:10.3f} {mark.name}: {mark.evidence}\n" for mark in passed.values())
    return Measured(taking.measured().measurements, (Evidence(command=_COMMAND, output=lines),))


def _fault(host: Host, why: str) -> LabFault:
    return LabFault(
        f"the boot cannot be timed: {why}",
        server=host.server.name,
        release=host.release.name,
        next_step="read the serial log of this boot from power-on; the console may have opened too late",
    )
