"""Serial over LAN as a BMC speaks it: packets one at a time, each sent again until it is acknowledged.

Source: IPMI v2.0 rev 1.1 section 15.9 (packet format, table 15-2), 15.11 (sequence numbers, retries), 26.3
(configuration parameters).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lab.virtual.ipmi.in_force import InForce
from lab.virtual.ipmi.session import Session

_log = logging.getLogger(__name__)
OpenSerial = Callable[[Callable[[], asyncio.Protocol]], Awaitable[asyncio.Transport]]
LARGEST_PACKET = 200
"""Characters in one packet, unless it grows."""
_LARGEST_COUNT = 255
_HIGH_WATER = 65536
_NACK, _OVERRUN, _DEACTIVATED = 0x40, 0x08, 0x10


@dataclass
class SolSettings:
    """The volatile configuration (section 26.3); times in seconds."""

    enabled: bool = True
    authentication: int = 0xC4
    accumulate_s: float = 0.02
    threshold: int = LARGEST_PACKET
    retries: int = 7
    retry_s: float = 0.5
    bit_rate: int = 0x0A


class _Serial(asyncio.Protocol):
    """The serial port's side: keeps output until it is taken, and holds the server up when that is slow."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.arrived = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.output += data
        self.arrived.set()
        if len(self.output) > _HIGH_WATER and self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def take(self, count: int) -> bytes:
        """The next output, at most `count` bytes."""
        taken = bytes(self.output[:count])
        del self.output[:count]
        if not self.output:
            self.arrived.clear()
        if self._paused and len(self.output) < _HIGH_WATER // 2 and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return taken


class Sol:
    """The one SOL instance of a BMC."""

    def __init__(self, faults: InForce, open_serial: OpenSerial) -> None:
        self.settings = SolSettings()
        self.owner: Session | None = None
        self.orphaned = False
        """Whether a session of nobody holds it."""
        self.activated = 0
        self.send: Callable[[Session, bytes], None] = lambda session, payload: None
        """Sends a SOL payload in a session; set by the responder."""
        self.drop: Callable[[Session], None] = lambda session: None
        """Ends a session without a word; set by the responder."""
        self._open_serial = open_serial
        self._faults = faults
        self._work: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._frozen = False
        self._orphan_ends: float | None = None
        self._begin()
        self._faults_replaced()
        faults.replaced.append(self._faults_replaced)

    def activate(self, session: Session) -> None:
        """Give the payload to a session; the caller has made sure that it is free."""
        self._begin()
        self.owner = session
        session.had_sol = True
        self.activated += 1
        self._work = asyncio.create_task(self._run(session))

    def stop(self) -> None:
        """Take the payload from its owner without a word."""
        self.owner = None
        self._frozen = False
        if self._work is not None:
            self._work.cancel()
            self._ending.add(self._work)
            self._work.add_done_callback(self._ending.discard)
            self._work = None

    async def stopped(self) -> None:
        """Return when nothing of an earlier owner is at work any more."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    def deactivate(self) -> None:
        """Take the payload from its owner, and tell it (table 15-2, status bit 4)."""
        owner = self.owner
        if owner is not None and not self._frozen:
            self.send(owner, bytes([0, 0, 0, _DEACTIVATED]))
        self.orphaned = False
        self.stop()

    def expire_orphan(self) -> None:
        """The session of nobody times out, and may take somebody's payload with it."""
        if self._orphan_ends is None or time.monotonic() < self._orphan_ends:
            return
        self._orphan_ends = None
        self.orphaned = False
        if self._faults.now.sol_orphan_kills and self.owner is not None:
            self._faults.played("sol_orphan_kills")
            self.deactivate()

    def freeze(self) -> None:
        """From now on nothing comes out and nothing is acknowledged, though the payload stays active."""
        self._frozen = self.owner is not None

    def receive(self, session: Session, payload: bytes) -> None:
        """A SOL packet of a client: an acknowledgement, input, or both."""
        if session is not self.owner or len(payload) < 4 or self._frozen:
            return
        sequence, acknowledged, accepted, operation = (
            payload[0] & 0xF,
            payload[1] & 0xF,
            payload[2],
            payload[3],
        )
        if acknowledged and acknowledged == self._sequence and not self._deaf:
            self._accepted = 0 if operation & _NACK else accepted
            self._answered.set()
        if sequence:
            self._type(session, sequence, payload[4:])

    def _faults_replaced(self) -> None:
        now = self._faults.now
        self.settings.enabled = now.sol_enabled
        self.orphaned = now.sol_orphan and self.owner is None
        self._orphan_ends = time.monotonic() + now.session_timeout_s if now.sol_orphan else None

    def _begin(self) -> None:
        self._frozen = self._deaf = self._overrun = False
        self._sequence = 0
        self._accepted = 0
        self._answered = asyncio.Event()
        self._heard_sequence = self._heard_bytes = 0
        self._pending = bytearray()
        self._port: asyncio.Transport | None = None

    def _type(self, session: Session, sequence: int, data: bytes) -> None:
        known = self._heard_bytes if sequence == self._heard_sequence else 0
        self._heard_sequence, self._heard_bytes = sequence, len(data)
        if self._port is None:
            self._pending += data[known:]
        else:
            self._port.write(data[known:])
        self.send(session, bytes([0, sequence, len(data) & 0xFF, 0]))

    async def _run(self, session: Session) -> None:
        """Carry output to the session until it loses the payload."""
        serial = _Serial()
        try:
            port = self._port = await self._open_serial(lambda: serial)
        except OSError as error:
            _log.error("SOL: the serial port cannot be opened: %s", error)
            self.deactivate()
            return
        try:
            port.write(bytes(self._pending))
            self._pending.clear()
            while self.owner is session:
                await serial.arrived.wait()
                if len(serial.output) < self.settings.threshold:
                    await asyncio.sleep(self.settings.accumulate_s)
                await self._packet(session, serial)
        finally:
            port.close()

    async def _packet(self, session: Session, serial: _Serial) -> None:
        """Send one packet, again and again until it is acknowledged; what was not accepted is kept."""
        if self._faults.hits("sol_end"):
            self.drop(session)
            return
        if self._faults.hits("sol_deactivate"):
            self.deactivate()
            return
        data = serial.take(max(1, min(self.settings.threshold, LARGEST_PACKET)))
        self._sequence = self._sequence % 15 + 1
        if self._faults.hits("sol_gap"):
            return
        self._deaf = self._faults.hits("sol_grown")
        grow = self._deaf
        for _ in range(1 + self.settings.retries):
            if not self._frozen:
                self._answered.clear()
                self.send(session, bytes([self._sequence, 0, 0, _OVERRUN * self._overrun]) + data)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.retry_s):
                    await self._answered.wait()
                self._overrun = False
                rest = data[self._accepted :] if self._accepted < len(data) else b""
                serial.output[:0] = rest
                if rest:
                    serial.arrived.set()
                return
            if grow:
                grow = self._deaf = False
                data += serial.take(_LARGEST_COUNT - len(data))
        if self._frozen:
            serial.output[:0] = data
        else:
            self._overrun = True
