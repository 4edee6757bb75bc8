"""Whole runs on scripted servers: xdist, first causes, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.machine import bench
from tests.machine.scripted import DEPLOY
from tests.plugin.whole_run import XEN, Ended, Project, leases_left

TESTS = """
from lab.machine.machine import Machine
from lab.selection import Target

def test_ready(machine: Machine, target: Target) -> None:
    machine.goto("ready", target.release)
    assert machine.host().run("cat /sys/hypervisor/type").output == "xen\\n"

def test_ready_again(machine: Machine, target: Target) -> None:
    machine.goto("ready", target.release)
    assert machine.server is target.server

def test_looks_only(machine: Machine) -> None:
    assert machine.bmc.power() in ("on", "off")
"""
NOT_FOUND = [*DEPLOY[:3], "lab-deploy: refused: no disk with serial D1"]
TWICE = [*DEPLOY[:3], "lab-deploy: refused: 2 disks with serial D1"]
WRONG_DIGEST = [*DEPLOY[:5], "lab-deploy: failed: digest: the image arrived as 0123, not abab"]
NO_BOOT = ["Booting from Hard Disk...", "Boot failed: not a bootable disk"]
ALONE = pytest.param((), id="one process")
XDIST = pytest.param(("-n", "auto"), id="xdist")


def arguments(project: Project) -> list[str]:
    project.tests(TESTS)
    rack = project.rack(bench.RACK)
    return ["-p", "tests.plugin.scripted_rack", "--rack", str(rack), "--hypervisor", XEN]


def run(project: Project, *more: str, servers: str = "all", **script: dict[str, object]) -> Ended:
    return project.run(
        *arguments(project),
        "--server",
        servers,
        *more,
        SCRIPTED=str(project.folder),
        SCRIPT=json.dumps(script),
    )


def test_with_xdist_each_server_belongs_to_one_worker(project: Project) -> None:
    ended = run(project, "-n", "auto")
    assert ended.code == 0, ended.said
    assert [outcome for _, outcome, _ in ended.cases] == ["passed"] * 6
    told = {part: set(servers) for part, servers in ended.progress.items() if part.startswith("gw")}
    assert sorted(map(sorted, told.values())) == [["s1"], ["s2"]]
    for server in ("s1", "s2"):
        log = (ended.runs[-1] / "serial" / f"{server}.log").read_text()
        assert log.count("recording begins") == 1
        assert log.count("lab-deploy: booted") == 1  # installed once, although two tests asked
    assert leases_left() == []
    assert "given back clean" in ended.said
    results = list((ended.runs[-1] / "allure-results").glob("*-result.json"))
    assert len(results) == len(ended.cases)


@pytest.mark.parametrize("parallel", [pytest.param((), id="one process", marks=pytest.mark.nightly), XDIST])
def test_a_broken_server_does_not_stop_the_other(project: Project, parallel: tuple[str, ...]) -> None:
    ended = run(project, *parallel, s1={"boot": NO_BOOT})
    assert ended.code == 43, ended.said
    cases = {name: (outcome, message) for name, outcome, message in ended.cases}
    assert {name: outcome for name, (outcome, _) in cases.items()} == {
        f"test_ready[s1-{XEN}]": "failure",
        f"test_ready_again[s1-{XEN}]": "skipped",
        f"test_looks_only[s1-{XEN}]": "skipped",
        f"test_ready[s2-{XEN}]": "passed",
        f"test_ready_again[s2-{XEN}]": "passed",
        f"test_looks_only[s2-{XEN}]": "passed",
    }
    _, message = cases[f"test_ready[s1-{XEN}]"]
    assert f"BootFailure: s1 {XEN}: " in message
    assert "not a bootable disk" in message
    assert ended.said.count("next: check that this is the disk the lab installed on") == 1
    assert leases_left() == []


@pytest.mark.parametrize(
    ("installer", "code", "kind", "says"),
    [
        pytest.param(NOT_FOUND, 41, "DiskNotFound", "no disk with serial D1", id="disk not found"),
        # What tells these apart is tried in tests/machine; a whole run of each takes seconds.
        pytest.param(
            TWICE, 42, "DiskAmbiguous", "2 disks with serial D1", id="found twice", marks=pytest.mark.nightly
        ),
        pytest.param(
            WRONG_DIGEST, 40, "InstallFailure", "digest", id="checksum wrong", marks=pytest.mark.nightly
        ),
    ],
)
def test_what_the_deploy_ram_os_refuses_reaches_report_and_exit_code(
    project: Project, installer: list[str], code: int, kind: str, says: str
) -> None:
    ended = run(project, servers="s1", s1={"installer": installer})
    assert ended.code == code, ended.said
    (_, first, message), *others = ended.cases
    assert first == "failure"
    assert f"{kind}: s1 {XEN}" in message
    assert says in message
    assert "next: " in message
    assert [outcome for _, outcome, _ in others] == ["skipped", "skipped"]
    assert leases_left() == []


@pytest.mark.parametrize(
    "parallel", [ALONE, pytest.param(("-n", "auto"), id="xdist", marks=pytest.mark.nightly)]
)
def test_ctrl_c_gives_the_server_back_and_the_next_run_says_what_it_found(
    project: Project, parallel: tuple[str, ...]
) -> None:
    script = {"s1": {"installer": list(DEPLOY[:5])}}  # begins to write, then silence
    environment = {"SCRIPTED": str(project.folder), "SCRIPT": json.dumps(script)}
    named = [*arguments(project), "--server", "s1", *parallel]
    process = project.start(*named, **environment)
    try:
        await_line(project.folder, "s1.log", "writing 0%")
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    finally:
        end(process)
    assert process.returncode == 2, said
    assert leases_left() == []
    (log,) = project.folder.glob("reports/runs/*/serial/s1.log")
    assert "power: off" in log.read_text()
    assert "recording ends" in log.read_text()
    following = project.run(*named, SCRIPTED=str(project.folder))
    assert following.code == 0, following.said
    assert "disk D1 is half written" in following.said


def await_line(folder: Path, name: str, text: str) -> None:
    """Wait until a serial log of the run has this text."""
    limit = time.monotonic() + 40
    while not any(text in file.read_text() for file in folder.glob(f"reports/runs/*/serial/{name}")):
        assert time.monotonic() < limit
        time.sleep(0.05)


def end(process: subprocess.Popen[str]) -> None:
    """End what is left of a run's process group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
