"""The power of many servers at once: by one IPMI sweep, and by what else there is where that fails."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lab.bmc import quirks
from lab.bmc.api import Power
from lab.bmc.capability import Identity
from lab.bmc.chain import BmcChain
from lab.bmc.open import host_and_port, providers_of
from lab.bmc.target import Account, Target
from lab.errors import LabError
from lab.rack.model import Rack, Server

THREADS = 16
"""Servers without IPMI that are asked at a time."""


@dataclass(frozen=True)
class Reading:
    """The power of one server, read `by` a provider; or the `error` with which reading it ended."""

    server: str
    power: Power | None = None
    by: str | None = None
    error: LabError | None = None


def powers(rack: Rack, servers: Sequence[Server]) -> list[Reading]:
    """Every server's power, in their order; one that cannot be read spoils no other.

    Those whose IPMI does not tell, or that have none, are asked by Redfish, then by their PDU.
    """
    swept = _sweep(rack, [server for server in servers if server.bmc.ipmi is not None])
    left = [server for server in servers if server.name not in swept or swept[server.name].error]
    if left:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="power") as pool:
            for reading in pool.map(lambda server: _ask(rack, server, swept.get(server.name)), left):
                swept[reading.server] = reading
    return [swept[server.name] for server in servers]


def _sweep(rack: Rack, servers: Sequence[Server]) -> dict[str, Reading]:
    if not servers:
        return {}
    from lab.bmc.ipmi.sweep import Peer, Sweep

    found: dict[str, Reading] = {}
    peers: list[Peer] = []
    known = quirks.load(rack.file.parent)
    for server in servers:
        endpoint, secret = server.bmc.ipmi or "", rack.secret(server.bmc.password)
        try:
            secret.reveal()
        except LabError as error:
            found[server.name] = Reading(server.name, error=error)
            continue
        # Nobody has asked the BMC who it is: what the rack file says of the server must do.
        behaviour = known.applying(Identity(vendor=server.model, model=server.model)).behaviour
        host, port = host_and_port(endpoint)
        account = Account(server.bmc.user, secret.reveal)
        peers.append(Peer(Target(server.name, endpoint), host, port, account, behaviour.cipher_suites))
    sweep = Sweep(peers)
    try:
        for name, state in sweep.power().items():
            if isinstance(state, LabError):
                found[name] = Reading(name, error=state)
            else:
                found[name] = Reading(name, state, "ipmi")
    finally:
        sweep.close()
    return found


def _ask(rack: Rack, server: Server, before: Reading | None) -> Reading:
    """By whatever the rack file names besides IPMI."""
    others = [one for one in providers_of(rack, server) if one.name != "ipmi"]
    if not others and before is not None:
        return before
    bmc = BmcChain(server.name, others)
    try:
        return Reading(server.name, bmc.power(), bmc.answered["power"])
    except LabError as error:
        return Reading(server.name, error=error)
    finally:
        bmc.close()
