"""ETags as vendors have them: weak, doubly quoted or empty ones, demanded or refused (Q21, Q24, Q25, Q26)."""

from __future__ import annotations

from aiohttp import web

from lab.virtual.faults import FaultLog
from lab.virtual.profiles import EtagHabit
from lab.virtual.redfish import messages
from lab.virtual.redfish.face import SESSIONS, Json

_FORMS = {"strong": '"{}"', "weak": 'W/"{}"', "double-quoted": '""{}""', "empty": "", "none": ""}
_CHANGES = ("POST", "PATCH", "DELETE")


class Etags:
    """Plays an `EtagHabit`: what tags look like on the way out, and which are taken on the way in."""

    def __init__(self, habit: EtagHabit, log: FaultLog) -> None:
        self._habit = habit
        self._log = log
        self._raced = 0

    def admit(self, request: web.Request, path: str) -> str | None:
        """The If-Match for our own service; None for none.

        Raises:
            RedfishError: 412 or 428, where this BMC would refuse.
        """
        given = request.headers.get("If-Match")
        if request.method not in _CHANGES or path.startswith(SESSIONS):
            return given
        if given is None:
            if request.method in self._habit.demanded:
                raise self._missing(request)
            return None
        if self._refuses(given):
            self._log.note("etag", f"{request.method} {path} with If-Match {given}")
            raise _mismatch()
        if request.method == "POST":  # an action has no ETag of its own; whose it is, BMCs do not say
            return None
        if self._raced < self._habit.races:
            self._raced += 1
            self._log.note("Q21", f"{request.method} {path}: the ETag has just changed")
            raise _mismatch()
        if given == "*":
            return given
        core = given.removeprefix("W/").strip('"')
        if self._habit.races:
            core, _, salt = core.partition("-")
            if salt != str(self._raced):
                raise _mismatch()
        return f'"{core}"'

    def show(self, tag: str) -> str | None:
        """A tag of ours as a client sees it; None where this BMC has none."""
        if self._habit.shown == "none":
            return None
        core = tag.strip('"')
        if self._habit.races:
            core = f"{core}-{self._raced}"
        return _FORMS[self._habit.shown].format(core)

    def dress(self, body: Json) -> None:
        """Show the tag inside a body as outside it."""
        tag = body.get("@odata.etag")
        if isinstance(tag, str):
            shown = self.show(tag)
            if shown is None:
                del body["@odata.etag"]
            else:
                body["@odata.etag"] = shown

    def _refuses(self, given: str) -> bool:
        taken = self._habit.taken
        return (
            taken == "none"
            or (taken == "strong" and given.startswith("W/"))
            or (taken == "unquoted" and '"' in given)
        )

    def _missing(self, request: web.Request) -> messages.RedfishError:
        self._log.note("etag", f"{request.method} {request.path} without If-Match")
        status = self._habit.missing_status
        key = "PreconditionHeaderMissing" if status == 428 else "PreconditionFailed"
        return messages.RedfishError(
            status, key, "The request has to carry an If-Match header with the resource's ETag."
        )


def _mismatch() -> messages.RedfishError:
    text = "The ETag supplied did not match the ETag required to change this resource."
    return messages.RedfishError(412, "PreconditionFailed", text)
