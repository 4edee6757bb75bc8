"""Ctrl-C in a real run on the virtual rack, in each state: nothing stays locked, running or served.

Nightly: each case installs and boots a real hypervisor as far as its state.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lab import paths
from lab.machine import lease
from lab.rack.load import load_rack
from lab.virtual import control

pytestmark = pytest.mark.nightly

TARGET = ["--rack", "virtual", "--server", "uefi-1", "--hypervisor", "kvm-debian12"]
STATES = {
    "before power-on": "off → installer",
    "installer": "installer → off",
    "writing": "writing",
    "firmware": "off → firmware",
    "booting": "linux-banner",
    "ready": "ssh",
}


def progress(folder: Path) -> list[str]:
    files = folder.glob("parts/progress-*.jsonl")
    return [json.loads(line)["text"] for file in files for line in file.read_text().splitlines()]


def run_until(text: str, project: Path, deadline_s: float) -> tuple[int, Path]:
    """Run the test cases until `text` is reported, interrupt, and return exit code and run folder."""
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", "testcases", "--fresh", *TARGET],
        cwd=project,
        env=os.environ | {"LAB_PROJECT": str(project)},
        stdout=subprocess.DEVNULL,
    )
    end = time.monotonic() + deadline_s
    folder = project / "reports" / "run"
    try:
        while not (folder.exists() and any(line.startswith(text) for line in progress(folder))):
            assert run.poll() is None, "the run ended before it could be interrupted"
            assert time.monotonic() < end, f"{text} never came"
            time.sleep(0.2)
        run.send_signal(signal.SIGINT)
        return run.wait(180), folder.resolve()
    finally:
        run.kill()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project that keeps its runs to itself; what is built stays in the shared cache."""
    for name in ("inventory", "firmware", "fixtures", "testcases"):
        shutil.copytree(paths.project() / name, tmp_path / name)
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(paths.project() / name, tmp_path / name)
    (tmp_path / "reports").mkdir()
    return tmp_path


@pytest.mark.parametrize("state", list(STATES))
def test_interrupted_in_each_state_leaves_nothing_behind(state: str, project: Path) -> None:
    code, folder = run_until(STATES[state], project, 900)
    assert code == pytest.ExitCode.INTERRUPTED
    assert lease.leases() == []
    rack = load_rack("virtual")
    assert [status.power for status in control.status(rack)] == ["off", "off"]
    mine = [process.info for process in psutil.process_iter(["name", "cwd", "cmdline"]) if _is_ours(process)]
    assert mine == []
    assert (folder / "junit.xml").is_file()
    assert json.loads((folder / "run.json").read_text())["exit_status"] is not None
    log = (folder / "serial" / "uefi-1.log").read_text()
    assert log.rstrip().endswith("-- recording ends --")


def _is_ours(process: psutil.Process) -> bool:
    words = [process.info["cwd"] or "", *(process.info["cmdline"] or [])]
    return any(str(paths.state()) in word for word in words)
