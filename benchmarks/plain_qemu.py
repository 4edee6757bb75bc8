"""The floor of provisioning: plain QEMU and a hand on the keyboard, nothing of the lab in between.

The same machine type, firmware, disk and network model as the virtual server; the same deploy kernel, booted
to its bare shell; the same image, fetched over the same network and written by the same three programs.
"""

from __future__ import annotations

import http.server
import re
import selectors
import shutil
import socket
import subprocess
import threading
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import paramiko

from lab.machine.credentials import Credentials
from lab.media.deploy import DeployFiles
from lab.media.image import Image
from lab.media.install import overlay
from lab.media.iso import deploy_iso
from lab.rack.model import Server
from lab.virtual import accel

_PROMPT = re.compile(rb"Run /bin/sh as init process")
_SHELL_S, _WRITE_S, _BOOT_S = 180.0, 600.0, 400.0
_OVMF = "/usr/share/OVMF/OVMF_{}_4M.fd"
_DISK_NODE = {"nvme": ("nvme0n1", "nvme0n1p3"), "ahci": ("sda", "sda3")}


class Floor(NamedTuple):
    """Seconds of each phase."""

    shell: float
    write: float
    boot: float

    @property
    def total(self) -> float:
        """From the first power-on to the first SSH command."""
        return self.shell + self.write + self.boot


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Serial:
    """The guest's serial port, typed on and read by us."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._text = b""

    def until(self, pattern: re.Pattern[bytes], seconds: float) -> None:
        """Read until `pattern` stands in the text since the last call."""
        out = self._process.stdout
        if out is None:
            raise RuntimeError("QEMU was started without a serial port")
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while not pattern.search(self._text):
                if not selector.select(end - time.monotonic()):
                    raise TimeoutError(f"{pattern.pattern!r} not seen; last: {self._text[-600:]!r}")
                data = out.read1(65536)  # type: ignore[attr-defined]
                if not data:
                    raise RuntimeError(f"QEMU ended; last: {self._text[-600:]!r}")
                self._text += data
        self._text = b""

    def type(self, line: str) -> None:
        """Type a line and wait until it is done; kernel messages may come between, so a word says so."""
        if self._process.stdin is not None:
            self._process.stdin.write(line.encode() + b"\necho do''ne\n")
            self._process.stdin.flush()
        self.until(re.compile(rb"\ndone\r?\n"), _WRITE_S)


def run(server: Server, image: Image, deploy: DeployFiles, credentials: Credentials, folder: Path) -> Floor:
    """Install and boot once by hand, and time it.

    Args:
        server: whose hardware to copy; its first disk must be on NVMe or AHCI.
        folder: an empty folder for disk, ISO and what is served.
    """
    if server.virtual is None or server.host is None:
        raise ValueError("the floor copies a server of the virtual rack")
    bus = server.virtual.disks[server.disks[0].serial or ""].bus
    disk, root = _DISK_NODE[bus]
    served = folder / "served"
    served.mkdir()
    (served / "image").symlink_to(image.path)
    (served / "overlay.tar").write_bytes(overlay(credentials))
    with (folder / "disk.raw").open("wb") as raw:
        raw.truncate(64 * 2**30)
    if server.firmware == "uefi":
        shutil.copy(_OVMF.format("VARS"), folder / "vars.fd")
    deploy_iso(deploy, "console=ttyS0,115200n8 rdinit=/bin/sh", folder / "shell.iso")
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(served)))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    port = _free_port()
    try:
        shell, write = _install(server, folder, port, f"http://10.0.2.2:{web.server_port}", disk, root)
        boot = _first_ssh(server, folder, port, credentials)
    finally:
        web.shutdown()
        web.server_close()
    return Floor(shell, write, boot)


def _install(server: Server, folder: Path, port: int, url: str, disk: str, root: str) -> tuple[float, float]:
    started = time.monotonic()
    with _qemu(server, folder, port, cd=True) as qemu:
        try:
            serial = _Serial(qemu)
            serial.until(_PROMPT, _SHELL_S)
            serial.type("")
            at_shell = time.monotonic()
            serial.type("export PATH=/sbin:/bin; . /lib/lab/network.sh; mkdir -p /run /mnt")
            serial.type("mount -t devtmpfs none /dev; mount -t proc none /proc; mount -t sysfs none /sys")
            serial.type("load_modules; sleep 1; ip link set eth0 up")
            serial.type("udhcpc -i eth0 -n -q -s /lib/lab/dhcp.sh")
            serial.type(
                f"curl -sf {url}/image | zstd -dcq | "
                f"dd of=/dev/{disk} bs=4M iflag=fullblock oflag=direct conv=fsync"
            )
            serial.type(f"blockdev --rereadpt /dev/{disk}; mount -t ext4 /dev/{root} /mnt")
            serial.type(f"curl -sf {url}/overlay.tar | tar -x -p -C /mnt; umount /mnt; sync")
            if qemu.stdin is not None:
                qemu.stdin.write(b"poweroff -f\n")
                qemu.stdin.flush()
            qemu.wait(60)
        finally:
            qemu.kill()
    return at_shell - started, time.monotonic() - at_shell


def _first_ssh(server: Server, folder: Path, port: int, credentials: Credentials) -> float:
    started = time.monotonic()
    with _qemu(server, folder, port, cd=False) as qemu:
        try:
            threading.Thread(target=_drain, args=(qemu,), daemon=True).start()
            while time.monotonic() < started + _BOOT_S:
                if _ssh_answers(port, credentials):
                    return time.monotonic() - started
            raise TimeoutError("no SSH from the installed disk")
        finally:
            qemu.kill()


def _ssh_answers(port: int, credentials: Credentials) -> bool:
    client = paramiko.SSHClient()
    kind, key = credentials.host_public_key.split()[:2]
    entry = paramiko.hostkeys.HostKeyEntry.from_line(f"[127.0.0.1]:{port} {kind} {key}")
    if entry is None or entry.key is None:
        raise ValueError("the host key cannot be read")
    client.get_host_keys().add(f"[127.0.0.1]:{port}", kind, entry.key)
    try:
        client.connect(
            "127.0.0.1",
            port,
            "root",
            key_filename=str(credentials.client_key),
            look_for_keys=False,
            allow_agent=False,
            timeout=2,
            banner_timeout=2,
            auth_timeout=30,
        )
        _, out, _ = client.exec_command("true", timeout=30)
        return out.channel.recv_exit_status() == 0
    except (OSError, EOFError, paramiko.SSHException):
        return False
    finally:
        client.close()


def _qemu(server: Server, folder: Path, port: int, *, cd: bool) -> subprocess.Popen[bytes]:
    built = server.virtual
    if built is None:
        raise ValueError("the floor copies a server of the virtual rack")
    bus = built.disks[server.disks[0].serial or ""].bus
    line = [
        accel.QEMU,
        "-nodefaults",
        "-display",
        "none",
        "-vga",
        "std",
        "-rtc",
        "base=utc",
        "-serial",
        "stdio",
    ]
    line += ["-machine", f"{built.machine},smm=off" if built.machine == "q35" else built.machine]
    line += accel.arguments(accel.choose(), built.cpu)
    line += ["-smp", str(built.cpus), "-m", f"{built.memory // 2**20}M"]
    line += ["-object", "rng-builtin,id=rng", "-device", "virtio-rng-pci,rng=rng"]
    if server.firmware == "uefi":
        line += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_OVMF.format('CODE')}"]
        line += ["-drive", f"if=pflash,unit=1,format=raw,file={folder / 'vars.fd'}"]
    ahci = "ide" if built.machine == "q35" else "ahci"
    if ahci == "ahci":
        line += ["-device", "ahci,id=ahci"]
    line += ["-drive", f"if=none,id=disk,format=raw,cache.no-flush=on,file={folder / 'disk.raw'}"]
    line += [
        "-device",
        f"nvme,drive=disk,serial=FLOOR,bootindex={2 if cd else 1}"
        if bus == "nvme"
        else f"ide-hd,bus={ahci}.0,drive=disk,bootindex={2 if cd else 1}",
    ]
    if cd:
        line += ["-drive", f"if=none,id=cd,media=cdrom,readonly=on,format=raw,file={folder / 'shell.iso'}"]
        line += ["-device", f"ide-cd,bus={ahci}.5,drive=cd,bootindex=1"]
    line += ["-netdev", f"user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:{port}-:22"]
    line += ["-device", f"{built.nics[server.boot_nic.mac]},netdev=net,mac={server.boot_nic.mac},bootindex=3"]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder)


def _drain(process: subprocess.Popen[bytes]) -> None:
    if process.stdout is not None:
        while process.stdout.read1(65536):  # type: ignore[attr-defined]
            continue


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
