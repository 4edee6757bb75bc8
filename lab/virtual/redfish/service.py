"""The Redfish service of one server over HTTP(S): routing, authentication, ETags and error answers.

Requests pass a chain of middlewares; `layers` go outermost, before anything of the service sees the
request, which is the one place where a fault profile changes what a client meets.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.typedefs import Middleware

from lab.errors import LabFault
from lab.virtual.redfish import (
    bios,
    ledger,
    logs,
    manager,
    media,
    messages,
    secure_boot,
    service_root,
    system,
    tasks,
    update,
    wire,
)
from lab.virtual.redfish.face import MANAGER, ROOT, SESSIONS, Json, RedfishFace, Reply, Resource, parameters

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Layer = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]
Overlay = Callable[[str, Resource | None], Resource | None]
_OPEN_PATHS = ("/redfish", ROOT, f"{ROOT}/odata", f"{ROOT}/$metadata")
"""What DSP0266 section 13.3.1 wants readable without authentication."""
_BODY_LIMIT = 2**20
_CUT_S = 0.05
"""How long a request may go on that a reset of the BMC meets; 0 would be for ever to aiohttp."""
_log = logging.getLogger(__name__)


class RedfishService:
    """Serves one server's Redfish face.

    Args:
        face: what is shown.
        layers: middlewares outside the service, outermost first.
        overlay: what lies at a path in place of our own resource, or of nothing.
    """

    def __init__(
        self, face: RedfishFace, layers: Sequence[Layer] = (), overlay: Overlay | None = None
    ) -> None:
        self.face = face
        self._overlay = overlay or (lambda _, resource: resource)
        server, with_ipmi = face.chassis.server, face.ipmi is not None
        self._resources = {
            **service_root.resources(),
            **system.resources(server),
            **bios.resources(),
            **secure_boot.resources(server.firmware),
            **media.resources(),
            **manager.resources(sensed=with_ipmi),
            **logs.resources(event_log=with_ipmi),
            **tasks.resources(),
            **update.resources(),
            f"{MANAGER}/Actions/{manager.RESET}": Resource(post=self._reset_manager),
        }
        chain = [_middleware(layer) for layer in (*layers, _answer_errors, self._authenticate)]
        self._app = web.Application(middlewares=chain, client_max_size=_BODY_LIMIT)
        self._app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=1.0)
        self._listen: Callable[[], web.TCPSite] | None = None
        self._site: web.TCPSite | None = None
        self._coming_back: asyncio.Task[None] | None = None
        self._following: asyncio.Future[None] | None = None

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it listens; None while it does not."""
        return self._runner.addresses[0][:2] if self._site is not None else None

    async def open(self, address: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen; OSError where the port is taken. Port 0 takes a free one (`address` tells)."""
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, address, port, ssl_context=tls)
        await self._site.start()
        port = self.address[1] if self.address else port
        self._listen = lambda: web.TCPSite(self._runner, address, port, ssl_context=tls)

    async def close(self) -> None:
        """Stop listening and end connections."""
        if self._coming_back is not None:
            self._coming_back.cancel()
        self.face.tasks.clear()
        await self._runner.cleanup()

    async def restart(self, seconds: float | None = None) -> None:
        """The BMC resets: it is gone at once, and answers again after so many seconds (default: `Behaviour`).

        Sessions and tasks are lost; virtual media too where the BMC does not keep them. The server runs on.
        """
        away = self.face.behaviour.reset_s if seconds is None else seconds
        if self._site is None or self._coming_back is not None:
            return
        site, self._site = self._site, None
        self._coming_back = asyncio.create_task(self._come_back(away))
        for listener in self.face.reset_listeners:
            listener(away)
        self.face.sessions.forget()
        self.face.tasks.clear()
        await site.stop()
        if self._runner.server is not None:
            await self._runner.server.shutdown(_CUT_S)
        if not self.face.behaviour.keeps_media:
            await self.face.chassis.eject()

    async def _come_back(self, away: float) -> None:
        await asyncio.sleep(away)
        if self._listen is not None:
            site = self._listen()
            await site.start()
            self.face.started = datetime.now(UTC)
            self._site, self._coming_back = site, None

    async def _reset_manager(self, _: RedfishFace, body: Json) -> Reply:
        kind = parameters(body, manager.RESET, {"ResetType": str}).get("ResetType", "ForceRestart")
        if kind not in manager.RESETS:
            raise messages.not_in_list("ResetType", kind, manager.RESETS, action=manager.RESET)
        return Reply(after=self.restart)

    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.face.ledger.requests[request.method] += 1
        ledger.begin(ledger.Request(request.remote or "", datetime.now(UTC), dict(request.query)))
        path = wire.plain(request.path)
        login = request.method == "POST" and path == SESSIONS
        if not login and not (request.method in ("GET", "HEAD") and path in _OPEN_PATHS):
            self.face.sessions.admit(request.headers)
        return await handler(request)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = wire.plain(request.path)
        if path == f"{ROOT}/$metadata" and request.method in ("GET", "HEAD"):
            return web.Response(
                text=service_root.METADATA, content_type="application/xml", headers=wire.HEADERS
            )
        resource = await self._find(path)
        if resource is None:
            raise messages.not_found(path)
        if request.method not in resource.methods:
            raise messages.method_not_allowed(request.method, resource.methods)
        if request.method in ("GET", "HEAD"):
            return await self._get(request, resource)
        return await self._change(request, resource)

    async def _find(self, path: str) -> Resource | None:
        found = (
            self._resources.get(path)
            or service_root.find(self.face, path)
            or tasks.find(self.face, path)
            or await logs.find(self.face, path)
        )
        return self._overlay(path, found)

    async def _get(self, request: web.Request, resource: Resource) -> web.StreamResponse:
        if resource.monitor is not None:
            return wire.response(resource.monitor(self.face))
        body = await self._read(resource)
        tag = wire.etag(body)
        headers = {**wire.HEADERS, "ETag": tag, "Allow": ", ".join(resource.methods)}
        if tag in wire.tags(request.headers.get("If-None-Match")):
            return web.Response(status=304, headers=headers)
        return web.json_response(
            {"@odata.etag": tag, **body} if "@odata.id" in body else body, headers=headers
        )

    async def _change(self, request: web.Request, resource: Resource) -> web.StreamResponse:
        await self._check_precondition(request, resource)
        if request.method == "DELETE" and resource.delete is not None:
            reply = await resource.delete(self.face)
            self._note(request)
            return wire.response(reply)
        if resource.upload is not None:
            if not request.content_type.startswith("multipart/"):
                text = "The request has to be multipart/form-data."
                raise messages.RedfishError(415, "UnsupportedMediaType", text)
            reply = await resource.upload(self.face, wire.parts(request))
            self._note(request)
            return wire.response(reply)
        body = await wire.json_body(request)
        if request.method == "PATCH" and resource.patch is not None:
            await resource.patch(self.face, body)
            self._note(request)
            return await self._get_fresh(resource)
        if resource.post is None:
            raise messages.method_not_allowed(request.method, resource.methods)
        reply = await resource.post(self.face, body)
        self._note(request, body)
        if reply.after is None:
            return wire.response(reply)
        response = wire.response(reply)
        await response.prepare(request)
        await response.write_eof()
        self._following = asyncio.ensure_future(reply.after())
        return response

    def _note(self, request: web.Request, body: Json | None = None) -> None:
        """Count a change. Sessions have counts of their own; clearing a log leaves nothing in it."""
        path = wire.plain(request.path)
        name = path.rpartition("/Actions/")[2] if "/Actions/" in path else ""
        kind = (body or {}).get("ResetType")
        what = (
            f"{name} {kind}" if name and kind else name or f"{request.method} {path.removeprefix(ROOT)[1:]}"
        )
        if not path.startswith(SESSIONS):
            self.face.ledger.note(what, journal=name != logs.CLEAR)

    async def _check_precondition(self, request: web.Request, resource: Resource) -> None:
        """If-Match, where it is given; for an action it names the resource that the action belongs to."""
        wanted = wire.tags(request.headers.get("If-Match"))
        path, action, _ = wire.plain(request.path).partition("/Actions/")
        guarded = await self._find(path) if action else resource
        if not wanted or "*" in wanted or guarded is None or guarded.read is None:
            return
        if wire.etag(await self._read(guarded)) not in wanted:
            text = "The ETag supplied did not match the ETag required to change this resource."
            raise messages.RedfishError(412, "PreconditionFailed", text)

    async def _get_fresh(self, resource: Resource) -> web.Response:
        body = await self._read(resource)
        return web.json_response(
            {"@odata.etag": wire.etag(body), **body}, headers={**wire.HEADERS, "ETag": wire.etag(body)}
        )

    async def _read(self, resource: Resource) -> Json:
        if resource.read is None:
            raise messages.method_not_allowed("GET", resource.methods)
        found = resource.read(self.face)
        return await found if inspect.isawaitable(found) else found


def _middleware(layer: Layer) -> Middleware:
    @web.middleware
    async def run(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await layer(request, handler)

    return run


async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every refusal into a Redfish error body; a bug becomes 500 and is logged, never hidden."""
    try:
        return await handler(request)
    except messages.RedfishError as error:
        refusal = error
    except LabFault as fault:
        _log.error("%s %s: %s", request.method, request.path, fault)
        refusal = messages.RedfishError(500, "InternalError", f"The request failed: {fault.message}.")
    except web.HTTPException as error:
        refusal = messages.RedfishError(error.status, "GeneralError", error.reason)
    return web.json_response(
        refusal.body(), status=refusal.status, headers={**wire.HEADERS, **refusal.headers}
    )
