"""Boot spans: one boot cut into phases by its milestones."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.console import catalogue
from lab.console.api import Match, Position
from lab.console.timeline import boot_spans, milestone_mark

ZERO, ON = 1000.0, 1010.0
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def match(name: str, seconds: float) -> Match:
    """The milestone `name`, `seconds` after power-on."""
    at = ON + seconds
    return Match(catalogue.pattern(name), name, f"  line of {name}", NOW, at, "", Position(0, at))


def spans(*matches: Match) -> list[tuple[str, float, float]]:
    found = boot_spans(matches, server="box", release="r", power_on=ON, zero=ZERO)
    assert all((span.server, span.release, span.lane) == ("box", "r", "boot") for span in found)
    return [(span.name, span.start, span.end) for span in found]


def test_xen_boot() -> None:
    assert spans(
        match("firmware-seabios", 0.5),
        match("loader-grub", 2),
        match("xen-banner", 6),
        match("xen-dom0-console", 9),
        match("linux-banner", 11),
        match("systemd-welcome", 20),
        match("login-prompt", 37),
    ) == [
        ("firmware", 10, 12),
        ("loader", 12, 16),
        ("hypervisor", 16, 21),
        ("control-domain", 21, 30),
        ("services", 30, 47),
    ]


def test_kvm_boot_without_a_loader_line() -> None:
    assert spans(match("linux-banner", 5), match("systemd-welcome", 9), match("login-prompt", 39)) == [
        ("firmware", 10, 15),
        ("kernel", 15, 19),
        ("services", 19, 49),
    ]


def test_a_boot_that_stops_early_ends_with_its_last_milestone() -> None:
    assert spans(match("loader-grub", 2), match("xen-banner", 6), match("xen-dom0-console", 9)) == [
        ("firmware", 10, 12),
        ("loader", 12, 16),
        ("hypervisor", 16, 19),
    ]
    assert spans() == []


def test_later_lines_of_earlier_phases_and_shutdown_change_nothing() -> None:
    assert spans(
        match("linux-banner", 5),
        match("login-prompt", 30),
        match("linux-banner", 40),
        match("power-down", 50),
    ) == [("firmware", 10, 15), ("kernel", 15, 40)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([p.name for p in catalogue.milestones()]), st.floats(0, 1000))))
def test_spans_are_in_order_and_never_overlap(seen: list[tuple[str, float]]) -> None:
    found = spans(*(match(name, seconds) for name, seconds in sorted(seen, key=lambda pair: pair[1])))
    for (_, _, end), (_, start, _) in pairwise(found):
        assert end == start
    assert all(start <= end for _, start, end in found)


def test_a_milestone_as_a_mark() -> None:
    mark = milestone_mark(match("xen-banner", 6), server="box", release="r", zero=ZERO)
    assert (mark.kind, mark.name, mark.at, mark.evidence) == (
        "milestone",
        "xen-banner",
        16,
        "line of xen-banner",
    )
