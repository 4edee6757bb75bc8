"""Input on its way to the server over SOL: one packet at a time, sent again until it is acknowledged.

Between them go empty packets, which a BMC acknowledges like any other (IPMI 2.0, 15.9 and 15.11). They are
there for two reasons:

- `ipmi_sim` remembers the sequence number of the last session's last packet, acknowledges a first packet
  with that number as one it had already, and drops it (seen with 2.0.33). Behind an empty packet no number
  is the one before.
- A SOL payload can freeze while the BMC goes on answering commands (facts/bmc.md Q29). Only its own
  acknowledgements tell. They count once this BMC was seen to acknowledge empty packets.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

PIECE = 16
"""Bytes per packet: more upsets ipmi_sim, and the least that a BMC must take is 16."""
RESEND_S = 1.0
RESENDS = 5
SILENT_S = 3.0
"""Seconds without any SOL packet after which the console is asked; a frozen one is known after nine."""
ASKS_IN_VAIN = 3
"""Empty packets to a BMC that never acknowledged one."""
FROZEN = "it froze: the BMC answers, the console does not"
UNACKNOWLEDGED = "input is not acknowledged"
_UNAVAILABLE, _NACK = 0x20, 0x40


class Sender:
    """The way in of one activated payload.

    Args:
        emit: sends a SOL packet.
        event: called with a line about something that whoever reads the output should know.
        lose: called with why the payload is of no use any more.
    """

    def __init__(
        self, emit: Callable[[bytes], None], event: Callable[[str], None], lose: Callable[[str], None]
    ) -> None:
        self._emit, self._event, self._lose = emit, event, lose
        self._input = bytearray()
        self._under_way: bytes | None = None
        self._sequence = 0
        self._resend_at = 0.0
        self._resends = 0
        self._ask_at = 0.0
        self._asks_in_vain = 0
        self._answers = False
        self._unavailable = False

    def type(self, data: bytes) -> None:
        """Queue input."""
        self._input += data

    @property
    def quiet(self) -> bool:
        """Whether all input has been accepted by the BMC."""
        return not self._input and not self._under_way

    def heard(self) -> None:
        """A SOL packet came: the console lives."""
        self._ask_at = max(self._ask_at, time.monotonic() + SILENT_S)

    def turn(self) -> None:
        """Send what is due now: a packet again, the next one, or the question whether the console lives."""
        now = time.monotonic()
        if self._under_way is None:
            if not self._begin(now):
                return
        elif now < self._resend_at:
            return
        elif self._resends >= self._patience:
            self._give_up(now)
            return
        else:
            self._resends += 1
        self._resend_at = now + RESEND_S
        self._emit(bytes((self._sequence, 0, 0, 0)) + (self._under_way or b""))

    def acknowledged(self, sequence: int, accepted: int, status: int) -> None:
        """What the BMC says about a packet; what it did not accept is sent again (table 15-2)."""
        if self._under_way is None or sequence != self._sequence:
            return
        data, self._under_way = self._under_way, None
        if not data:
            self._answers = True
            return
        if status & _NACK and status & _UNAVAILABLE:
            if not self._unavailable:
                self._event("input is not taken now: the server's serial port is unavailable")
            self._unavailable = True
            return
        self._unavailable = False
        self._input[:0] = data[accepted:]

    @property
    def _patience(self) -> int:
        return RESENDS if self._under_way or self._answers else 0

    def _begin(self, now: float) -> bool:
        """Choose the next packet, if one is due."""
        if now >= self._ask_at and (self._sequence == 0 or not self._input):
            self._ask_at = now + SILENT_S
            self._under_way = b""
        elif self._input:
            self._under_way = bytes(self._input[:PIECE])
            del self._input[:PIECE]
        else:
            return False
        self._sequence = self._sequence % 15 + 1
        self._resends = 0
        return True

    def _give_up(self, now: float) -> None:
        if self._under_way:
            self._lose(UNACKNOWLEDGED)
        elif self._answers:
            self._lose(FROZEN)
        else:
            self._under_way = None
            self._asks_in_vain += 1
            self._ask_at = now + SILENT_S if self._asks_in_vain < ASKS_IN_VAIN else math.inf
