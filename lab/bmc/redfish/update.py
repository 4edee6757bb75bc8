"""Firmware update by a Redfish UpdateService (DSP0266, 12.8), for the `lab` command alone.

No test run against servers may reach this module (design.md, rules of conduct 10): it is no part of the
`Bmc` protocol, and a test of ours proves that nothing which such a run loads imports it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from lab.bmc.api import Outcome
from lab.bmc.redfish.errors import NoAnswer
from lab.bmc.redfish.inventory import firmware_inventory
from lab.bmc.redfish.json import Json, action, link, number, text
from lab.bmc.redfish.reads import RedfishReads
from lab.bmc.redfish.reply import Reply
from lab.bmc.redfish.task import TaskEnd, follow, monitor_of
from lab.deadline import Deadline
from lab.errors import BmcRefused, ConfigError, LabFault

DEADLINE_S = 7200.0
"""Seconds for the whole of it (facts/bmc.md, 4: ironic's own limit)."""
SETTLE_S = 60.0
"""Seconds in which a version that changed must show, once the task has ended."""
_UPLOAD_S = 300.0
_SLOWEST = 50_000
"""Bytes in a second that an upload makes at least."""
_GOOD_READS = 3
_READ_EVERY_S = 2.0
Progress = Callable[[str, int | None], None]
"""Told what goes on, in words, and how far the BMC says it is, in percent."""


@dataclass(frozen=True)
class UpdateResult:
    """What an update came to.

    Attributes:
        outcome: VERIFIED when a version changed; PENDING when the BMC says it is done and none did, which
            is how BIOS updates wait for a boot; UNVERIFIABLE when the task vanished and none did, or the BMC
            lists no versions.
        before: versions by component (FirmwareInventory), before.
        after: the same, afterwards.
        seconds: how long it all took.
        evidence: what was sent and what the BMC said.
    """

    outcome: Outcome
    before: dict[str, str]
    after: dict[str, str]
    seconds: float
    evidence: tuple[str, ...] = ()

    @property
    def changed(self) -> dict[str, tuple[str, str]]:
        """Versions before and after of what changed; empty where it was not there."""
        names = dict.fromkeys((*self.before, *self.after))
        pairs = {name: (self.before.get(name, ""), self.after.get(name, "")) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def update_firmware(
    bmc: RedfishReads,
    image: str | Path,
    *,
    components: Sequence[str] = (),
    apply_time: str | None = None,
    progress: Progress = lambda words, percent: None,
    deadline_s: float = DEADLINE_S,
    settle_s: float = SETTLE_S,
) -> UpdateResult:
    """Have the BMC update firmware from `image`, and follow it to an end that the inventory shows.

    Args:
        bmc: the provider; its session is used.
        image: a URL that the BMC fetches (SimpleUpdate), or a file that is pushed to it.
        components: paths of FirmwareInventory members to update; empty leaves that to the BMC.
        apply_time: `@Redfish.OperationApplyTime`, such as `OnReset`; None leaves it to the BMC.
        progress: told what goes on.
        deadline_s: seconds for all of it.
        settle_s: seconds in which a changed version must show, once the task has ended.

    Raises:
        BmcRefused: no UpdateService, the image or its transport refused, or the task failed.
        ConfigError: the file cannot be read.
        LabFault: it did not end by the deadline, or the BMC took it and never answered.
    """
    began = time.monotonic()
    update = _Update(bmc, Deadline.after(deadline_s, "the firmware update"), progress)
    before = update.versions()
    progress("sending", None)
    if isinstance(image, Path):
        reply = update.push(image, components, apply_time)
    else:
        reply = update.fetch(image, components, apply_time)
    end = update.follow(reply)
    after = update.settled(before, settle_s)
    outcome = Outcome.VERIFIED if after != before else Outcome.PENDING
    if after == before and (end.how == "vanished" or not before):
        outcome = Outcome.UNVERIFIABLE
    return UpdateResult(outcome, before, after, time.monotonic() - began, tuple(update.evidence))


class _Update:
    """One update under way."""

    def __init__(self, bmc: RedfishReads, deadline: Deadline, progress: Progress) -> None:
        self._bmc = bmc
        self._deadline = deadline
        self._progress = progress
        self.evidence: list[str] = []
        self._service = bmc.tree.look(link(bmc.tree.root, "UpdateService"))
        if self._service.get("ServiceEnabled") is False or not self._service:
            state = "is switched off" if self._service else "is not there"
            raise bmc.target.refused(
                "update firmware", f"UpdateService {state}", "update it in the BMC's page"
            )

    def versions(self) -> dict[str, str]:
        """What FirmwareInventory says now."""
        return firmware_inventory(self._bmc.tree)

    def fetch(self, url: str, components: Sequence[str], apply_time: str | None) -> Reply:
        """UpdateService.SimpleUpdate, once."""
        simple = action(self._service, "UpdateService.SimpleUpdate")
        path, tree = text(simple, "target"), self._bmc.tree
        scheme, may = urlsplit(url).scheme.upper(), tree.values(simple, "TransferProtocol")
        if not path or (may is not None and scheme not in may):
            raise self._bmc.target.refused(
                "update firmware by SimpleUpdate",
                f"it takes {', '.join(may or []) or 'nothing'}; nothing was sent",
                "serve the image by a protocol it takes, or give a file, to be pushed",
            )
        body: Json = {"ImageURI": url, **_wishes(components, apply_time)}
        if may is not None:
            body["TransferProtocol"] = scheme
        # A deadline that has passed: nothing is sent twice, whatever the refusal.
        return self._sent(
            f"POST {path} {_shown(url)}",
            lambda: self._bmc.session.write("POST", path, body, deadline=Deadline(0.0, "one POST")),
        )

    def push(self, file: Path, components: Sequence[str], apply_time: str | None) -> Reply:
        """The image itself, once: by MultipartHttpPushUri, else by the older HttpPushUri."""
        try:
            content = file.read_bytes()
        except OSError as problem:
            raise ConfigError(f"{file}: cannot be read: {problem}", next_step="check the path") from problem
        multipart, plain = text(self._service, "MultipartHttpPushUri"), text(self._service, "HttpPushUri")
        wishes = _wishes(components, apply_time)
        if multipart:
            parameters = (None, json.dumps(wishes), "application/json")
            form = {
                "UpdateParameters": parameters,
                "UpdateFile": (file.name, content, "application/octet-stream"),
            }
        elif not plain or wishes:
            raise self._bmc.target.refused(
                f"push {file.name}",
                "it has no MultipartHttpPushUri" if not plain else "HttpPushUri takes no wishes",
                "serve the image and give its URL, or name no components and no apply time",
            )
        path = urlsplit(multipart or plain).path
        limit = _UPLOAD_S + len(content) / _SLOWEST
        return self._sent(
            f"POST {path} {file.name}, {len(content)} bytes",
            lambda: self._bmc.session.upload(path, form if multipart else content, limit),
        )

    def follow(self, reply: Reply) -> TaskEnd:
        """The task's end; a BMC that restarts in between is waited for.

        Raises:
            BmcRefused: it failed.
            LabFault: it has not ended by the deadline.
        """
        if reply.good and "Task" in text(reply.body, "@odata.type") and monitor_of(reply):
            # Some answer 200 or 201 with the task itself.
            reply = Reply(202, reply.body, reply.headers, reply.text)
        while True:
            try:
                end = follow(self._bmc.session, reply, self._deadline, self._watch)
                break
            except BmcRefused:
                raise
            except LabFault as fault:
                # It may be restarting, with services that come one after the other.
                if self._deadline.passed:
                    raise
                self._progress(f"the BMC is away: {fault.message}", None)
                time.sleep(min(_READ_EVERY_S, self._deadline.left))
        self.evidence.append(f"task: {end.how}, {end.told}")
        if end.how == "failed":
            raise self._bmc.target.refused("; ".join(self.evidence), end.told, "see the BMC's own log")
        if end.how == "running":
            raise self._bmc.target.fault(
                "; ".join(self.evidence),
                "the update has not ended in time",
                "do not cut its power: watch it in the BMC's own page",
            )
        return end

    def settled(self, before: dict[str, str], settle_s: float) -> dict[str, str]:
        """The versions, once they read the same three times in a row and have had time to change."""
        wait = self._deadline.within(settle_s, "a version to change")
        last: dict[str, str] | None = None
        good = 0
        while True:
            try:
                self._bmc.session.connect()
                now = self.versions()
            except LabFault:
                now = {}
            read = bool(now) or not before
            good = good + 1 if read and now == last else int(read)
            last = now
            if good >= _GOOD_READS and (now != before or wait.passed):
                return now
            if self._deadline.passed:
                raise self._bmc.target.fault(
                    "; ".join(self.evidence),
                    "the task has ended, but the firmware inventory does not read steadily",
                    "wait some minutes, then read it with `lab bmc inventory`",
                )
            self._progress("waiting for the new version to show", None)
            # A BMC that has updated itself restarts when it likes.
            time.sleep(min(_READ_EVERY_S, self._deadline.left))

    def _sent(self, what: str, send: Callable[[], Reply]) -> Reply:
        tasks = set(self._tasks())
        try:
            reply = send()
        except NoAnswer as silence:
            self.evidence.append(f"{what}: {silence}")
            new = [task for task in self._tasks() if task not in tasks]
            if len(new) != 1:
                raise self._bmc.target.fault(
                    what,
                    f"it was sent and no answer came; {len(new)} new tasks are there",
                    "do not send it again before the BMC's task list says what became of it",
                ) from silence
            return Reply(202, {}, {"location": new[0]})
        self.evidence.append(f"{what}: {reply.why}")
        if not reply.good:
            raise self._bmc.target.refused(what, reply.why)
        return reply

    def _tasks(self) -> list[str]:
        service = self._bmc.tree.look(link(self._bmc.tree.root, "Tasks"))
        return list(self._bmc.tree.references(link(service, "Tasks")))

    def _watch(self, task: Json) -> None:
        percent = number(task, "PercentComplete")
        self._progress(text(task, "TaskState") or "running", None if percent is None else int(percent))


def _wishes(components: Sequence[str], apply_time: str | None) -> Json:
    wishes: Json = {}
    if components:
        wishes["Targets"] = list(components)
    if apply_time:
        wishes["@Redfish.OperationApplyTime"] = apply_time
    return wishes


def _shown(url: str) -> str:
    """The URL without an account in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
