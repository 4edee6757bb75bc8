"""The first connection on which a server speaks, without losing time on connections that stay dumb.

QEMU's user networking takes a connection before its guest listens, and a packet sent while a server boots is
simply lost: one attempt at a time would sit in a dead connection at the moment the server comes up. So a new
attempt starts every two seconds beside the ones still silent, and a quarter of a second after one was
refused; whichever is heard first is kept. No more than that, because an emulated server pays dearly for each.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time

from lab.deadline import Deadline

_AFTER_REFUSAL_S = 0.25
_BESIDE_SILENCE_S = 2.0
_LIVES_S = 10.0
_LOOKS_EVERY_S = 0.5
_UNANSWERED_MS = 30_000


def first_to_speak(
    address: str, port: int, deadline: Deadline, given_up: threading.Event | None = None
) -> socket.socket:
    """The first connection to `address` on which anything arrives; nothing of it has been read yet.

    Setting `given_up` in another thread ends the wait within half a second.

    The socket comes blocking, without Nagle's delay, and fails when what was sent is unacknowledged for 30 s.

    Raises:
        TimeoutError: the deadline passed, or it was given up; says how the last attempt ended.
    """
    with _Race(address, port) as race:
        while not (deadline.passed or (given_up is not None and given_up.is_set())):
            speaking = race.listen(deadline)
            if speaking is not None:
                speaking.setblocking(True)
                speaking.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                speaking.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED_MS)
                return speaking
        raise TimeoutError(race.last_end)


class _Race:
    """Attempts under way, each with the moment it began."""

    def __init__(self, address: str, port: int) -> None:
        self.last_end = "every attempt was met with silence"
        self._where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        self._attempts: dict[socket.socket, float] = {}
        self._selector = selectors.DefaultSelector()
        self._next = time.monotonic()

    def __enter__(self) -> _Race:
        return self

    def __exit__(self, *_: object) -> None:
        for attempt in list(self._attempts):
            self._drop(attempt).close()
        self._selector.close()

    def listen(self, deadline: Deadline) -> socket.socket | None:
        """Start what is due, then wait until an attempt can be judged or the next is due."""
        now = time.monotonic()
        for attempt in [attempt for attempt, began in self._attempts.items() if now - began > _LIVES_S]:
            self._drop(attempt).close()
        if now >= self._next:
            self._next = now + _BESIDE_SILENCE_S
            self._begin(now)
        for key, _ in self._selector.select(min(max(self._next - now, 0.0), deadline.left, _LOOKS_EVERY_S)):
            attempt = key.data
            end = _end_of(attempt)
            if end is None:
                return self._drop(attempt)
            self.last_end = end
            self._next = min(self._next, now + _AFTER_REFUSAL_S)
            self._drop(attempt).close()
        return None

    def _begin(self, now: float) -> None:
        family, kind, protocol, _, address = self._where
        attempt = socket.socket(family, kind, protocol)
        attempt.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            attempt.connect_ex(address)
        self._attempts[attempt] = now
        self._selector.register(attempt, selectors.EVENT_READ, attempt)

    def _drop(self, attempt: socket.socket) -> socket.socket:
        del self._attempts[attempt]
        self._selector.unregister(attempt)
        return attempt


def _end_of(attempt: socket.socket) -> str | None:
    """Why this readable attempt will never speak; None when it does."""
    try:
        return None if attempt.recv(1, socket.MSG_PEEK) else "the connection was closed without a word"
    except OSError as error:
        return error.strerror or str(error)
