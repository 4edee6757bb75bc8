"""The reading half of the Redfish provider, with the sets that belong there: BIOS, SOL, log, BMC restart."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime

from lab.bmc.api import (
    Answer,
    Attribute,
    Bios,
    LogEntry,
    Outcome,
    Security,
    SensorReading,
    SessionSeen,
    SolSettings,
)
from lab.bmc.bill import Inventory
from lab.bmc.capability import Capability, Identity
from lab.bmc.provider import Provider
from lab.bmc.redfish import inventory as redfish_inventory
from lab.bmc.redfish import logs as redfish_logs
from lab.bmc.redfish import manager as redfish_manager
from lab.bmc.redfish import probe as redfish_probe
from lab.bmc.redfish import security as redfish_security
from lab.bmc.redfish import sensors as redfish_sensors
from lab.bmc.redfish.bios import RedfishBios
from lab.bmc.redfish.errors import NoAnswer
from lab.bmc.redfish.identity import read_identity
from lab.bmc.redfish.json import Json
from lab.bmc.redfish.session import RedfishSession
from lab.bmc.redfish.tree import RedfishTree
from lab.bmc.target import Target, Unsupported

_NOT_HERE = {404, 405, 501}


class RedfishReads(Provider):
    """What a BMC tells by Redfish.

    Args:
        target: the server and the BMC's base URL.
        session: the session that everything goes through.
        tree: the resources of the server.
    """

    name = "redfish"

    def __init__(self, target: Target, session: RedfishSession, tree: RedfishTree) -> None:
        super().__init__(target)
        self._session = session
        self._tree = tree
        self._bios = RedfishBios(session, tree, target, self.name)

    @property
    def changes_sent(self) -> int:
        """Changes that went out to the BMC so far."""
        return self._session.sent

    @property
    def session(self) -> RedfishSession:
        """The session that everything goes through."""
        return self._session

    @property
    def tree(self) -> RedfishTree:
        """The resources of the server."""
        return self._tree

    @property
    def target(self) -> Target:
        """The server and the BMC's base URL."""
        return self._target

    def sol(self) -> SolSettings:
        """`SerialConsole` of the system, else of a manager; the bit rate of its SerialInterfaces."""
        return redfish_manager.read_sol(self._tree)

    def enable_sol(self) -> Answer:
        """PATCH that SerialConsole where it is off, and read it back."""
        return redfish_manager.enable_sol(self._session, self._tree, self._target, self.name)

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
        tried, body = "clear the event log", redfish_logs.clear_log_body(self._tree, service)
        # Without an answer, the log itself tells.
        with contextlib.suppress(NoAnswer):
            reply = self._session.write("POST", target, body)
            if reply.status in _NOT_HERE:
                raise Unsupported(f"{tried}: {reply.why}")
            if not reply.good:
                raise self._target.refused(tried, reply.why)
        left = redfish_logs.read_log(self._tree, service)
        # Many BMCs note in the cleared log that it was cleared.
        if len(left) > 1:
            raise self._target.refused(tried, f"{len(left)} entries are still there")
        return Answer(Outcome.VERIFIED, self.name, 1, (f"{len(left)} entries left",))

    def inventory(self) -> Inventory:
        """What the server is made of."""
        return redfish_inventory.read_inventory(self._tree)

    def bios(self) -> Bios:
        """`Attributes` of Bios, and of its settings resource those that differ."""
        return self._bios.read()

    def set_bios(self, changes: Mapping[str, Attribute]) -> Answer:
        """PATCH the settings resource with what does not hold yet, and read it back as pending."""
        return self._bios.set(changes)

    def security(self) -> Security:
        """SecureBoot, and TrustedModules or TrustedComponents."""
        return redfish_security.read_security(self._tree)

    def clock(self) -> datetime | None:
        """`DateTime` of the first manager that has one."""
        return redfish_manager.read_clock(self._tree)

    def reset_bmc(self, *, deadline_s: float = 300.0) -> Answer:
        """Manager.Reset, posted once; then it is waited for until it has gone and come back."""
        return redfish_manager.reset_bmc(self._session, self._tree, self._target, self.name, deadline_s)

    def sessions(self) -> list[SessionSeen]:
        """The members of SessionService/Sessions."""
        return redfish_manager.read_sessions(self._session, self._tree)

    def identity(self) -> Identity:
        """Manufacturer and Model of the system, Model, Oem keys and FirmwareVersion of its manager."""
        return read_identity(self._tree)

    def capabilities(self) -> list[Capability]:
        """What this BMC can do by Redfish, one entry for each area."""
        return redfish_probe.read_capabilities(self._tree, self.name)

    def _log(self) -> Json:
        service = redfish_logs.log_service(self._tree)
        if not service:
            raise Unsupported("no LogServices in the system's Redfish tree")
        return service
