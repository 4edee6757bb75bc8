"""The boot override by Redfish: within what the BMC allows, written once, read back."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator

from lab.bmc.api import Answer, BootDevice, Outcome
from lab.bmc.bill import FirmwareMode
from lab.bmc.redfish.boot_plan import CLEAR, MODE, Enabled, holds, mode_name, plans, settings_path
from lab.bmc.redfish.boot_plan import override as override
from lab.bmc.redfish.boot_plan import plan as plan
from lab.bmc.redfish.boot_plan import targets as targets
from lab.bmc.redfish.json import Json, as_dict, text
from lab.bmc.redfish.media import RedfishMedia
from lab.bmc.redfish.oem import DellOem, boot_next_body, boot_next_of
from lab.bmc.redfish.reply import Reply
from lab.bmc.redfish.session import AWAY_S, NoAnswer, RedfishSession
from lab.bmc.redfish.slots import loaded
from lab.bmc.redfish.tree import RedfishTree
from lab.bmc.target import Target, Unsupported
from lab.deadline import Deadline
from lab.errors import BmcRefused, BmcUnreachable

READ_BACK_S = 5.0
"""Seconds for which an override may read as before."""
_LOOK_EVERY_S = 0.5
_MALFORMED = {400, 422}
_NOT_HERE = {404, 405, 501}
_BY_A_JOB = re.compile(
    r"(pending|running|scheduled|unfinished|existing)[^.]*\bjob|\bjob[^.]*(pending|queue)", re.I
)


class RedfishBoot:
    """The boot override of one server."""

    def __init__(
        self, session: RedfishSession, tree: RedfishTree, target: Target, name: str, media: RedfishMedia
    ) -> None:
        self._session = session
        self._tree = tree
        self._target = target
        self._name = name
        self._media = media
        self._dead: set[str] = set()
        self._oem_first = False

    def set(
        self, device: BootDevice, mode: FirmwareMode, *, enabled: Enabled = "Once", uri: str | None = None
    ) -> Answer:
        """Name the device of the next boot, or of every boot.

        The vendor's own way to the virtual CD is taken first where the standard one means another drive,
        and else where the standard one did not take (Q1, Q11).

        Raises:
            Unsupported: this BMC has no override, or not to this device, or not for ever.
            BmcRefused: it said no, or reads back something else.
            ValueError: `uri` with another device than HTTP.
        """
        if uri is not None and device is not BootDevice.HTTP:
            raise ValueError("a URI goes with HTTP only")
        tried = f"boot {'once' if enabled == 'Once' else 'always'} from {device}"
        if device is BootDevice.NONE:
            return self._clear(mode, tried)
        own = device is BootDevice.CD and enabled == "Once"
        behaviour = self._session.behaviour
        oem_first = behaviour.oem_boot_first or self._oem_first
        if own and oem_first and self._media.inserted() and (done := self._oem()):
            return done
        try:
            return self._standard(device, mode, enabled, uri, tried)
        except (Unsupported, BmcRefused) as why:
            done = self._oem() if own else None
            if done is None:
                raise
            reason = why.message if isinstance(why, BmcRefused) else str(why)
            return Answer(done.outcome, done.provider, done.tries + 1, (reason, *done.evidence))

    def did_not_boot(self, device: BootDevice) -> bool:
        """The console proved that the server did not boot from the device that was named.

        The target that was named is asked for last from now on (Q16); False where there is no other.
        """
        if device is not BootDevice.CD:
            return False
        behaviour = self._session.behaviour
        may = targets(self._tree, self._tree.system)
        known = [name for name in behaviour.cd_targets if may is None or name in may]
        tried = next((name for name in known if name not in self._dead), None)
        self._dead |= {tried} if tried else set()
        if any(name not in self._dead for name in known):
            return True
        other = behaviour.oem_boot_once is not None and not (behaviour.oem_boot_first or self._oem_first)
        self._oem_first = self._oem_first or other
        return other

    def _clear(self, mode: FirmwareMode, tried: str) -> Answer:
        own, way = DellOem(self._session, self._tree), self._session.behaviour.oem_boot_once
        evidence: tuple[str, ...] = ()
        if way == "dell-server-boot" and own.boots_virtual_cd():
            if own.boot_virtual_cd(clear=True) is None:
                raise self._target.refused(tried, "ServerBoot still names the virtual CD")
            evidence = ("ServerBoot cleared",)
        elif way == "hpe-boot-on-next-reset" and (cleared := self._hpe_next(on=False)):
            evidence = (cleared,)
        answer = self._standard(BootDevice.NONE, mode, "Once", None, tried)
        return Answer(answer.outcome, answer.provider, answer.tries, (*evidence, *answer.evidence))

    def _standard(
        self, device: BootDevice, mode: FirmwareMode, enabled: Enabled, uri: str | None, tried: str
    ) -> Answer:
        system = self._tree.system
        requests = plans(
            self._tree,
            system,
            device,
            mode,
            behaviour=self._session.behaviour,
            enabled=enabled,
            uri=uri,
            last=self._dead,
        )
        boot = as_dict(system.get("Boot"))
        skip = enabled == "Continuous" or self._session.behaviour.boot_skip_same == "every"
        # Repeated writes of what holds already end in a screen that waits for a key (Q22).
        if (skip or device is BootDevice.NONE) and any(_same(boot, request, mode) for request in requests):
            return Answer(Outcome.VERIFIED, self._name, 0, ("it reads so already; nothing sent",))
        refusal: BmcRefused | None = None
        for request in requests:
            try:
                return self._write(system, request, mode, tried)
            except BmcRefused as why:
                refusal = why
        raise refusal or self._target.refused(tried, "nothing to send")

    def _write(self, system: Json, request: Json, mode: FirmwareMode, tried: str) -> Answer:
        """One target: at the system, and where that comes to nothing, at its Settings resource (Q10, Q24)."""
        places = [text(system, "@odata.id") or self._tree.system_path, settings_path(system)]
        said, tries, evidence = Reply(0), 0, list[str]()
        for place in dict.fromkeys(path for path in places if path):
            body = request
            for body in _ladder(request, mode):
                tries += 1
                said = self._patch(place, body)
                evidence.append(f"PATCH {place} {body}: {said.why}")
                if said.status not in _MALFORMED:
                    break
            if said.status >= 300 and said.status not in _MALFORMED | _NOT_HERE:
                break
            if said.good or said.status == 0:
                outcome, seen = self._read_back(place, system, request)
                evidence.append(f"read {seen}")
                if outcome is None and said.status == 0:
                    # It was not carried out, says the state, and means the same when sent again.
                    tries += 1
                    said = self._patch(place, body)
                    evidence.append(f"PATCH {place} {body}: {said.why}")
                    outcome, seen = self._read_back(place, system, request)
                    evidence.append(f"read {seen}")
                if outcome is not None:
                    if (again := self._mend_mode(place, request, mode)) is not None:
                        evidence += again
                    return Answer(outcome, self._name, tries, tuple(evidence))
        if said.status in _NOT_HERE:
            raise Unsupported(f"{tried}: {said.why}")
        what = said.why if said.status >= 300 else evidence[-1]
        raise self._target.refused(
            f"{tried}; " + "; ".join(evidence), what, "clear the override, or let another provider set it"
        )

    def _patch(self, path: str, boot: Json) -> Reply:
        """PATCH `Boot`, once more after clearing a job queue that blocks it (Q9); status 0 without answer."""
        reply = self._send(path, boot)
        if (
            self._session.behaviour.clear_job_queue
            and not reply.good
            and _BY_A_JOB.search(reply.all_words)
            and DellOem(self._session, self._tree).clear_jobs() is not None
        ):
            reply = self._send(path, boot)
        return reply

    def _send(self, path: str, boot: Json) -> Reply:
        try:
            return self._session.write("PATCH", path, {"Boot": boot}, intent="boot")
        except NoAnswer as silence:
            return Reply(0, text=str(silence))

    def _read_back(self, place: str, system: Json, request: Json) -> tuple[Outcome | None, Json]:
        """Whether it reads as asked for, mode aside, and what reads; a BMC may take its time to show it."""
        wanted = {name: value for name, value in request.items() if name != MODE}
        deadline = Deadline.after(READ_BACK_S, "the override to read back")
        away = Deadline.after(AWAY_S, "the BMC to come back")
        ours = text(system, "@odata.id") or self._tree.system_path
        seen: Json = {}
        while True:
            try:
                for path in dict.fromkeys((ours, place)):
                    now = as_dict(self._tree.look(path).get("Boot"))
                    seen = {name: now.get(name) for name in request}
                    if holds(now, wanted):
                        return Outcome.VERIFIED if path == ours else Outcome.PENDING, seen
            except BmcUnreachable:
                # It restarts: what became of the write is read when it is back.
                if away.passed:
                    raise
                deadline = Deadline.after(READ_BACK_S, "the override to read back")
            if deadline.passed:
                return None, seen
            # The BMC applies it in its own time and tells nobody.
            time.sleep(_LOOK_EVERY_S)

    def _mend_mode(self, place: str, request: Json, mode: FirmwareMode) -> list[str] | None:
        """The mode, where it reads otherwise: with the device (Q17), else alone (Q14).

        Raises:
            BmcRefused: it stays.
        """
        if request == CLEAR:
            return None
        evidence: list[str] = []
        for body in ({**request, MODE: mode_name(mode)}, {MODE: mode_name(mode)}, None):
            now = text(as_dict(self._tree.look(place).get("Boot")), MODE)
            if not now or now == mode_name(mode):
                return evidence
            if body is not None:
                evidence.append(f"mode reads {now}; PATCH {place} {body}: {self._send(place, body).why}")
        raise self._target.refused(
            "; ".join(evidence),
            f"the boot mode stays {now}",
            "set the server's boot mode in its firmware setup, or correct `firmware` in the rack file",
        )

    def _oem(self) -> Answer | None:
        """The vendor's own boot-once from the virtual CD; None where there is none, or it did not take."""
        way = self._session.behaviour.oem_boot_once
        seen: str | None = None
        if way == "dell-server-boot":
            seen = DellOem(self._session, self._tree).boot_virtual_cd()
        elif way == "hpe-boot-on-next-reset":
            seen = self._hpe_next()
        return Answer(Outcome.VERIFIED, self._name, 1, (f"{way}: {seen}",)) if seen else None

    def _hpe_next(self, *, on: bool = True) -> str | None:
        """Set or clear BootOnNextServerReset of the loaded drive; what reads, None where it did not take."""
        for slot in self._media.slots():
            found = boot_next_of(slot.body)
            if found is None or (not loaded(slot.body) if on else not found[1]):
                continue
            # Without an answer, the drive tells.
            with contextlib.suppress(NoAnswer):
                self._session.write("PATCH", slot.path, boot_next_body(found[0], on=on), intent="boot")
            now = boot_next_of(self._tree.look(slot.path))
            if now is not None and now[1] is on:
                return f"{slot.path} {'boots' if on else 'does not boot'} at the next reset"
        return None


def _ladder(request: Json, mode: FirmwareMode) -> Iterator[Json]:
    """The request, and what BMCs accept which reject it: no mode (Q14), or all three members (Q24)."""
    yield request
    if request == CLEAR:
        yield {**request, "BootSourceOverrideTarget": "None"}
        yield {"BootSourceOverrideTarget": "None"}
    elif MODE in request:
        yield {name: value for name, value in request.items() if name != MODE}
    else:
        yield {**request, MODE: mode_name(mode)}


def _same(boot: Json, request: Json, mode: FirmwareMode) -> bool:
    return holds(boot, request) and (request == CLEAR or text(boot, MODE) in ("", mode_name(mode)))
