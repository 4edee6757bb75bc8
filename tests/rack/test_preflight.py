"""The preflight: what it finds, in which words, with which exit code; and that it only reads."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from lab.bmc.bill import DiskSeen, Inventory
from lab.cli import check as check_command
from lab.errors import BmcCredentials, BmcUnreachable, ConsoleLost
from lab.rack.checks import CHECKS
from lab.rack.load import load_rack
from lab.rack.model import Rack
from lab.rack.preflight import Check, Preflight, preflight
from tests.lab_command import LabCommand
from tests.rack.fake_bmc import FakeBmc, FakeDoors, matching

RACK = """\
rack: small
controller: {media_address: 127.0.0.1}
servers:
  - name: one
    firmware: uefi
    bmc: {redfish: "http://192.0.2.1", ipmi: "192.0.2.1", user: lab, password: env:TEST_RACK_BMC, tls: none}
    console: {sol: {}}
    nics:
      - {mac: "02:00:00:00:00:01", boot: true}
      - {mac: "02:00:00:00:00:02"}
    disks:
      - {serial: AAA, erase: true}
      - {wwn: "0x5000C500A1B2C3D4"}
"""


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rack:
    monkeypatch.setenv("TEST_RACK_BMC", "s3cret-of-this-test")
    file = tmp_path / "small.yaml"
    file.write_text(RACK)
    return load_rack(str(file))


@pytest.fixture
def fake(rack: Rack) -> FakeDoors:
    return FakeDoors(FakeBmc(matching(rack.servers[0])))


def run(rack: Rack, fake: FakeDoors, seconds: float = 10) -> dict[str, Check]:
    result = preflight(rack, rack.servers, fake.doors, seconds=seconds)
    assert [check.name for check in result.checks if check.server] == [name for name, _ in CHECKS]
    return {check.name: check for check in result.checks}


def test_a_rack_that_is_as_its_file_says_passes(rack: Rack, fake: FakeDoors) -> None:
    checks = run(rack, fake)
    assert {name: check.outcome for name, check in checks.items()} == {
        "schema": "ok",
        "media address": "ok",
        "pxe interface": "skipped",
        "secrets": "ok",
        "erasable disk": "ok",
        "tls": "skipped",
        "redfish": "ok",
        "ipmi": "ok",
        "console": "ok",
        "firmware": "ok",
        "macs": "ok",
        "boot nic": "ok",
        "disks": "ok",
        "clock": "ok",
    }
    assert checks["redfish"].detail == "http://192.0.2.1 answers, power is off"
    assert checks["erasable disk"].detail == "installs go to AAA"


def test_each_protocol_is_tried_on_its_own_and_everything_is_closed(rack: Rack, fake: FakeDoors) -> None:
    run(rack, fake)
    assert [(bool(one.bmc.redfish), bool(one.bmc.ipmi)) for one in fake.opened] == [
        (True, False),
        (False, True),
    ]
    assert fake.bmc.closed == 2
    assert [stream.closed for stream in fake.streams] == [True]


def seen(change: Callable[[Inventory], Inventory]) -> Callable[[FakeDoors], None]:
    def apply(fake: FakeDoors) -> None:
        fake.bmc.inventory_seen = change(fake.bmc.inventory_seen)

    return apply


def attribute(name: str, value: object) -> Callable[[FakeDoors], None]:
    return lambda fake: setattr(fake, name, value)


MISFITS = [
    (
        "firmware",
        seen(lambda i: replace(i, firmware_mode="bios")),
        10,
        "5: servers[0].firmware: the BMC says bios",
    ),
    (
        "macs",
        seen(lambda i: replace(i, ports=i.ports[:1])),
        10,
        "8: servers[0].nics: no NIC with MAC 02:00:00:00:00:02",
    ),
    (
        "boot nic",
        seen(lambda i: replace(i, ports=i.ports[1:])),
        10,
        "8: servers[0].nics: the boot NIC 02:00:00:00:00:01",
    ),
    ("disks", seen(lambda i: replace(i, disks=i.disks[1:])), 41, "12: servers[0].disks[0]: no disk AAA"),
    (
        "disks",
        seen(lambda i: replace(i, disks=i.disks[:1])),
        41,
        "13: servers[0].disks[1]: no disk wwn 0x5000",
    ),
    ("disks", seen(lambda i: replace(i, disks=(*i.disks, DiskSeen("aaa ")))), 42, "2 disks answer to AAA"),
    (
        "clock",
        lambda fake: setattr(fake.bmc, "clock_offset_s", 3600.0),
        30,
        "the BMC's clock is +3600 s off ours",
    ),
    (
        "redfish",
        attribute("refuse_bmc", {"redfish": BmcCredentials("no", next_step="x")}),
        33,
        "no",
    ),
    ("ipmi", attribute("refuse_bmc", {"ipmi": BmcUnreachable("silence", next_step="x")}), 32, "silence"),
    ("console", attribute("refuse_console", ConsoleLost("in use", next_step="x")), 34, "in use"),
]


@pytest.mark.parametrize(("name", "spoil", "code", "words"), MISFITS, ids=[f"{m[0]}-{m[2]}" for m in MISFITS])
def test_what_does_not_match_fails_with_the_place_and_what_to_do(
    name: str, spoil: Callable[[FakeDoors], None], code: int, words: str, rack: Rack, fake: FakeDoors
) -> None:
    spoil(fake)
    check = run(rack, fake)[name]
    assert check.outcome == "failed"
    assert check.exit_code == code
    assert words in check.detail
    assert check.next_step


def test_wwns_are_compared_by_their_digits(rack: Rack, fake: FakeDoors) -> None:
    spelt = (DiskSeen("AAA"), DiskSeen("", wwn="naa.5000c500a1b2c3d4"))
    fake.bmc.inventory_seen = replace(fake.bmc.inventory_seen, disks=spelt)
    assert run(rack, fake)["disks"].outcome == "ok"


def test_what_the_bmc_cannot_say_is_skipped_with_the_reason(rack: Rack, fake: FakeDoors) -> None:
    fake.bmc.inventory_seen = Inventory()
    fake.bmc.clock_offset_s = None
    checks = run(rack, fake)
    assert {name: checks[name].detail for name in ("firmware", "macs", "boot nic", "disks", "clock")} == {
        "firmware": "the BMC does not say",
        "macs": "the BMC lists no NICs",
        "boot nic": "the BMC lists no NICs",
        "disks": "the BMC lists no disks",
        "clock": "the BMC has no clock to read",
    }
    assert all(
        checks[name].outcome == "skipped" for name in ("firmware", "macs", "boot nic", "disks", "clock")
    )


def test_a_missing_secret_is_one_failure(
    rack: Rack, fake: FakeDoors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_RACK_BMC")
    checks = run(rack, fake)
    assert [(name, check.exit_code) for name, check in checks.items() if check.outcome == "failed"] == [
        ("secrets", 12)
    ]
    assert (
        "small.yaml:6: servers[0].bmc.password: secret env:TEST_RACK_BMC is not there"
        in checks["secrets"].detail
    )
    assert checks["secrets"].next_step == "set the environment variable TEST_RACK_BMC"
    assert fake.opened == []


def test_the_console_of_a_leased_server_is_left_alone(rack: Rack, fake: FakeDoors) -> None:
    fake.holder = "run 7 of ada"
    check = run(rack, fake)["console"]
    assert (check.outcome, check.detail) == ("skipped", "in use by run 7 of ada")
    assert fake.streams == []


def test_a_server_that_hangs_ends_at_its_deadline(rack: Rack, fake: FakeDoors) -> None:
    fake.bmc.hang = Event()
    began = time.monotonic()
    checks = run(rack, fake, seconds=0.3)
    fake.bmc.hang.set()
    assert time.monotonic() - began < 5
    assert checks["redfish"].outcome == "failed"
    assert checks["redfish"].exit_code == 32
    assert checks["redfish"].detail == "no end within 0 s"
    assert checks["disks"].detail == "not reached: redfish hangs"


def test_a_bug_is_not_hidden(rack: Rack, fake: FakeDoors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake.bmc, "inventory", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(rack, fake)


def test_a_media_address_of_somebody_else_fails(rack: Rack, fake: FakeDoors) -> None:
    foreign = rack.model_copy(
        update={"controller": rack.controller.model_copy(update={"media_address": "203.0.113.77"})}
    )
    check = run(foreign, fake)["media address"]
    assert (check.outcome, check.exit_code) == ("failed", 10)
    assert "127.0.0.1" in check.next_step


def test_a_media_port_in_use_fails(rack: Rack, fake: FakeDoors) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = rack.model_copy(update={"controller": rack.controller.model_copy(update={"media_port": port})})
        check = run(busy, fake)["media address"]
    assert (check.outcome, check.exit_code) == ("failed", 30)
    assert f"port {port}" in check.detail


@pytest.mark.parametrize(
    ("interface", "outcome", "words"),
    [
        (None, "failed", "one can only install by PXE"),
        ("lo", "ok", "lo"),
        ("nosuch0", "failed", "nosuch0 is not an"),
    ],
)
def test_pxe_needs_a_named_interface_that_exists(
    interface: str | None, outcome: str, words: str, rack: Rack, fake: FakeDoors
) -> None:
    server = rack.servers[0].model_copy(update={"install_by": "pxe"})
    controller = rack.controller.model_copy(update={"pxe_interface": interface})
    check = run(rack.model_copy(update={"servers": (server,), "controller": controller}), fake)[
        "pxe interface"
    ]
    assert check.outcome == outcome
    assert words in check.detail


def test_servers_are_checked_side_by_side(rack: Rack, fake: FakeDoors) -> None:
    many = [rack.servers[0].model_copy(update={"name": f"s{n}"}) for n in range(20)]
    fake.bmc.hang = Event()  # nobody sets it: each waits out its share below
    fake.bmc.hang.wait = lambda timeout=None: time.sleep(0.1) or True  # type: ignore[method-assign, func-returns-value]
    began = time.monotonic()
    result = preflight(rack, many, fake.doors, seconds=10)
    assert time.monotonic() - began < 20 * 0.2 / 2
    assert [check.server for check in result.checks if check.name == "clock"] == [
        server.name for server in many
    ]
    assert result.exit_code == 0


def test_the_exit_code_is_that_of_the_first_failure() -> None:
    checks = (
        Check(None, "schema", "ok", ""),
        Check("one", "tls", "failed", "", "", 30),
        Check("one", "disks", "failed", "", "", 41),
    )
    assert Preflight("r", checks).exit_code == 30
    assert Preflight("r", checks[:1]).exit_code == 0


def test_lab_check_shows_failures_and_next_steps(
    rack: Rack, fake: FakeDoors, lab: LabCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.bmc.inventory_seen = replace(fake.bmc.inventory_seen, disks=(DiskSeen("ZZZ"),))
    monkeypatch.setattr(check_command, "real_doors", lambda: fake.doors)
    ran = lab("check", str(rack.file))
    assert ran.code == 41
    assert "one: disks: " in ran.err
    assert "  next: correct `disks:` in the rack file\n" in ran.err
    assert ran.out.splitlines()[-1] == "rack small: 11 ok, 1 failed, 2 skipped"
    assert "\x1b" not in ran.out + ran.err
    assert "s3cret-of-this-test" not in ran.out + ran.err


def test_lab_check_as_json(
    rack: Rack, fake: FakeDoors, lab: LabCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_command, "real_doors", lambda: fake.doors)
    ran = lab("check", str(rack.file), "--server", "one", "--json")
    assert ran.code == 0
    shown = json.loads(ran.out)
    assert shown["rack"] == "small" and shown["ok"] is True and shown["exit_code"] == 0
    assert {"server", "name", "outcome", "detail", "next_step", "exit_code"} == set(shown["checks"][0])


def test_lab_check_says_a_wrong_file_in_json_too(lab: LabCommand, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("rack: x\n")
    ran = lab("check", str(file), "--json")
    assert ran.code == 10
    (check,) = json.loads(ran.out)["checks"]
    assert (check["name"], check["outcome"], check["exit_code"]) == ("schema", "failed", 10)
    assert f"{file}:1: servers: is missing" in check["detail"]


def test_lab_check_of_a_missing_secret_is_12(
    rack: Rack, fake: FakeDoors, lab: LabCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_command, "real_doors", lambda: fake.doors)
    monkeypatch.delenv("TEST_RACK_BMC")
    ran = lab("check", str(rack.file))
    assert ran.code == 12
    assert ran.err == (
        f"one: secrets: {rack.file}:6: servers[0].bmc.password: secret env:TEST_RACK_BMC is not there\n"
        "  next: set the environment variable TEST_RACK_BMC\n"
    )


def test_lab_check_of_a_server_without_an_erasable_disk_is_13(
    rack: Rack, fake: FakeDoors, lab: LabCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_command, "real_doors", lambda: fake.doors)
    rack.file.write_text(RACK.replace(", erase: true", ""))
    ran = lab("check", str(rack.file))
    assert ran.code == 13
    assert ran.err == (
        f"one: erasable disk: {rack.file}:11: servers[0].disks: no disk has `erase: true`\n"
        "  next: mark the disk that the lab may overwrite with `erase: true`, or leave this server out\n"
    )
