"""The table of edges leads everywhere it must, and nowhere twice."""

from __future__ import annotations

import itertools

import pytest

from lab.machine.edges import EDGES, State, route
from lab.machine.steps import STEPS


def test_every_edge_names_a_step_that_exists() -> None:
    assert {edge.step for edge in EDGES} == set(STEPS)


def test_no_edge_stands_twice() -> None:
    ways = [(edge.start, edge.end) for edge in EDGES]
    assert len(ways) == len(set(ways))


@pytest.mark.parametrize("start", [state for state in State if state is not State.BROKEN])
@pytest.mark.parametrize("end", [State.OFF, State.INSTALLER, State.READY])
def test_there_is_a_way_from_everywhere(start: State, end: State) -> None:
    way = route(start, end)
    assert [edge.end for edge in way][-1:] == ([end] if start is not end else [])
    assert all(one.end is two.start for one, two in itertools.pairwise(way))


def test_nothing_leads_out_of_broken() -> None:
    with pytest.raises(ValueError, match="no way"):
        route(State.BROKEN, State.OFF)


def test_ready_is_reached_only_through_firmware() -> None:
    assert [edge.step for edge in route(State.OFF, State.READY)] == ["power_on", "watch_loader", "watch_boot"]
