"""A virtual BMC with a profile and faults over a server without QEMU, in a thread of its own.

>>> with errant_bmc(profile="etag-empty") as bmc:
...     bmc.get("/redfish/v1/Systems/1").headers["ETag"]
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.server
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import requests

from lab.bmc.redfish.provider import RedfishBmc
from lab.bmc.target import Account as Credentials
from lab.bmc.target import Target
from lab.rack.virtual import FaultEntry, VirtualBmc
from lab.virtual.board import Media
from lab.virtual.errant import ErrantBmc
from lab.virtual.folder import ServerFolder
from lab.virtual.ipmi.config import Account
from lab.virtual.light import LightChassis
from lab.virtual.redfish.face import RedfishFace
from lab.virtual.redfish.sessions import SessionTable
from tests.virtual.rackfile import server, write_rack

USER, PASSWORD = "lab", "s3cret"
ROOT = "/redfish/v1"
SYSTEM, MANAGER = f"{ROOT}/Systems/1", f"{ROOT}/Managers/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
MEDIA = f"{MANAGER}/VirtualMedia"
CD = f"{MEDIA}/Cd"
INSERT, EJECT = f"{CD}/Actions/VirtualMedia.InsertMedia", f"{CD}/Actions/VirtualMedia.EjectMedia"
Result = TypeVar("Result")


@dataclass
class ErrantServer:
    """The running BMC, and raw HTTP to it by Basic authentication; what is behind it is open to judges."""

    url: str
    errant: ErrantBmc
    chassis: LightChassis
    face: RedfishFace
    loop: asyncio.AbstractEventLoop
    client: requests.Session = field(default_factory=requests.Session)

    @property
    def played(self) -> dict[str, int]:
        """How often each fault and quirk was played."""
        return dict(self.errant.faults.log.counts)

    def do(self, work: Callable[[], Result]) -> Result:
        """Run something where the BMC runs."""

        async def run() -> Result:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def load(self, url: str) -> None:
        """Put an image into the drive, as somebody before us did."""
        (self.chassis.folder.path / "media" / "old.img").write_bytes(b"old")
        work = self.chassis.insert(Media(url, "media/old.img"))
        asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def add(self, **entry: object) -> None:
        """Put a fault in force."""
        fault = FaultEntry.model_validate(entry)
        self.do(lambda: self.errant.change(add=fault))

    def request(self, method: str, path: str, **arguments: Any) -> requests.Response:  # noqa: ANN401
        """One request; `json`, `headers` and so on as in `requests`."""
        arguments.setdefault("timeout", 20)
        return self.client.request(method, self.url + path, auth=(USER, PASSWORD), **arguments)

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: object | None = None, **headers: str) -> requests.Response:
        return self.request("POST", path, json=body, headers=headers)

    def patch(self, path: str, body: object, **headers: str) -> requests.Response:
        return self.request("PATCH", path, json=body, headers=headers)

    def boot(self, **members: str) -> requests.Response:
        """PATCH the boot override, such as `boot(Target="Cd", Enabled="Once")`."""
        return self.patch(SYSTEM, {"Boot": {f"BootSourceOverride{name}": v for name, v in members.items()}})

    def reset(self, kind: str) -> requests.Response:
        return self.post(RESET, {"ResetType": kind})

    def provider(self) -> RedfishBmc:
        """Our own client."""
        account = Credentials(USER, lambda: PASSWORD)
        return RedfishBmc(Target(self.chassis.server.name, self.url), account, "none")


def message_id(answer: requests.Response) -> str:
    """The first MessageId of a refusal."""
    return str(answer.json()["error"]["@Message.ExtendedInfo"][0]["MessageId"])


@contextlib.contextmanager
def errant_bmc(
    folder: Path, profile: str | None = None, *faults: dict[str, object], firmware: str = "uefi"
) -> Iterator[ErrantServer]:
    """Such a BMC, its server off."""
    content = server("light", redfish=True, ipmi=False) | {
        "firmware": firmware,
        "console": {"tcp": "127.0.0.1:9"},
    }
    rack = write_rack(folder, content)
    entries = [FaultEntry.model_validate(fault) for fault in faults]
    place = ServerFolder(folder / "light")
    place.make()
    chassis = LightChassis(rack.servers[0], place)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[ErrantBmc, RedfishFace, str, Callable[[], Any]]:
        errant = ErrantBmc(chassis, VirtualBmc(profile=profile, faults=tuple(entries)), place.path / "faults")
        sessions = SessionTable([Account(USER, PASSWORD)])
        face = RedfishFace(errant.board, None, sessions, str(uuid.uuid4()))
        service = errant.serve(face)
        await service.open("127.0.0.1", 0, None)
        address = service.address
        assert address is not None

        async def close() -> None:
            errant.close()
            await service.close()

        return errant, face, f"http://{address[0]}:{address[1]}", close

    errant, face, url, close = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    bmc = ErrantServer(url, errant, chassis, face, loop)
    try:
        yield bmc
    finally:
        bmc.client.close()
        asyncio.run_coroutine_threadsafe(close(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@contextlib.contextmanager
def image_server(folder: Path) -> Iterator[str]:
    """URL of a small image."""
    (folder / "tiny.iso").write_bytes(b"an image" * 512)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{service.server_address[1]}/tiny.iso"
        service.shutdown()
        thread.join()
