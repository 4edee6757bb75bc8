"""A BMC that goes away in the middle of a call is waited out; what was sent is never sent again."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.bmc import chain as bmc_chain
from lab.bmc.api import MediaSource, Outcome, PowerAction
from lab.bmc.chain import BmcChain
from lab.errors import LabFault
from tests.virtual.errant_bmc import errant_bmc, image_server

AWAY_S = 1.5


@pytest.mark.parametrize("way", ["before", "after"])
def test_an_order_that_meets_a_restart_is_settled_by_the_state_beyond_its_deadline(
    tmp_path: Path, way: str
) -> None:
    fault = {"fault": "bmc-reboot", "method": "POST", "path": "Reset", "way": way, "seconds": AWAY_S}
    with errant_bmc(tmp_path, None, fault) as bmc:
        chain = BmcChain("light", [bmc.provider()])
        if way == "after":
            answer = chain.set_power(PowerAction.ON, deadline_s=0.5)
            assert answer.outcome is Outcome.VERIFIED
            assert any("did not answer for" in line for line in answer.evidence)
        else:
            with pytest.raises(LabFault, match=r"power is off, not on: the BMC restarted .* order was lost"):
                _ordered_in_vain(chain)
        chain.close()
        assert bmc.face.status()["resets"] == (way == "after")
        assert bmc.face.sessions.status()["open"] == 0


def _ordered_in_vain(chain: BmcChain) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab.bmc.power._SETTLE_S", 0.5)
        chain.set_power(PowerAction.ON, deadline_s=0.5)


def test_a_read_waits_for_a_bmc_that_was_there_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bmc_chain, "_AWAY_EVERY_S", 0.2)
    with errant_bmc(tmp_path) as bmc:
        chain = BmcChain("light", [bmc.provider()])
        assert chain.power() == "off"
        bmc.add(fault="bmc-reboot", seconds=AWAY_S)
        assert chain.power() == "off"
        assert any("does not answer" in line for line in chain.journal[-1].evidence)
        chain.close()


def test_an_insert_whose_task_vanishes_is_settled_by_the_drive(tmp_path: Path) -> None:
    fault = {"fault": "task-vanishes", "after": 1}
    with image_server(tmp_path) as url, errant_bmc(tmp_path, "media-by-task", fault) as bmc:
        provider = bmc.provider()
        assert provider.insert_media(MediaSource(url)).outcome is Outcome.VERIFIED
        provider.close()
        assert bmc.played["task-vanishes"] == 1
