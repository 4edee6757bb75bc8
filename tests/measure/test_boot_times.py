"""Boot times from the marks of a boot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import measure
from lab.errors import LabFault
from lab.measure.model import Mark
from tests.measure.measuring import LocalShell, host_with

NAMES = ["loader-grub", "xen-banner", "linux-banner", "login-prompt", "ssh"]
HOST = host_with(LocalShell())


def mark(name: str, at: float, kind: str = "milestone") -> Mark:
    return Mark.model_validate({"server": "s-1", "kind": kind, "name": name, "at": at})


@given(
    st.floats(0, 10**6),
    st.lists(st.tuples(st.sampled_from(NAMES), st.floats(0, 10**4)), min_size=1),
)
def test_each_milestone_counts_from_power_on_the_first_time(
    power_on: float, passed: list[tuple[str, float]]
) -> None:
    marks = [mark(name, power_on + seconds) for name, seconds in passed]
    times = measure.boot(HOST, marks, power_on)
    for name in {name for name, _ in passed}:
        first = min(seconds for other, seconds in passed if other == name)
        assert times.value(name) == pytest.approx(first, abs=1e-6)
    assert times.value("firmware") == pytest.approx(min(seconds for _, seconds in passed), abs=1e-6)
    assert times.value("firmware") + times.value("after-firmware") == pytest.approx(
        max(times.value(name) for name, _ in passed), abs=1e-6
    )


def test_a_named_loader_ends_the_firmware() -> None:
    marks = [
        mark("power", 10, "power"),
        mark("firmware-seabios", 11),
        mark("loader-grub", 15),
        mark("ssh", 40),
    ]
    times = measure.boot(HOST, marks, 10, loader="loader-grub")
    assert (times.value("firmware"), times.value("after-firmware")) == (5, 25)
    assert "15" not in [one.metric for one in times.measurements]
    assert times.evidence[0].output.count("\n") == 3


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ([], "no milestone was seen"),
        ([mark("ssh", 12)], "loader-grub was not seen"),
        ([mark("loader-grub", 5)], "before power-on"),
    ],
)
def test_a_boot_that_cannot_be_timed_says_so(marks: list[Mark], message: str) -> None:
    with pytest.raises(LabFault, match=message):
        measure.boot(HOST, marks, 10, loader="loader-grub" if marks else None)
