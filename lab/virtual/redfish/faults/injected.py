"""Faults by count or probability at the HTTP face: what happens to a request, whatever it asks for."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import Awaitable, Callable

from aiohttp import web

from lab.rack.virtual import FaultEntry
from lab.virtual.faults import Faults
from lab.virtual.redfish import messages
from lab.virtual.redfish.face import ROOT, SESSIONS, RedfishFace

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_TRICKLE_EVERY_S = 0.5
_HUGE_BYTES = 64 * 2**20
_CHUNK = b"x" * 2**20
_CHANGES = ("POST", "PATCH", "DELETE", "PUT")
_A_TASK = re.compile(rf"{ROOT}/TaskService/(Tasks|TaskMonitors)/([^/]+)")
_REFUSALS = {
    409: ("ResourceInUse", "The resource is in use; the change was not made."),
    412: ("PreconditionFailed", "The ETag supplied did not match the ETag required to change this resource."),
    428: ("PreconditionRequired", "An ETag is required to change this resource."),
    503: ("ServiceTemporarilyUnavailable", "The service is temporarily unavailable."),
}
_PAGE = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>lighttpd</body></html>"


def answer_of(error: messages.RedfishError) -> web.Response:
    """A refusal as it goes over the wire."""
    return web.json_response(error.body(), status=error.status, headers=error.headers)


def hang_up(request: web.Request) -> web.Response:
    """Reset the TCP connection; what is answered afterwards reaches nobody."""
    transport = request.transport
    if transport is not None:
        wire = transport.get_extra_info("socket")
        if wire is not None:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return web.Response(status=500)


class InjectedFaults:
    """Plays the faults in force on the requests of one service.

    Args:
        face: whose sessions expire.
        faults: which are in force.
        reboot: takes the whole BMC away for so many seconds.
    """

    def __init__(self, face: RedfishFace, faults: Faults, reboot: Callable[[float], None]) -> None:
        self._face = face
        self._faults = faults
        self._reboot = reboot
        self._vanished: set[str] = set()

    async def layer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The outermost layer of the service."""
        path = request.path.rstrip("/")
        for kind in ("bmc-reboot", "tcp-reset"):
            fault = self._take(kind, request, path)
            if fault is not None:
                if fault.chosen_way == "after":
                    await handler(request)
                if kind == "bmc-reboot":
                    self._reboot(fault.lasting_s)
                return hang_up(request)
        refusal = self._refusal(request, path)
        if refusal is not None:
            return answer_of(refusal)
        self._expire(request, path)
        answer = await handler(request)
        return await self._spoil(request, path, answer)

    def _take(self, kind: str, request: web.Request, path: str) -> FaultEntry | None:
        what = f"{request.method} {path}"
        return self._faults.take(kind, what, method=request.method, path=path)  # type: ignore[arg-type]

    def _refusal(self, request: web.Request, path: str) -> messages.RedfishError | None:
        login = request.method == "POST" and path == SESSIONS
        if login:
            if self._take("session-table-full", request, path) is not None:
                text = (
                    "The session cannot be opened: the number of simultaneous sessions has reached its limit."
                )
                return messages.RedfishError(503, "SessionLimitExceeded", text)
            return None
        task = _A_TASK.match(path)
        if task is not None and request.method == "GET":
            if task[2] in self._vanished or self._take("task-vanishes", request, path) is not None:
                self._vanished.add(task[2])
                return messages.not_found(path)
            return None
        # A session that is being ended is no work of the server that could be refused.
        if request.method in _CHANGES and not path.startswith(SESSIONS):
            fault = self._take("refusal", request, path)
        elif request.method == "GET":
            fault = self._refused_read(request, path)
        else:
            fault = None
        if fault is None:
            return None
        status = fault.status or 503
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return messages.RedfishError(status, *_REFUSALS[status], headers=headers)

    def _refused_read(self, request: web.Request, path: str) -> FaultEntry | None:
        """Reads are refused only where a fault asks for GET by name."""
        named = any(entry.fault == "refusal" and entry.method == "GET" for entry in self._faults.entries)
        return self._take("refusal", request, path) if named else None

    def _expire(self, request: web.Request, path: str) -> None:
        token = request.headers.get("X-Auth-Token")
        if token and not path.startswith(SESSIONS) and self._take("session-expired", request, path):
            self._face.sessions.expire(token)

    async def _spoil(self, request: web.Request, path: str, answer: web.StreamResponse) -> web.StreamResponse:
        if not isinstance(answer, web.Response) or not isinstance(answer.body, bytes) or not answer.body:
            return answer
        if answer.content_type != "application/json" or path.startswith(SESSIONS):
            return answer
        fault = self._take("bad-body", request, path)
        if fault is None:
            return answer
        if fault.chosen_way == "html":
            return web.Response(status=answer.status, text=_PAGE, content_type="text/html")
        if fault.chosen_way == "truncated":
            return web.Response(
                status=answer.status,
                body=answer.body[: len(answer.body) // 2],
                content_type="application/json",
            )
        return await (_trickled if fault.chosen_way == "trickle" else _huge)(request, answer, answer.body)


async def _trickled(request: web.Request, answer: web.Response, body: bytes) -> web.StreamResponse:
    """Byte after byte, so slowly that no read ever times out and the whole never comes."""
    slow = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
    slow.content_length = len(body)
    await slow.prepare(request)
    with contextlib.suppress(ConnectionError):
        for byte in body:
            await slow.write(bytes([byte]))
            await asyncio.sleep(_TRICKLE_EVERY_S)
        await slow.write_eof()
    return slow


async def _huge(request: web.Request, answer: web.Response, body: bytes) -> web.StreamResponse:
    """The right members, and one more that is longer than any BMC's whole tree."""
    vast = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
    await vast.prepare(request)
    with contextlib.suppress(ConnectionError):
        await vast.write(body.rstrip()[:-1] + b', "Oem": "')
        for _ in range(_HUGE_BYTES // len(_CHUNK)):
            await vast.write(_CHUNK)
        await vast.write(b'"}')
        await vast.write_eof()
    return vast
