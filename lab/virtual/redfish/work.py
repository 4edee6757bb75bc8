"""Long work behind a request: a table of tasks, each with its progress, that forgets the finished ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

State = Literal["New", "Running", "Completed", "Exception", "Cancelled"]


class WorkFailed(Exception):
    """The work came to nothing; the text is what the task's message says."""


@dataclass
class Work:
    """One task: what it does, how far it is, and how it ended."""

    id: str
    name: str
    target: str
    state: State = "New"
    percent: int = 0
    message: str = "The task was accepted."
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    gone_at: float | None = None
    """The monotonic time from which on it is forgotten; None while it is unfinished."""

    @property
    def finished(self) -> bool:
        """Whether it has ended, either way."""
        return self.ended is not None

    def advance(self, percent: int, message: str) -> None:
        """Say how far it is."""
        self.percent, self.message = percent, message


class TaskTable:
    """The tasks of one service."""

    def __init__(self) -> None:
        self._works: dict[str, Work] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._made = 0

    def start(self, name: str, target: str, do: Callable[[Work], Awaitable[None]], kept_s: float) -> Work:
        """Begin work in the background; `do` advances it, and raises `WorkFailed` where it fails."""
        self._made += 1
        work = Work(str(self._made), name, target)
        self._works[work.id] = work
        task = asyncio.create_task(self._run(work, do, kept_s))
        self._running[work.id] = task
        task.add_done_callback(lambda _: self._running.pop(work.id, None))
        return work

    def all(self) -> list[Work]:
        """The tasks that are not yet forgotten, oldest first."""
        now = time.monotonic()
        self._works = {
            key: work for key, work in self._works.items() if work.gone_at is None or work.gone_at > now
        }
        return list(self._works.values())

    def get(self, key: str) -> Work | None:
        """The task with that id."""
        return next((work for work in self.all() if work.id == key), None)

    def remove(self, key: str) -> None:
        """Forget a task; one that runs is cancelled."""
        if key in self._running:
            self._running[key].cancel()
        self._works.pop(key, None)

    def clear(self) -> None:
        """Forget them all, as a reset of the BMC does."""
        for key in list(self._works):
            self.remove(key)

    async def _run(self, work: Work, do: Callable[[Work], Awaitable[None]], kept_s: float) -> None:
        work.state = "Running"
        try:
            await do(work)
        except WorkFailed as failure:
            work.state, work.message = "Exception", str(failure)
        except asyncio.CancelledError:
            work.state, work.message = "Cancelled", "The task was cancelled."
            raise
        else:
            work.state, work.percent, work.message = "Completed", 100, "The task completed successfully."
        finally:
            if work.state == "Running":
                work.state, work.message = "Exception", "The task ended by a bug of the service."
            work.ended = datetime.now(UTC)
            work.gone_at = time.monotonic() + kept_s
