"""PXE for one server while it installs: dnsmasq on the interface the rack names, or QEMU's own TFTP.

dnsmasq answers DHCP for the boot port's MAC alone. Its TFTP shows each MAC a folder of its own
(`tftp-unique-root=mac`), so that several installs can run on one interface, whichever dnsmasq a request
reaches. A MAC can be claimed by anybody on the same wire: what protects the keys is not TFTP but the media
service, which serves them to one address. With a `pxe_range` it gives addresses too; without one it
is a proxy (boot information only) beside the DHCP server that is there. dnsmasq ends when the lab closes
its end of a pipe, so also when the lab is killed.
Source: dnsmasq(8); RFC 4578 (client architecture); facts, virtual-rack.md §4.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from lab import paths
from lab.errors import ConfigError, LabFault
from lab.progress import Progress, silent
from lab.rack.model import Rack, Server

IPXE_SCRIPT = "boot.ipxe"
UEFI_BOOT_FILE = "netboot.efi"
BIOS_BOOT_FILE = "undionly.kpxe"

_UNDIONLY = Path("/usr/lib/ipxe/undionly.kpxe")
_ACCOUNT = "dnsmasq"
_READY = "TFTP root is"
_START_S = 10.0
_STOP_S = 5.0
_SUPERVISOR = """
exec 3<&0
"$1" --keep-in-foreground --conf-file="$2" 3<&- < /dev/null &
server=$!
{ cat <&3; kill $server; } > /dev/null 2>&1 &
exec 3<&-
wait $server
"""


@dataclass(frozen=True)
class Wire:
    """The interface PXE answers on, with its IPv4 network."""

    interface: str
    address: ipaddress.IPv4Interface


@contextlib.contextmanager
def pxe(
    rack: Rack, server: Server, place: Callable[[Path], object], progress: Progress = silent
) -> Iterator[None]:
    """Answer that server's PXE boot, and nobody else's, until the context ends.

    Args:
        rack: says on which interface, and with which addresses.
        server: whose boot port is answered.
        place: puts the boot files (`boot.ipxe`, `netboot.efi`, what they load) into the folder it is given.
        progress: told what was sent.

    Raises:
        ConfigError: the rack file names no interface, or one that cannot do it.
        LabFault: dnsmasq is missing or does not start.
    """
    if rack.is_virtual:
        with _qemu_tftp(rack, server, place):
            yield
        return
    wire = find_wire(rack, server)
    binary = _find_dnsmasq(server)
    with _boot_folder(wire, server, place) as (root, account), tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch, "dnsmasq.conf")
        config.write_text("\n".join(configuration(rack, server, wire, root, account)) + "\n")
        with _running(binary, config, server, progress):
            yield


def find_wire(rack: Rack, server: Server) -> Wire:
    """The interface that the rack names for PXE.

    Raises:
        ConfigError: none is named, it does not exist, or it has no IPv4 address.
    """
    name = rack.controller.pxe_interface
    if name is None:
        raise ConfigError(
            f"rack {rack.rack} names no interface for PXE, so PXE never starts",
            server=server.name,
            next_step=f"write `pxe_interface: NAME` under `controller` in {rack.file.name}, "
            "the one interface that leads to the servers",
        )
    for address in psutil.net_if_addrs().get(name, []):
        if address.family == socket.AF_INET and address.netmask:
            return Wire(name, ipaddress.IPv4Interface(f"{address.address}/{address.netmask}"))
    raise ConfigError(
        f"controller.pxe_interface {name} is not an interface of this machine with an IPv4 address",
        server=server.name,
        next_step=f"bring {name} up with an address, or correct {rack.file.name}",
    )


def configuration(rack: Rack, server: Server, wire: Wire, root: Path, account: str) -> list[str]:
    """dnsmasq's configuration for one server's install, a line each.

    Raises:
        ConfigError: `pxe_range` is too short for the rack or not on the interface's network.
    """
    mac = server.boot_nic.mac
    ours = f",,{wire.address.ip}"  # as a proxy, dnsmasq does not name itself by itself, and iPXE insists
    lines = [
        "port=0",
        f"interface={wire.interface}",
        "except-interface=lo",
        "bind-interfaces",
        "no-resolv",
        "no-hosts",
        f"user={account}",
        *(["group="] if account != _ACCOUNT else []),  # a group may not be changed in a user namespace
        "pid-file=",
        "log-facility=-",
        "log-dhcp",
        "leasefile-ro",
        "dhcp-ignore=tag:!leased",
        "dhcp-ignore-clid",
        f"enable-tftp={wire.interface}",
        f"tftp-root={root}",
        "tftp-unique-root=mac",
        "dhcp-match=set:ipxe,175",
        "dhcp-match=set:efi,option:client-arch,7",
        "dhcp-match=set:efi,option:client-arch,9",
        f"dhcp-boot=tag:ipxe,{IPXE_SCRIPT}{ours}",
        f"dhcp-boot=tag:!ipxe,tag:efi,{UEFI_BOOT_FILE}{ours}",
        f"dhcp-boot=tag:!ipxe,tag:!efi,{BIOS_BOOT_FILE}{ours}",
    ]
    if rack.controller.pxe_range is None:
        return [
            *lines,
            f"dhcp-range={wire.address.network.network_address},proxy,{wire.address.netmask}",
            f"dhcp-host={mac},set:leased",
            f'pxe-service=tag:!ipxe,x86PC,"lab",{BIOS_BOOT_FILE}',
            f'pxe-service=tag:!ipxe,X86-64_EFI,"lab",{UEFI_BOOT_FILE}',
            f'pxe-service=tag:!ipxe,BC_EFI,"lab",{UEFI_BOOT_FILE}',
        ]
    address = _address_of(rack, server, wire)
    return [
        *lines,
        f"dhcp-range={address},static,{wire.address.netmask},1h",
        f"dhcp-host={mac},set:leased,{address}",
        "dhcp-option=option:router",
        "dhcp-option=option:dns-server",
    ]


def _address_of(rack: Rack, server: Server, wire: Wire) -> ipaddress.IPv4Address:
    """The server's address from `pxe_range`: one each, by its place in the rack file; none is given twice."""
    first, last = (ipaddress.IPv4Address(part) for part in str(rack.controller.pxe_range).split("-"))
    address = first + [other.name for other in rack.servers].index(server.name)
    if address > last or address not in wire.address.network or address == wire.address.ip:
        raise ConfigError(
            f"controller.pxe_range {rack.controller.pxe_range} has no address on {wire.interface} "
            f"({wire.address}) for this server",
            server=server.name,
            next_step=f"give a range on that network with at least {len(rack.servers)} addresses",
        )
    return address


@contextlib.contextmanager
def _qemu_tftp(rack: Rack, server: Server, place: Callable[[Path], object]) -> Iterator[None]:
    from lab.virtual.control import pxe_folder

    folder = pxe_folder(rack, server)
    _empty(folder)
    try:
        place(folder)
        yield
    finally:
        _empty(folder)


@contextlib.contextmanager
def _boot_folder(wire: Wire, server: Server, place: Callable[[Path], object]) -> Iterator[tuple[Path, str]]:
    """The interface's TFTP root with this server's folder in it, and the account dnsmasq shall run as."""
    root = _tftp_home() / wire.interface
    root.mkdir(parents=True, exist_ok=True, mode=0o755)
    mine = root / server.boot_nic.mac.replace(":", "-")
    shutil.rmtree(mine, ignore_errors=True)
    mine.mkdir(mode=0o700)
    try:
        place(mine)
        if server.firmware == "bios" and not (mine / BIOS_BOOT_FILE).exists():
            _copy_undionly(mine, server)
        yield root, _hand_over(mine)
    finally:
        shutil.rmtree(mine, ignore_errors=True)


def _tftp_home() -> Path:
    """Where boot files lie: as root, a place that dnsmasq's own account can reach."""
    run = Path("/run")
    if os.geteuid() == 0 and os.access(run, os.W_OK):
        home = run / "hypervisor-lab" / "pxe"
    else:
        home = paths.state() / "pxe"
    home.mkdir(parents=True, exist_ok=True, mode=0o755)
    return home


def _hand_over(folder: Path) -> str:
    """Give the files to dnsmasq's own account where we may; the account's name, else our own."""
    ours = pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() != 0:
        return ours
    try:
        account = pwd.getpwnam(_ACCOUNT)
        for path in (folder, *folder.rglob("*")):
            if path.is_file() and path.stat().st_nlink > 1:
                _unlink_from_cache(path)
            os.chown(path, account.pw_uid, -1)
    except (KeyError, OSError):  # no such account, or root of a user namespace that has no other
        return ours
    return _ACCOUNT


def _unlink_from_cache(path: Path) -> None:
    """Make a file that is a hard link one of its own, so that its owner can change without the other's."""
    own = path.with_name(f".{path.name}")
    shutil.copy(path, own)
    own.replace(path)


def _copy_undionly(folder: Path, server: Server) -> None:
    if not _UNDIONLY.is_file():
        raise LabFault(
            f"{_UNDIONLY} is not there; a BIOS without iPXE cannot boot from the network",
            server=server.name,
            next_step="install the Debian package ipxe",
        )
    shutil.copy(_UNDIONLY, folder / BIOS_BOOT_FILE)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _find_dnsmasq(server: Server) -> str:
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    binary = shutil.which("dnsmasq", path=search)
    if binary is None:
        raise LabFault(
            "dnsmasq is not installed, so PXE cannot be served",
            server=server.name,
            next_step="install the Debian package dnsmasq-base",
        )
    return binary


@contextlib.contextmanager
def _running(binary: str, config: Path, server: Server, progress: Progress) -> Iterator[None]:
    with subprocess.Popen(
        ["/bin/sh", "-c", _SUPERVISOR, "dnsmasq-supervisor", binary, str(config)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the lab, which then ends it in order
        env={**os.environ, "LC_ALL": "C"},
    ) as process:
        said: list[str] = []
        ready = threading.Event()
        reader = threading.Thread(target=_read, args=(process, said, ready, progress), daemon=True)
        try:
            reader.start()
            in_time = ready.wait(_START_S)
            if not in_time or not any(_READY in line for line in said):
                raise LabFault(
                    f"dnsmasq does not start: {_why(said)}",
                    server=server.name,
                    tried="dnsmasq on the interface that the rack names for PXE",
                    next_step="PXE needs the right to use ports 67 and 69: run as root, or give dnsmasq "
                    "cap_net_admin, cap_net_raw and cap_net_bind_service",
                )
            yield
        finally:
            _stop(process)
            reader.join(_STOP_S)


def _read(
    process: subprocess.Popen[str], said: list[str], ready: threading.Event, progress: Progress
) -> None:
    for line in process.stderr or ():
        said.append(line.strip())
        if _READY in line:
            ready.set()
        elif "sent /" in line:
            progress(f"PXE: sent {Path(line.split('sent ', 1)[1].split(' to ')[0]).name}")
    ready.set()


def _why(said: list[str]) -> str:
    lines = [line.split(": ", 1)[-1] for line in said if "FAILED to start up" not in line]
    return "; ".join(lines[-3:]) or "it says nothing"


def _stop(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait(_STOP_S)
