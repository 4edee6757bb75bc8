"""The network ports a virtual rack needs: loopback only, and free before anything is started."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

from lab.errors import ConfigError, LabFault
from lab.rack.model import Rack, Server

_IPMI_PORT = 623


@dataclass(frozen=True)
class Endpoint:
    """One port of one server; `face` is what answers there."""

    server: str
    face: str
    address: str
    port: int
    datagram: bool = False


def redfish(server: Server) -> Endpoint | None:
    """Where the server's Redfish service listens; None without one."""
    if server.bmc.redfish is None:
        return None
    url = urlsplit(server.bmc.redfish)
    return _endpoint(
        server, "Redfish", url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    )


def ipmi(server: Server) -> Endpoint | None:
    """Where the server's BMC listens for IPMI; None without it."""
    if server.bmc.ipmi is None:
        return None
    address, _, port = server.bmc.ipmi.partition(":")
    return _endpoint(server, "IPMI", address, int(port or _IPMI_PORT), datagram=True)


def ssh(server: Server) -> Endpoint | None:
    """Where the installed system's SSH appears while the server is on; None without a host entry."""
    if server.host is None:
        return None
    return _endpoint(server, "SSH", server.host.address, server.host.ssh_port)


def require_free(rack: Rack) -> None:
    """Nothing else listens where the rack is going to.

    Raises:
        ConfigError: an address is not on loopback, or two faces of the rack share a port.
        LabFault: a port is taken; the message names it and, where the system tells, who has it.
    """
    wanted = [
        place for server in rack.servers for place in (redfish(server), ipmi(server), ssh(server)) if place
    ]
    seen: dict[tuple[str, int, bool], Endpoint] = {}
    for place in wanted:
        other = seen.setdefault((place.address, place.port, place.datagram), place)
        if other is not place:
            raise ConfigError(
                f"{place.face} port {place.port} is also {other.server}'s {other.face} port",
                server=place.server,
                next_step="give each its own port in the rack file",
            )
    for place in wanted:
        _require_free(place)


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def inner_address() -> str:
    """A loopback address for what stands behind a public port, in the half that rack files rarely use."""
    return f"127.{128 + secrets.randbelow(126)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"


def _endpoint(server: Server, face: str, address: str, port: int, *, datagram: bool = False) -> Endpoint:
    try:
        on_loopback = ipaddress.ip_address(address) in ipaddress.ip_network("127.0.0.0/8")
    except ValueError:
        on_loopback = False
    if not on_loopback:
        raise ConfigError(
            f"{face} address {address} is not on loopback; a virtual server listens nowhere else",
            server=server.name,
            next_step="use 127.0.0.1 in the rack file",
        )
    return Endpoint(server.name, face, address, port, datagram)


def _require_free(place: Endpoint) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if place.datagram else socket.SOCK_STREAM) as probe:
        if not place.datagram:  # connections of an earlier run that are still fading away are no obstacle
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((place.address, place.port))
        except OSError as error:
            protocol = "UDP" if place.datagram else "TCP"
            raise LabFault(
                f"{place.face} port {protocol} {place.address}:{place.port} is taken{_owner(place)}"
                f" ({error.strerror})",
                server=place.server,
                next_step="end what listens there, or choose another port in the rack file",
            ) from error


def _owner(place: Endpoint) -> str:
    try:
        connections = psutil.net_connections("udp4" if place.datagram else "tcp4")
    except psutil.Error:
        return ""
    for connection in connections:
        if connection.laddr and connection.laddr.port == place.port and connection.pid:
            try:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
            except psutil.Error:
                return f" by process {connection.pid}"
    return ""
