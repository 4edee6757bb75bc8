"""What goes wrong during an install or a boot is known within a second, and said with the console's lines."""

from __future__ import annotations

import time

import pytest

from lab import errors
from lab.console.catalogue import entries
from lab.deadline import Deadline
from lab.errors import LabError
from lab.machine import lease
from lab.machine.credentials import Phase, installs_of
from lab.ssh import Ssh
from tests.machine.bench import XEN, Bench
from tests.machine.scripted import DEPLOY, XEN_BOOT

INSTALLER_STAGES = {"firmware", "loader", "kernel", "deploy"}
BOOT_STAGES = {"firmware", "loader", "hypervisor", "kernel", "services", "control-domain"}
AFTER = {
    "firmware": 0,  # how many lines of XEN_BOOT are heard before
    "loader": 1,
    "hypervisor": 4,
    "control-domain": 5,
    "kernel": 5,
    "services": 6,
}
FAILURES = [
    entry
    for group in entries().values()
    for entry in group
    if entry.kind == "failure" and entry.stage in BOOT_STAGES
]
BLAMED = {"lab": errors.LabFault, "install": errors.InstallFailure, "hypervisor": errors.HypervisorFailure}


def failure_of(bench: Bench, server: str = "s1", **stages: int) -> tuple[LabError, float]:
    """Try to get the server ready; the error, and how long it took."""
    machine = bench.take(server)
    started = time.monotonic()
    with pytest.raises(LabError) as raised:
        machine.goto("ready", bench.release(**stages))
    took = time.monotonic() - started
    assert machine.give_back() is None
    assert bench.servers[server].state == "off"
    assert bench.left_over() == []
    assert lease.leases() == []
    assert (raised.value.server, raised.value.release) == (server, XEN)
    assert raised.value.next_step
    return raised.value, took


@pytest.mark.parametrize("entry", FAILURES, ids=lambda entry: entry.name)
def test_a_failure_line_while_booting_ends_the_boot_within_a_second(bench: Bench, entry: object) -> None:
    name, stage, example, blame = (getattr(entry, key) for key in ("name", "stage", "example", "blame"))
    bench.servers["s1"].boot = [*XEN_BOOT[: AFTER[stage]], example]
    bench.servers["s1"].answers_ssh = False
    error, took = failure_of(bench)
    assert took < 2.0  # the install that comes first takes its share
    assert any(example.strip() in line for line in error.console), name
    assert isinstance(error, BLAMED[blame])
    if blame == "install":
        assert error.exit_code == 43


@pytest.mark.parametrize(
    ("line", "kind", "code"),
    [
        ("refused: no disk with serial D1", errors.DiskNotFound, 41),
        ("refused: 2 disks with serial D1", errors.DiskAmbiguous, 42),
        ("refused: disk with serial D1 is not allowed to be erased", errors.InstallFailure, 40),
    ],
)
def test_a_refusal_of_the_deploy_ram_os_leaves_the_disk_alone(
    bench: Bench, line: str, kind: type[LabError], code: int
) -> None:
    server = bench.servers["s1"]
    before = bench.take()
    before.goto("ready", bench.release())
    before.give_back()
    kept = server.disk
    server.installer = [*DEPLOY[:3], f"lab-deploy: {line}", "[ 9.0] reboot: Power down"]
    bench.image = bench.image_of(b"another image")  # so that a new install is tried
    error, took = failure_of(bench)
    assert (type(error), error.exit_code) == (kind, code)
    assert took < 2.0
    assert line in str(error)
    assert server.disk is kept
    assert [install.phase for install in installs_of("bench", "s1")] == [Phase.INSTALLED]


def test_an_image_that_arrives_with_another_digest_is_an_install_failure(bench: Bench) -> None:
    wrong = "failed: digest: the image arrived as 0123456789abcdef, not abababababababab"
    bench.servers["s1"].installer = [*DEPLOY[:5], f"lab-deploy: {wrong}"]
    error, took = failure_of(bench)
    assert (type(error), error.exit_code) == (errors.InstallFailure, 40)
    assert "digest" in str(error)
    assert took < 2.0


def test_done_with_another_digest_than_asked_for_is_not_believed(bench: Bench) -> None:
    bench.servers["s1"].digest_said = "00" * 64
    error, _ = failure_of(bench)
    assert error.exit_code == 40
    assert "digest 0000" in error.message
    assert "do not use" in error.next_step
    assert all(install.phase is Phase.WRITING for install in installs_of("bench", "s1"))


@pytest.mark.parametrize("stop", [0, 1, 4, 6, 7])
def test_an_installer_that_falls_silent_is_told_with_power_state_and_silence(
    bench: Bench, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.machine.deploy_boot.BOOT_S", 0.3)
    bench.servers["s1"].installer = list(DEPLOY[:stop])
    error, took = failure_of(bench, install=0)
    assert isinstance(error, errors.InstallFailure)
    assert "power is on, the console has been silent for" in error.message
    assert took < 2.0


def test_a_virtual_cd_that_does_not_boot_is_named_in_the_bmcs_other_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.machine.deploy_boot.BOOT_S", 2.0)
    server = bench.servers["s1"]
    server.boots_cd = False
    machine = bench.take("s1")
    machine.goto("ready", bench.release())
    assert server.orders[:6] == ["insert", "boot cd", "power on", "power off", "boot cd", "power on"]
    assert machine.give_back() is None


@pytest.mark.parametrize("stop", range(len(XEN_BOOT) - 1))
def test_a_boot_that_falls_silent_is_told_with_power_state_and_silence(bench: Bench, stop: int) -> None:
    bench.servers["s1"].boot = list(XEN_BOOT[:stop])
    bench.servers["s1"].answers_ssh = False
    error, _ = failure_of(bench, boot=0, ready=0)
    assert (type(error), error.exit_code) == (errors.BootFailure, 43)
    assert "power is on, the console has been silent for" in error.message
    assert "not seen in time" in error.message


def test_a_system_that_boots_without_ssh_is_the_labs_fault_with_its_name(bench: Bench) -> None:
    bench.servers["s1"].answers_ssh = False
    error, _ = failure_of(bench, ready=0)
    assert (type(error), error.exit_code) == (errors.LabFault, 30)
    assert "SSH" in error.message


def test_a_system_that_is_not_xen_is_the_hypervisors_failure(bench: Bench) -> None:
    bench.servers["s1"].answers["cat /sys/hypervisor/type"] = ""
    error, _ = failure_of(bench)
    assert (type(error), error.exit_code) == (errors.HypervisorFailure, 50)
    assert "Xen does not run" in error.message


def test_a_real_ssh_client_that_waits_in_vain_is_called_off_with_the_panic(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The waiting connection must not hold up what the console has known for long."""
    monkeypatch.setattr("lab.machine.login.Ssh", Ssh)
    bench.servers["s1"].boot = [*XEN_BOOT[:6], "[  120.3] Kernel panic - not syncing: sysrq triggered crash"]
    error, took = failure_of(bench)
    assert (type(error), error.exit_code) == (errors.HypervisorFailure, 50)
    assert "panic" in str(error)
    assert took < 3.0


def test_a_boot_that_restarts_by_itself_is_a_boot_failure(bench: Bench) -> None:
    bench.servers["s1"].boot = [*XEN_BOOT[:6], "[   93.518123] reboot: Restarting system"]
    bench.servers["s1"].answers_ssh = False
    error, took = failure_of(bench)
    assert error.exit_code == 43
    assert "restarts by itself" in error.message
    assert took < 2.0


def test_a_deadline_is_not_what_ends_a_called_off_connection(bench: Bench) -> None:
    machine = bench.take()
    machine.goto("ready", bench.release())
    assert machine.installed is not None
    shell = Ssh("127.0.0.1", 9, machine.installed)
    shell.close()
    started = time.monotonic()
    with pytest.raises(errors.LabFault):
        shell.connect(Deadline.after(60, "nobody"))
    assert time.monotonic() - started < 1
    machine.give_back()


def test_media_that_the_bmc_lost_is_named_as_the_cause(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.machine.deploy_boot.BOOT_S", 0.3)
    server = bench.servers["s1"]
    server.boots_cd = False
    server.after = lambda order: setattr(server, "media_seen", None) if order == "power on" else None
    error, _ = failure_of(bench)
    assert type(error) is errors.LabFault
    assert "lost the install media" in error.message


def test_media_that_are_lost_while_the_deploy_ram_os_is_awaited_end_the_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.machine.deploy_boot._LOOK_EVERY_S", 0.2)
    server = bench.servers["s1"]
    server.boots_cd = False
    server.after = lambda order: setattr(server, "media_seen", None) if order == "power on" else None
    error, took = failure_of(bench)
    assert type(error) is errors.LabFault
    assert "lost the install media" in error.message
    assert took < 10


@pytest.mark.parametrize(("name", "medium"), [("s1", "install medium"), ("s2", "network")])
def test_a_boot_from_the_disk_in_place_of_the_deploy_ram_os_is_the_bmcs_fault(
    bench: Bench, name: str, medium: str
) -> None:
    server = bench.servers[name]
    server.installer = list(XEN_BOOT)
    server.did_not_boot = lambda device: False  # type: ignore[method-assign]
    error, took = failure_of(bench, name)
    assert type(error) is errors.LabFault
    assert f"booted from its disk, not from the {medium}" in error.message
    assert took < 10
