"""The IPMI provider against a server of pyghmi's, which ignores the offer of SHA-256 and keeps boot flags."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.bmc.api import BootDevice, Outcome, PowerAction
from lab.bmc.ipmi.provider import IpmiBmc
from lab.bmc.target import Account, Target
from tests.bmc.ipmi_sim import PASSWORD, USER, free_port


@pytest.fixture
def bmc() -> Iterator[IpmiBmc]:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.bmc.pyghmi_server", str(port)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"listening\n"
    provider = IpmiBmc(
        Target("py-1", f"127.0.0.1:{port}"), "127.0.0.1", port, Account(USER, lambda: PASSWORD)
    )
    try:
        yield provider
    finally:
        provider.close()
        server.kill()
        server.wait()
        server.stdout.close()


def test_a_bmc_that_answers_with_sha1_is_logged_into(bmc: IpmiBmc) -> None:
    assert bmc.power() == "off"
    assert bmc.set_power(PowerAction.ON).outcome is Outcome.VERIFIED


def test_boot_flags_that_read_back_are_verified(bmc: IpmiBmc) -> None:
    answer = bmc.boot_once(BootDevice.PXE, "bios")
    assert answer.outcome is Outcome.VERIFIED, answer.evidence
    assert bmc.boot_override() is BootDevice.PXE


def test_a_dropped_uefi_bit_is_not_called_verified(bmc: IpmiBmc) -> None:
    assert bmc.boot_once(BootDevice.CD, "uefi").outcome is Outcome.UNVERIFIABLE
    assert bmc.boot_override() is BootDevice.CD
