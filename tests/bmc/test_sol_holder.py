"""Two clients that want one console, in the order that a slow machine makes of it."""

from __future__ import annotations

import os
import select

import pytest

from lab.bmc.sol import child as sol_child
from lab.bmc.sol.child import Holder, Order, ParentGone
from lab.bmc.sol.frames import Kind
from lab.bmc.sol.session import HELD, TAKEN


class Session:
    """An attempt to activate the payload, answered as told."""

    connected = True
    stumble = ""

    def __init__(self, why: str | None, *, freed: bool = False) -> None:
        self.lost, self.freed_another, self.released = why, freed, False

    def release(self) -> None:
        """Nothing to give back."""
        self.released = True

    @property
    def quiet(self) -> bool:
        """Nothing typed."""
        return True

    def pump(self, seconds: float) -> None:
        """Once open, the parent leaves."""
        raise ParentGone


def hold(monkeypatch: pytest.MonkeyPatch, *attempts: Session) -> tuple[list[bool], list[float], list[str]]:
    """Run a holder over these attempts: whether each was forced, each wait between them, what was told."""
    forced: list[bool] = []
    waits: list[float] = []
    told: list[str] = []
    left = iter(attempts)

    def attempt(*_: object, force: bool, **_order: object) -> Session:
        forced.append(force)
        return next(left)

    def tell(self: Holder, kind: Kind, text: str) -> None:
        told.append(f"{kind.name}: {text}")

    monkeypatch.setattr(sol_child, "SolSession", attempt)
    monkeypatch.setattr(Holder, "_idle", lambda self, seconds: waits.append(seconds))
    monkeypatch.setattr(Holder, "_tell", tell)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(select, "select", lambda *_: ([], [], []))
    holder = Holder(Order("127.0.0.1", 623, "lab", "pw"))
    with pytest.raises(ParentGone):
        holder.run()
    return forced, waits, told


def test_a_console_still_held_after_it_was_freed_is_asked_for_again_without_force(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forced, _, told = hold(monkeypatch, Session(HELD, freed=True), Session(None))
    assert forced == [True, False]
    assert told == [
        "EVENT: the console was held by another client, whose session was ended",
        "OPEN: console open",
    ]


def test_who_loses_the_console_to_another_lets_them_have_it_first(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Session(None)
    taken.pump = lambda seconds: setattr(taken, "lost", TAKEN)  # type: ignore[method-assign]
    forced, waits, _ = hold(monkeypatch, taken, Session(None))
    assert forced == [True, False]
    assert waits == [sol_child.TAKEN_WAIT_S]


def test_where_quirks_forbid_it_a_lost_console_is_not_attached_again(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    lost = Session(None)
    lost.pump = lambda seconds: setattr(lost, "lost", "gone")  # type: ignore[method-assign]
    monkeypatch.setattr(sol_child, "SolSession", lambda *_, **__: lost)
    monkeypatch.setattr(Holder, "_tell", lambda self, kind, text: told.append(f"{kind.name}: {text}"))
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(select, "select", lambda *_: ([], [], []))
    assert Holder(Order("127.0.0.1", 623, "lab", "pw", reattach=0)).run() == 1
    assert told == ["OPEN: console open", "FAILED: fault console lost (gone)"]


def test_refusals_count_only_once_the_bmc_had_time_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Session(None)
    opened.pump = lambda seconds: setattr(opened, "lost", "reset")  # type: ignore[method-assign]
    refused = [Session("SOL is disabled") for _ in range(4)]
    left = iter([opened, *refused])
    told: list[str] = []
    monkeypatch.setattr(sol_child, "SETTLE_S", 0.0)
    monkeypatch.setattr(sol_child, "SolSession", lambda *_, **__: next(left))
    monkeypatch.setattr(Holder, "_idle", lambda self, seconds: None)
    monkeypatch.setattr(Holder, "_tell", lambda self, kind, text: told.append(f"{kind.name}: {text}"))
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(select, "select", lambda *_: ([], [], []))
    assert Holder(Order("127.0.0.1", 623, "lab", "pw", reattach=3)).run() == 1
    assert told[-1].startswith("FAILED: fault not back")
    assert list(left) == []
