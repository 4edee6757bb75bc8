"""The Redfish provider against what nobody here wrote: sushy-tools' emulator, recorded vendor trees."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.bmc import bios_profile
from lab.bmc.api import BootDevice, LogMark, MediaSource, Outcome, PowerAction
from lab.bmc.bill import FirmwareMode
from lab.bmc.capability import Area
from lab.bmc.redfish.provider import RedfishBmc
from lab.bmc.target import Account, Target, Unsupported
from lab.errors import BmcRefused
from tests.bmc import recorded_tree
from tests.bmc.ipmi_sim import free_port
from tests.bmc.recorded_tree import RecordedTree

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
    seen = sushy.inventory()
    assert seen.macs
    assert {reading.kind for reading in sushy.sensors()} == {"Temperature", "Fan"}
    assert sushy.clock() is not None
    assert sushy.media() is None
    assert sushy.identity().vendor == "Sushy Emulator"
    assert sushy.security().secure_boot is False
    with pytest.raises(Unsupported, match="LogServices"):
        sushy.event_log()


@pytest.mark.parametrize("what", ["bios", "sessions", "sol", "power_draw"])
def test_what_sushy_has_not_is_told_as_such(sushy: RedfishBmc, what: str) -> None:
    with pytest.raises(Unsupported, match="Redfish tree"):
        getattr(sushy, what)()


def test_sushy_can(sushy: RedfishBmc) -> None:
    matrix = {one.area: one for one in sushy.capabilities()}
    assert set(matrix) == set(Area)
    assert "ForceOff" in matrix[Area.POWER].allowed
    assert "Cd" in matrix[Area.BOOT].allowed
    assert [area for area in Area if matrix[area].can == "no"] == [
        Area.CONSOLE,
        Area.LOGS,
        Area.BIOS,
    ]
    assert all(one.learned.startswith("/redfish/v1") for one in matrix.values())


def test_sushy_sets_what_it_can(sushy: RedfishBmc) -> None:
    assert sushy.boot_always(BootDevice.PXE, "uefi").outcome is Outcome.VERIFIED
    assert sushy.boot_override() is BootDevice.PXE
    assert sushy.identify(on=True).outcome is Outcome.VERIFIED
    assert sushy.eject_media().outcome is Outcome.VERIFIED


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not TREES.is_file():
        pytest.skip(f"the recorded trees are not there: {TREES} (set LAB_SHARED)")
    folder = tmp_path_factory.mktemp("trees")
    with tarfile.open(TREES) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(params=VENDORS)
def tree(request: pytest.FixtureRequest, trees: Path) -> Iterator[RecordedTree]:
    with recorded_tree.serving(RecordedTree(trees / request.param)) as running:
        yield running


@pytest.fixture
def recorded(tree: RecordedTree) -> Iterator[RedfishBmc]:
    bmc = tree.bmc()
    yield bmc
    bmc.close()


@pytest.mark.recorded
def test_recorded_inventory(recorded: RedfishBmc) -> None:
    vendor = recorded.target.server
    seen = recorded.inventory()
    assert seen.vendor == VENDORS[vendor]
    assert seen.serial
    assert seen.firmware["BIOS"]
    assert len(seen.macs) >= 2
    assert len(seen.processors) == {"hpe-ilo5": 1, "ami-megarac": 2, "dmtf-rackmount1": 1}[vendor]
    assert sum(module.size or 0 for module in seen.memory) >= 64 * 2**30
    assert [disk.serial for disk in seen.disks] == {
        "hpe-ilo5": [],
        "ami-megarac": ["S455NY0M831393"],
        "dmtf-rackmount1": ["", ""],
    }[vendor]
    if vendor == "hpe-ilo5":
        assert {port.speed for port in seen.ports} == {25000, None}
        assert all("Marvell" in port.model for port in seen.ports)


@pytest.mark.recorded
def test_recorded_readings(recorded: RedfishBmc) -> None:
    assert recorded.power() == "on"
    sensors = recorded.sensors()
    assert any(one.kind == "Temperature" and one.thresholds.upper_critical for one in sensors)
    assert all(one.name and one.unit for one in sensors)
    assert len({(one.kind, one.name) for one in sensors}) == len(sensors)
    draw = recorded.power_draw()
    assert draw is not None
    assert 90 < draw < 400
    assert recorded.clock() is not None
    assert recorded.sol().bit_rate == 115200


@pytest.mark.recorded
def test_recorded_logs(recorded: RedfishBmc) -> None:
    log = recorded.event_log()
    assert len(log) == {"hpe-ilo5": 143, "ami-megarac": 10, "dmtf-rackmount1": 2}[recorded.target.server]
    assert all(entry.message and entry.severity != "unknown" for entry in log)
    times = [entry.at for entry in log if entry.at]
    assert times == sorted(times)
    assert LogMark(frozenset(log[:-1])).new(log) == log[-1:]


@pytest.mark.recorded
def test_recorded_identity(recorded: RedfishBmc) -> None:
    seen = recorded.identity()
    wanted = {"hpe-ilo5": "iLO 5", "ami-megarac": "MegaRAC", "dmtf-rackmount1": ""}
    assert seen.generation == wanted[recorded.target.server]
    assert seen.firmware
    assert VENDORS[recorded.target.server] in seen.vendor


@pytest.mark.recorded
def test_recorded_capabilities(recorded: RedfishBmc, tree: RecordedTree) -> None:
    matrix = {one.area: one for one in recorded.capabilities()}
    assert list(matrix) == list(Area)
    no = [area for area, one in matrix.items() if one.can != "yes"]
    assert no == ([Area.SECURE_BOOT, Area.UPDATE] if "dmtf" in tree.folder.name else [])
    assert all(one.learned.startswith("/redfish/v1") for one in matrix.values())
    assert all(one.allowed for area, one in matrix.items() if area not in no)
    assert tree.written == []


@pytest.mark.recorded
def test_recorded_bios(recorded: RedfishBmc) -> None:
    vendor, bios = recorded.target.server, recorded.bios()
    assert len(bios.attributes) == {"hpe-ilo5": 236, "ami-megarac": 550, "dmtf-rackmount1": 10}[vendor]
    assert len(bios.pending) == (4 if vendor == "dmtf-rackmount1" else 0)
    found = bios_profile.plan(bios_profile.load("virtualization"), bios)
    assert found.changes == {}
    if vendor == "hpe-ilo5":
        assert found.holds == {"ProcAmdIoVt": "Enabled", "Sriov": "Enabled"}


@pytest.mark.recorded
@pytest.mark.parametrize("mode", ["uefi", "bios"])
def test_recorded_install_stays_inside_what_is_allowed(
    recorded: RedfishBmc, tree: RecordedTree, mode: FirmwareMode
) -> None:
    """What an install by virtual media does to a BMC, against the tree itself instead of a server."""
    assert recorded.set_power(PowerAction.OFF, deadline_s=5).outcome is Outcome.VERIFIED
    image = "http://10.0.7.2:8000/once/deploy.iso"
    assert recorded.insert_media(MediaSource(image)).outcome is Outcome.VERIFIED
    assert recorded.boot_once(BootDevice.CD, mode).outcome is Outcome.VERIFIED
    assert recorded.set_power(PowerAction.ON, deadline_s=5).outcome is Outcome.VERIFIED
    assert recorded.media() == image
    assert recorded.eject_media().outcome is Outcome.VERIFIED
    resets = [body["ResetType"] for _, _, body in tree.written if "ResetType" in body]
    assert resets == ["ForceOff", "On"]
    assert tree.outside == []


@pytest.mark.recorded
@pytest.mark.parametrize("device", list(BootDevice))
def test_recorded_boot_overrides_stay_inside_what_is_allowed(
    recorded: RedfishBmc, tree: RecordedTree, device: BootDevice
) -> None:
    try:
        assert recorded.boot_once(device, "uefi").outcome is Outcome.VERIFIED
    except Unsupported:
        # Said before anything was sent.
        assert tree.written == []
    assert tree.outside == []


@pytest.mark.recorded
def test_recorded_sets(recorded: RedfishBmc, tree: RecordedTree) -> None:
    name, value = {
        "hpe-ilo5": ("Sriov", "Disabled"),
        "ami-megarac": ("GBT0001", "Disabled"),
        "dmtf-rackmount1": ("NicBoot1", "Disabled"),
    }[recorded.target.server]
    answer = recorded.set_bios({name: value})
    assert answer.outcome is Outcome.PENDING
    assert recorded.set_bios({name: value}).tries == 0
    assert [(method, sorted(body)) for method, _, body in tree.written] == [("PATCH", ["Attributes"])]
    assert recorded.enable_sol().tries == 0
