"""What a command is: the privilege it needs and the function that answers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lab.virtual.ipmi.bmc import Asked, Bmc
from lab.virtual.ipmi.session import ADMINISTRATOR, OPERATOR, USER

__all__ = ["ADMINISTRATOR", "OPERATOR", "USER", "Command", "Table"]


class Command(NamedTuple):
    """One command; `level` None is answered outside of sessions too (appendix G)."""

    answer: Callable[[Bmc, Asked], bytes]
    level: int | None = USER


Table = dict[tuple[int, int], Command]
"""Commands by network function and number."""
