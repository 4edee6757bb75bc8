"""What our provider reads and sets beyond an install, against our virtual BMC with no server behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.bmc import bios_profile
from lab.bmc.api import LogMark, Outcome
from lab.bmc.capability import Area
from lab.bmc.redfish.provider import RedfishBmc
from lab.bmc.redfish.update import update_firmware
from lab.bmc.target import Account, Target, Unsupported
from lab.errors import BmcRefused
from tests.virtual.bare_bmc import PASSWORD, BareBmc, bare_bmc


@pytest.fixture
def served(tmp_path: Path) -> Iterator[BareBmc]:
    with bare_bmc(tmp_path, firmware="uefi") as running:
        yield running


@pytest.fixture
def bmc(served: BareBmc) -> Iterator[RedfishBmc]:
    account = Account("lab", lambda: PASSWORD)
    provider = RedfishBmc(Target("l1", served.url), account, "none")
    yield provider
    provider.close()


def test_what_it_is_made_of(bmc: RedfishBmc) -> None:
    seen = bmc.inventory()
    assert sorted(disk.serial for disk in seen.disks) == ["L1-NVME", "L1-SAS", "L1-SATA"]
    assert all(disk.size and disk.kind for disk in seen.disks)
    assert len(seen.macs) == 2
    assert seen.processors
    assert seen.memory
    assert seen.firmware["BIOS"]
    assert bmc.identity().firmware
    assert bmc.clock() is not None


def test_what_it_can(bmc: RedfishBmc) -> None:
    matrix = {one.area: one for one in bmc.capabilities()}
    # Its readings and its console are those of an IPMI face, and this one has none.
    assert [area for area in Area if matrix[area].can != "yes"] == [Area.CONSOLE, Area.SENSORS]
    for absent in (bmc.sensors, bmc.sol):
        with pytest.raises(Unsupported):
            absent()
    assert "MultipartHttpPushUri" in matrix[Area.UPDATE].allowed


def test_our_session_is_the_only_one_and_is_told(bmc: RedfishBmc) -> None:
    assert [(one.user, one.ours) for one in bmc.sessions()] == [("lab", True)]


def test_bios_settings_wait_and_a_profile_takes_them_back(bmc: RedfishBmc) -> None:
    assert bmc.set_bios({"ProcVirtualization": "Disabled"}).outcome is Outcome.PENDING
    assert bmc.bios().pending == {"ProcVirtualization": "Disabled"}
    plan, answer = bios_profile.apply(bmc, bios_profile.load("virtualization"))
    assert plan.changes == {"ProcVirtualization": "Enabled"}
    assert answer is not None
    assert (answer.outcome, bmc.bios().pending) == (Outcome.VERIFIED, {})
    with pytest.raises(BmcRefused, match="it may be Enabled, Disabled; nothing was sent"):
        bmc.set_bios({"ProcVirtualization": "On"})


def test_the_log_from_a_mark_on_in_pages_and_emptied(bmc: RedfishBmc) -> None:
    mark = LogMark(frozenset(bmc.event_log()))
    for _ in range(4):  # more than one page
        bmc.identify(on=True)
        bmc.identify(on=False)
    fresh = mark.new(bmc.event_log())
    assert len(fresh) == 8
    assert [entry.at for entry in fresh] == sorted(entry.at for entry in fresh if entry.at)
    assert bmc.clear_event_log().outcome is Outcome.VERIFIED
    assert len(bmc.event_log()) <= 1


def test_the_bmc_restarts_and_lets_us_in_again(bmc: RedfishBmc) -> None:
    answer = bmc.reset_bmc(deadline_s=30)
    assert (answer.outcome, answer.tries) == (Outcome.VERIFIED, 1)
    assert bmc.power() == "off"
    assert [one.ours for one in bmc.sessions()] == [True]


def test_firmware_is_pushed_and_its_version_shows(bmc: RedfishBmc, tmp_path: Path) -> None:
    image = tmp_path / "new.bin"
    image.write_text("lab-dummy-firmware 2.0\n")
    result = update_firmware(bmc, image, settle_s=2, deadline_s=60)
    assert result.outcome is Outcome.VERIFIED
    assert list(result.changed.values()) == [("1.0.0", "2.0")]
