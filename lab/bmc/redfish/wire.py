"""DMTF's `redfish` 3.4.2 held to our rules on the wire.

Its traps, and what stands in their way here (numbers: facts/bmc.md, 2.2): no time limit and ten blind
retries (1, 2): both given with every call; unverified TLS (3): a CA file or a pinned fingerprint;
tokens in its debug log (4): its logger is silenced, we log method, path and status; redirects that
carry the token elsewhere (4): none are followed; bodies that trickle for ever or never end: a limit on
time and size; proxies and passwords from the environment or ~/.netrc: not looked at.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Literal

import certifi
import redfish.rest.v1
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import SKIP_HEADER

from lab.rack.model import Tls

CONNECT_S = 4.0
ANY_ENCODING = {"Accept-Encoding": SKIP_HEADER}
"""Headers by which a request says nothing of encodings; some BMCs keep registries only packed (Q12)."""
LARGEST_BODY = 32 * 2**20
"""Bytes of an answer; the largest honest one, a registry, has about two million."""

logging.getLogger("redfish.rest.v1").addFilter(lambda record: False)


class BodyTooSlow(requests.exceptions.ReadTimeout):
    """The answer began in time, but did not end."""


class BodyTooLarge(requests.exceptions.RequestException):
    """The answer is no answer of a BMC."""


class _Adapter(HTTPAdapter):
    """Sends one request with a limit on the whole answer; checks a pinned certificate if there is one."""

    def __init__(self, fingerprint: str | None) -> None:
        self._fingerprint = fingerprint
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as in requests
        """As in requests, with the pinned fingerprint."""
        if self._fingerprint:
            # A pin stands for the name as well: BMC certificates seldom carry the address they are used at.
            kwargs |= {"assert_fingerprint": self._fingerprint, "assert_hostname": False}
        super().init_poolmanager(*args, **kwargs)

    def send(self, request: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]  # noqa: ANN401
        """As in requests; reads the whole body within the read time-out."""
        end = time.monotonic() + kwargs["timeout"][1]
        response = super().send(request, **(kwargs | {"stream": True}))
        body = bytearray()
        while piece := response.raw.read1(64 * 1024, decode_content=True):
            body += piece
            if time.monotonic() > end:
                response.close()
                raise BodyTooSlow("the answer began, but did not end in time", request=request)
            if len(body) > LARGEST_BODY:
                response.close()
                raise BodyTooLarge(f"more than {LARGEST_BODY} bytes", request=request)
        response._content = bytes(body)
        return response


class WireClient(redfish.rest.v1.HttpClient):  # type: ignore[misc]  # redfish is untyped
    """`redfish`'s client with TLS verified, no redirects and nothing from the environment.

    Args:
        url: base URL of the BMC.
        tls: how its certificate is trusted; None means by the system's authorities, "none" not at all.
        close_each: a new connection for each request (facts/bmc.md Q33).
        any_encoding: leave Accept-Encoding out.

    Attributes:
        answered: whether a Redfish service has answered at that address, to this client or one before it.
    """

    def __init__(
        self,
        url: str,
        tls: Tls | Literal["none"] | None,
        *,
        close_each: bool = False,
        any_encoding: bool = False,
    ) -> None:
        self.answered = False
        pinned = tls.fingerprint if isinstance(tls, Tls) else None
        # It has no path for our verbs to fall back on before the adapters are in place.
        super().__init__(
            url,
            max_retry=0,
            timeout=(CONNECT_S, CONNECT_S),
            check_connectivity=False,
            cafile=_authorities(tls),
        )
        adapter = _Adapter(pinned.removeprefix("sha256:") if pinned else None)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._session.trust_env = False
        self._session.headers["Accept-Encoding"] = SKIP_HEADER if any_encoding else "identity"
        if close_each:
            self.close_each()

    def _rest_request(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # as in redfish
        kwargs["allow_redirects"] = False
        kwargs["max_retry"] = 0
        return super()._rest_request(*args, **kwargs)

    def close_each(self) -> None:
        """From now on, a new connection for each request."""
        self._session.headers["Connection"] = "close"

    def hang_up(self) -> None:
        """Close every connection; the next request opens one."""
        self._session.close()


def _authorities(tls: Tls | Literal["none"] | None) -> str | None:
    if isinstance(tls, Tls):
        return str(tls.ca) if tls.ca else None
    return None if tls == "none" else certifi.where()
