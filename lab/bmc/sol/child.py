"""The process that holds one server's SOL session: `python -m lab.bmc.sol.child`.

A process of its own, because pyghmi's global event loop lets one stalled console hold up everything
else, and because a second session of one account in the same process hangs. On standard input comes one
line of JSON (host, port, user, password), then raw bytes for the server;
end of file, or a parent that is gone, ends it. Frames (`sol_frames`) leave on standard output.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from dataclasses import dataclass

from lab.bmc.ipmi.lan import STUMBLES, SUITES
from lab.bmc.ipmi.refusals import failure_kind
from lab.bmc.sol.frames import LARGEST, Kind, frame
from lab.bmc.sol.session import HELD, TAKEN, SolSession

OPEN_S = 8.0
"""Seconds to log in and activate."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 2.0
"""Back-off between attempts to get the console back."""
TAKEN_WAIT_S = 2.0
"""Seconds before a console that was taken from us is asked for again: its taker frees it first, then
activates it, and must not find us in between."""
FORGETTING_BMC_S = 600.0
"""Seconds without a BMC after which the console is lost for good."""
SETTLE_S = 60.0
"""Seconds in which refusals do not count: a BMC that starts answers before it gives consoles."""
_PUMP_S = 0.05
_LEAVE_S = 2.0


@dataclass(frozen=True)
class Order:
    """What the parent asks for."""

    host: str
    port: int
    user: str
    password: str
    suites: tuple[int, ...] = SUITES
    login_retries: int = 2
    reattach: int = 10
    """Refusals to give the console back that are borne, once `SETTLE_S` have passed; 0: none at all."""
    reattach_every_s: float = LONGEST_WAIT_S
    free_first: bool = False


class ParentGone(Exception):
    """Nobody reads us any more."""


class Holder:
    """Opens the session, keeps it open, tells what happened to it."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._parent = os.getppid()
        self._was_open = False
        self._force = True
        self._freed_another = False

    def run(self) -> int:
        """Hold the console until the parent leaves; the exit status."""
        down_since: float | None = None
        wait, refusals = FIRST_WAIT_S, 0
        asking_until = time.monotonic() + OPEN_S
        while True:
            session, why = self._open()
            if session is not None:
                self._announce(down_since)
                down_since, refusals = None, 0
                why = self._hold(session)
                # Our own orphan may be freed again; somebody who took the console from us may keep it.
                self._force = why != TAKEN
                wait = FIRST_WAIT_S if self._force else TAKEN_WAIT_S
                if not self._order.reattach:
                    self._tell(Kind.FAILED, f"fault console lost ({why})")
                    return 1
                self._tell(Kind.EVENT, f"gap: console lost ({why}); connecting again")
                down_since = time.monotonic()
            elif not self._was_open and why == HELD and time.monotonic() < asking_until:
                self._force = False  # freed once; whoever has it now is only waited for
            elif not self._was_open:
                self._tell(Kind.FAILED, f"{failure_kind(why)} {why}")
                return 1
            elif down_since is not None:
                away = time.monotonic() - down_since
                refusals += away > SETTLE_S and failure_kind(why) != "unreachable"
                if away > FORGETTING_BMC_S or refusals > self._order.reattach:
                    self._tell(Kind.FAILED, f"{failure_kind(why)} not back within {away:.0f} s: {why}")
                    return 1
            self._idle(wait)
            if session is None:
                wait = min(self._order.reattach_every_s, wait * 2)

    def _open(self) -> tuple[SolSession | None, str]:
        order, session = self._order, None
        deadline = time.monotonic() + OPEN_S
        try:
            session = SolSession(
                order.host,
                order.port,
                order.user.encode(),
                order.password.encode(),
                self._print,
                lambda text: self._tell(Kind.EVENT, text),
                force=self._force,
                free_first=self._order.free_first and not self._was_open,
                suites=tuple(self._order.suites),
                retries=self._order.login_retries,
            )
            while not session.connected and session.lost is None and time.monotonic() < deadline:
                session.pump(_PUMP_S)
                self._check_parent()
                self._check_wanted()
        except STUMBLES as problem:
            if session is not None:
                session.release()
            return None, f"{type(problem).__name__}: {problem}"
        except ParentGone:
            if session is not None:
                self._break_off(session)
            raise
        self._freed_another |= session.freed_another
        if session.connected and session.lost is None:
            return session, ""
        why = session.lost or session.stumble or "no answer to IPMI over UDP"
        session.release()
        return None, why

    def _hold(self, session: SolSession) -> str:
        try:
            while session.lost is None:
                if select.select([sys.stdin.buffer], [], [], 0)[0]:
                    session.type(self._typed())
                session.pump(_PUMP_S)
                self._check_parent()
        except STUMBLES as problem:
            return f"{type(problem).__name__}: {problem}"
        except ParentGone:
            self._leave(session)
            raise
        self._leave(session)
        return session.lost or ""

    def _leave(self, session: SolSession) -> None:
        deadline = time.monotonic() + _LEAVE_S
        with contextlib.suppress(*STUMBLES):
            while session.lost is None and not session.quiet and time.monotonic() < deadline:
                session.pump(_PUMP_S)
            session.release()

    def _break_off(self, session: SolSession) -> None:
        """Leave in the middle of a log-in: the BMC may have a session already that is not known here yet."""
        deadline = time.monotonic() + _LEAVE_S
        with contextlib.suppress(*STUMBLES):
            while not session.connected and session.lost is None and time.monotonic() < deadline:
                session.pump(_PUMP_S)
            session.release()

    def _announce(self, down_since: float | None) -> None:
        if self._freed_another:
            self._freed_another = False
            self._tell(Kind.EVENT, "the console was held by another client, whose session was ended")
        if down_since is not None:
            self._tell(Kind.EVENT, f"console back after {time.monotonic() - down_since:.1f} s")
        if not self._was_open:
            self._was_open = True
            self._tell(Kind.OPEN, "console open")

    def _idle(self, seconds: float) -> None:
        """Wait before the next attempt; what is typed meanwhile is dropped, and said to be."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._check_parent()
            if select.select([sys.stdin.buffer], [], [], min(left, 0.5))[0]:
                self._tell(Kind.EVENT, f"{len(self._typed())} bytes of input dropped: console not open")

    def _typed(self) -> bytes:
        data = os.read(0, 4096)
        if not data:
            raise ParentGone
        return data

    def _check_parent(self) -> None:
        if os.getppid() != self._parent:
            raise ParentGone

    def _check_wanted(self) -> None:
        """While the console is being opened nobody reads what is typed; that its writer left is heard."""
        heard = select.poll()
        heard.register(0, 0)
        if heard.poll(0):
            raise ParentGone

    def _print(self, data: bytes) -> None:
        for start in range(0, len(data), LARGEST):
            self._write(frame(Kind.OUTPUT, data[start : start + LARGEST]))

    def _tell(self, kind: Kind, text: str) -> None:
        self._write(frame(kind, text.encode()[:LARGEST]))

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(1, data) :]
            except BrokenPipeError:
                raise ParentGone from None


def main() -> int:
    """Read the order, hold the console."""
    # Ctrl-C reaches the whole process group; the console is recorded until the parent closes it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = bytearray()
    # Not sys.stdin.readline(): its buffer would swallow input that follows the order.
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    try:
        return Holder(Order(**json.loads(line))).run()
    except ParentGone:
        return 0


if __name__ == "__main__":
    sys.exit(main())
