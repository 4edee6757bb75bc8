"""Virtual racks for tests: tiny servers on free ports, with a state folder of their own.

>>> with running_rack(tmp_path, server("s1", redfish=True)) as tiny:
...     tiny.put_on_disk("s1", boot_sector("hello"))
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.deadline import Deadline
from lab.progress import silent
from lab.rack.load import load_rack
from lab.rack.model import Rack
from lab.virtual import control
from lab.virtual.folder import RackFolder

Ipmitool = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class TinyRack:
    """A rack of tiny servers; `state` is the state folder it lives in."""

    rack: Rack
    state: Path

    @property
    def folder(self) -> RackFolder:
        return RackFolder(self.state / "hypervisor-lab" / "racks" / self.rack.rack)

    @property
    def password(self) -> str:
        return (self.folder.path / "bmc-password").read_text()

    @property
    def sol_password(self) -> str:
        return (self.folder.path / "sol-password").read_text()

    @property
    def ca(self) -> str:
        return str(self.folder.path / "ca.pem")

    def put_on_disk(self, server: str, sector: bytes, disk: int = 0) -> None:
        """Write a boot sector to a disk of a server that is off."""
        with (self.folder.path / server / "disks" / f"disk{disk}.raw").open("r+b") as image:
            image.write(sector.ljust(512, b"\0"))

    def serial(self, server: str) -> bytes:
        """Everything the server has written to its serial port."""
        return (self.folder.path / server / "serial.raw").read_bytes()

    def wait_for_serial(self, server: str, text: str, *, since: int = 0, seconds: float = 30.0) -> int:
        """Wait until `text` is on the serial port after byte `since`; the offset behind it."""
        deadline = Deadline.after(seconds, f"{text!r} on the serial port of {server}")
        with (self.folder.path / server / "serial.raw").open("rb") as raw:
            raw.seek(since)
            seen = b""
            while text.encode() not in seen:
                assert not deadline.passed, f"no {deadline.why} within {seconds} s; seen: {seen[-300:]!r}"
                _pause()
                seen += raw.read()
        return since + seen.index(text.encode()) + len(text)

    def status(self, server: str) -> control.ServerStatus:
        return next(entry for entry in control.status(self.rack) if entry.server == server)

    def wait_for_power(self, server: str, power: str, seconds: float = 20.0) -> None:
        deadline = Deadline.after(seconds, f"power {power}")
        while self.status(server).power != power:
            assert not deadline.passed, f"{server} is not {power} within {seconds} s"
            _pause()


def server(
    name: str,
    *,
    redfish: bool = False,
    ipmi: bool = True,
    disks: dict[str, str] | None = None,
    nics: tuple[str, ...] = ("virtio-net-pci",),
    machine: str = "pc",
) -> dict[str, Any]:
    """One tiny BIOS server for `write_rack`: 64 MiB of memory, one CPU; `disks` is bus by serial."""
    disks = disks or {f"{name.upper()}-D0": "ahci"}
    secrets = "file:{state}/racks/{rack}"
    bmc: dict[str, Any] = {"user": "lab", "password": f"{secrets}/bmc-password"}
    bmc |= {"sol_user": "console", "sol_password": f"{secrets}/sol-password"}
    if ipmi:
        bmc["ipmi"] = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    if redfish:
        bmc |= {"redfish": f"https://127.0.0.1:{free_port()}", "tls": {"ca": "{state}/racks/{rack}/ca.pem"}}
    macs = [f"52:54:00:{sum(name.encode()) % 256:02x}:00:{index:02x}" for index in range(len(nics))]
    ports = [{"mac": mac, "network": "data" if index else "lab"} for index, mac in enumerate(macs)]
    ports[0]["boot"] = True  # type: ignore[assignment]
    built = {"machine": machine, "cpus": 1, "memory": "64 MiB", "nics": dict(zip(macs, nics, strict=True))}
    built["disks"] = {serial: {"bus": bus, "size": "16 MiB"} for serial, bus in disks.items()}
    return {
        "name": name,
        "firmware": "bios",
        "bmc": bmc,
        "console": {"sol": {}},
        "host": {"address": "127.0.0.1", "ssh_port": free_port()},
        "nics": ports,
        "disks": [{"serial": serial, "erase": True} for serial in disks],
        "virtual": built,
    }


def write_rack(folder: Path, *servers: dict[str, Any], name: str = "tiny") -> Rack:
    """The rack of these servers, from a file written into `folder`."""
    content = {"rack": name, "controller": {"media_address": "127.0.0.1"}, "servers": list(servers)}
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(content).replace("{rack}", name))
    return load_rack(str(file))


@contextlib.contextmanager
def running_rack(folder: Path, *servers: dict[str, Any], name: str = "tiny") -> Iterator[TinyRack]:
    """A rack that is up inside the block, with a state folder of its own; nothing is left afterwards."""
    state = folder / "state"
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(state)
    rack = write_rack(folder, *servers, name=name)
    try:
        control.up(rack, silent)
        yield TinyRack(rack, state)
    finally:
        os.environ["XDG_STATE_HOME"] = str(state)
        control.down(rack, silent)
        if before is None:
            del os.environ["XDG_STATE_HOME"]
        else:
            os.environ["XDG_STATE_HOME"] = before


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port on 127.0.0.1 that nobody has now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _pause() -> None:
    """A file that grows and a daemon's state have no event to wait for from here."""
    threading.Event().wait(0.02)
