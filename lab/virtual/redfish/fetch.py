"""Fetching an image by HTTP or HTTPS, as virtual media and updates do; every failure by its own message."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from lab.virtual.redfish import messages

PROTOCOLS = ["HTTP", "HTTPS"]
_OTHERS = ("NFS", "CIFS", "FTP", "SFTP", "SCP", "TFTP", "OEM")
_TIMES = aiohttp.ClientTimeout(total=600, sock_connect=10, sock_read=30)
_CHUNK = 2**20


def check_source(action: str, name: str, url: str, protocol: object, protocol_name: str) -> str:
    """The protocol of a URL: one that can be fetched, and the one that the client names, if it does.

    Raises:
        RedfishError: 400; NFS and CIFS by a message of their own, so that a client can choose another way.
    """
    scheme = urlsplit(url).scheme.upper()
    if not scheme and ("\\\\" in url or url.startswith("//")):
        scheme = "CIFS"
    elif not scheme and ":/" in url:
        scheme = "NFS"
    for parameter, value in ((protocol_name, protocol), (name, scheme)):
        if value in _OTHERS:
            why = f"this BMC fetches images by {' and '.join(PROTOCOLS)} only"
            raise messages.parameter_not_supported(action, parameter, str(value), why)
        if value is not None and value not in PROTOCOLS:
            raise messages.not_in_list(parameter, value, PROTOCOLS, action=action)
    if protocol is not None and protocol != scheme:
        text = f"The parameter {protocol_name} says {protocol}, but {name} is an address of {scheme}."
        raise messages.RedfishError(
            400, "ActionParameterValueConflict", text, arguments=[protocol_name, protocol]
        )
    if not urlsplit(url).hostname:
        text = f"The value '{url}' for the parameter {name} is not an address of an image."
        raise messages.RedfishError(400, "ActionParameterValueFormatError", text, arguments=[url, name])
    return scheme


async def fetch(url: str, user: str, password: str, file: Path) -> None:
    """Fetch a URL into `file`, which is there afterwards, whole, or not at all.

    Raises:
        RedfishError: 400, by what went wrong: no connection, credentials, another status, an empty answer.
    """
    partial = file.with_suffix(".part")
    headers = {}
    if user:
        headers["Authorization"] = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    try:
        # As a BMC does by default (VerifyCertificate: false); what is fetched is checked by whoever boots it.
        async with (
            aiohttp.ClientSession(timeout=_TIMES, headers=headers, auto_decompress=False) as client,
            client.get(url, ssl=False) as answer,
        ):
            if answer.status in (401, 403):
                raise _unfetched("AccessDenied", url, f"HTTP status {answer.status}")
            if answer.status != 200:
                raise _unfetched("ResourceAtUriInUnknownFormat", url, f"HTTP status {answer.status}")
            size = 0
            with partial.open("wb") as stream:
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    size += await asyncio.to_thread(stream.write, chunk)
            if size == 0:
                raise _unfetched("ResourceAtUriInUnknownFormat", url, "it is empty")
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        why = str(error) or type(error).__name__
        raise _unfetched("CouldNotEstablishConnection", url, why) from error
    else:
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _unfetched(message: str, url: str, why: str) -> messages.RedfishError:
    text = f"The image at '{url}' cannot be fetched: {why}."
    return messages.RedfishError(400, message, text, arguments=[url])
