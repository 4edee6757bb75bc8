"""The Redfish face alone, without faults and without a server behind it, served from a thread.

>>> with bare_bmc(tmp_path) as bmc:
...     bmc.call("GET", "/redfish/v1/Systems/1").json()["PowerState"]
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from lab.virtual.folder import ServerFolder
from lab.virtual.ipmi.config import Account
from lab.virtual.light import LightChassis
from lab.virtual.redfish.face import Behaviour, RedfishFace
from lab.virtual.redfish.service import RedfishService
from lab.virtual.redfish.sessions import SessionTable
from tests.virtual.rackfile import server, write_rack

PASSWORD = "a bare secret"
SYSTEM, CHASSIS, MANAGER = "/redfish/v1/Systems/1", "/redfish/v1/Chassis/1", "/redfish/v1/Managers/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
QUICK = Behaviour(reset_s=0.5, task_step_s=0.05, page=3)
Untyped = Any
"""JSON, or what a library without type hints takes."""


@dataclass(frozen=True)
class BareBmc:
    """A served BMC; `face` and `chassis` belong to the thread that serves, and are only read from here."""

    url: str
    face: RedfishFace
    chassis: LightChassis
    service: RedfishService

    def call(self, method: str, path: str, body: Untyped = None, **more: Untyped) -> requests.Response:
        """One request with Basic authentication."""
        more.setdefault("auth", ("lab", PASSWORD))
        return requests.request(method, f"{self.url}{path}", json=body, timeout=20, **more)


@contextlib.contextmanager
def bare_bmc(
    folder: Path, *, firmware: str = "bios", behaviour: Behaviour = QUICK, limit: int = 8
) -> Iterator[BareBmc]:
    """One such BMC, on a free port of 127.0.0.1."""
    disks = {"L1-NVME": "nvme", "L1-SATA": "ahci", "L1-SAS": "megasas"}
    entry = server("l1", redfish=True, ipmi=False, disks=disks, nics=("virtio-net-pci", "vmxnet3"))
    entry |= {"firmware": firmware, "console": {"tcp": "127.0.0.1:9"}}
    entry["virtual"]["machine"] = "q35" if firmware == "uefi" else "pc"
    rack = write_rack(folder, entry)
    files = ServerFolder(folder / "l1")
    files.make()
    chassis = LightChassis(rack.servers[0], files)
    sessions = SessionTable([Account("lab", PASSWORD)], limit=limit)
    face = RedfishFace(chassis, None, sessions, str(uuid.uuid4()), behaviour=behaviour)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def opened() -> RedfishService:
        service = RedfishService(face)
        await service.open("127.0.0.1", 0, None)
        return service

    try:
        service = asyncio.run_coroutine_threadsafe(opened(), loop).result(20)
        address, port = service.address or ("", 0)
        try:
            yield BareBmc(f"http://{address}:{port}", face, chassis, service)
        finally:
            asyncio.run_coroutine_threadsafe(service.close(), loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
