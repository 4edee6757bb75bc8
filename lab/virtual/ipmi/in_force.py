"""The IPMI faults in force at one BMC: those of its profile, and those that the rack injects."""

from __future__ import annotations

import random
from collections.abc import Callable

from lab.rack.virtual import FaultEntry, FaultKind
from lab.virtual.faults import Faults
from lab.virtual.ipmi.faults import NO_FAULTS, Frequency, IpmiFaults

_CALLED = {
    "suites": "Q28",
    "rakp2_tag_zero": "Q28",
    "stray_rakp2": "Q28",
    "inactive_session": "Q19",
    "table_full": "session-table-full",
    "boot_parameter_3": "Q28",
    "uefi_disk_selector": "Q19",
    "power_lag_s": "power-lags",
    "power_lies": "power-lags",
    "sol_settable": "Q29",
    "sol_at_power_change": "Q29",
    "sol_orphan_kills": "Q30",
    "sol_orphan": "Q30",
    "sol_end": "Q30",
    "spacing_s": "Q33",
    "reboot": "bmc-reboot",
}
"""What the log of faults calls one that has no word of its own there."""


class Trigger:
    """Tells at each occasion whether a fault happens, as its `Frequency` says."""

    def __init__(self, frequency: Frequency, chance: random.Random) -> None:
        self._frequency = frequency
        self._chance = chance
        self._occasions = 0
        self._hits = 0

    def __call__(self) -> bool:
        """Whether it happens this time."""
        when = self._frequency
        if not when.ever:
            return False
        self._occasions += 1
        over = self._occasions - when.after
        if over <= 0 or (when.times is not None and self._hits >= when.times):
            return False
        if when.every is not None and over % when.every:
            return False
        if when.probability is not None and self._chance.random() >= when.probability:
            return False
        self._hits += 1
        return True


class InForce:
    """What can go wrong now, and the log of what did.

    Args:
        faults: how this BMC errs; `replace` puts others in force.
        rack: the faults that the rack file or a test has put in force, and their log.
    """

    def __init__(self, faults: IpmiFaults = NO_FAULTS, rack: Faults | None = None) -> None:
        self.rack = rack or Faults("")
        self.version = 0
        """Grows when others are put in force."""
        self.replaced: list[Callable[[], None]] = []
        """Told when others are put in force."""
        self.replace(faults)

    def replace(self, faults: IpmiFaults) -> None:
        """Put others in force; what they count begins anew."""
        self.now = faults
        self.version += 1
        self.chance = random.Random(faults.seed)  # noqa: S311 - repeatable, not secret
        self._triggers = {
            name: Trigger(value, self.chance) for name, value in faults if isinstance(value, Frequency)
        }
        for listener in self.replaced:
            listener()

    def hits(self, name: str) -> bool:
        """Whether the fault with that field, a `Frequency`, happens on this occasion."""
        hit = self._triggers[name]()
        if hit:
            self.played(name)
        return hit

    def played(self, name: str, hit: str = "") -> None:
        """The fault of that field was played; `hit` says on what."""
        self.rack.log.note(_CALLED.get(name, name), hit or name)

    def injected(self, kind: FaultKind, what: str, *ways: str) -> FaultEntry | None:
        """The fault of the rack that hits this event; with `ways`, only one that goes one of them."""
        return self.rack.take(kind, what, ways=ways)
