"""Sockets, setuid files, services, modules; the judges are this machine's own sockets and files."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import measure
from lab.hypervisors.contract import Host
from lab.measure.surface import SS, ListeningSocket, parse_modes, parse_modules, parse_sockets
from tests.measure.measuring import evidence, recorded

V4 = st.ip_addresses(v=4).map(str)
V6 = st.ip_addresses(v=6).map(str)
PORTS = st.integers(1, 65535)


@given(st.sampled_from(["tcp", "udp"]), V4 | V6 | st.just("*"), st.sampled_from(["", "lo", "xenbr0"]), PORTS)
def test_a_socket_as_ss_writes_it(protocol: str, address: str, interface: str, port: int) -> None:
    shown = f"[{address}]" if ":" in address else address
    scope = f"%{interface}" if interface and address != "*" else ""
    state = "LISTEN" if protocol == "tcp" else "UNCONN"
    line = f"{protocol}   {state} 0      128    {shown}{scope}:{port}    0.0.0.0:*          \n"
    assert parse_sockets(evidence(line)) == [ListeningSocket(protocol, f"{address}{scope}", port)]


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.0.0.53%lo", True),
        ("::1", True),
        ("10.0.2.15%enp0s2", False),
        ("::", False),
        ("*", False),
    ],
)
def test_what_only_the_host_itself_reaches(address: str, local: bool) -> None:
    assert ListeningSocket("tcp", address, 22).local_only is local


def test_a_listener_of_this_machine_is_found(local_host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        found = parse_sockets(local_host.check(SS))
        assert ListeningSocket("tcp", "127.0.0.1", tcp.getsockname()[1]) in found
        assert ListeningSocket("udp", "127.0.0.1", udp.getsockname()[1]) in found


def test_setuid_files_of_a_real_folder(tmp_path: Path, local_host: Host) -> None:
    for name, mode in (("plain", 0o755), ("set uid", 0o4755), ("setgid", 0o2755), ("both", 0o6711)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    command = rf"find {shlex.quote(str(tmp_path))} -xdev -type f -perm /6000 -printf '%m %p\n'"
    modes = parse_modes(local_host.check(command))
    assert modes == {
        str(tmp_path / "set uid"): 0o4755,
        str(tmp_path / "setgid"): 0o2755,
        str(tmp_path / "both"): 0o6711,
    }


def test_modules_of_this_machine(local_host: Host) -> None:
    if not Path("/proc/modules").exists():
        pytest.skip("this machine's kernel has no modules")
    loaded = parse_modules(local_host.check("cat /proc/modules"))
    assert all(Path("/sys/module", name).is_dir() for name in loaded)


def test_counts_of_a_recorded_host(recorded_host: Callable[..., Host]) -> None:
    surface = measure.attack_surface(
        recorded_host(
            {
                "dpkg-query": recorded("dpkg-query.txt"),
                "ss": recorded("ss.txt"),
                "systemctl": recorded("services.json"),
                "cat /proc/modules": recorded("modules.txt"),
                "findmnt": recorded("findmnt.json"),
                "find / ": recorded("modes.txt"),
            }
        )
    )
    lines = {name: len(recorded(name).splitlines()) for name in ("dpkg-query.txt", "ss.txt", "modules.txt")}
    assert surface.value("packages") == lines["dpkg-query.txt"]
    assert surface.value("listening-sockets") == lines["ss.txt"]
    assert surface.value("loaded-modules") == lines["modules.txt"]
    assert surface.value("running-services") == recorded("services.json").count('"unit"')
    setuid = [line for line in recorded("modes.txt").splitlines() if line[0] in "4567"]
    assert surface.value("setuid-files") == len(setuid)
    assert surface.value("reachable-sockets") <= surface.value("listening-sockets")
