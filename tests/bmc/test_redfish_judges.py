"""The Redfish provider against what nobody here wrote: sushy-tools' emulator, recorded vendor trees."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lab.bmc import redfish_boot
from lab.bmc.api import BootDevice, Outcome, PowerAction
from lab.bmc.bill import FirmwareMode
from lab.bmc.redfish import RedfishBmc
from lab.bmc.redfish_json import allowed, as_dict
from lab.bmc.target import Account, Target, Unsupported
from lab.errors import BmcRefused
from tests.bmc.ipmi_sim import free_port

SHARED = Path(os.environ.get("LAB_SHARED", Path(__file__).parents[3] / "shared"))
TREES = SHARED / "redfish-trees" / "recorded-trees.tar.xz"
# Its fake server takes a random one to eleven seconds to change power; here, always one.
_EMULATOR = (
    "import random, sys; random.randint = min; from sushy_tools.emulator.main import main; sys.exit(main())"
)
VENDORS = {"hpe-ilo5": "HPE", "ami-megarac": "GIGABYTE", "dmtf-rackmount1": "Contoso"}


@pytest.fixture(scope="module")
def sushy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedfishBmc]:
    folder, port = tmp_path_factory.mktemp("sushy"), free_port(socket.SOCK_STREAM)
    settings = {"LISTEN_IP": "127.0.0.1", "LISTEN_PORT": port, "STATE_DIR": str(folder)}
    config = folder / "emulator.conf"
    config.write_text("".join(f"SUSHY_EMULATOR_{name} = {value!r}\n" for name, value in settings.items()))
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-c", _EMULATOR, "--config", str(config), "--fake"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        bmc = RedfishBmc(
            Target("sushy-1", f"http://127.0.0.1:{port}"), Account("admin", lambda: "s3cret"), "none"
        )
        yield bmc
        bmc.close()
    finally:
        process.kill()
        process.wait()


def test_sushy_power_that_lags_is_waited_for(sushy: RedfishBmc) -> None:
    assert sushy.power() == "off"
    assert sushy.set_power(PowerAction.ON, deadline_s=20).outcome is Outcome.VERIFIED


def test_sushy_ignores_once_which_is_a_refusal(sushy: RedfishBmc) -> None:
    with pytest.raises(BmcRefused, match="Continuous"):
        sushy.boot_once(BootDevice.CD, "uefi")


def test_sushy_reads(sushy: RedfishBmc) -> None:
    assert sushy.inventory().macs
    assert {reading.kind for reading in sushy.sensors()} == {"Temperature", "Fan"}
    assert sushy.clock() is not None
    assert sushy.media() is None
    with pytest.raises(Unsupported, match="LogServices"):
        sushy.event_log()


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not TREES.is_file():
        pytest.skip(f"the recorded trees are not there: {TREES} (set LAB_SHARED)")
    folder = tmp_path_factory.mktemp("trees")
    with tarfile.open(TREES) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(params=VENDORS)
def recorded(request: pytest.FixtureRequest, trees: Path) -> Iterator[RedfishBmc]:
    root = trees / request.param

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = root / self.path.rstrip("/").removeprefix("/redfish/v1").strip("/") / "index.json"
            content = file.read_bytes() if file.is_file() else b"{}"
            self.send_response(200 if file.is_file() else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.send_error(405)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    target = Target(request.param, f"http://127.0.0.1:{server.server_port}")
    bmc = RedfishBmc(target, Account("admin", lambda: "s3cret"), "none")
    yield bmc
    bmc.close()
    server.shutdown()
    server.server_close()


@pytest.mark.recorded
def test_recorded_discovery(recorded: RedfishBmc) -> None:
    seen = recorded.inventory()
    assert seen.vendor == VENDORS[recorded._target.server]
    assert seen.serial
    assert seen.firmware["BIOS"]
    assert len(seen.macs) >= 2
    assert recorded.power() == "on"
    assert recorded.sensors()
    assert all(entry.message for entry in recorded.event_log())
    assert recorded.clock() is not None


@pytest.mark.recorded
@pytest.mark.parametrize("mode", ["uefi", "bios"])
@pytest.mark.parametrize("device", list(BootDevice))
def test_recorded_boot_plans_stay_inside_what_is_allowed(
    recorded: RedfishBmc, device: BootDevice, mode: FirmwareMode
) -> None:
    system = recorded._tree.system
    request = redfish_boot.plan(recorded._tree, system, device, mode)
    for name, value in request.items():
        may = allowed(as_dict(system["Boot"]), name)
        assert may is None or value in may, json.dumps(request)


@pytest.mark.recorded
def test_recorded_media_and_resets_are_found(recorded: RedfishBmc) -> None:
    assert {"On", "ForceOff", "ForceRestart"} <= set(recorded.reset_types() or [])
    slots = recorded._media.slots()
    assert len(slots) == 1
    assert slots[0].path.startswith("/redfish/v1/Managers/")
    # DMTF's example has no action: there it is a PATCH.
    assert (slots[0].insert is None) == (recorded._target.server == "dmtf-rackmount1")
