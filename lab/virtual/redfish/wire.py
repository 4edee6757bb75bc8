"""The service's HTTP: bodies in and out, paths, ETags, and the headers that every answer has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator

from aiohttp import BodyPartReader, web

from lab.virtual.redfish import messages
from lab.virtual.redfish.face import Json, Reply

HEADERS = {"OData-Version": "4.0", "Cache-Control": "no-store", "Server": "hypervisor-lab"}


async def parts(request: web.Request) -> AsyncIterator[BodyPartReader]:
    """The parts of a multipart body, one after the other."""
    async for part in await request.multipart():
        if isinstance(part, BodyPartReader):
            yield part


async def json_body(request: web.Request) -> Json:
    """The JSON object in a body; an empty body is an empty object.

    Raises:
        RedfishError: 400 for anything else.
    """
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


def plain(path: str) -> str:
    """A path without the slash at its end."""
    return path.rstrip("/") or "/"


def etag(body: Json) -> str:
    """The ETag of a resource: strong, and the same for as long as nothing but its clock changes."""
    lasting = {key: value for key, value in body.items() if key != "DateTime"}
    return f'"{hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()[:16]}"'


def tags(header: str | None) -> list[str]:
    """The ETags in an If-Match or If-None-Match header, weak ones as if they were strong."""
    return [tag.strip().removeprefix("W/") for tag in header.split(",")] if header else []


def response(reply: Reply) -> web.Response:
    """A reply as HTTP."""
    headers = {**HEADERS, **reply.headers}
    if reply.body is None:
        return web.Response(status=reply.status, headers=headers)
    return web.json_response(reply.body, status=reply.status, headers=headers)
