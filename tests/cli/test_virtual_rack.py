"""The `lab` command against the real virtual rack: BMCs that really answer, servers that stay off."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab import paths
from lab.machine import lease as leases
from lab.rack.load import load_rack
from lab.virtual import control
from tests.lab_command import LabCommand

INVENTORY = Path(__file__).parents[2] / "inventory"


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has, all different."""
    with ExitStack() as held:
        return [
            held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)
        ]


@pytest.fixture(scope="module")
def up_rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The shipped virtual rack on ports and in a state folder of its own, up: its file and the state home."""
    state = tmp_path_factory.mktemp("up-state")
    text = (INVENTORY / "virtual.yaml").read_text()
    fixed = sorted(set(re.findall(r"(?<=[ :])96\d\d\b", text)))
    for old, new in zip(fixed, free_ports(len(fixed)), strict=True):
        text = re.sub(rf"\b{old}\b", str(new), text)
    file = tmp_path_factory.mktemp("up-rack") / "virtual.yaml"
    file.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        rack = load_rack(str(file))
        control.up(rack, lambda text: None)
    yield file, state
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        control.down(rack, lambda text: None)


@pytest.fixture
def rack_file(up_rack: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The rack that is up, seen by this test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(up_rack[1]))
    return up_rack[0]


def asking(url: str, ca: Path) -> list[str]:
    return ["--redfish", url, "--user", "lab", "--ca", str(ca)]


def outcomes(text: str) -> dict[str, str]:
    return {f"{one['server']}: {one['name']}": one["outcome"] for one in json.loads(text)["checks"]}


def test_the_virtual_rack_passes_its_preflight(rack_file: Path, lab: LabCommand) -> None:
    ran = lab("check", str(rack_file), "--json")
    found = outcomes(ran.out)
    assert [name for name, outcome in found.items() if outcome == "failed"] == []
    assert ran.code == 0
    for name in ("tls", "redfish", "ipmi", "console", "firmware", "macs", "disks", "clock"):
        assert found[f"uefi-1: {name}"] == "ok"
    assert {found[f"bios-1: {name}"] for name in ("ipmi", "console")} == {"ok"}


def test_rack_status_shows_the_servers_off_and_answering(rack_file: Path, lab: LabCommand) -> None:
    found = json.loads(lab("rack", "status", "--rack", str(rack_file), "--json").out)
    assert [(one["server"], one["answering"], one["power"]) for one in found] == [
        ("uefi-1", True, "off"),
        ("bios-1", True, "off"),
    ]
    assert "uefi-1" in lab("rack", "status", "--rack", str(rack_file)).out


def test_up_leaves_alone_what_is_up(rack_file: Path, lab: LabCommand) -> None:
    assert lab("rack", "up", "--rack", str(rack_file)).code == 0


def test_a_wrong_password_is_33_on_both_protocols(
    rack_file: Path, lab: LabCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG_PASSWORD", "certainly-not-it")
    wrong = tmp_path / "wrong.yaml"
    text = rack_file.read_text().replace("file:{state}/racks/virtual/bmc-password", "env:WRONG_PASSWORD")
    wrong.write_text(text)
    ran = lab("check", str(wrong), "--json")
    assert ran.code == 33
    found = {(one["server"], one["name"]): one for one in json.loads(ran.out)["checks"]}
    for key in (("uefi-1", "redfish"), ("uefi-1", "ipmi"), ("bios-1", "ipmi")):
        assert found[key]["exit_code"] == 33
        assert "password" in found[key]["detail"] and found[key]["next_step"]
    assert "certainly-not-it" not in ran.out + ran.err


def test_a_bmc_that_does_not_answer_is_32(rack_file: Path, lab: LabCommand, tmp_path: Path) -> None:
    bmc = load_rack(str(rack_file)).servers[0].bmc
    text = rack_file.read_text()
    for endpoint, port in zip((bmc.redfish, bmc.ipmi), free_ports(2), strict=True):
        text = text.replace(str(endpoint).rpartition(":")[2], str(port))
    dead = tmp_path / "dead.yaml"
    dead.write_text(text)
    ran = lab("check", str(dead), "--server", "uefi-1", "--json")
    assert ran.code == 32
    found = {one["name"]: one for one in json.loads(ran.out)["checks"]}
    assert [found[name]["exit_code"] for name in ("tls", "redfish", "ipmi")] == [32, 32, 32]
    assert [found[name]["outcome"] for name in ("console", "disks", "clock")] == ["skipped"] * 3


def test_import_drafts_the_server_that_the_bmc_describes(
    rack_file: Path, lab: LabCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rack = load_rack(str(rack_file))
    real, folder = rack.servers[0], paths.state() / "racks" / "virtual"
    monkeypatch.setenv("LAB_BMC_PASSWORD", (folder / "bmc-password").read_text().strip())
    ran = lab("rack", "import", *asking(str(real.bmc.redfish), folder / "ca.pem"))
    assert (ran.code, ran.err) == (0, "")
    file = tmp_path / "drafted.yaml"
    file.write_text("rack: drafted\ncontroller: {media_address: 127.0.0.1}\nservers:\n" + ran.out)
    (server,) = load_rack(str(file)).servers
    assert server.firmware == "uefi"
    assert {nic.mac for nic in server.nics} == {nic.mac for nic in real.nics}
    assert {disk.serial for disk in server.disks} == {disk.serial for disk in real.disks}
    assert server.erasable == ()


def test_import_with_a_wrong_password_is_33(
    rack_file: Path, lab: LabCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, folder = load_rack(str(rack_file)).servers[0], paths.state() / "racks" / "virtual"
    monkeypatch.setenv("LAB_BMC_PASSWORD", "certainly-not-it")
    ran = lab("rack", "import", *asking(str(real.bmc.redfish), folder / "ca.pem"))
    assert (ran.code, ran.out) == (33, "")
    assert "certainly-not-it" not in ran.err


def test_import_does_not_send_the_password_to_a_certificate_nobody_vouches_for(
    rack_file: Path, lab: LabCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_BMC_PASSWORD", "irrelevant")
    ran = lab("rack", "import", "--redfish", str(load_rack(str(rack_file)).servers[0].bmc.redfish))
    assert ran.code == 35
    assert "is not trusted" in ran.err
    assert "--fingerprint" in ran.err


def test_a_rack_that_a_run_uses_is_not_taken_down(rack_file: Path, lab: LabCommand) -> None:
    rack = load_rack(str(rack_file))
    lease, _ = leases.take(rack, rack.servers[1], "run-5")
    try:
        ran = lab("rack", "down", "--rack", str(rack_file))
        checked = json.loads(lab("check", str(rack_file), "--server", "bios-1", "--json").out)["checks"]
    finally:
        leases.give_up(lease)
    assert ran.code == 14
    assert "bios-1: leased to run run-5" in ran.err
    (console,) = (one for one in checked if one["name"] == "console")
    assert (console["outcome"], "run-5" in console["detail"]) == ("skipped", True)


def test_a_virtual_rack_that_is_down_says_so(lab: LabCommand) -> None:
    ran = lab("check", "virtual", "--json")  # nothing is up in this test's own state folder
    assert ran.code == 32
    assert (
        ran.err
        == "error: the virtual rack virtual is down\n  next: bring it up: `lab rack up --rack virtual`\n"
    )
    (check,) = json.loads(ran.out)["checks"]
    assert (check["name"], check["outcome"], check["exit_code"]) == ("virtual rack", "failed", 32)
