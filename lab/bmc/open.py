"""From a rack file's entry to a BMC and its console."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from lab.bmc import quirks
from lab.bmc.api import Bmc, ByteStream
from lab.bmc.capability import Identity
from lab.bmc.chain import BmcChain
from lab.bmc.provider import Provider
from lab.bmc.target import Account, Target
from lab.errors import ConfigError
from lab.rack.model import Rack, Server, Tls
from lab.rack.pdu import Pdu

IPMI_PORT = 623


def open_bmc(rack: Rack, server: Server) -> Bmc:
    """The server's BMC: Redfish, then IPMI, and its PDU as a last resort; close it in the end.

    Nothing is sent before the first call.

    Raises:
        MissingSecret: at the first call, when the password's variable or file is not there.
    """
    slot = server.bmc.media_slot
    return BmcChain(server.name, providers_of(rack, server), media_slot=slot)


def providers_of(rack: Rack, server: Server) -> list[Provider]:
    """A provider for each way to the server's BMC that the rack file names, the preferred one first."""
    bmc = server.bmc
    account = Account(bmc.user, lambda: rack.secret(bmc.password).reveal())
    providers: list[Provider] = []
    known = quirks.load(rack.file.parent)
    # Imported where needed: all libraries are slow to load and unneeded where a rack lacks the endpoint.
    if bmc.redfish is not None:
        from lab.bmc.redfish.provider import RedfishBmc

        macs = [nic.mac for nic in server.nics]
        target = Target(server.name, bmc.redfish)
        providers.append(RedfishBmc(target, account, _trust(rack, bmc.tls), macs, known))
    if bmc.ipmi is not None:
        from lab.bmc.ipmi.provider import IpmiBmc

        host, port = host_and_port(bmc.ipmi)
        providers.append(IpmiBmc(Target(server.name, bmc.ipmi), host, port, account, known))
    if bmc.pdu is not None:
        providers.append(_outlets(rack, server, bmc.pdu))
    return providers


def _outlets(rack: Rack, server: Server, pdu: Pdu) -> Provider:
    from lab.bmc.pdu.models import known
    from lab.bmc.pdu.provider import PduOutlets
    from lab.bmc.pdu.snmp import PORT, Credentials, SnmpAgent

    def secret(reference: str | None) -> Callable[[], str] | None:
        return None if reference is None else lambda: rack.secret(reference).reveal()

    credentials = Credentials(
        version=pdu.version,
        community=secret(pdu.community),
        user=pdu.user or "",
        auth=pdu.auth.protocol if pdu.auth else None,
        auth_key=secret(pdu.auth.key if pdu.auth else None),
        privacy=pdu.privacy.protocol if pdu.privacy else None,
        privacy_key=secret(pdu.privacy.key if pdu.privacy else None),
        context=pdu.context,
    )
    target = Target(server.name, pdu.snmp, "PDU")
    host, port = host_and_port(pdu.snmp, PORT)
    objects = pdu.oid or known()[pdu.model or ""].objects
    return PduOutlets(target, SnmpAgent(target, host, port, credentials), objects, pdu.outlets, pdu.off_s)


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
    from lab.bmc.sol.stream import SolStream

    reference = bmc.sol_password or bmc.password
    account = Account(bmc.sol_user or bmc.user, lambda: rack.secret(reference).reveal())
    host, port = host_and_port(bmc.ipmi)
    # Nobody has asked the BMC who it is yet: what the rack file says of the server must do.
    seen = Identity(vendor=server.model, model=server.model)
    behaviour = quirks.load(rack.file.parent).applying(seen).behaviour
    return SolStream(Target(server.name, bmc.ipmi), host, port, account, behaviour)


def _trust(rack: Rack, tls: Tls | Literal["none"] | None) -> Tls | Literal["none"] | None:
    """`tls` with the CA file where it really lies."""
    if isinstance(tls, Tls) and tls.ca is not None:
        return tls.model_copy(update={"ca": rack.resolve(tls.ca)})
    return tls


def host_and_port(endpoint: str, default: int = IPMI_PORT) -> tuple[str, int]:
    """Host and UDP port of `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`."""
    if endpoint.startswith("["):
        host, _, rest = endpoint[1:].partition("]")
        return host, int(rest[1:]) if rest else default
    host, _, port = endpoint.partition(":")
    return host, int(port) if port else default
