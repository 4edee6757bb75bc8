"""What the plugin does before any server is touched: plans, refusals, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import paths
from lab.machine import lease

XEN = "xen-4.17-debian12"


def run_pytest(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "testcases", "-p", "no:cacheprovider", *arguments],
        cwd=paths.project(),
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def runs() -> set[str]:
    folder = paths.reports() / "runs"
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def test_plan_prints_and_touches_nothing(own_state: Path) -> None:
    before = runs()
    done = run_pytest("--plan", "--pair", "--hypervisor", XEN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "erases disk VR-UEFI1-NVME" in done.stdout
    assert "never written: VR-UEFI1-SATA" in done.stdout
    assert runs() == before
    assert lease.leases() == []
    assert not (own_state / "hypervisor-lab" / "racks").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--rack", "nowhere"], 11, "no rack 'nowhere'"),
        (["--hypervisor", "xen-9"], 11, "no release 'xen-9'"),
        (["--server", "uefi-9"], 11, "no server 'uefi-9'"),
        (["--rack", "example-rack"], 10, "nothing happens to them unless both are named"),
        (
            ["--rack", "example-rack", "--hypervisor", XEN],
            10,
            "nothing happens to them unless both are named",
        ),
        (["--pair", "--server", "uefi-1"], 10, "--pair needs a fitting server"),
    ],
)
@pytest.mark.parametrize("parallel", [[], ["-n", "auto"]], ids=["one process", "xdist"])
def test_wrong_options_end_with_one_message_and_their_exit_code(
    arguments: list[str], code: int, says: str, parallel: list[str]
) -> None:
    before = runs()
    done = run_pytest("--plan", *arguments, *parallel)
    assert done.returncode == code, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert said.count(says) == 1
    assert "next:" in said
    assert "Traceback" not in said
    assert runs() == before


def test_collecting_shows_every_target_grouped_by_server() -> None:
    done = run_pytest("--collect-only", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    targets = [
        line.split("[")[1].split("-xen")[0].split("-kvm")[0]
        for line in done.stdout.splitlines()
        if "[" in line
    ]
    assert targets == sorted(targets, key=["uefi-1", "bios-1"].index)
    assert len([line for line in done.stdout.splitlines() if f"[uefi-1-{XEN}" in line]) >= 12


def test_the_plugin_leaves_other_test_runs_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_ordinary(): pass")
    result = pytester.runpytest_subprocess("-q")
    result.assert_outcomes(passed=1)
    assert "lab" not in result.stdout.str()
