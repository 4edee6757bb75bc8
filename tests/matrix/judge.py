"""Was that right? From what happened in a cell, counted at the server's side, to a verdict."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Happened:
    """What a cell came to.

    Attributes:
        outcome: `installed`, or the class of the error that ended it.
        text: the error's message; empty where installed.
        is_fault: whether that error is a LabFault.
        orders: power orders that the machine gave (each at most one reset).
        before: the server's counters once its BMC answered; `after`: once the machine was given back.
        played: how often each fault and each quirk was played, by the virtual BMC's own account.
        dirty: why the server was given back dirty; None where it was not.
        seconds: from power-on of the deploy medium to the first command by SSH, and of the whole cell.
    """

    outcome: str
    text: str = ""
    is_fault: bool = False
    orders: int = 0
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    played: Mapping[str, int] = field(default_factory=dict)
    dirty: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


def resets(counts: Mapping[str, Any]) -> int:
    """Power orders that the BMC took, by whichever protocol."""
    redfish = counts.get("redfish", {}).get("resets", 0)
    ipmi = counts.get("ipmi", {}).get("chassis_control", {}).values()
    return int(redfish) + sum(int(count) for count in ipmi)


def open_sessions(counts: Mapping[str, Any]) -> int:
    """Sessions that are open at the BMC, of both protocols."""
    faces = (counts.get("redfish", {}), counts.get("ipmi", {}))
    return sum(int(face.get("sessions", {}).get("open", 0)) for face in faces)


def duplicates(happened: Happened) -> int:
    """Power orders that the BMC took beyond those that the machine gave."""
    return max(0, resets(happened.after) - resets(happened.before) - happened.orders)


def leaked(happened: Happened) -> int:
    """Sessions that are still open although everything was given back."""
    return max(0, open_sessions(happened.after) - open_sessions(happened.before))


def complaints(happened: Happened, names: str, faults: tuple[str, ...]) -> list[str]:
    """What is wrong with it; nothing where the install succeeded or ended in one fault that names the cause.

    Args:
        happened: the cell.
        names: what the fault has to say, a regular expression; empty where only success is right.
        faults: the kind of each entry that was injected; each entry must have been played.
    """
    wrong = []
    if happened.outcome != "installed":
        if not happened.is_fault:
            wrong.append(f"ended by {happened.outcome}, which is no LabFault: {happened.text}")
        elif not names:
            wrong.append(f"did not install: {happened.text}")
        elif not re.search(names, happened.text, re.IGNORECASE):
            wrong.append(f"the fault does not name the cause ({names}): {happened.text}")
    if count := duplicates(happened):
        wrong.append(f"{count} duplicate reset{'s' * (count > 1)}")
    if count := leaked(happened):
        wrong.append(f"{count} leaked session{'s' * (count > 1)}")
    for kind in dict.fromkeys(faults):
        played = happened.played.get(kind, 0)
        # Each entry has to hit; an install that ended early may have met only the first.
        wanted = faults.count(kind) if happened.outcome == "installed" else 1
        if not played:
            wrong.append(f"{kind} was never played")
        elif played < wanted:
            wrong.append(f"{kind} was played {played} times, not {wanted}")
    return wrong
