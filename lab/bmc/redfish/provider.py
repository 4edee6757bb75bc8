"""The Redfish provider: power, boot, virtual media and the lamp; what it reads is in `redfish_reads`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from lab.bmc import power, quirks
from lab.bmc.api import (
    Answer,
    BootDevice,
    MediaSource,
    Outcome,
    Power,
    PowerAction,
)
from lab.bmc.bill import FirmwareMode
from lab.bmc.capability import Identity
from lab.bmc.redfish import boot as redfish_boot
from lab.bmc.redfish import facts as redfish_facts
from lab.bmc.redfish import slots as redfish_slots
from lab.bmc.redfish.boot import RedfishBoot
from lab.bmc.redfish.identity import read_identity
from lab.bmc.redfish.json import Json, allowed, text
from lab.bmc.redfish.media import RedfishMedia
from lab.bmc.redfish.power import RedfishPower
from lab.bmc.redfish.reads import RedfishReads
from lab.bmc.redfish.session import NoAnswer, RedfishSession
from lab.bmc.redfish.tree import RedfishTree
from lab.bmc.target import Account, Target, Unsupported
from lab.deadline import Deadline
from lab.errors import BmcCredentials, BmcUnreachable, LabFault
from lab.rack.model import Tls

_LEARN_S = 30.0
_log = logging.getLogger(__name__)
_NOT_HERE = {404, 405, 501}


class RedfishBmc(RedfishReads):
    """A server's BMC by Redfish.

    Args:
        target: the server and the BMC's base URL.
        account: as whom.
        tls: how the certificate is trusted.
        macs: the rack file's MACs, which tell our system where a BMC manages several.
        catalogue: the quirks that are known; ours where none is given.
    """

    def __init__(
        self,
        target: Target,
        account: Account,
        tls: Tls | Literal["none"] | None = None,
        macs: Sequence[str] = (),
        catalogue: quirks.Catalogue | None = None,
    ) -> None:
        session = RedfishSession(target, account, tls)
        super().__init__(target, session, RedfishTree(session, target, macs))
        self._power = RedfishPower(self._session, self._tree, target)
        self._media = RedfishMedia(self._session, self._tree, target, self.name)
        self._boot = RedfishBoot(self._session, self._tree, target, self.name, self._media)
        self._catalogue = catalogue or quirks.load()
        self._session.behaviour = self._catalogue.applying(Identity()).behaviour
        self._quirks: quirks.Quirks | None = None

    def connect(self) -> None:
        """Log in unless there is a session that is alive; raises `LabFault` or one of its kinds."""
        self._session.connect()

    def quirks(self) -> quirks.Quirks:
        """The quirks that apply to this BMC, found out once, without changing anything; providers heed them.

        Raises:
            LabFault: the BMC cannot be asked.
        """
        if self._quirks is None:
            with self._tree.within(_LEARN_S, "finding out which quirks this BMC has"):
                slots = list(redfish_slots.look(self._tree))
                probed = redfish_facts.probe(self._tree, slots)
                self._quirks = self._catalogue.applying(read_identity(self._tree), probed)
            self._session.behaviour = self._quirks.behaviour
            self._media.hint = self._quirks.advice_of("Q2")
        return self._quirks

    def power(self) -> Power:
        """`PowerState`; a state in between counts as the one it leaves."""
        return self._power.read()

    def set_power(self, action: PowerAction, *, deadline_s: float = 60.0) -> Answer:
        """ComputerSystem.Reset, posted at most once; then the state is read until it shows."""
        deadline = Deadline.after(deadline_s, f"power {action}")
        self._learn()
        restart = action in (PowerAction.RESET, PowerAction.CYCLE)
        before = text(self._tree.system, "LastResetTime") if restart else ""
        try:
            answer = power.carry_out(
                self, action, lambda wanted: self._power.send(wanted, deadline), deadline
            )
        except LabFault as fault:
            if action is PowerAction.GRACEFUL_OFF and self._session.behaviour.soft_off_needs_agent:
                fault.next_step += "; on this BMC graceful off is the work of an agent in the system (Q27)"
            raise
        now = text(self._tree.system, "LastResetTime") if before else ""
        if answer.outcome is Outcome.UNVERIFIABLE and now != before:
            evidence = (*answer.evidence, f"LastResetTime went from {before} to {now}")
            return Answer(Outcome.VERIFIED, self.name, answer.tries, evidence)
        return answer

    def boot_once(self, device: BootDevice, mode: FirmwareMode, *, uri: str | None = None) -> Answer:
        """PATCH the boot override, or what the vendor has in its place, and read it back."""
        self._learn()
        return self._boot.set(device, mode, uri=uri)

    def boot_always(self, device: BootDevice, mode: FirmwareMode) -> Answer:
        """The same, for every boot; nothing is sent where it reads so already."""
        self._learn()
        return self._boot.set(device, mode, enabled="Continuous")

    def did_not_boot(self, device: BootDevice) -> bool:
        """Told that the console proved the named device did not boot; whether there is another way (Q16)."""
        self._learn()
        return self._boot.did_not_boot(device)

    def boot_override(self) -> BootDevice | None:
        """The override now in force; NONE where it reads disabled."""
        return redfish_boot.override(self._tree.system)

    def insert_media(self, source: MediaSource) -> Answer:
        """Insert into the first CD drive that takes it."""
        self._learn()
        return self._media.insert(source)

    def eject_media(self) -> Answer:
        """Empty every CD drive."""
        self._learn()
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

    def close(self) -> None:
        """Delete the session."""
        self._session.close()

    def reset_types(self) -> list[str] | None:
        """The ResetType values this BMC allows; None where it does not say."""
        return self._power.allowed()

    def evidence(self) -> tuple[str, ...]:
        """What went over the wire since this was last asked."""
        return self._session.seen()

    def _learn(self) -> None:
        """Heed the quirks of this BMC; one that cannot be told is treated as every BMC is."""
        try:
            self.quirks()
        except (BmcUnreachable, BmcCredentials):
            raise
        except LabFault as reason:
            _log.warning("%s: quirks not known: %s", self._target.server, reason.message)

    def _patch(self, resource: Json, body: Json, tried: str) -> None:
        path = text(resource, "@odata.id") or self._tree.system_path
        try:
            reply = self._session.write("PATCH", path, body)
        except NoAnswer:
            return  # whoever calls reads back
        if reply.status in _NOT_HERE:
            raise Unsupported(f"{tried}: {reply.why}")
        if not reply.good:
            raise self._target.refused(tried, reply.why)
