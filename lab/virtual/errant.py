"""A virtual server's BMC as the rack file lets it err: profile, faults and what both did, in one place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.rack.virtual import FaultEntry, VirtualBmc
from lab.virtual import profiles
from lab.virtual.board import Board
from lab.virtual.faults import FaultLog, Faults
from lab.virtual.faulty_board import FaultyBoard
from lab.virtual.ipmi.faults import NO_FAULTS, IpmiFaults
from lab.virtual.ipmi.in_force import InForce
from lab.virtual.redfish.face import RedfishFace
from lab.virtual.redfish.faults.play import FaultPlay
from lab.virtual.redfish.service import RedfishService


class ErrantBmc:
    """Everything between the BMC faces of one server and the server.

    Args:
        board: the server itself.
        bmc: what the rack file says.
        log: where every fault that was played is written; None keeps only the counts.

    Attributes:
        board: the server as the faces see it.
        faults: those by count or probability.
        ipmi: how the IPMI face errs, and the faults above once more.
        away: told for how many seconds the whole BMC is away, from now on.
    """

    def __init__(self, board: Board, bmc: VirtualBmc, log: Path | None = None) -> None:
        self.faults = Faults(board.server.name, bmc.faults, FaultLog(log))
        self.board = FaultyBoard(board, self.faults)
        self.away: list[Callable[[float], None]] = []
        self.ipmi = InForce(NO_FAULTS, self.faults)
        self.profile: str | None = None
        self._play: FaultPlay | None = None
        self._service: RedfishService | None = None
        self._reboots: set[asyncio.Task[None]] = set()
        self.use(bmc.profile)

    def serve(self, face: RedfishFace) -> RedfishService:
        """The Redfish service that errs; `face.chassis` has to be `board`."""
        self._play = FaultPlay(face, self.board, self.faults, self.reboot)
        self._service = RedfishService(face, [self._play.layer], self._play.overlay)
        self.use(self.profile)
        return self._service

    def use(self, name: str | None) -> None:
        """Be that profile from now on; None is a BMC that keeps to the specification.

        Raises:
            KeyError: there is no such profile.
        """
        profile = profiles.load()[name] if name is not None else None
        self.profile = name
        self.ipmi.replace(IpmiFaults.model_validate(profile.ipmi) if profile is not None else NO_FAULTS)
        if self._play is not None:
            self._play.use(name, profile)

    def reboot(self, seconds: float) -> None:
        """Both faces are gone at once, and back after so many seconds."""
        for listener in self.away:
            listener(seconds)
        if self._service is not None:
            task = asyncio.create_task(self._service.restart(seconds))
            self._reboots.add(task)
            task.add_done_callback(self._reboots.discard)

    def change(self, *, add: FaultEntry | None = None, clear: bool = False) -> None:
        """Put a fault in force, or end them all and the profile."""
        if clear:
            self.faults.clear()
            self.use(None)
        if add is not None:
            self.faults.add(add)

    def status(self) -> dict[str, Any]:
        """What is in force, and how often each kind of fault and each quirk was played."""
        return {
            "profile": self.profile,
            "faults": [entry.model_dump(exclude_defaults=True) for entry in self.faults.entries],
            "played": dict(self.faults.log.counts),
        }

    def close(self) -> None:
        """End what was to come later."""
        self.board.close()
        for task in self._reboots:
            task.cancel()
