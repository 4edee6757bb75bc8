"""One process's share of a run: which machines it holds, and the run's beginning and end."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.errors import LabError
from lab.pytest_plugin.live import LiveProgress
from lab.run import Run

if TYPE_CHECKING:
    from lab.machine.machine import Machine
    from lab.rack.model import Rack, Server
    from lab.selection import Target


class LabSession:
    """What the fixtures lean on: the run, the rack, and the machines leased by this process."""

    def __init__(self, config: pytest.Config, folder: Path, zero: float, part: str) -> None:
        self._config = config
        self.run = Run(id=folder.name, folder=folder, zero=zero, part=part)
        self.live = LiveProgress(config, self.run)
        self.rack: Rack
        self.targets: Sequence[Target] = ()
        self._machines: dict[str, Machine] = {}
        self._not_taken: dict[str, LabError] = {}
        self._refreshed: set[str] = set()
        self._brought_up = False

    def use(self, rack: Rack, targets: Sequence[Target]) -> None:
        """Work on this rack for these targets."""
        self.rack = rack
        self.targets = targets

    def open(self, command: str) -> None:
        """Controller: bring a virtual rack up and begin the run's files.

        Raises:
            LabFault: the virtual rack does not come up.
        """
        from lab.report.rundir import RunFolder

        RunFolder(self.run.folder).begin(
            rack=self.rack.rack,
            origin=self.rack.origin,
            servers=list(dict.fromkeys(target.server.name for target in self.targets)),
            releases=list(dict.fromkeys(target.release.name for target in self.targets)),
            command=command,
        )
        self.live.start()
        if self.rack.is_virtual:
            from lab.virtual.control import up

            self._brought_up = up(self.rack, lambda text: self.run.progress("rack", text))

    def machine(self, server: Server) -> Machine:
        """The machine of `server`, leased at the first call.

        Raises:
            ServerBusy: another run holds the server.
            LabFault: its BMC or console cannot be reached.
        """
        from lab.machine.machine import Machine

        if server.name not in self._machines:
            try:
                self._machines[server.name] = Machine.take(self.run, self.rack, server)
            except LabError as error:
                error.server = error.server or server.name
                self._not_taken[server.name] = error
                raise
        return self._machines[server.name]

    def held(self, server: str) -> Machine | None:
        """The machine of that server, if this process holds it now."""
        return self._machines.get(server)

    def broken_by(self, server: str) -> LabError | None:
        """The first cause why `server` cannot be used any more in this run; None while it can."""
        machine = self._machines.get(server)
        return machine.broken if machine is not None else self._not_taken.get(server)

    def wants_fresh(self, target: Target) -> bool:
        """Whether `--fresh` asks for an install of this target that has not been made yet."""
        if not self._config.getoption("--fresh") or target.id in self._refreshed:
            return False
        self._refreshed.add(target.id)
        return True

    def leave(self, server: str | None, upcoming: str | None) -> None:
        """Give back the machine of `server` when the next test is about another one."""
        if server is not None and server != upcoming:
            self._give_back(server)

    def close(self) -> None:
        """Give back every machine and write this process's share of the run's files."""
        with contextlib.ExitStack() as closing:  # a second Ctrl-C ends one give-back, not all of them
            closing.callback(self.run.save)
            for server in reversed(self._machines):
                closing.callback(self._give_back, server)

    def _give_back(self, server: str) -> None:
        machine = self._machines.pop(server, None)
        if machine is None:
            return
        dirty = machine.give_back(keep=self._config.getoption("--keep"))
        self.run.progress(server, f"given back dirty: {dirty}" if dirty else "given back clean")

    def conclude(self, exit_status: int) -> None:
        """Controller: merge the shares of all processes and finish the run's files."""
        from lab.report.rundir import RunFolder

        self.live.stop()
        RunFolder(self.run.folder).end(exit_status)

    def take_down(self) -> None:
        """Controller: take the virtual rack down if this run brought it up and nobody else uses it."""
        if not self._brought_up or self._config.getoption("--keep"):
            return
        from lab.machine.lease import leases
        from lab.virtual.control import down

        if not any(lease.rack == self.rack.rack and lease.lapsed is None for lease in leases()):
            down(self.rack, lambda text: None)
        self._brought_up = False
