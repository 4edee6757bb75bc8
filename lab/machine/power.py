"""Power as tests use it: each order noted on the console's clock, each believed only when read back."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from lab.bmc.api import Answer, Power, PowerAction
from lab.deadline import Deadline
from lab.errors import LabFault
from lab.measure.model import Mark

if TYPE_CHECKING:
    from lab.machine.machine import Machine

_READ_EVERY_S = 0.5


class PowerControl:
    """The power of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._pause = threading.Event()

    def act(self, action: PowerAction) -> Answer:
        """Carry out one power action; the order is stamped on the console and the timeline first."""
        machine = self._machine
        machine.console.note(f"power: {action}")
        machine.run.marks.append(
            Mark(
                server=machine.server.name,
                release=machine.release.name if machine.release else None,
                kind="power",
                name=str(action),
                at=machine.run.now,
            )
        )
        return machine.bmc.set_power(action)

    def await_state(self, wanted: Power, deadline: Deadline) -> None:
        """Wait until the BMC reads `wanted`, without sending anything.

        Raises:
            LabFault: it does not within the deadline.
        """
        while self._machine.bmc.power() != wanted:
            if deadline.passed:
                raise LabFault(
                    f"power is not {wanted} in time ({deadline.why})",
                    server=self._machine.server.name,
                    tried=f"read the power state until the deadline, every {_READ_EVERY_S} s",
                    next_step="look at the server's console and BMC",
                )
            self._pause.wait(_READ_EVERY_S)  # a BMC has no event for this; nobody ever sets the Event
