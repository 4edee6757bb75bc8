"""One request and its answer, over one connection, to one host."""

from __future__ import annotations

import logging
import time
from urllib.parse import urljoin, urlsplit

from lab.bmc.redfish.errors import words
from lab.bmc.redfish.json import Json
from lab.bmc.redfish.reply import Reply, reply_of
from lab.bmc.redfish.wire import ANY_ENCODING, CONNECT_S, WireClient
from lab.bmc.target import Target

_MOST_REDIRECTS = 2
_log = logging.getLogger(__name__)


def exchange(
    target: Target,
    client: WireClient,
    method: str,
    path: str,
    limit: float,
    body: Json | bytes | None,
    headers: dict[str, str],
) -> Reply:
    """Send once and read the whole answer within `limit` seconds.

    A 406 says that nothing was done: it is asked again without Accept-Encoding (facts/bmc.md Q12). A GET is
    redirected within its own host alone; nothing else is redirected.

    Raises:
        BmcUnreachable, NoAnswer, LabFault: as `words` says.
    """
    hop = 0
    while True:
        reply = _once(target, client, method, path, limit, body, dict(headers))
        if reply.status == 406:
            reply = _once(target, client, method, path, limit, body, {**headers, **ANY_ENCODING})
        if not 300 <= reply.status < 400 or reply.status == 304:
            return reply
        hop += 1
        where = urlsplit(urljoin(f"{target.address}{path}", reply.headers.get("location", "")))
        if method != "GET" or where[:2] != urlsplit(target.address)[:2] or hop > _MOST_REDIRECTS:
            raise target.fault(
                f"{method} {path}",
                f"it redirects to {where.scheme}://{where.netloc}, where our credentials do not belong",
                "give the address it redirects to in the rack file",
            )
        path = where.path


def _once(
    target: Target,
    client: WireClient,
    method: str,
    path: str,
    limit: float,
    body: Json | bytes | None,
    headers: dict[str, str],
) -> Reply:
    began = time.monotonic()
    arguments: Json = {"headers": headers, "timeout": (min(CONNECT_S, limit), limit)}
    if method != "GET":
        arguments["body"] = body
    with words(target, f"{method} {path}", known=client.answered):
        raw = getattr(client, method.lower())(path, **arguments)
    client.answered = True
    reply = reply_of(raw)
    _log.debug("%s: %s %s: %d, %.2f s", target.server, method, path, reply.status, time.monotonic() - began)
    return reply
