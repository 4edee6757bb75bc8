"""From a rack file's entry to a BMC and its console."""

from __future__ import annotations

from typing import Literal

from lab.bmc.api import Bmc, ByteStream
from lab.bmc.chain import BmcChain
from lab.bmc.provider import Provider
from lab.bmc.target import Account, Target
from lab.errors import ConfigError
from lab.rack.model import Rack, Server, Tls

IPMI_PORT = 623


def open_bmc(rack: Rack, server: Server) -> Bmc:
    """The server's BMC, Redfish before IPMI. Nothing is sent before the first call; close it in the end.

    Raises:
        MissingSecret: at the first call, when the password's variable or file is not there.
    """
    bmc = server.bmc
    account = Account(bmc.user, lambda: rack.secret(bmc.password).reveal())
    providers: list[Provider] = []
    # Imported where needed: both libraries are slow to load and unneeded where a rack lacks the endpoint.
    if bmc.redfish is not None:
        from lab.bmc.redfish import RedfishBmc

        macs = [nic.mac for nic in server.nics]
        providers.append(RedfishBmc(Target(server.name, bmc.redfish), account, _trust(rack, bmc.tls), macs))
    if bmc.ipmi is not None:
        from lab.bmc.ipmi import IpmiBmc

        host, port = host_and_port(bmc.ipmi)
        providers.append(IpmiBmc(Target(server.name, bmc.ipmi), host, port, account))
    return BmcChain(server.name, providers)


def open_sol(rack: Rack, server: Server) -> ByteStream:
    """The server's console over SOL, with `sol_user` where the rack names one.

    Raises:
        ConfigError: the server has no IPMI endpoint.
        MissingSecret: the password's variable or file is not there.
        BmcUnreachable, BmcCredentials, LabFault: the console cannot be opened.
    """
    bmc = server.bmc
    if bmc.ipmi is None:
        raise ConfigError(
            "the console is SOL, but the server has no IPMI endpoint",
            server=server.name,
            next_step="add `ipmi:` under `bmc:`, or name another console in the rack file",
        )
    from lab.bmc.sol import SolStream

    reference = bmc.sol_password or bmc.password
    account = Account(bmc.sol_user or bmc.user, lambda: rack.secret(reference).reveal())
    host, port = host_and_port(bmc.ipmi)
    return SolStream(Target(server.name, bmc.ipmi), host, port, account)


def _trust(rack: Rack, tls: Tls | Literal["none"] | None) -> Tls | Literal["none"] | None:
    """`tls` with the CA file where it really lies."""
    if isinstance(tls, Tls) and tls.ca is not None:
        return tls.model_copy(update={"ca": rack.resolve(tls.ca)})
    return tls


def host_and_port(endpoint: str) -> tuple[str, int]:
    """Host and UDP port of `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`."""
    if endpoint.startswith("["):
        host, _, rest = endpoint[1:].partition("]")
        return host, int(rest[1:]) if rest else IPMI_PORT
    host, _, port = endpoint.partition(":")
    return host, int(port) if port else IPMI_PORT
