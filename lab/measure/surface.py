"""Attack surface: packages, listening sockets, setuid files, running services, loaded modules."""

from __future__ import annotations

import ipaddress
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.measure.file_systems import FINDMNT, needed, parse_findmnt
from lab.measure.model import Evidence, Measured
from lab.measure.packages import DPKG_QUERY, parse_packages
from lab.measure.reading import json_rows, reading, rows, text_of, unreadable
from lab.measure.taking import Taking

if TYPE_CHECKING:
    from lab.hypervisors.contract import Host

SS = "ss -lntuH"
SERVICES = "systemctl list-units --type=service --state=running --no-pager -o json"
MODULES = "cat /proc/modules"
_FIND_S = 600.0


@dataclass(frozen=True)
class ListeningSocket:
    """A TCP or UDP socket that takes what comes; `address` may carry `%interface`, `*` is every address."""

    protocol: str
    address: str
    port: int

    @property
    def local_only(self) -> bool:
        """Whether only the host itself can reach it."""
        plain = self.address.split("%")[0]
        return plain != "*" and ipaddress.ip_address(plain).is_loopback


def parse_sockets(evidence: Evidence) -> list[ListeningSocket]:
    """The sockets in the output of `SS`.

    Raises:
        HypervisorFailure: a line has another form.
    """
    with reading(evidence):
        return [_socket(protocol, local) for protocol, _, _, _, local, _ in rows(evidence, 6)]


def _socket(protocol: str, local: str) -> ListeningSocket:
    address, _, port = local.rpartition(":")
    address = address.strip("[]").replace("]%", "%")
    if protocol not in ("tcp", "udp") or not port.isdecimal():
        raise ValueError(f"{protocol} {local} is no TCP or UDP address with a port")
    if address != "*":
        ipaddress.ip_address(address.split("%")[0])
    return ListeningSocket(protocol, address, int(port))


def parse_services(evidence: Evidence) -> list[str]:
    """Names of the units in the output of `SERVICES`.

    Raises:
        HypervisorFailure: the output has another form.
    """
    with reading(evidence):
        return [text_of(row, "unit") for row in json_rows(evidence)]


def parse_modules(evidence: Evidence) -> list[str]:
    """Names of the loaded modules in /proc/modules (proc(5)).

    Raises:
        HypervisorFailure: a line has another form.
    """
    return [name for name, *_ in rows(evidence, 6)]


def parse_modes(evidence: Evidence) -> dict[str, int]:
    """Permission bits by path, from lines of `OCTAL PATH`.

    Raises:
        HypervisorFailure: a line has another form.
    """
    with reading(evidence):
        return {path: int(mode, 8) for mode, path in rows(evidence, 2, " ")}


def attack_surface(host: Host) -> Measured:
    """Counts of what an attacker finds. Take it before guests run and tools are copied.

    Metrics: `packages`, `listening-sockets`, `reachable-sockets` (those not bound to loopback alone),
    `setuid-files`, `setgid-files`, `running-services`, `loaded-modules`.

    Raises:
        HypervisorFailure: a command failed or printed something unexpected.
        LabFault: the connection was lost.
    """
    taking = Taking(host, "attack-surface")
    with host.named_in_errors():
        packages = parse_packages(taking.check(DPKG_QUERY))
        _count(taking, "packages", len(packages), DPKG_QUERY, "installed Debian packages")
        sockets = parse_sockets(taking.check(SS))
        _count(taking, "listening-sockets", len(sockets), SS, "TCP listeners and unconnected UDP sockets")
        reachable = [socket for socket in sockets if not socket.local_only]
        _count(
            taking, "reachable-sockets", len(reachable), SS, "listening sockets not bound to loopback alone"
        )
        services = parse_services(taking.check(SERVICES))
        _count(taking, "running-services", len(services), SERVICES, "systemd services in state running")
        modules = parse_modules(taking.check(MODULES))
        _count(taking, "loaded-modules", len(modules), MODULES, "kernel modules loaded")
        _privileged_files(taking)
    return taking.measured()


def _privileged_files(taking: Taking) -> None:
    mounted = needed(parse_findmnt(taking.check(FINDMNT)))
    places = " ".join(shlex.quote(one.target) for one in mounted)
    command = rf"find {places} -xdev -type f -perm /6000 -printf '%m %p\n'"
    found = taking.check(command, _FIND_S)
    if not mounted:
        raise unreadable(found, "no file system was found to search")
    modes = parse_modes(found)
    for metric, bit in (("setuid-files", 0o4000), ("setgid-files", 0o2000)):
        count = sum(1 for mode in modes.values() if mode & bit)
        _count(taking, metric, count, command, f"{metric.replace('-', ' ')} on the system's file systems")


def _count(taking: Taking, metric: str, count: int, command: str, method: str) -> None:
    taking.add(metric, [count], "count", method=method, command=command)
