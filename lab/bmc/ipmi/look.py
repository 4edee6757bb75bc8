"""What is there where no BMC answers: for the message, so that the right person acts."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
from enum import StrEnum

from lab.deadline import Deadline


class Seen(StrEnum):
    """What a look at a UDP port found."""

    BMC = "bmc"
    """RMCP: a BMC, or something like it."""
    CLOSED = "closed"
    """The host says that nothing listens there."""
    NO_ROUTE = "no route"
    """The network says that the host cannot be reached."""
    ECHO = "echo"
    """What was sent came back."""
    OTHER = "other"
    """Something answers that is no RMCP."""
    FILTERED = "filtered"
    """The host is there; the port is silent."""
    SILENT = "silent"
    """Neither the port nor the host."""


# RMCP presence ping (ASF 2.0, 3.2.4.2), then Get Channel Authentication Capabilities (IPMI 2.0, 22.13).
_QUESTIONS = (
    bytes.fromhex("0600ff06000011be80000000"),
    bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5"),
)
_RMCP, _ASF, _IPMI = 0x06, 0x06, 0x07
_NO_ROUTE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EINVAL, errno.EACCES}


def look(host: str, port: int, deadline: Deadline) -> Seen:
    """What answers at this UDP port; two datagrams and at most one TCP connection, harmless to a BMC.

    Raises:
        OSError: the name cannot be resolved.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM)[0]
    # Connected, so that the kernel tells when the host refuses; pyghmi's own socket is never told.
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(address)
            for question in _QUESTIONS:
                probe.send(question)
            half = deadline.within(deadline.left / 2, deadline.why)
            if select.select([probe], [], [], half.left)[0]:
                return _kind(probe.recv(1024))
        except ConnectionRefusedError:
            return Seen.CLOSED
        except OSError as problem:
            if problem.errno in _NO_ROUTE:
                return Seen.NO_ROUTE
            raise
    return Seen.FILTERED if _host_is_there(family, address, deadline) else Seen.SILENT


def _kind(answer: bytes) -> Seen:
    if answer in _QUESTIONS:
        return Seen.ECHO
    if len(answer) >= 4 and answer[0] == _RMCP and answer[3] & 0x1F in (_ASF, _IPMI):
        return Seen.BMC
    return Seen.OTHER


def _host_is_there(family: int, address: tuple[object, ...], deadline: Deadline) -> bool:
    """Whether TCP is answered there, be it with a refusal."""
    with socket.socket(family, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
        probe.settimeout(max(0.1, deadline.left))
        return probe.connect_ex(address) in (0, errno.ECONNREFUSED)
    return False
