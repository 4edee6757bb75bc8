"""One direction of a network that loses, doubles and delays datagrams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from lab.virtual.ipmi.in_force import InForce, Trigger

Deliver = Callable[[bytes], None]


class Line:
    """Carries datagrams to whoever waits at its end; `lost`, `doubled` and `delayed` count what it did.

    Args:
        way: `in` carries to the BMC, `out` from it.
        faults: what can go wrong.
    """

    def __init__(self, way: Literal["in", "out"], faults: InForce) -> None:
        self.lost = self.doubled = self.delayed = 0
        self._way = way
        self._faults = faults
        self._version = -1
        self._under_way: set[asyncio.TimerHandle] = set()

    def carry(self, datagram: bytes, deliver: Deliver) -> None:
        """Deliver the datagram now, later, twice or never."""
        if self._version != self._faults.version:
            self._prepare()
        if self._happens("loss", self._loses):
            self.lost += 1
            return
        doubled = self._happens("duplicate", self._doubles)
        late_s = self._late()
        self.doubled += doubled
        self.delayed += late_s > 0
        for _ in range(1 + doubled):
            if late_s:
                self._later(late_s, datagram, deliver)
            else:
                deliver(datagram)

    def close(self) -> None:
        """Forget what is under way."""
        while self._under_way:
            self._under_way.pop().cancel()

    def _prepare(self) -> None:
        now, chance = self._faults.now, self._faults.chance
        errs = now.to_bmc if self._way == "in" else now.from_bmc
        self._version = self._faults.version
        self._loses = Trigger(errs.loss, chance)
        self._doubles = Trigger(errs.duplicate, chance)
        self._delays = Trigger(errs.late, chance)
        self._late_s = errs.late_s

    def _happens(self, kind: Literal["loss", "duplicate"], trigger: Trigger) -> bool:
        if trigger():
            self._faults.played(kind, self._way)
            return True
        return self._faults.injected(kind, self._way, "both", self._way) is not None

    def _late(self) -> float:
        """How many seconds later this datagram comes."""
        if self._delays():
            self._faults.played("late", self._way)
            return self._late_s
        entry = self._faults.injected("late", self._way, "both", self._way)
        return entry.lasting_s if entry is not None else 0.0

    def _later(self, seconds: float, datagram: bytes, deliver: Deliver) -> None:
        def arrive() -> None:
            self._under_way.discard(handle)
            deliver(datagram)

        handle = asyncio.get_running_loop().call_later(seconds, arrive)
        self._under_way.add(handle)
