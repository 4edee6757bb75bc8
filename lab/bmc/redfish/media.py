"""Virtual media by Redfish: eject all, insert, and believe it when it reads back."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from lab.bmc.api import Answer, MediaSource, Outcome
from lab.bmc.redfish.insert import InsertRequest
from lab.bmc.redfish.json import Json, text
from lab.bmc.redfish.oem import iso_config_of
from lab.bmc.redfish.reply import Reply
from lab.bmc.redfish.session import AWAY_S, NoAnswer, RedfishSession
from lab.bmc.redfish.slots import Slot, find, loaded, shown
from lab.bmc.redfish.task import follow
from lab.bmc.redfish.tree import RedfishTree
from lab.bmc.target import Target, Unsupported
from lab.deadline import Deadline
from lab.errors import BmcUnreachable

INSERT_S = 60.0
EJECT_S = 30.0
SETTLE_S = 20.0
"""Seconds after which an insert without an answer, of which nothing shows, was not carried out."""
STALE_S = 5.0
"""Seconds that a drive may read loaded after an eject, before an insert goes on all the same (Q4)."""
_LOOK_EVERY_S = 0.5
_NOT_HERE = {404, 405, 501}
_MALFORMED = {400, 415, 422}
_TAKEN = ("already", "resourceinuse", "in use", "vrm0012", "vrm0021")
_EJECT_BODIES: tuple[Json | None, ...] = ({}, None)
_EJECT_BY_PATCH: tuple[Json, ...] = (
    {"Image": None, "Inserted": False},
    {"Image": None},
    {"Inserted": False},
)


class RedfishMedia:
    """The virtual CD drives of one server.

    Attributes:
        hint: what to advise where an insert fails; a quirk may know (Q2).
    """

    def __init__(self, session: RedfishSession, tree: RedfishTree, target: Target, name: str) -> None:
        self.hint = ""
        self._session = session
        self._tree = tree
        self._target = target
        self._name = name

    def slots(self) -> list[Slot]:
        """The drives that take a CD or DVD.

        Raises:
            Unsupported: there is none.
        """
        return find(self._tree)

    def inserted(self) -> str | None:
        """URL of the image in the first loaded drive.

        Raises:
            LabFault: none reads loaded, and one cannot be read.
        """
        unread: Slot | None = None
        for slot in self.slots():
            body = self._read(slot)
            if body is None:
                unread = slot
            elif loaded(body):
                return text(body, "Image", "ImageName") or "unknown image"
        if unread is not None:
            raise self._target.fault(
                f"GET {unread.path}", "a virtual drive cannot be read", "reset the BMC, or update it"
            )
        return None

    def insert(self, source: MediaSource) -> Answer:
        """Eject everything, insert into the drive that boots, wait until URL and Inserted read back.

        Raises:
            Unsupported: there is no drive, or none for this kind of URL; nothing was sent.
            BmcRefused: no drive takes it, or it never reads as inserted.
        """
        # Before anything is ejected: a URL that no drive takes changes nothing.
        requests = self._requests(source)
        evidence = [*self.eject(stale_is_fine=True).evidence]
        said = ""
        tries = 0
        for slot, request in requests:
            sent, why = self._load(slot, source, request, evidence)
            tries += sent
            if why is None:
                outcome = self._await_inserted(slot, source.url, evidence)
                return Answer(outcome, self._name, tries, tuple(evidence))
            said = why or said
        raise self._target.refused(
            f"insert {source.url}; " + "; ".join(evidence),
            said or "no drive takes it",
            self.hint or "check that the BMC reaches that URL, and its licence for virtual media",
        )

    def eject(self, *, stale_is_fine: bool = False) -> Answer:
        """Empty every drive and wait until each reads empty.

        Args:
            stale_is_fine: go on where a drive that took the eject reads loaded; whoever inserts next
                compares the URL (Q4).

        Raises:
            BmcRefused: a drive refuses, or reads loaded for `EJECT_S` seconds.
        """
        stale_is_fine = stale_is_fine or self._session.behaviour.media_stale
        evidence: list[str] = []
        outcome = Outcome.VERIFIED
        for slot in self.slots():
            body = self._read(slot)
            if body is not None and not loaded(body):
                continue
            empty = False
            for limit in (STALE_S, STALE_S if stale_is_fine else EJECT_S):
                self._unload(slot, evidence)
                empty = self._await_empty(slot, Deadline.after(limit, "the drive reads empty"))
                if empty:
                    break
            evidence.append(f"{slot.path} reads {'empty' if empty else 'loaded still'}")
            if not empty and not stale_is_fine:
                image = text(self._read(slot) or {}, "Image")
                raise self._target.refused(
                    f"eject {slot.path}", f"the drive still holds {image} after {EJECT_S:.0f} s", self.hint
                )
            outcome = outcome if empty else Outcome.UNVERIFIABLE
        return Answer(outcome, self._name, 1 if evidence else 0, tuple(evidence or ["all drives were empty"]))

    def _requests(self, source: MediaSource) -> list[tuple[Slot, InsertRequest]]:
        found: list[tuple[Slot, InsertRequest]] = []
        cannot = ""
        for slot in self._chosen(source):
            try:
                found.append((slot, InsertRequest(source, self._session.behaviour, slot.protocols)))
            except Unsupported as reason:
                cannot = str(reason)
        if not found:
            raise Unsupported(cannot)
        return found

    def _chosen(self, source: MediaSource) -> list[Slot]:
        slots = self.slots()
        pinned = source.slot or self._session.behaviour.media_slot
        ours = [slot for slot in slots if slot.id == pinned]
        if source.slot is not None and not ours:
            raise self._target.refused(
                f"insert {source.url}",
                f"it has no virtual CD drive '{source.slot}', but {', '.join(slot.id for slot in slots)}",
                "correct `media_slot` in the rack file, or leave it out",
            )
        return ours or slots

    def _load(
        self, slot: Slot, source: MediaSource, request: InsertRequest, evidence: list[str]
    ) -> tuple[int, str | None]:
        """Requests sent, and None where the drive took one; else why it did not.

        One that got no answer is settled by what the drive reads. Where it reads empty, that one was not
        carried out, and it is sent once more.
        """
        tries, ejected, silent = 0, False, False
        while True:
            tries += 1
            reply = self._mount(slot, source, evidence) if slot.way == "iso-config" else None
            if slot.way != "iso-config":
                reply = self._send(slot, slot.insert, request.body, evidence)
            if reply is None:
                if silent or self._appears(slot, source.url, Deadline.after(SETTLE_S, "the image to show")):
                    return tries, None
                silent = True
                continue
            if reply.good:
                end = follow(self._session, reply, Deadline.after(INSERT_S, "the insert to end"))
                return tries, None if end.how != "failed" else end.told
            words = reply.all_words
            if reply.status in _NOT_HERE and slot.way == "action":
                # Some list the action and take a PATCH alone (Q20).
                slot = replace(slot, insert=None, way="patch")
            elif reply.status in _NOT_HERE:
                return tries, ""
            elif not ejected and any(sign in words.lower() for sign in _TAKEN):
                ejected = True
                self._unload(slot, evidence)
                self._await_empty(slot, Deadline.after(STALE_S, "the drive reads empty"))
            elif reply.status not in _MALFORMED or slot.way == "iso-config" or not request.refused(words):
                return tries, reply.why

    def _appears(self, slot: Slot, url: str, deadline: Deadline) -> bool:
        away = Deadline.after(AWAY_S, "the BMC to come back")
        while not deadline.passed:
            body = self._read(slot)
            if body is None and not away.passed:
                # It restarts: what became of the insert is read when it is back.
                deadline = deadline if deadline.left > STALE_S else Deadline.after(STALE_S, deadline.why)
            if body is not None and _holds(body, url) is not None:
                return True
            # The BMC fetches in its own time and tells nobody.
            time.sleep(_LOOK_EVERY_S)
        return False

    def _mount(self, slot: Slot, source: MediaSource, evidence: list[str]) -> Reply | None:
        """Supermicro's way: write where the image is, then mount it (Q18)."""
        where = iso_config_of(source.url, source.user, source.password)
        written = self._send(replace(slot, insert=None), None, where, evidence)
        if written is not None and not written.good:
            return written
        return self._send(slot, slot.insert, {}, evidence)

    def _unload(self, slot: Slot, evidence: list[str]) -> None:
        """Ask a drive to let go: `{}` as body, which some demand (Q12), then none; a PATCH without action."""
        reply: Reply | None = None
        if slot.eject is not None:
            for body in _EJECT_BODIES:
                reply = self._send(slot, slot.eject, body, evidence)
                if reply is None or reply.status not in _MALFORMED:
                    break
        if slot.way != "iso-config" and (slot.eject is None or (reply and reply.status in _NOT_HERE)):
            for patch in _EJECT_BY_PATCH:
                reply = self._send(slot, None, patch, evidence)
                if reply is None or reply.status not in _MALFORMED:
                    break
        if reply is not None and reply.good:
            follow(self._session, reply, Deadline.after(EJECT_S, "the eject to end"))
        elif reply is not None and reply.status not in _NOT_HERE:
            raise self._target.refused(f"eject {slot.path}", reply.why)

    def _send(self, slot: Slot, target: str | None, body: Json | None, evidence: list[str]) -> Reply | None:
        """Post to the action or patch the drive; None when no answer came and the state must tell."""
        method, path = ("POST", target) if target else ("PATCH", slot.path)
        try:
            reply = self._session.write(method, path, body, intent="media", resource=slot.path)
        except NoAnswer as silence:
            evidence.append(str(silence))
            return None
        evidence.append(f"{method} {path} {sorted(body or {})}: {reply.why}")
        return reply

    def _read(self, slot: Slot) -> Json | None:
        """The drive as it reads now; None where it cannot be read, which says nothing of what it holds."""
        try:
            reply = self._session.get(slot.drives or slot.path)
            if not reply.good:
                return None
            return shown(self._tree, slot) if slot.drives else reply.body
        except BmcUnreachable:
            return None

    def _await_empty(self, slot: Slot, deadline: Deadline) -> bool:
        while (body := self._read(slot)) is None or loaded(body):
            if deadline.passed:
                return False
            # The BMC detaches in its own time and tells nobody.
            time.sleep(_LOOK_EVERY_S)
        return True

    def _await_inserted(self, slot: Slot, url: str, evidence: list[str]) -> Outcome:
        deadline = Deadline.after(INSERT_S, "the image reads as inserted")
        away = Deadline.after(AWAY_S, "the BMC to come back")
        while True:
            body = self._read(slot)
            if body is None and not away.passed:
                deadline = deadline if deadline.left > STALE_S else Deadline.after(STALE_S, deadline.why)
            if body is not None and (outcome := _holds(body, url)) is not None:
                image = text(body, "Image", "ImageName", "Path")
                evidence.append(f"{slot.path} reads Inserted {body.get('Inserted')}, Image {image}")
                return outcome
            if deadline.passed:
                seen = body or {}
                raise self._target.refused(
                    f"insert {url}; " + "; ".join(evidence),
                    f"after {INSERT_S:.0f} s it reads Inserted {seen.get('Inserted')}, "
                    f"Image '{text(seen, 'Image')}'",
                    self.hint or "check that the BMC reaches the media address of the rack file",
                )
            # The BMC fetches in its own time and tells nobody.
            time.sleep(_LOOK_EVERY_S)


def _holds(body: Json, url: str) -> Outcome | None:
    """Whether the drive reads as holding `url`; without the whole URL it cannot be told from its like."""
    wanted, image = unquote(url), unquote(text(body, "Image"))
    if not loaded(body):
        return None
    if image == wanted:
        return Outcome.VERIFIED
    parts = urlsplit(wanted)
    if parts.scheme in ("nfs", "cifs", "smb") and image.replace("\\", "/").endswith(parts.path):
        return Outcome.VERIFIED
    named = text(body, "ImageName") == PurePosixPath(parts.path).name
    return Outcome.UNVERIFIABLE if named and not image else None
