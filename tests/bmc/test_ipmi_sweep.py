"""The sweep against real ipmi_sims: right states, one bad BMC spoils no other, nothing is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pyghmi.ipmi.private.session import Session

from lab.bmc.ipmi.sweep import Peer, Sweep
from lab.bmc.target import Account, Target
from lab.errors import BmcCredentials, BmcUnreachable
from tests.bmc import ipmi_sim
from tests.bmc.ipmi_sim import Simulator


@pytest.fixture
def sims(tmp_path: Path) -> Iterator[list[Simulator]]:
    """Three BMCs."""
    with ExitStack() as running:
        yield [running.enter_context(ipmi_sim.simulator(tmp_path / f"sim-{n}")) for n in range(3)]


def peer(name: str, port: int, password: str = ipmi_sim.PASSWORD) -> Peer:
    account = Account(ipmi_sim.USER, lambda: password)
    return Peer(Target(name, f"127.0.0.1:{port}"), "127.0.0.1", port, account)


def test_every_state_is_right_and_follows(sims: list[Simulator]) -> None:
    sweep = Sweep([peer(f"s{n}", sim.port) for n, sim in enumerate(sims)])
    sims[1].set_power(True)
    assert sweep.power() == {"s0": "off", "s1": "on", "s2": "off"}
    sims[1].set_power(False)
    sims[2].set_power(True)
    assert sweep.power() == {"s0": "off", "s1": "off", "s2": "on"}
    assert sweep.open == 3
    sweep.close()
    assert sweep.open == 0


def test_a_wrong_password_and_a_dead_bmc_spoil_no_other(sims: list[Simulator]) -> None:
    sims[2].stop()
    good, wrong, dead = (sim.port for sim in sims)
    sweep = Sweep([peer("good", good), peer("wrong", wrong, "nope"), peer("dead", dead)])
    states = sweep.power()
    assert states["good"] == "off"
    assert isinstance(states["wrong"], BmcCredentials)
    assert isinstance(states["dead"], BmcUnreachable)
    assert states["dead"].server == "dead"
    sweep.close()


def test_a_bmc_that_restarted_is_logged_into_again(sims: list[Simulator]) -> None:
    sweep = Sweep([peer(f"s{n}", sim.port) for n, sim in enumerate(sims)])
    sweep.power()
    sims[0].stop()
    sims[0].set_power(True)
    sims[0].start()
    assert sweep.power() == {"s0": "on", "s1": "off", "s2": "off"}
    sweep.close()


def test_nothing_of_a_closed_sweep_is_left_in_pyghmi(sims: list[Simulator]) -> None:
    sweep = Sweep([peer(f"s{n}", sim.port) for n, sim in enumerate(sims)])
    sweep.power()
    sweep.close()
    ports = {sim.port for sim in sims}
    left = [key for key, owners in Session.bmc_handlers.items() if key[1] in ports and owners]
    assert left == []
    assert not [session for session in Session.keepalive_sessions if session.port in ports]
