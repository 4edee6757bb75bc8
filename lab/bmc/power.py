"""One intent of power, whatever the provider: look, send at most once, look until it shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from lab.bmc.api import Answer, Outcome, Power, PowerAction
from lab.bmc.target import Target
from lab.deadline import Deadline
from lab.errors import BmcUnreachable, LabFault

_LOOK_EVERY_S = 0.5
_ENDS: dict[PowerAction, Power] = {
    PowerAction.ON: "on",
    PowerAction.OFF: "off",
    PowerAction.GRACEFUL_OFF: "off",
    PowerAction.RESET: "on",
    PowerAction.NMI: "on",
}
Send = Callable[[PowerAction], str | None]
"""Sends the action once; returns why its fate is open (a time-out), or None when it was accepted."""


class Powered(Protocol):
    """The part of a provider that this needs."""

    name: str
    _target: Target

    def power(self) -> Power:
        """The power state as the BMC reads it now."""


def carry_out(bmc: Powered, action: PowerAction, send: Send, deadline: Deadline) -> Answer:
    """Bring `action` about and wait for the state it ends in.

    On when on, and off when off, are verified without sending anything. A reset of a server that is off
    is a power-on. An action whose answer did not come is judged by the state and never sent again: a
    reset then ends unverifiable, because "on" looks the same before and after.

    Raises:
        LabFault: the state did not show before the deadline.
        BmcRefused: the BMC said no.
    """
    before = bmc.power()
    end = _ENDS[action]
    if action in (PowerAction.ON, PowerAction.OFF, PowerAction.GRACEFUL_OFF) and before == end:
        return Answer(Outcome.VERIFIED, bmc.name, 0, (f"power was already {before}; nothing sent",))
    if action is PowerAction.NMI and before == "off":
        raise bmc._target.refused("power nmi", "the server is off", "power it on first")
    sent = PowerAction.ON if action is PowerAction.RESET and before == "off" else action
    silence = send(sent)
    evidence = [f"power was {before}; sent {sent} once", *([silence] if silence else [])]
    seen = _wait_for(bmc, end, deadline)
    if seen != end:
        tried = "; ".join([*evidence, f"then read the state until the deadline of {deadline.why}"])
        raise LabFault(
            f"power is {seen or 'unreadable'}, not {end}",
            server=bmc._target.server,
            tried=tried,
            next_step="power it off hard (action off), or see the BMC's own log"
            if action is PowerAction.GRACEFUL_OFF
            else "look at the server's power and the BMC's own log",
        )
    evidence.append(f"power reads {seen}")
    proven = before != end
    return Answer(Outcome.VERIFIED if proven else Outcome.UNVERIFIABLE, bmc.name, 1, tuple(evidence))


def _wait_for(bmc: Powered, end: Power, deadline: Deadline) -> Power | None:
    """The last state read, at the latest when it is `end` or the deadline has passed."""
    while True:
        try:
            seen: Power | None = bmc.power()
        except BmcUnreachable:
            # A BMC may be away for a moment while it switches power; reading again harms nobody.
            seen = None
        if seen == end or deadline.passed:
            return seen
        # A BMC tells nobody when power changes: looking again is all there is.
        time.sleep(min(_LOOK_EVERY_S, deadline.left))
