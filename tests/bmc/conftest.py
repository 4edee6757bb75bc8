"""Real BMCs on loopback for the tests of `lab.bmc`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.bmc.ipmi.provider import IpmiBmc
from lab.bmc.sol import stream as sol_stream
from lab.bmc.target import Account, Target
from tests.bmc import ipmi_sim, scripted_redfish


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[ipmi_sim.Simulator]:
    """An ipmi_sim of its own."""
    with ipmi_sim.simulator(tmp_path / "sim") as running:
        yield running


@pytest.fixture
def ipmi(sim: ipmi_sim.Simulator) -> Iterator[IpmiBmc]:
    """The IPMI provider, logged in to `sim` when first used."""
    account = Account(ipmi_sim.USER, lambda: ipmi_sim.PASSWORD)
    bmc = IpmiBmc(Target("sim-1", sim.address), "127.0.0.1", sim.port, account)
    yield bmc
    bmc.close()


@pytest.fixture
def service() -> Iterator[scripted_redfish.Service]:
    """A Redfish service that plays what a test scripts, and counts what it is sent."""
    with scripted_redfish.service() as running:
        yield running


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Every log line of every library, at DEBUG."""
    caplog.set_level(logging.DEBUG)
    for name in ("redfish.rest.v1", "urllib3", "requests", "lab"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


@pytest.fixture
def sol_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOL consoles notice what is wrong five times sooner; for tests that are not about how long it takes."""
    hurry = (
        "from lab.bmc.sol import child, sender, session; "
        "sender.SILENT_S, sender.RESEND_S, session.ALIVE_EVERY_S = 0.6, 0.2, 0.3; "
        "raise SystemExit(child.main())"
    )
    monkeypatch.setattr(sol_stream, "_CHILD", ("-c", hurry))
