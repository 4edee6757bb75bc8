"""One Redfish face that errs: injected faults outermost, then the habits of the profile in force."""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import Callable

from aiohttp import web
from yarl import URL

from lab.virtual.faults import Faults
from lab.virtual.faulty_board import FaultyBoard
from lab.virtual.profiles import Profile
from lab.virtual.redfish import messages
from lab.virtual.redfish.face import SESSIONS, Json, RedfishFace, Resource
from lab.virtual.redfish.faults.boot import BootOverride
from lab.virtual.redfish.faults.dell import Attributes, JobQueue
from lab.virtual.redfish.faults.drives import Drives
from lab.virtual.redfish.faults.etags import Etags
from lab.virtual.redfish.faults.habit import Habit
from lab.virtual.redfish.faults.injected import Handler, InjectedFaults, answer_of, hang_up
from lab.virtual.redfish.faults.logins import Logins
from lab.virtual.redfish.faults.moments import Moments
from lab.virtual.redfish.faults.oem import HpeBootNext, SupermicroIsoConfig
from lab.virtual.redfish.faults.refusals import Refusals
from lab.virtual.redfish.faults.tasks import Tasks
from lab.virtual.redfish.faults.tree import Moves, Tree

_CHOKED_S = 5.0
_LENGTH_OF_BODY = ("Content-Length", "Content-Type")


class FaultPlay:
    """What goes around the Redfish service of one server: `layer` outermost, `overlay` before its resources.

    Args:
        face: what the service shows.
        board: the server, between the faces and the real one.
        faults: those by count or probability.
        reboot: takes the whole BMC away for so many seconds.
    """

    def __init__(
        self, face: RedfishFace, board: FaultyBoard, faults: Faults, reboot: Callable[[float], None]
    ) -> None:
        self._face = face
        self._board = board
        self._faults = faults
        self._injected = InjectedFaults(face, faults, reboot)
        self._vendor: Vendor | None = None

    def use(self, name: str | None, profile: Profile | None) -> None:
        """Be that profile from now on; None is a BMC without habits."""
        if self._vendor is not None:
            self._vendor.close()
        self._board.ignores_graceful = profile is not None and profile.habits.graceful_off_ignored
        self._vendor = Vendor(name or "", profile, self._face, self._board, self._faults) if profile else None

    def overlay(self, path: str, base: Resource | None) -> Resource | None:
        """What lies at a path."""
        return self._vendor.overlay(path, base) if self._vendor is not None else base

    async def layer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The outermost layer of the service."""

        async def inner(request: web.Request) -> web.StreamResponse:
            vendor = self._vendor
            return await (vendor.answer(request, handler) if vendor is not None else handler(request))

        return await self._injected.layer(request, inner)


class Vendor:
    """A profile in force."""

    def __init__(
        self, name: str, profile: Profile, face: RedfishFace, board: FaultyBoard, faults: Faults
    ) -> None:
        habits, log = profile.habits, faults.log
        attributes: dict[str, object] = dict(habits.attributes)
        self._face = face
        self._log = log
        self._moves = Moves(profile.moves)
        self._moments = Moments(board)
        self._refusals = Refusals(profile.refuses, board, self._moments, attributes, log, name)
        self._etags = Etags(habits.etag, log) if habits.etag else None
        self._drives = Drives(habits.media, board, log) if habits.media else None
        self._info_is_object = habits.info_is_object
        self._keep_alive = habits.keep_alive_requests
        self._answered: weakref.WeakKeyDictionary[asyncio.BaseTransport, int] = weakref.WeakKeyDictionary()
        oem: dict[str, Callable[[], Habit]] = {
            "dell-attributes": lambda: Attributes(attributes, board),
            "dell-jobs": lambda: JobQueue(attributes),
            "hpe-boot-next": lambda: HpeBootNext(board),
            "supermicro-iso-config": SupermicroIsoConfig,
        }
        # The tree's edits come last, for they say how everything else is shown.
        self._habits: list[Habit] = [
            *([self._drives] if self._drives else []),
            *([BootOverride(habits.boot, board, log)] if habits.boot else []),
            *([Logins(habits.sessions, log)] if habits.sessions else []),
            *([Tasks(habits.tasks, log)] if habits.tasks else []),
            *(oem[kind]() for kind in habits.oem),
            Tree(profile),
        ]

    def close(self) -> None:
        """Forget the board."""
        self._moments.close()
        if self._drives is not None:
            self._drives.close()

    def overlay(self, path: str, base: Resource | None) -> Resource | None:
        """What lies at a path, by our own name of it."""
        for habit in self._habits:
            base = habit.wrap(path, base)
        return base

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer as this vendor does."""
        if self._chokes(request):
            self._log.note("Q33", f"{request.method} {request.path}: the connection carries too much")
            await asyncio.sleep(_CHOKED_S)
            return hang_up(request)
        try:
            inward = self._inward(request)
            body, raw = await _json(inward)
            if self._known(inward):
                self._refusals.check(inward, _plain(inward.path), body, raw)
            answer = await handler(inward)
        except messages.RedfishError as error:
            answer = answer_of(error)
        return self._dressed(answer)

    def _known(self, request: web.Request) -> bool:
        """Whether the sender may speak: others are refused by the service itself, and learn nothing here."""
        try:
            self._face.sessions.admit(request.headers)
        except messages.RedfishError:
            return False
        return True

    def _chokes(self, request: web.Request) -> bool:
        if self._keep_alive is None or request.transport is None:
            return False
        count = self._answered.get(request.transport, 0) + 1
        self._answered[request.transport] = count
        return count > self._keep_alive

    def _inward(self, request: web.Request) -> web.Request:
        path = self._moves.inward(_plain(request.path))
        if path is None:
            raise messages.not_found(request.path)
        headers = request.headers.copy()
        if self._etags is not None:
            tag = self._etags.admit(request, path) if path == SESSIONS or self._known(request) else None
            headers.popall("If-Match", None)
            if tag is not None:
                headers["If-Match"] = tag
        return request.clone(rel_url=URL(path).with_query(request.query), headers=headers)

    def _dressed(self, answer: web.StreamResponse) -> web.StreamResponse:
        if not isinstance(answer, web.Response):
            return answer
        headers = {name: value for name, value in answer.headers.items() if name not in _LENGTH_OF_BODY}
        if "Location" in headers:
            headers["Location"] = self._moves.outward_path(headers["Location"])
        if self._etags is not None and "ETag" in headers:
            shown = self._etags.show(headers.pop("ETag"))
            if shown is not None:
                headers["ETag"] = shown
        if answer.content_type != "application/json" or not isinstance(answer.body, bytes):
            return web.Response(status=answer.status, headers=headers, body=answer.body)
        body: Json = json.loads(answer.body)
        if self._etags is not None:
            self._etags.dress(body)
        information = body["error"].get("@Message.ExtendedInfo") if "error" in body else None
        if self._info_is_object and isinstance(information, list) and information:
            body["error"]["@Message.ExtendedInfo"] = information[0]
            self._log.note("Q10", "ExtendedInfo is an object")
        return web.json_response(self._moves.outward(body), status=answer.status, headers=headers)


async def _json(request: web.Request) -> tuple[Json | None, bytes]:
    """The object that was sent, and the bytes; parts of a multipart body are left to who takes them."""
    if request.content_type.startswith("multipart/"):
        return None, b"multipart"
    raw = await request.read()
    try:
        body = json.loads(raw)
    except ValueError:
        return None, raw
    return (body if isinstance(body, dict) else None), raw


def _plain(path: str) -> str:
    return path.rstrip("/") or "/"
