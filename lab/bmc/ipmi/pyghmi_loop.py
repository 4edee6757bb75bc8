"""pyghmi's event loop without its thread: whoever waits for an answer also receives it.

pyghmi 1.6.19 reads its sockets in a daemon thread and wakes whoever waits by an event. An answer that comes
between the waiter's look at the queue and its registration wakes nobody: the request then waits for the retry
timer, 0.5 to 1 s (facts/bmc.md, 2.1, "lost wake-up"). Here the waiting thread selects and reads by itself.

Importing this module changes pyghmi for the whole process. All calls to pyghmi must then be made by one
thread at a time (`lab.bmc.ipmi.session.pyghmi_lock`).
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterable
from typing import Any

from pyghmi.ipmi.private import session as pyghmi_session


class _Sockets:
    """The sockets of pyghmi in a selector, which scales better than select(2) rebuilt for each wait."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._known: set[socket.socket] = set()

    def wait(self, sockets: Iterable[socket.socket], timeout: float) -> list[socket.socket]:
        """Those that have something to read, at the latest after `timeout` seconds."""
        for one in sockets:
            if one not in self._known:
                self._selector.register(one, selectors.EVENT_READ)
                self._known.add(one)
        ready = self._selector.select(max(0.0, timeout))
        return [key.fileobj for key, _ in ready if isinstance(key.fileobj, socket.socket)]


class _NoThread:
    """Stands where pyghmi keeps its thread, so that it starts none."""

    daemon = True

    def join(self) -> None:
        """pyghmi's name for ending the thread; there is none."""


_sockets = _Sockets()


def _wait(timeout: float, _address: Any = None, _events: Any = None) -> None:  # noqa: ANN401  # as in pyghmi
    """Receive what comes within `timeout` seconds and queue it for the sessions it belongs to."""
    ready = _sockets.wait(pyghmi_session.iosockets, timeout)
    if ready:
        pyghmi_session._io_graball(ready, {})


def forget(session: Any) -> None:  # noqa: ANN401  # pyghmi is untyped
    """Take a session that is of no use out of pyghmi's tables, so that it is never found and reused."""
    tables = pyghmi_session.Session
    session.logged = 0
    session.logging = False
    if not session.broken:
        session.broken = True
        tables.socketpool[session.socket] -= 1
    for table in (tables.waiting_sessions, tables.keepalive_sessions):
        table.pop(session, None)
    for key in [key for key, owner in tables.initting_sessions.items() if owner is session]:
        del tables.initting_sessions[key]
    for by_port in tables.bmc_handlers.values():
        for port in [port for port, owner in by_port.items() if owner is session]:
            del by_port[port]


pyghmi_session._io_wait = _wait
pyghmi_session.iothread = pyghmi_session.iothread or _NoThread()
pyghmi_session.iothreadready = True
