"""What a Redfish service was asked and did, for judges: counted here, at the server's side of the wire."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_KEPT, _RECENT = 1000, 200


@dataclass(frozen=True)
class Request:
    """The request being answered: its sender, when it arrived, and its query."""

    peer: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    query: Mapping[str, str] = field(default_factory=dict)


_CURRENT: ContextVar[Request] = ContextVar("_CURRENT")


def begin(request: Request) -> None:
    """From here on, in this task, this request is being answered."""
    _CURRENT.set(request)


def current() -> Request:
    """The request being answered; an empty one outside of any."""
    return _CURRENT.get(Request())


@dataclass(frozen=True)
class Done:
    """A change that was carried out, such as `ComputerSystem.Reset ForceOff` or `PATCH Systems/1`."""

    id: str
    what: str
    at: datetime
    peer: str


class Ledger:
    """Counts requests by method, and changes by what they were, with the time of their request."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.journal: deque[Done] = deque(maxlen=_KEPT)
        """The last changes, oldest first; a client may clear it, the counts it cannot."""
        self._recent: deque[Done] = deque(maxlen=_RECENT)
        self._noted = 0

    def note(self, what: str, *, journal: bool = True) -> None:
        """A change was carried out."""
        request = current()
        self._noted += 1
        self.done[what] += 1
        done = Done(str(self._noted), what, request.at, request.peer)
        if journal:
            self.journal.append(done)
        self._recent.append(done)

    def status(self) -> dict[str, Any]:
        """As `control.status` shows it; `recent` is the last two hundred, oldest first."""
        return {
            "requests": dict(self.requests),
            "done": dict(self.done),
            "resets": sum(
                count for what, count in self.done.items() if what.startswith("ComputerSystem.Reset ")
            ),
            "recent": [
                {"what": done.what, "at": done.at.isoformat(timespec="milliseconds"), "peer": done.peer}
                for done in self._recent
            ],
        }
