"""A power state that turns out other than it read is noticed within ten seconds of being readable."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lab.bmc.api import Outcome, PowerAction
from lab.bmc.ipmi.provider import IpmiBmc
from lab.bmc.target import Account, Target
from lab.errors import LabFault
from lab.virtual.ipmi.faults import IpmiFaults
from tests.virtual.responder import PASSWORD, USER, responder

NOTICED_S = 10.0
"""Issue 3's bound."""


def test_power_that_lags_is_noticed_when_it_shows(tmp_path: Path) -> None:
    lag = 2.0
    with responder(tmp_path, IpmiFaults(power_lag_s=lag)) as bmc:
        ours = IpmiBmc(Target("l1", bmc.address), "127.0.0.1", bmc.port, Account(USER, lambda: PASSWORD))
        started = time.monotonic()
        answer = ours.set_power(PowerAction.ON)
        took = time.monotonic() - started
        ours.close()
        assert (answer.outcome, bmc.board.power) == (Outcome.VERIFIED, "on")
        assert lag <= took <= lag + NOTICED_S
        assert bmc.board.acts == {PowerAction.ON: 1}


def test_power_that_never_comes_is_told_when_its_time_is_over(tmp_path: Path) -> None:
    with responder(tmp_path, IpmiFaults(power_lag_s=60.0)) as bmc:
        ours = IpmiBmc(Target("l1", bmc.address), "127.0.0.1", bmc.port, Account(USER, lambda: PASSWORD))
        started = time.monotonic()
        with pytest.raises(LabFault, match="power is off, not on"):
            ours.set_power(PowerAction.ON, deadline_s=1.0)
        assert time.monotonic() - started <= 1.0 + NOTICED_S
        ours.close()
