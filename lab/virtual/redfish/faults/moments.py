"""When things last happened to a server: what the refusals of a profile are counted from."""

from __future__ import annotations

import time

from lab.virtual.board import Board
from lab.virtual.profiles import Event


class Moments:
    """Notes the moment of each event, by being told of changes of the board and by looking."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._seen = (board.power, board.media, board.last_reset)
        self._rounds: dict[Event, tuple[int, float]] = {"start": (1, time.monotonic())}
        board.changed.append(self.look)

    def close(self) -> None:
        """No longer be told."""
        self._board.changed.remove(self.look)

    def round(self, event: Event) -> tuple[int, float] | None:
        """How often the event has happened and the monotonic time of the last; None where it never did."""
        self.look()
        return self._rounds.get(event)

    def look(self) -> None:
        """Compare the board with what was seen of it last."""
        board = self._board
        (power, media, reset), now = self._seen, (board.power, board.media, board.last_reset)
        self._seen = now
        if now[0] == "on" and (power == "off" or now[2] != reset):
            self._begin("power-on")
        if now[0] == "off" and power == "on":
            self._begin("power-off")
        if now[1] is not media:
            self._begin("eject" if now[1] is None else "insert")

    def _begin(self, event: Event) -> None:
        number, _ = self._rounds.get(event, (0, 0.0))
        self._rounds[event] = (number + 1, time.monotonic())
