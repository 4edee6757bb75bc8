"""ComputerSystem.Reset: the value that fits the intent, the state and what the BMC allows; one at a time."""

from __future__ import annotations

import re

from lab.bmc.api import Power, PowerAction
from lab.bmc.quirk_model import Intent
from lab.bmc.redfish.json import Json, action, allowed, as_list, strings, text
from lab.bmc.redfish.reply import Reply
from lab.bmc.redfish.session import NoAnswer, RedfishSession
from lab.bmc.redfish.tree import RedfishTree
from lab.bmc.target import Target, Unsupported
from lab.deadline import Deadline

_RESET_TYPES = {
    PowerAction.ON: ("On", "ForceOn"),
    PowerAction.OFF: ("ForceOff",),
    PowerAction.GRACEFUL_OFF: ("GracefulShutdown", "PushPowerButton"),
    PowerAction.RESET: ("ForceRestart", "PowerCycle"),
    PowerAction.CYCLE: ("PowerCycle",),
    PowerAction.NMI: ("Nmi",),
}
"""ResetType values (Resource schema), the wanted one first; several BMCs lack some (Q6, Q23)."""
_INTENTS: dict[PowerAction, tuple[Intent, Power | None]] = {
    PowerAction.ON: ("power-on", "on"),
    PowerAction.OFF: ("power-off", "off"),
    PowerAction.GRACEFUL_OFF: ("power-off", "off"),
    PowerAction.RESET: ("reset", None),
    PowerAction.CYCLE: ("reset", None),
    PowerAction.NMI: ("reset", None),
}
"""Which refusals may be repeated, and the state that makes that needless."""
_NOT_HERE = {404, 405, 501}
_WRONG_STATE = re.compile(r"InvalidOperationForSystemState|ServerPoweredOff|system is (powered )?off", re.I)


class RedfishPower:
    """The power of one server."""

    def __init__(self, session: RedfishSession, tree: RedfishTree, target: Target) -> None:
        self._session = session
        self._tree = tree
        self._target = target

    def read(self) -> Power:
        """`PowerState`; a state in between counts as the one it leaves.

        Raises:
            LabFault: it says neither.
        """
        state = text(self._tree.system, "PowerState")
        if state in ("On", "PoweringOff", "Paused"):
            return "on"
        if state in ("Off", "PoweringOn"):
            return "off"
        raise self._target.fault("reading PowerState", f"it says '{state}'", "reset the BMC, or update it")

    def allowed(self) -> list[str] | None:
        """The ResetType values this BMC allows; None where it does not say."""
        return self._allowed(action(self._tree.system, "ComputerSystem.Reset"))

    def send(self, wanted: PowerAction, deadline: Deadline) -> str | None:
        """Post the reset once; why its fate is open, or None.

        A refusal is repeated as quirks say (Q6), while the state is not yet the wanted one. Where the BMC
        refuses a reset because the server is off after all, it is powered on (Q13).

        Raises:
            Unsupported: the BMC does not allow it; nothing was sent.
            BmcRefused: the BMC said no.
        """
        system = self._tree.system
        reset = action(system, "ComputerSystem.Reset")
        target, may = text(reset, "target"), self._allowed(reset)
        kinds = [kind for kind in _RESET_TYPES[wanted] if may is None or kind in may]
        if not target or not kinds:
            raise Unsupported(f"power {wanted}: the BMC allows {', '.join(may or []) or 'no reset'}")
        intent, end = _INTENTS[wanted]
        try:
            reply = self._session.write(
                "POST",
                target,
                {"ResetType": kinds[0]},
                intent=intent,
                resource=text(system, "@odata.id") or self._tree.system_path,
                deadline=deadline,
                again=lambda: end is None or self.read() != end,
            )
        except NoAnswer as silence:
            return str(silence)
        return self._judge(reply, wanted, end, deadline)

    def _judge(self, reply: Reply, wanted: PowerAction, end: Power | None, deadline: Deadline) -> str | None:
        if reply.good:
            return None
        if reply.status in _NOT_HERE:
            raise Unsupported(f"power {wanted}: {reply.why}")
        if end is not None and self.read() == end:
            return f"refused ({reply.why}), but power is {end}"
        restart = wanted in (PowerAction.RESET, PowerAction.CYCLE)
        if restart and _WRONG_STATE.search(reply.all_words) and self.read() == "off":
            return self.send(PowerAction.ON, deadline)
        raise self._target.refused(f"power {wanted}", reply.why)

    def _allowed(self, reset: Json) -> list[str] | None:
        direct = allowed(reset, "ResetType")
        if direct is not None:
            return direct
        info = self._tree.look(text(reset, "@Redfish.ActionInfo") or None)
        for parameter in as_list(info.get("Parameters", [])):
            if text(parameter, "Name") == "ResetType" and isinstance(parameter.get("AllowableValues"), list):
                return strings(parameter["AllowableValues"])
        return None
