"""What requests throws, wrapped by redfish, in our words: who is not there, who is not what we think."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redfish.rest.v1
import requests
import urllib3.exceptions

from lab.bmc.redfish.wire import BodyTooLarge, BodyTooSlow
from lab.bmc.target import Target
from lab.errors import LabError

_WHAT_TLS_SAYS = (
    (
        "certificate has expired",
        "it has expired",
        "renew the BMC's certificate, or pin its fingerprint in `tls`; check the controller's clock",
    ),
    (
        "not yet valid",
        "it is not valid yet",
        "set the BMC's clock and the controller's, or renew the certificate",
    ),
    (
        "Fingerprints did not match",
        "it is not the pinned one",
        "compare its SHA-256 fingerprint with the BMC's own: if the certificate was renewed, correct "
        "`tls.fingerprint` in the rack file; if not, somebody else answers there",
    ),
    (
        "Hostname mismatch",
        "it is for another name",
        "use the address that the certificate names, or pin its fingerprint in `tls`",
    ),
    (
        "IP address mismatch",
        "it is for another address",
        "use the address that the certificate names, or pin its fingerprint in `tls`",
    ),
    (
        "self-signed certificate",
        "it is self-signed, so no authority vouches for it",
        "pin its fingerprint in `tls`, or give the authority's file as `tls.ca`",
    ),
    (
        "unable to get local issuer",
        "no authority that is trusted here vouches for it",
        "give the authority's file as `tls.ca` in the rack file, or pin the fingerprint",
    ),
)
_NO_TLS = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "UNEXPECTED_EOF",
    "PACKET_LENGTH_TOO_LONG",
    "UNEXPECTED_MESSAGE",
)


_BROKE = "EOF occurred"
"""A connection that ended inside of TLS, as of a BMC that restarts; at first contact, of who speaks none."""


class NoAnswer(Exception):
    """A write was sent, and no answer came: whether it was carried out is open."""


class TooLarge(NoAnswer):
    """The answer has no end that a BMC's would have; of a write, it says nothing."""


@contextmanager
def words(target: Target, tried: str, *, known: bool = False) -> Iterator[None]:
    """Turn what is thrown inside into our errors.

    Args:
        known: a Redfish service has answered there before, so that TLS which breaks off is a lost connection.

    Raises:
        BmcUnreachable: no connection came about, so nothing was sent.
        BmcCertificate: TLS failed, which is before anything is sent.
        NotABmc: what answers speaks no TLS, or no HTTP.
        NoAnswer: it was sent, and no answer came, or none that is worth reading.
    """
    try:
        yield
    except redfish.rest.v1.RetriesExhaustedError as wrapped:
        raise _ours(target, tried, wrapped.__cause__, known) from wrapped


def _ours(target: Target, tried: str, cause: BaseException | None, known: bool) -> LabError | NoAnswer:
    if isinstance(cause, requests.exceptions.SSLError) and not (known and _BROKE in _short(cause)):
        return _tls(target, tried, _short(cause))
    if isinstance(cause, requests.exceptions.ConnectTimeout) or _never_sent(cause):
        return target.unreachable(tried, _short(cause))
    if isinstance(cause, BodyTooLarge):
        return TooLarge(f"{tried}: its answer is too large ({cause})")
    if _no_http(cause):
        return target.not_a_bmc(tried, "what answers there speaks no HTTP")
    slow = isinstance(cause, BodyTooSlow)
    return NoAnswer(f"{tried}: no answer ({'it began, but did not end' if slow else _short(cause)})")


def _tls(target: Target, tried: str, said: str) -> LabError:
    if any(sign in said for sign in _NO_TLS):
        return target.not_a_bmc(tried, f"it speaks no TLS at that port ({said})")
    for sign, what, next_step in _WHAT_TLS_SAYS:
        if sign.lower() in said.lower():
            return target.certificate(tried, f"{what} ({said})", next_step)
    return target.certificate(tried, said)


def _short(cause: BaseException | None) -> str:
    inner = getattr(cause, "args", None)
    reason = getattr(inner[0], "reason", inner[0]) if inner else cause
    return str(reason).split(": ", 1)[-1][:200]


def _reason(cause: BaseException | None) -> object:
    first = cause.args[0] if cause is not None and cause.args else None
    return getattr(first, "reason", None) or first


def _never_sent(cause: BaseException | None) -> bool:
    """Whether the connection never came about, so that nothing was sent."""
    return isinstance(
        _reason(cause),
        (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError),
    )


def _no_http(cause: BaseException | None) -> bool:
    """Whether an answer came whose first line is none of HTTP; an empty one is a connection that broke."""
    first = _reason(cause)
    inner = first.args[1] if isinstance(first, urllib3.exceptions.ProtocolError) and first.args[1:] else None
    return type(inner).__name__ == "BadStatusLine"
