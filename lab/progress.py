"""Progress of long work: whoever works reports steps; whoever watches decides how to show them."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives one line per step; must be cheap and never raise."""

    def __call__(self, text: str, /) -> None:
        """`text` is what happens now, a few words."""


def silent(text: str) -> None:
    """Shows nothing."""
