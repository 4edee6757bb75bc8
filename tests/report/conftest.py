"""Sample runs, and the real Allure results of a tiny test session."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.report.rundir import RunFolder
from tests.report.sample_run import write_sample

TINY = """
import pytest
from lab.errors import BmcUnreachable
from lab.report import attach
from lab.secret import conceal

@pytest.fixture(scope="session", autouse=True)
def lease():
    yield
    attach.attach_text("given back", "clean")

def test_good():
    attach.about("sample-uefi", "xen-4.17-debian12")
    with attach.step("off -> booting"):
        attach.attach_json("boot", {"seconds": 1})
        attach.attach_text("console", "password is " + conceal("hunter2-secret"))

def test_bmc():
    attach.about("sample-bios", "kvm-debian12")
    raise BmcUnreachable("nothing answers", next_step="look at the cable", server="sample-bios")

def test_skipped():
    pytest.skip("LabFault: sample-bios broke before")

def test_wrong():
    assert 1 == 2
"""


@pytest.fixture
def sample(tmp_path: Path) -> RunFolder:
    """A finished run in its own reports folder."""
    return write_sample(tmp_path / "reports")


@pytest.fixture(scope="session")
def tested(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run with the Allure results of a session that really ran."""
    run = write_sample(tmp_path_factory.mktemp("reports"))
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "test_tiny.py").write_text(TINY)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull),
            *("--rootdir", str(folder), "--alluredir", str(run.allure_results), str(folder)),
        ],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return run
