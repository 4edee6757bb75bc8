"""What the responder's commands act on: one server's board, its stores, its counters and its faults."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from lab.bmc.api import Power, PowerAction
from lab.errors import LabError
from lab.virtual.board import Board
from lab.virtual.ipmi import fru, sdr, sensors
from lab.virtual.ipmi.boot_options import BootOptions
from lab.virtual.ipmi.config import Account
from lab.virtual.ipmi.event_log import Clock, EventLog, Sensors
from lab.virtual.ipmi.in_force import InForce
from lab.virtual.ipmi.session import Session, SessionTable
from lab.virtual.ipmi.sol_payload import OpenSerial, Sol

Work = Callable[[], Awaitable[None]]
_log = logging.getLogger(__name__)


class Refused(Exception):
    """A command is answered with a completion code other than 0 (table 5-2)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"{code:#04x}")
        self.code = code


@dataclass(frozen=True)
class Identity:
    """Who a BMC is.

    Attributes:
        server: the server's name.
        address: where it listens.
        port: its UDP port there, which SOL names.
        guid: 16 bytes.
        accounts: who may log in; all are administrators.
        unit: what the FRU says.
    """

    server: str
    address: str
    port: int
    guid: bytes
    accounts: tuple[Account, ...]
    unit: fru.Fru


@dataclass(frozen=True)
class Asked:
    """A command as its handler gets it; `session` is None outside of one."""

    data: bytes
    session: Session | None

    def byte(self, at: int) -> int:
        """One byte of the request; refused (C7h) where it is too short."""
        if at >= len(self.data):
            raise Refused(0xC7)
        return self.data[at]

    def word(self, at: int) -> int:
        """Two bytes of the request, least significant first."""
        return self.byte(at) | self.byte(at + 1) << 8


class Bmc:
    """One BMC behind the responder."""

    def __init__(self, board: Board, identity: Identity, open_serial: OpenSerial, faults: InForce) -> None:
        self.board = board
        self.identity = identity
        self.faults = faults
        self.clock = Clock()
        self.event_log = EventLog(self.clock)
        self.sensors = Sensors(self.event_log)
        self.sessions = SessionTable(faults)
        self.boot = BootOptions(board, faults, self.spawn)
        self.sol = Sol(faults, open_serial)
        self.records = _numbered(
            [
                sdr.controller_locator("BMC"),
                sdr.fru_locator("System"),
                sdr.event_only(sensors.WATCHDOG_NUMBER, sensors.WATCHDOG, "Watchdog", sensors.SYSTEM_BOARD),
                *(sdr.full(sensor) for sensor in sensors.ANALOG),
                *(sdr.compact(sensor) for sensor in sensors.DISCRETE),
            ]
        )
        self.fru = fru.encode(identity.unit)
        self.reservation = 0
        self.restart_policy = 0
        self.controls: Counter[str] = Counter()
        """Chassis Control requests as they came, whether or not they were carried out."""
        self.restart: Callable[[float], None] = lambda seconds: None
        """Makes the BMC go away for so many seconds; set by the responder, or by who has other faces too."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._lamp: asyncio.TimerHandle | None = None
        self._lies_left = 0
        self._lie: Power = "off"
        self._seen = self._switches()
        board.changed.append(self.follow_board)
        self.sensors.follow(board.power == "on")

    def power_read(self) -> Power:
        """The power state as this BMC tells it."""
        if self._lies_left:
            self._lies_left -= 1
            self.faults.played("power_lies", self._lie)
            return self._lie
        return self.board.power

    def power_action(self, action: PowerAction) -> None:
        """Begin a power action; a real BMC, too, answers before the server has followed."""
        self._lie, self._lies_left = self.board.power, self.faults.now.power_lies
        work = self.board.cycle if action is PowerAction.CYCLE else partial(self.board.act, action)
        lag_s = self.faults.now.power_lag_s
        if lag_s:
            self.faults.played("power_lag_s", action)
        self.spawn(partial(self._lagging, work, lag_s) if lag_s else work)

    def follow_board(self) -> None:
        """See whether the server was switched or reset, by whichever face or by itself."""
        before, self._seen = self._seen, self._switches()
        if before == self._seen:
            return
        if before[0] != self._seen[0]:
            self.sensors.follow(self._seen[0] == "on")
        self._server_switched()

    def light(self, seconds: float | None) -> None:
        """Light the identification lamp for so long, 0 puts it out, None is without end."""
        if self._lamp is not None:
            self._lamp.cancel()
            self._lamp = None
        self.board.set_identify(seconds != 0)
        if seconds:
            self._lamp = asyncio.get_running_loop().call_later(seconds, self.board.set_identify, False)

    def end_session(self, session: Session) -> None:
        """Forget a session, and with it the SOL that it holds."""
        if self.sol.owner is session:
            self.sol.stop()
        self.sessions.remove(session)

    def expire_sessions(self) -> None:
        """End the sessions that have been silent too long, and what is left of an orphan."""
        self.sol.expire_orphan()
        for session in self.sessions.overdue():
            if session.keys is not None:
                self.sessions.expired += 1
            if session.had_sol and self.faults.now.sol_orphan_kills and self.sol.owner is not None:
                self.faults.played("sol_orphan_kills")
                self.sol.deactivate()
            self.end_session(session)

    def spawn(self, work: Work) -> None:
        """Carry out work of the board beside the answering of datagrams."""
        task = asyncio.create_task(self._carry_out(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def drop_session(self, session: Session) -> None:
        """End a session without a word, as a fault does."""
        self.sessions.lost += 1
        self.end_session(session)

    async def close(self) -> None:
        """Stop everything under way; returns when it has stopped."""
        self.sol.stop()
        self.boot.close()
        if self._lamp is not None:
            self._lamp.cancel()
        for task in self._tasks:
            task.cancel()
        if self.follow_board in self.board.changed:
            self.board.changed.remove(self.follow_board)
        await asyncio.gather(*self._tasks, self.sol.stopped(), return_exceptions=True)

    async def _lagging(self, work: Work, seconds: float) -> None:
        await asyncio.sleep(seconds)  # the fault itself
        await work()

    async def _carry_out(self, work: Work) -> None:
        try:
            await work()
        except LabError as error:
            _log.error("%s: asked by IPMI: %s", self.identity.server, error)

    def _switches(self) -> tuple[Power, int]:
        return self.board.power, self.board.acts[PowerAction.RESET]

    def _server_switched(self) -> None:
        how = self.faults.now.sol_at_power_change
        if how == "kept" or self.sol.owner is None:
            return
        self.faults.played("sol_at_power_change", how)
        if how == "dropped":
            self.drop_session(self.sol.owner)
        else:
            self.sol.freeze()


def _numbered(records: Sequence[bytes]) -> dict[int, bytes]:
    return {number: number.to_bytes(2, "little") + record[2:] for number, record in enumerate(records, 1)}
