"""One direction of a network that loses, doubles and delays datagrams."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from lab.virtual.ipmi.faults import Datagrams, Note, Trigger

Deliver = Callable[[bytes], None]


class Line:
    """Carries datagrams to whoever waits at its end; `lost`, `doubled` and `delayed` count what it did."""

    def __init__(self, faults: Datagrams, chance: random.Random, note: Note) -> None:
        self.lost = self.doubled = self.delayed = 0
        self._note = note
        self._under_way: set[asyncio.TimerHandle] = set()
        self.replace(faults, chance)

    def replace(self, faults: Datagrams, chance: random.Random) -> None:
        """Err in another way from now on."""
        self._late_s = faults.late_s
        self._clear = not (faults.loss.ever or faults.duplicate.ever or faults.late.ever)
        self._loses = Trigger(faults.loss, chance)
        self._doubles = Trigger(faults.duplicate, chance)
        self._delays = Trigger(faults.late, chance)

    def carry(self, datagram: bytes, deliver: Deliver) -> None:
        """Deliver the datagram now, later, twice or never."""
        if self._clear:
            deliver(datagram)
            return
        if self._loses():
            self.lost += 1
            self._note("loss", f"{len(datagram)} bytes")
            return
        doubled, late = self._doubles(), self._delays()
        if doubled:
            self.doubled += 1
            self._note("duplicate", f"{len(datagram)} bytes")
        if late:
            self.delayed += 1
            self._note("late", f"{len(datagram)} bytes")
        for _ in range(1 + doubled):
            if late:
                self._later(datagram, deliver)
            else:
                deliver(datagram)

    def close(self) -> None:
        """Forget what is under way."""
        while self._under_way:
            self._under_way.pop().cancel()

    def _later(self, datagram: bytes, deliver: Deliver) -> None:
        def arrive() -> None:
            self._under_way.discard(handle)
            deliver(datagram)

        handle = asyncio.get_running_loop().call_later(self._late_s, arrive)
        self._under_way.add(handle)
