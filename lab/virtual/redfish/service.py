"""The Redfish service of one server over HTTP(S): routing, authentication, ETags and error answers.

Requests pass a chain of middlewares; `layers` go outermost, before anything of the service sees the
request, which is the one place where a fault profile changes what a client meets.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Middleware

from lab.errors import LabFault
from lab.virtual.redfish import manager, media, messages, service_root, system
from lab.virtual.redfish.face import ROOT, SESSIONS, Json, RedfishFace, Reply, Resource

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Layer = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]
_COMMON_HEADERS = {"OData-Version": "4.0", "Cache-Control": "no-store", "Server": "hypervisor-lab"}
_OPEN_PATHS = ("/redfish", ROOT, f"{ROOT}/odata", f"{ROOT}/$metadata")
"""What DSP0266 section 13.3.1 wants readable without authentication."""
_BODY_LIMIT = 2**20
_log = logging.getLogger(__name__)


class RedfishService:
    """Serves one server's Redfish face.

    Args:
        face: what is shown.
        layers: middlewares outside the service, outermost first.
    """

    def __init__(self, face: RedfishFace, layers: Sequence[Layer] = ()) -> None:
        self.face = face
        self._resources = service_root.resources() | system.resources(face.chassis.server) | media.resources()
        self._resources |= manager.resources(event_log=face.ipmi is not None)
        chain = [_middleware(layer) for layer in (*layers, _answer_errors, self._authenticate)]
        self._app = web.Application(middlewares=chain, client_max_size=_BODY_LIMIT)
        self._app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=1.0)

    async def open(self, address: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen; OSError where the port is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port, ssl_context=tls).start()

    async def close(self) -> None:
        """Stop listening and end connections."""
        await self._runner.cleanup()

    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        path = _plain(request.path)
        login = request.method == "POST" and path == SESSIONS
        if not login and not (request.method in ("GET", "HEAD") and path in _OPEN_PATHS):
            self.face.sessions.admit(request.headers)
        return await handler(request)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = _plain(request.path)
        if path == f"{ROOT}/$metadata" and request.method in ("GET", "HEAD"):
            return web.Response(
                text=service_root.METADATA, content_type="application/xml", headers=_COMMON_HEADERS
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
        found = self._resources.get(path) or service_root.find(self.face, path)
        if found is None and self.face.ipmi is not None and path.startswith(f"{manager.ENTRIES}/"):
            entries: list[Json] = (await manager.read_entries(self.face))["Members"]
            entry = next((entry for entry in entries if entry["@odata.id"] == path), None)
            found = None if entry is None else Resource(lambda _, body=entry: body)  # type: ignore[misc]
        return found

    async def _get(self, request: web.Request, resource: Resource) -> web.StreamResponse:
        body = await self._read(resource)
        tag = _etag(body)
        headers = {**_COMMON_HEADERS, "ETag": tag, "Allow": ", ".join(resource.methods)}
        if tag in _tags(request.headers.get("If-None-Match")):
            return web.Response(status=304, headers=headers)
        return web.json_response(
            {"@odata.etag": tag, **body} if "@odata.id" in body else body, headers=headers
        )

    async def _change(self, request: web.Request, resource: Resource) -> web.StreamResponse:
        await self._check_precondition(request, resource)
        if request.method == "DELETE" and resource.delete is not None:
            return _response(await resource.delete(self.face))
        body = await _json(request)
        if request.method == "PATCH" and resource.patch is not None:
            await resource.patch(self.face, body)
            return await self._get_fresh(resource)
        if resource.post is None:
            raise messages.method_not_allowed(request.method, resource.methods)
        return _response(await resource.post(self.face, body))

    async def _check_precondition(self, request: web.Request, resource: Resource) -> None:
        wanted = _tags(request.headers.get("If-Match"))
        if (
            wanted
            and resource.read is not None
            and "*" not in wanted
            and _etag(await self._read(resource)) not in wanted
        ):
            text = "The ETag supplied did not match the ETag required to change this resource."
            raise messages.RedfishError(412, "PreconditionFailed", text)

    async def _get_fresh(self, resource: Resource) -> web.Response:
        body = await self._read(resource)
        return web.json_response(
            {"@odata.etag": _etag(body), **body}, headers={**_COMMON_HEADERS, "ETag": _etag(body)}
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
        refusal.body(), status=refusal.status, headers={**_COMMON_HEADERS, **refusal.headers}
    )


async def _json(request: web.Request) -> Json:
    raw = await request.read()
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise messages.malformed() from error
    if not isinstance(body, dict):
        raise messages.malformed()
    return body


def _plain(path: str) -> str:
    return path.rstrip("/") or "/"


def _etag(body: Json) -> str:
    # A clock that ticks is no change that a client could lose.
    lasting = {key: value for key, value in body.items() if key != "DateTime"}
    return f'"{hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()[:16]}"'


def _tags(header: str | None) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")] if header else []


def _response(reply: Reply) -> web.Response:
    headers = {**_COMMON_HEADERS, **reply.headers}
    if reply.body is None:
        return web.Response(status=reply.status, headers=headers)
    return web.json_response(reply.body, status=reply.status, headers=headers)
