"""One intent of power, whatever the provider: look, send at most once, look until it shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from lab.bmc.api import Answer, Bmc, Outcome, Power, PowerAction
from lab.bmc.target import Target, Unsupported
from lab.deadline import Deadline
from lab.errors import BmcCredentials, BmcUnreachable, LabFault

_LOOK_EVERY_S = 0.5
DIP_S = 10.0
"""Seconds for which a power cycle is watched for the moment without power."""
FORCED_S = 60.0
AWAY_S = 120.0
"""Seconds that a BMC may be away, restarting, while what became of an order is still open."""
_SETTLE_S = 10.0
"""Seconds that a BMC which is back has to show the state."""
_ENDS: dict[PowerAction, Power] = {
    PowerAction.ON: "on",
    PowerAction.OFF: "off",
    PowerAction.GRACEFUL_OFF: "off",
    PowerAction.RESET: "on",
    PowerAction.CYCLE: "on",
    PowerAction.NMI: "on",
}
_RESTARTS = (PowerAction.RESET, PowerAction.CYCLE)
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

    On when on, and off when off, are verified without sending anything. A reset or cycle of a server that is
    off is a power-on; a cycle that `send` says it cannot do (`Unsupported`) is off and then on. An action
    whose answer did not come is judged by the state and never sent again: a reset then ends unverifiable,
    because "on" looks the same before and after, and so does a cycle that was never seen without power.

    Raises:
        LabFault: the state did not show before the deadline.
        BmcRefused: the BMC said no.
        Unsupported: the provider cannot do it.
    """
    before = bmc.power()
    end = _ENDS[action]
    if action in (PowerAction.ON, PowerAction.OFF, PowerAction.GRACEFUL_OFF) and before == end:
        return Answer(Outcome.VERIFIED, bmc.name, 0, (f"power was already {before}; nothing sent",))
    if action is PowerAction.NMI and before == "off":
        raise bmc._target.refused("power nmi", "the server is off", "power it on first")
    sent = PowerAction.ON if action in _RESTARTS and before == "off" else action
    try:
        silence = send(sent)
    except Unsupported:
        if sent is not PowerAction.CYCLE:
            raise
        return _off_and_on(bmc, send, deadline)
    evidence = [f"power was {before}; sent {sent} once", *([silence] if silence else [])]
    watch = _Watch(bmc)
    dipped = sent is PowerAction.CYCLE and watch.until("off", deadline.within(DIP_S, "the cut")) == "off"
    seen = watch.until(end, deadline)
    evidence += watch.absences
    if seen != end:
        tried = "; ".join([*evidence, f"then read the state until the deadline of {deadline.why}"])
        raise _not_there(bmc, action, seen, end, tried, silence, watch)
    evidence += ["power read off in between"] if dipped else []
    evidence.append(f"power reads {seen}")
    proven = before != end or dipped
    return Answer(Outcome.VERIFIED if proven else Outcome.UNVERIFIABLE, bmc.name, 1, tuple(evidence))


def switch_off(bmc: Bmc, graceful_s: float, *, forced_s: float = FORCED_S) -> Answer:
    """Ask the system to shut down; after `graceful_s` without effect, or where it cannot be asked, force it.

    A graceful off is the work of the system, or of an agent in it (facts/bmc.md Q27), so silence is no
    fault of the BMC.

    Raises:
        LabFault: it is still on after `forced_s` more seconds.
        BmcUnreachable, BmcCredentials: the BMC is not there, or does not let us in; nothing is forced.
    """
    try:
        return bmc.set_power(PowerAction.GRACEFUL_OFF, deadline_s=graceful_s)
    except (BmcUnreachable, BmcCredentials):
        raise
    except (LabFault, Unsupported) as why:
        first = why.message if isinstance(why, LabFault) else str(why)
    forced = bmc.set_power(PowerAction.OFF, deadline_s=forced_s)
    evidence = (f"graceful off, {graceful_s:.0f} s: {first}; then forced", *forced.evidence)
    return replace(forced, tries=forced.tries + 1, evidence=evidence)


def _off_and_on(bmc: Powered, send: Send, deadline: Deadline) -> Answer:
    off = carry_out(bmc, PowerAction.OFF, send, deadline)
    on = carry_out(bmc, PowerAction.ON, send, deadline)
    return replace(on, tries=off.tries + on.tries, evidence=(*off.evidence, *on.evidence))


def _not_there(
    bmc: Powered,
    action: PowerAction,
    seen: Power | None,
    end: Power,
    tried: str,
    silence: str | None,
    watch: _Watch,
) -> LabFault:
    said = f"power is {seen or 'unreadable'}, not {end}"
    if seen is None:
        said += ": the BMC does not answer any more"
    elif watch.absences:
        said += f": the BMC restarted meanwhile ({watch.absences[-1]})"
        said += ", and the order was lost with it" if silence else ""
    return LabFault(
        said,
        server=bmc._target.server,
        tried=tried,
        next_step="power it off hard (action off), or see the BMC's own log"
        if action is PowerAction.GRACEFUL_OFF
        else "look at the server's power and the BMC's own log",
    )


class _Watch:
    """Reads power until it shows, and waits out a BMC that is away meanwhile.

    Attributes:
        absences: from when on the BMC was away and how long, in words.
    """

    def __init__(self, bmc: Powered) -> None:
        self._bmc = bmc
        self.absences: list[str] = []

    def until(self, end: Power, deadline: Deadline) -> Power | None:
        """The last state read, at the latest when it is `end` or the deadline has passed.

        A BMC that does not answer is waited for `AWAY_S` seconds, beyond the deadline if need be, and has
        `_SETTLE_S` more once it is back.
        """
        away: Deadline | None = None
        left_at = 0.0
        while True:
            try:
                seen: Power | None = self._bmc.power()
            except BmcUnreachable:
                # A BMC may be away for a moment while it switches power; reading again harms nobody.
                seen = None
                if away is None:
                    away, left_at = Deadline.after(AWAY_S, "the BMC to come back"), time.monotonic()
            if seen is not None and away is not None:
                self.absences.append(f"the BMC did not answer for {time.monotonic() - left_at:.0f} s")
                away = None
                if deadline.left < _SETTLE_S:
                    deadline = Deadline.after(_SETTLE_S, deadline.why)
            if seen == end or (deadline if away is None else away).passed:
                return seen
            # A BMC tells nobody when power changes: looking again is all there is.
            time.sleep(min(_LOOK_EVERY_S, max(0.0, (deadline if away is None else away).left)))
