"""The machine's states and the one table of edges between them."""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Where a machine is. `broken` is left only by a new lease."""

    UNKNOWN = "unknown"
    OFF = "off"
    FIRMWARE = "firmware"
    INSTALLER = "installer"
    BOOTING = "booting"
    READY = "ready"
    BROKEN = "broken"


class Edge(NamedTuple):
    """A way from one state to the next: the name of the step that goes it."""

    start: State
    end: State
    step: str


EDGES: tuple[Edge, ...] = (
    Edge(State.UNKNOWN, State.OFF, "cut_power"),
    Edge(State.OFF, State.FIRMWARE, "power_on"),
    Edge(State.OFF, State.INSTALLER, "start_installer"),
    Edge(State.INSTALLER, State.OFF, "finish_install"),
    Edge(State.FIRMWARE, State.BOOTING, "watch_loader"),
    Edge(State.BOOTING, State.READY, "watch_boot"),
    Edge(State.READY, State.OFF, "shut_down"),
    Edge(State.FIRMWARE, State.OFF, "cut_power"),
    Edge(State.BOOTING, State.OFF, "cut_power"),
)


def route(start: State, end: State) -> list[Edge]:
    """The shortest way from `start` to `end`; empty when they are the same.

    Raises:
        ValueError: there is no way, which is a mistake in the table or in the caller.
    """
    ways: deque[tuple[State, list[Edge]]] = deque([(start, [])])
    seen = {start}
    while ways:
        here, way = ways.popleft()
        if here is end:
            return way
        for edge in EDGES:
            if edge.start is here and edge.end not in seen:
                seen.add(edge.end)
                ways.append((edge.end, [*way, edge]))
    raise ValueError(f"no way from {start} to {end}")
