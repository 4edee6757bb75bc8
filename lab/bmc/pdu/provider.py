"""The PDU provider: power alone, by the outlets that feed a server; asked when its BMC is dead.

What an outlet tells is one-sided: a server whose outlets are all off is off, one whose outlets are on may be
either. So nothing here ever says "on".
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from lab.bmc.api import Answer, Outcome, Power, PowerAction
from lab.bmc.capability import Area, Can, Capability
from lab.bmc.pdu.snmp import NoAnswer, NotThere, SnmpAgent
from lab.bmc.provider import Provider
from lab.bmc.target import Target, Unsupported
from lab.deadline import Deadline
from lab.errors import BmcUnreachable, LabFault
from lab.rack.pdu import OutletObjects

State = Literal["on", "off", "changing"]
_LOOK_EVERY_S = 0.5
_ORDERS = 3
"""How often an order may be sent that nobody answered and that the outlets do not show."""
_SETTLE_S = 3.0
"""Seconds after which an unanswered order that does not show counts as lost."""
_BY_HAND = "switch the outlets by hand; the server has no power until they are on"


class PduOutlets(Provider):
    """The outlets that feed one server.

    Args:
        target: the server and the PDU's address.
        agent: the PDU's SNMP agent.
        objects: how this kind of PDU is driven.
        outlets: the index of each outlet; all are switched, one after the other.
        off_s: seconds that a power cycle keeps them off.
    """

    name = "pdu"
    last_resort = True

    def __init__(
        self, target: Target, agent: SnmpAgent, objects: OutletObjects, outlets: Sequence[str], off_s: float
    ) -> None:
        super().__init__(target)
        self._agent = agent
        self._objects = objects
        self._outlets = tuple(outlets)
        self._off_s = off_s
        self._seen: list[str] = []

    def connect(self) -> None:
        """Read the outlets: SNMP has no session. Raises BmcUnreachable, BmcCredentials or LabFault."""
        self.states()

    def states(self) -> dict[str, State]:
        """Each outlet as it reads now."""
        oids = [self._objects.state.format(outlet=outlet) for outlet in self._outlets]
        try:
            values = self._agent.read(oids)
        except NotThere as missing:
            raise self._target.fault(
                f"reading outlets {', '.join(self._outlets)}",
                f"it has no such outlet ({missing})",
                "check `model` and `outlets` under bmc.pdu in the rack file",
            ) from missing
        found = dict(zip(self._outlets, map(self._meaning, values), strict=True))
        self._seen.append(f"outlets read {_said(found)}")
        return found

    def power(self) -> Power:
        """ "off" where no outlet gives power; otherwise a PDU cannot know, which is `Unsupported`."""
        states = self.states()
        if set(states.values()) == {"off"}:
            return "off"
        raise Unsupported(f"whether the server runs; its outlets are {_said(states)}")

    def set_power(self, action: PowerAction, *, deadline_s: float = 60.0) -> Answer:
        """Switch the outlets and read until they show it; a reset is a power cycle.

        `deadline_s` does not count the time that a cycle keeps them off.

        Raises:
            Unsupported: nothing was sent: the action is not one of power, or the outlets are on already and
                only the BMC can start the server.
            LabFault: an outlet does not do it.
        """
        states = self.states()
        if action is PowerAction.ON:
            if set(states.values()) == {"on"}:
                raise Unsupported("power on: the outlets are on already; only its BMC can start the server")
            return self._switch_on(states, deadline_s)
        if action is PowerAction.OFF:
            return self._switch_off(states, deadline_s)
        if action not in (PowerAction.CYCLE, PowerAction.RESET):
            raise Unsupported(f"power {action}: a PDU only takes the power away")
        off = self._switch_off(states, deadline_s)
        # The supplies must run empty, or the server never notices; nothing tells when they have.
        time.sleep(self._off_s)
        on = self._switch_on(dict.fromkeys(self._outlets, "off"), deadline_s)
        waited = f"kept off for {self._off_s:g} s"
        return Answer(Outcome.UNVERIFIABLE, self.name, 1, (*off.evidence, waited, *on.evidence))

    def evidence(self) -> tuple[str, ...]:
        """What the outlets read since this was last asked."""
        seen, self._seen = tuple(self._seen[-20:]), []
        return seen

    def capabilities(self) -> list[Capability]:
        """Power, where the outlets can be read; whether writing is allowed shows only when it is done."""
        states = self.states()
        rows: dict[Area, tuple[Can, tuple[str, ...], str]] = {
            Area.POWER: (
                "yes",
                (PowerAction.ON, PowerAction.OFF, PowerAction.CYCLE),
                f"outlets read {_said(states)}; the right to write was not tried",
            )
        }
        nothing: tuple[Can, tuple[str, ...], str] = ("no", (), "a PDU switches power alone")
        return [Capability(area, self.name, *rows.get(area, nothing)) for area in Area]

    def close(self) -> None:
        """Close the socket."""
        self._agent.close()

    def _switch_off(self, states: dict[str, State], deadline_s: float) -> Answer:
        deadline = Deadline.after(deadline_s, "outlets off")
        evidence = self._order("off", states, deadline)
        return Answer(Outcome.VERIFIED, self.name, 1 if len(evidence) > 1 else 0, evidence)

    def _switch_on(self, states: dict[str, State], deadline_s: float) -> Answer:
        deadline = Deadline.after(deadline_s, "outlets on")
        evidence = (
            *self._order("on", states, deadline),
            "whether the server starts with its power is up to its firmware; the PDU cannot see it",
        )
        return Answer(Outcome.UNVERIFIABLE, self.name, 1, evidence)

    def _order(
        self, wanted: Literal["on", "off"], states: dict[str, State], deadline: Deadline
    ) -> tuple[str, ...]:
        evidence: list[str] = []
        pending = [outlet for outlet, state in states.items() if state != wanted]
        for _ in range(_ORDERS):
            silent = [outlet for outlet in pending if not self._tell(outlet, wanted, evidence)]
            seen = self._wait(wanted, deadline.within(_SETTLE_S, deadline.why) if silent else deadline)
            # Told again only where nobody answered and the outlet reads as before: the order was lost.
            lost: State = "off" if wanted == "on" else "on"
            pending = [outlet for outlet in silent if seen.get(outlet) == lost]
            if not pending or deadline.passed:
                break
        seen = self._wait(wanted, deadline)
        if set(seen.values()) == {wanted}:
            return (*evidence, f"outlets read {_said(seen)}")
        raise LabFault(
            f"PDU {self._target.address}: outlets are {_said(seen) or 'unreadable'}, not all {wanted}",
            server=self._target.server,
            tried="; ".join([*evidence, f"read them until the deadline of {deadline.why}"]),
            next_step=_BY_HAND if wanted == "on" else "look at the PDU: an outlet may be locked",
        )

    def _tell(self, outlet: str, wanted: Literal["on", "off"], evidence: list[str]) -> bool:
        """Send one order; whether the PDU said yes. Raises BmcRefused where it says no."""
        order = self._objects.switch_on if wanted == "on" else self._objects.switch_off
        try:
            self._agent.write(order.oid.format(outlet=outlet), order.value)
        except NoAnswer as silence:
            evidence.append(f"outlet {outlet}: {silence}")
            return False
        except NotThere as missing:
            raise self._target.refused(
                "; ".join([*evidence, f"switching outlet {outlet} {wanted}"]),
                f"it cannot be switched ({missing})",
                "a metered PDU has no switches; check `model` and `outlets` under bmc.pdu",
            ) from missing
        evidence.append(f"outlet {outlet}: told {wanted}")
        return True

    def _wait(self, wanted: State, deadline: Deadline) -> dict[str, State]:
        """The outlets as last read, at the latest when all are `wanted` or the deadline has passed."""
        while True:
            try:
                seen = self.states()
            except BmcUnreachable:
                # It may be away for a moment; reading again harms nobody.
                seen = {}
            if set(seen.values()) == {wanted} or deadline.passed:
                return seen
            # A PDU tells nobody when an outlet changes, and may keep a delay of its own.
            time.sleep(min(_LOOK_EVERY_S, deadline.left))

    def _meaning(self, value: int) -> State:
        if value in self._objects.state_on:
            return "on"
        return "off" if value in self._objects.state_off else "changing"


def _said(states: dict[str, State]) -> str:
    return ", ".join(f"{outlet} {state}" for outlet, state in states.items())
