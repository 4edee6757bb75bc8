"""From what was seen on a console to the timeline's spans and marks, in seconds since the run began."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from lab.console.api import Match
from lab.measure.model import Mark, Span

Phase = Literal["firmware", "loader", "hypervisor", "control-domain", "kernel", "deploy", "services"]

_ORDER: dict[Phase, int] = {
    "firmware": 0,
    "loader": 1,
    "hypervisor": 2,
    "control-domain": 3,
    "kernel": 3,
    "deploy": 4,
    "services": 4,
}


def boot_spans(
    matches: Sequence[Match],
    *,
    server: str,
    release: str | None,
    power_on: float,
    zero: float,
    lane: Literal["boot", "install"] = "boot",
) -> tuple[Span, ...]:
    """One boot cut into phases: firmware, loader, hypervisor, control domain (or kernel), services.

    A phase begins with the first milestone of its stage and ends where the next one begins; firmware begins
    at power-on, and the last phase ends with its last milestone (services: the login prompt). A Linux
    kernel that starts under a hypervisor is the control domain. A phase of which nothing was seen is left
    out, the one before it lasting longer, and so is a last phase without a length; a milestone of an earlier
    phase than the one reached, such as a second kernel that a guest prints, changes nothing.

    Args:
        matches: milestones of this boot, in the order they were seen; other stages are passed over.
        power_on: seconds on `time.monotonic()`, as in the matches; `zero` is the run's beginning there.
    """
    begun: list[tuple[Phase, float, str]] = [("firmware", power_on, "power-on")]
    end = power_on
    for match in matches:
        phase = _phase(match, [name for name, _, _ in begun])
        if phase is None or _ORDER[phase] < _ORDER[begun[-1][0]]:
            continue
        if _ORDER[phase] > _ORDER[begun[-1][0]]:
            begun.append((phase, match.monotonic, match.line.strip()))
        end = match.monotonic
    ends = [start for _, start, _ in begun[1:]] + [end]
    return tuple(
        Span(
            server=server,
            release=release,
            lane=lane,
            name=phase,
            start=start - zero,
            end=max(start, until) - zero,
            evidence=evidence,
        )
        for (phase, start, evidence), until in zip(begun, ends, strict=True)
        # Lines that arrive together bear one time: a phase between others is kept even without a length.
        if until > start or phase != begun[-1][0]
    )


def _phase(match: Match, reached: list[Phase]) -> Phase | None:
    stage = match.pattern.stage
    if stage == "shutdown":
        return None
    return "control-domain" if stage == "kernel" and "hypervisor" in reached else stage


def milestone_mark(match: Match, *, server: str, release: str | None, zero: float) -> Mark:
    """A milestone as the timeline keeps it; `zero` is the run's beginning on `time.monotonic()`."""
    return Mark(
        server=server,
        release=release,
        kind="milestone",
        name=match.pattern.name,
        at=match.monotonic - zero,
        evidence=match.line.strip(),
    )
