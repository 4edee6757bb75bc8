"""The Redfish provider: power, boot-once, virtual media, identify, sensors, logs, inventory and clock."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from lab.bmc import power, redfish_boot, redfish_inventory, redfish_logs, redfish_sensors
from lab.bmc.api import (
    Answer,
    BootDevice,
    LogEntry,
    MediaSource,
    Outcome,
    Power,
    PowerAction,
    SensorReading,
)
from lab.bmc.bill import FirmwareMode, Inventory
from lab.bmc.capability import Capability
from lab.bmc.provider import Provider
from lab.bmc.redfish_json import Json, allowed, moment, text
from lab.bmc.redfish_media import RedfishMedia
from lab.bmc.redfish_power import RedfishPower
from lab.bmc.redfish_session import NoAnswer, RedfishSession
from lab.bmc.redfish_tree import RedfishTree
from lab.bmc.target import Account, Target, Unsupported
from lab.deadline import Deadline
from lab.rack.model import Tls

_NOT_HERE = {404, 405, 501}


class RedfishBmc(Provider):
    """A server's BMC by Redfish.

    Args:
        target: the server and the BMC's base URL.
        account: as whom.
        tls: how the certificate is trusted.
        macs: the rack file's MACs, which tell our system where a BMC manages several.
    """

    name = "redfish"

    def __init__(
        self,
        target: Target,
        account: Account,
        tls: Tls | Literal["none"] | None = None,
        macs: Sequence[str] = (),
    ) -> None:
        super().__init__(target)
        self._session = RedfishSession(target, account, tls)
        self._tree = RedfishTree(self._session, target, macs)
        self._power = RedfishPower(self._session, self._tree, target)
        self._media = RedfishMedia(self._session, self._tree, target, self.name)

    def connect(self) -> None:
        """Log in unless there is a session that is alive; raises `LabFault` or one of its kinds."""
        self._session.connect()

    def power(self) -> Power:
        """`PowerState`; a state in between counts as the one it leaves."""
        return self._power.read()

    def set_power(self, action: PowerAction, *, deadline_s: float = 60.0) -> Answer:
        """ComputerSystem.Reset, posted at most once; then the state is read until it shows."""
        deadline = Deadline.after(deadline_s, f"power {action}")
        restart = action in (PowerAction.RESET, PowerAction.CYCLE)
        before = text(self._tree.system, "LastResetTime") if restart else ""
        answer = power.carry_out(self, action, lambda wanted: self._power.send(wanted, deadline), deadline)
        now = text(self._tree.system, "LastResetTime") if before else ""
        if answer.outcome is Outcome.UNVERIFIABLE and now != before:
            evidence = (*answer.evidence, f"LastResetTime went from {before} to {now}")
            return Answer(Outcome.VERIFIED, self.name, answer.tries, evidence)
        return answer

    def boot_once(self, device: BootDevice, mode: FirmwareMode, *, uri: str | None = None) -> Answer:
        """PATCH the boot override and read it back."""
        return redfish_boot.boot_once(self._session, self._tree, self._target, device, mode, self.name)

    def boot_override(self) -> BootDevice | None:
        """The override now in force; NONE where it reads disabled."""
        return redfish_boot.override(self._tree.system)

    def insert_media(self, source: MediaSource) -> Answer:
        """Insert into the first CD drive that takes it."""
        return self._media.insert(source.url)

    def eject_media(self) -> Answer:
        """Empty every CD drive."""
        return self._media.eject()

    def media(self) -> str | None:
        """URL of the attached image."""
        return self._media.inserted()

    def identify(self, on: bool) -> Answer:
        """`LocationIndicatorActive`, else the older `IndicatorLED`; read back."""
        system = self._tree.system
        if isinstance(system.get("LocationIndicatorActive"), bool):
            body: Json = {"LocationIndicatorActive": on}
        elif text(system, "IndicatorLED"):
            lit = next(
                (v for v in ("Blinking", "Lit") if v in (allowed(system, "IndicatorLED") or ["Blinking"])),
                "Lit",
            )
            body = {"IndicatorLED": lit if on else "Off"}
        else:
            raise Unsupported("no identification lamp in the system's Redfish resource")
        self._patch(system, body, f"identify {'on' if on else 'off'}")
        now = self._tree.system
        (name, wanted), seen = next(iter(body.items())), now.get(next(iter(body)))
        lit_now = seen is True or seen in ("Lit", "Blinking")
        if lit_now != on:
            raise self._target.refused("identify", f"set {name} to {wanted}, it reads {seen}")
        return Answer(Outcome.VERIFIED, self.name, 1, (f"{name} reads {seen}",))

    def sensors(self) -> list[SensorReading]:
        """Every reading of the server's chassis."""
        return redfish_sensors.read_sensors(self._tree)

    def power_draw(self) -> float | None:
        """Watts by EnvironmentMetrics, else by PowerControl."""
        return redfish_sensors.power_draw(self._tree)

    def event_log(self) -> list[LogEntry]:
        """The log of hardware events."""
        return redfish_logs.read_log(self._tree, self._log())

    def clear_event_log(self) -> Answer:
        """Clear that log and read it again."""
        service = self._log()
        target = redfish_logs.clear_log_target(service)
        if not target:
            raise Unsupported("the log has no ClearLog action")
        # Without an answer, the log itself tells.
        with contextlib.suppress(NoAnswer):
            self._post(target, redfish_logs.clear_log_body(self._tree, service), "clear the event log")
        left = redfish_logs.read_log(self._tree, service)
        # Many BMCs note in the cleared log that it was cleared.
        if len(left) > 1:
            raise self._target.refused("clear the event log", f"{len(left)} entries are still there")
        return Answer(Outcome.VERIFIED, self.name, 1, (f"{len(left)} entries left",))

    def inventory(self) -> Inventory:
        """What the server is made of."""
        return redfish_inventory.read_inventory(self._tree)

    def clock(self) -> datetime | None:
        """`DateTime` of the first manager that has one."""
        for manager in self._tree.managers(self._tree.system):
            if (at := moment(manager.get("DateTime"))) is not None:
                return at
        return None

    def capabilities(self) -> list[Capability]:
        """What this BMC can do by Redfish."""
        return []

    def close(self) -> None:
        """Delete the session."""
        self._session.close()

    def reset_types(self) -> list[str] | None:
        """The ResetType values this BMC allows; None where it does not say."""
        return self._power.allowed()

    def evidence(self) -> tuple[str, ...]:
        """What went over the wire since this was last asked."""
        return self._session.seen()

    def _log(self) -> Json:
        service = redfish_logs.log_service(self._tree)
        if not service:
            raise Unsupported("no LogServices in the system's Redfish tree")
        return service

    def _post(self, path: str, body: Json, tried: str) -> None:
        reply = self._session.write("POST", path, body)
        if reply.status in _NOT_HERE:
            raise Unsupported(f"{tried}: {reply.why}")
        if not reply.good:
            raise self._target.refused(tried, reply.why)

    def _patch(self, resource: Json, body: Json, tried: str) -> None:
        redfish_boot.patch(self._session, self._target, resource, [body], tried)
