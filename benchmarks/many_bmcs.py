"""Many BMCs to measure against, on 127.0.1.1, 127.0.1.2, …: real ipmi_sims, or our Redfish services.

`python -m benchmarks.many_bmcs COUNT FOLDER` runs that many Redfish services in one process: it prints
`ready`, then for each line on its input the sessions that are open now as `OPEN CREATED`, until end of file.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lab.rack.model import Server
from lab.virtual.folder import ServerFolder
from lab.virtual.ipmi.config import Account
from lab.virtual.light import LightChassis
from lab.virtual.redfish.face import RedfishFace
from lab.virtual.redfish.service import RedfishService
from lab.virtual.redfish.sessions import SessionTable

USER, PASSWORD = "lab", "benchmark-Pw-1"
REDFISH_PORT = 8000
_LAN = """\
name "bmc-{n}"
set_working_mc 0x20
startlan 1
  addr {address} {port}
  priv_limit admin
  allowed_auths_callback md2 md5 straight
  allowed_auths_user md2 md5 straight
  allowed_auths_operator md2 md5 straight
  allowed_auths_admin md2 md5 straight
  guid a123456789abcdefa123456789abcdef
endlan
chassis_control "./chassis"
user 2 true "{user}" "{password}" admin 10 md2 md5 straight
"""
_EMU = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n"
_CHASSIS = '#!/bin/sh\n[ "$1" = get ] || exit 0\nshift\nfor name; do echo "$name:1"; done\n'
_PING = bytes.fromhex("0600ff06000011be80000000")


def addresses(count: int) -> list[str]:
    """The loopback addresses of that many BMCs, at most 250."""
    return [f"127.0.1.{n}" for n in range(1, count + 1)]


@contextmanager
def ipmi_sims(count: int, port: int, folder: Path) -> Iterator[None]:
    """That many ipmi_sims, each answering before this returns; ended in the end."""
    with ExitStack() as running:
        for n, address in enumerate(addresses(count), start=1):
            home = folder / address
            (home / "state").mkdir(parents=True)
            (home / "lan.conf").write_text(
                _LAN.format(n=n, address=address, port=port, user=USER, password=PASSWORD)
            )
            (home / "bmc.emu").write_text(_EMU)
            (home / "chassis").write_text(_CHASSIS)
            (home / "chassis").chmod(0o700)
            process = subprocess.Popen(
                ["ipmi_sim", "-c", "lan.conf", "-f", "bmc.emu", "-s", "state", "-n"],
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            running.callback(process.wait)
            running.callback(process.terminate)
        for address in addresses(count):
            _await_pong(address, port)
        yield


def _await_pong(address: str, port: int) -> None:
    """Ask until the BMC answers an RMCP presence ping (ASF 2.0, 3.2.4.3)."""
    end = time.monotonic() + 20
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, port))
        probe.settimeout(0.1)
        while time.monotonic() < end:
            try:
                probe.send(_PING)
                probe.recv(100)
            except (TimeoutError, ConnectionRefusedError):
                continue
            return
    raise SystemExit(f"ipmi_sim at {address}:{port} does not come up")


def _server(name: str) -> Server:
    return Server.model_validate(
        {
            "name": name,
            "firmware": "uefi",
            "bmc": {"redfish": "http://127.0.1.1", "tls": "none", "user": USER, "password": "env:UNUSED"},
            "console": {"tcp": "127.0.0.1:1"},
            "nics": [{"mac": "52:54:00:00:00:01", "boot": True}],
            "disks": [{"serial": "NONE-1"}],
            "virtual": {
                "machine": "q35",
                "disks": {"NONE-1": {"bus": "nvme", "size": "64 GiB"}},
                "nics": {"52:54:00:00:00:01": "virtio-net-pci"},
            },
        }
    )


async def _serve(count: int, folder: Path) -> None:
    tables, services = [], []
    for address in addresses(count):
        name = f"bmc-{address.rsplit('.', 1)[-1]}"
        table = SessionTable((Account(USER, PASSWORD),))
        chassis = LightChassis(_server(name), ServerFolder(folder / name))
        service = RedfishService(RedfishFace(chassis, None, table, str(uuid.uuid4())))
        await service.open(address, REDFISH_PORT, None)
        tables.append(table)
        services.append(service)
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        states = [table.status() for table in tables]
        print(*(sum(state.get(word, 0) for state in states) for word in ("open", "created")), flush=True)
    for service in services:
        await service.close()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
