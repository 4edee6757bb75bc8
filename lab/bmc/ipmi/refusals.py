"""Why an IPMI log-in failed, in words that tell who must act."""

from __future__ import annotations

from typing import Literal

from lab.bmc.ipmi.lan import BUSY_WORDS, OLD_WORDS, PASSWORD_WORDS, USER_WORDS
from lab.bmc.ipmi.look import Seen
from lab.bmc.target import Target
from lab.errors import LabFault

_PASSWORD_WORDS = (
    PASSWORD_WORDS,
    USER_WORDS,
    "unauthorized name",
    "invalid role",
    "privilege",
    "integrity check",
)
_SILENCE_WORDS = ("timeout", "no answer", "session failed to initialize", "name or service not known")
_BUSY = (BUSY_WORDS, "insufficient resources", "maximum sol session count")


def failure_kind(text: str) -> Literal["credentials", "unreachable", "busy", "fault"]:
    """What is meant by the text with which a log-in ended."""
    told = text.lower()
    if any(word in told for word in _BUSY):
        return "busy"
    if any(word in told for word in _PASSWORD_WORDS):
        return "credentials"
    return "unreachable" if any(word in told for word in _SILENCE_WORDS) else "fault"


def login_failed(
    target: Target,
    tried: str,
    error: str,
    stumble: str,
    seen: Seen | None,
    port: int,
    *,
    let_in_before: bool = False,
) -> LabFault:
    """The error for a log-in that ended with the text `error`.

    Args:
        stumble: the last datagram that could not be understood; empty where there was none.
        seen: what a look at the UDP port `port` found; None where nobody looked.
        let_in_before: this process was logged in as the same user earlier.
    """
    kind = failure_kind(error)
    if kind == "credentials":
        if let_in_before and USER_WORDS in error:
            return target.locked(tried, f"this user logged in before, and now: {error}")
        return target.credentials(tried, error)
    if kind == "busy":
        return target.busy(tried, error)
    if kind == "unreachable":
        return not_understood(target, tried, stumble) if stumble else _silence(target, tried, seen, port)
    if OLD_WORDS in error:
        return target.fault(tried, error, "reach it by Redfish, or update its firmware: IPMI 2.0 is needed")
    if "cipher suites" in error:
        return target.fault(tried, error, "enable cipher suite 17 or 3 for IPMI over LAN at the BMC")
    return target.fault(tried, error, "close other sessions to this BMC, or wait a minute until they expire")


def not_understood(target: Target, tried: str, why: str) -> LabFault:
    """The error for an answer that is no IPMI."""
    return target.fault(
        tried,
        f"its answer could not be understood ({why})",
        "is this an IPMI 2.0 BMC? try `ipmitool -I lanplus mc info` against it",
    )


def _silence(target: Target, tried: str, seen: Seen | None, port: int) -> LabFault:
    if seen is Seen.CLOSED:
        step = "enable IPMI over LAN at the BMC, and check the port in the rack file"
        return target.unreachable(tried, f"the host is there, but nothing listens on UDP port {port}", step)
    if seen is Seen.FILTERED:
        step = f"let UDP port {port} through the firewalls, both ways, and enable IPMI over LAN at the BMC"
        return target.unreachable(tried, f"the host is there, but UDP port {port} is silent", step)
    if seen is Seen.NO_ROUTE:
        step = "check the address in the rack file, and this machine's routes to the BMC network"
        return target.unreachable(tried, "the network says that there is no way to it", step)
    if seen is Seen.ECHO:
        return target.not_a_bmc(tried, "it sends back what it is sent (an echo service)")
    if seen is Seen.OTHER:
        return target.not_a_bmc(tried, "what answers on that UDP port is no RMCP")
    if seen is Seen.BMC:
        return target.unreachable(tried, "it answers RMCP, but does not go through with the log-in")
    return target.unreachable(tried, "no answer to IPMI over UDP, nor to anything else")
