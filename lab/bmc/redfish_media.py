"""Virtual media by Redfish: find the CD slot, eject all, insert, and believe it when it reads back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from lab.bmc.api import Answer, Outcome
from lab.bmc.redfish_json import Json, action, link, strings, text
from lab.bmc.redfish_reply import Reply
from lab.bmc.redfish_session import NoAnswer, RedfishSession
from lab.bmc.redfish_tree import RedfishTree
from lab.bmc.target import Target, Unsupported
from lab.deadline import Deadline

INSERT_S = 60.0
EJECT_S = 30.0
_LOOK_EVERY_S = 0.5
_DISCS = ("CD", "DVD")
_PAYLOADS = (("Image", "Inserted", "WriteProtected"), ("Image", "Inserted"), ("Image",))
"""From the full request to the least: iLO and Supermicro refuse optional members (facts/bmc.md, Q11, Q15)."""
_NOT_HERE = {404, 405, 501}


@dataclass(frozen=True)
class Slot:
    """A virtual CD drive and how it is loaded: by its action or, where it has none, by PATCH (Q20)."""

    path: str
    insert: str | None
    eject: str | None
    etag: str | None


class RedfishMedia:
    """The virtual CD drives of one server."""

    def __init__(self, session: RedfishSession, tree: RedfishTree, target: Target, name: str) -> None:
        self._session = session
        self._tree = tree
        self._target = target
        self._name = name

    def slots(self) -> list[Slot]:
        """The drives that take a CD or DVD: the system's, else its managers' (Q3, Q32).

        Raises:
            Unsupported: there is none.
        """
        system = self._tree.system
        places = [system, *self._tree.managers(system)]
        for place in places:
            found = [
                slot for body in self._tree.members(link(place, "VirtualMedia")) if (slot := _slot(body))
            ]
            if found:
                return found
        raise Unsupported("no virtual CD drive in the BMC's Redfish tree")

    def inserted(self) -> str | None:
        """URL of the image in the first loaded drive."""
        for body in self._bodies():
            if loaded(body):
                return text(body, "Image", "ImageName") or "unknown image"
        return None

    def insert(self, url: str) -> Answer:
        """Eject everything, insert, wait until URL and Inserted read back."""
        evidence = [*self.eject().evidence]
        tries = 0
        for slot in self.slots():
            for members in _PAYLOADS:
                tries += 1
                reply = self._send(slot.insert, slot, _request(url, members), evidence)
                if reply is None or reply.good:
                    self._await_inserted(slot, url, evidence)
                    return Answer(Outcome.VERIFIED, self._name, tries, tuple(evidence))
                if reply.status != 400:
                    break
            if reply is not None and reply.status not in _NOT_HERE:
                raise self._target.refused(f"insert {url}", reply.why, "check that the BMC reaches that URL")
        raise self._target.refused(f"insert {url}", "no drive takes it; " + "; ".join(evidence))

    def eject(self) -> Answer:
        """Empty every drive and wait until each reads empty."""
        evidence: list[str] = []
        for slot in self.slots():
            if not loaded(self._tree.look(slot.path)):
                continue
            reply = self._send(
                slot.eject, slot, {} if slot.eject else {"Image": None, "Inserted": False}, evidence
            )
            if reply is not None and not reply.good and reply.status not in _NOT_HERE:
                raise self._target.refused(f"eject {slot.path}", reply.why)
            deadline = Deadline.after(EJECT_S, "the drive reads empty")
            while loaded(body := self._tree.look(slot.path)):
                if deadline.passed:
                    raise self._target.refused(
                        f"eject {slot.path}",
                        f"the drive still holds {text(body, 'Image')} after {EJECT_S:.0f} s",
                    )
                # The BMC detaches in its own time and tells nobody.
                time.sleep(_LOOK_EVERY_S)
            evidence.append(f"{slot.path} reads empty")
        return Answer(
            Outcome.VERIFIED, self._name, 1 if evidence else 0, tuple(evidence or ["all drives were empty"])
        )

    def _bodies(self) -> Iterator[Json]:
        return (self._tree.look(slot.path) for slot in self.slots())

    def _send(self, target: str | None, slot: Slot, body: Json, evidence: list[str]) -> Reply | None:
        """Post to the action or patch the drive; None when no answer came and the state must tell."""
        method, path = ("POST", target) if target else ("PATCH", slot.path)
        try:
            reply = self._session.write(method, path, body, if_match=None if target else slot.etag)
        except NoAnswer as silence:
            evidence.append(str(silence))
            return None
        evidence.append(f"{method} {path} {sorted(body)}: {reply.why}")
        return reply

    def _await_inserted(self, slot: Slot, url: str, evidence: list[str]) -> None:
        deadline = Deadline.after(INSERT_S, "the image reads as inserted")
        while True:
            body = self._tree.look(slot.path)
            image = text(body, "Image")
            if loaded(body) and unquote(image) == unquote(url):
                evidence.append(f"{slot.path} reads Inserted, Image {image}")
                return
            if deadline.passed:
                raise self._target.refused(
                    f"insert {url}",
                    f"after {INSERT_S:.0f} s it reads Inserted {body.get('Inserted')}, Image '{image}'",
                    "check that the BMC reaches the media address of the rack file",
                )
            # The BMC fetches in its own time and tells nobody.
            time.sleep(_LOOK_EVERY_S)


def loaded(body: Json) -> bool:
    """Whether a drive holds an image; `Image` alone proves nothing (Supermicro keeps it, Q15)."""
    if body.get("ConnectedVia") == "NotConnected" and body.get("Inserted") is not True:
        return False
    inserted = body.get("Inserted")
    return inserted if isinstance(inserted, bool) else bool(text(body, "Image"))


def _slot(body: Json) -> Slot | None:
    path = body.get("@odata.id")
    # AMI gives no MediaTypes: there the drive's name must do.
    kinds = strings(body.get("MediaTypes")) or [text(body, "Id"), text(body, "Name")]
    if not isinstance(path, str) or not any(disc in kind.upper() for kind in kinds for disc in _DISCS):
        return None
    insert, eject = (
        text(action(body, f"VirtualMedia.{verb}Media"), "target") or None for verb in ("Insert", "Eject")
    )
    return Slot(path, insert, eject, text(body, "@odata.etag") or None)


def _request(url: str, members: tuple[str, ...]) -> Json:
    full: Json = {"Image": url, "Inserted": True, "WriteProtected": True}
    return {name: full[name] for name in members}
