"""The Redfish provider: power, boot, virtual media and the lamp; what it reads is in `redfish_reads`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from lab.bmc import power, redfish_boot
from lab.bmc.api import (
    Answer,
    BootDevice,
    MediaSource,
    Outcome,
    Power,
    PowerAction,
)
from lab.bmc.bill import FirmwareMode
from lab.bmc.redfish_json import Json, allowed, text
from lab.bmc.redfish_media import RedfishMedia
from lab.bmc.redfish_power import RedfishPower
from lab.bmc.redfish_reads import RedfishReads
from lab.bmc.redfish_session import RedfishSession
from lab.bmc.redfish_tree import RedfishTree
from lab.bmc.target import Account, Target, Unsupported
from lab.deadline import Deadline
from lab.rack.model import Tls


class RedfishBmc(RedfishReads):
    """A server's BMC by Redfish.

    Args:
        target: the server and the BMC's base URL.
        account: as whom.
        tls: how the certificate is trusted.
        macs: the rack file's MACs, which tell our system where a BMC manages several.
    """

    def __init__(
        self,
        target: Target,
        account: Account,
        tls: Tls | Literal["none"] | None = None,
        macs: Sequence[str] = (),
    ) -> None:
        session = RedfishSession(target, account, tls)
        super().__init__(target, session, RedfishTree(session, target, macs))
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
        return self._media.insert(source)

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

    def close(self) -> None:
        """Delete the session."""
        self._session.close()

    def reset_types(self) -> list[str] | None:
        """The ResetType values this BMC allows; None where it does not say."""
        return self._power.allowed()

    def evidence(self) -> tuple[str, ...]:
        """What went over the wire since this was last asked."""
        return self._session.seen()

    def _patch(self, resource: Json, body: Json, tried: str) -> None:
        redfish_boot.patch(self._session, self._target, resource, [body], tried)
