"""Our Redfish provider against each vendor profile of the virtual BMC: what an install asks for, in order.

Whether the server really booted from the virtual CD, how often it was reset and which sessions are open is
asked of what is behind the BMC, never of our client.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.bmc import power
from lab.bmc.api import BootDevice, MediaSource, Outcome, PowerAction
from lab.bmc.redfish.provider import RedfishBmc
from lab.bmc.target import Account, Target, Unsupported
from lab.errors import LabFault
from lab.virtual import profiles
from tests.bmc.hurried import hurried
from tests.bmc.test_profiles_met import AVOIDED, PROVOKED
from tests.virtual.errant_bmc import PASSWORD, USER, ErrantServer, errant_bmc, image_server

NO_MEDIA = "irmc-s4"
NO_OVERRIDE = "ibm-no-override"
NO_MOUNT = "idrac9-ehtml5-plugin"
INSTALLABLE = sorted(set(profiles.load()) - {NO_MEDIA, NO_OVERRIDE, NO_MOUNT})
# One quirk is known by its profile's name where several profiles play it.
TOLD = {
    "Q18": "Q18",
    "Q1": "Q1",
    "Q3": "Q3",
    "Q9": "Q9",
    "Q16": "Q16",
    "Q17": "Q17",
    "Q22": "Q22",
    "Q24": "Q24",
}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with image_server(tmp_path) as address:
        yield address


def provider(server: ErrantServer) -> RedfishBmc:
    return RedfishBmc(
        Target("light", server.url), Account(USER, lambda: PASSWORD), "none", catalogue=hurried()
    )


def boot_from_cd(bmc: RedfishBmc, server: ErrantServer) -> int:
    """Name the virtual CD and power on until it is what booted; how often it took."""
    for turn in (1, 2, 3):
        bmc.boot_once(BootDevice.CD, "uefi")
        bmc.set_power(PowerAction.ON)
        if server.chassis.boots[-1] is BootDevice.CD:
            return turn
        assert bmc.did_not_boot(BootDevice.CD), "there is no other way to name it"
        bmc.set_power(PowerAction.OFF)
    raise AssertionError("it never booted from the virtual CD")


def also_met(profile: str) -> object:
    """The profile; by night alone where `test_profiles_met` installs under it too, and asks for more."""
    marks = [pytest.mark.nightly] if profile in PROVOKED or profile in AVOIDED else []
    return pytest.param(profile, marks=marks)


@pytest.mark.parametrize("profile", [also_met(profile) for profile in INSTALLABLE])
def test_an_install_goes_through(profile: str, tmp_path: Path, url: str) -> None:
    with errant_bmc(tmp_path, profile) as server:
        bmc = provider(server)
        try:
            inserted = bmc.insert_media(MediaSource(url))
            assert inserted.outcome is Outcome.VERIFIED
            assert bmc.media() == url
            assert boot_from_cd(bmc, server) == 1
            assert power.switch_off(bmc, 0.6).outcome is Outcome.VERIFIED
            bmc.eject_media()
            assert server.chassis.media is None
            bmc.boot_once(BootDevice.DISK, "uefi")
            bmc.set_power(PowerAction.ON)
            assert server.chassis.boots == [BootDevice.CD, BootDevice.DISK]
            before = server.chassis.acts[PowerAction.RESET]
            bmc.set_power(PowerAction.RESET)
            assert server.chassis.acts[PowerAction.RESET] == before + 1
            bmc.boot_once(BootDevice.NONE, "uefi")
            wanted = {TOLD[quirk] for quirk in profiles.quirks_of(profile) if quirk in TOLD}
            assert wanted <= set(bmc.quirks().ids)
        finally:
            bmc.close()
        assert server.face.sessions.all() == []


def test_a_bmc_without_virtual_media_says_so_before_anything_is_sent(tmp_path: Path, url: str) -> None:
    with errant_bmc(tmp_path, NO_MEDIA) as server:
        bmc = provider(server)
        with pytest.raises(Unsupported, match="no virtual CD drive"):
            bmc.insert_media(MediaSource(url))
        bmc.close()


def test_a_bmc_without_an_override_says_so(tmp_path: Path) -> None:
    with errant_bmc(tmp_path, NO_OVERRIDE) as server:
        bmc = provider(server)
        with pytest.raises(Unsupported, match="no boot override"):
            bmc.boot_once(BootDevice.CD, "uefi")
        assert server.played == {}
        bmc.close()


def test_what_software_cannot_mend_ends_with_its_advice(tmp_path: Path, url: str) -> None:
    with errant_bmc(tmp_path, NO_MOUNT) as server:
        bmc = provider(server)
        with pytest.raises(LabFault) as fault:
            bmc.insert_media(MediaSource(url))
        assert "remote share" in fault.value.message
        assert "HTML5" in fault.value.next_step
        bmc.close()
        assert server.face.sessions.all() == []


def test_a_lasting_override_is_refused_where_there_is_none(tmp_path: Path) -> None:
    with errant_bmc(tmp_path, "xcc-patch-media") as server:
        bmc = provider(server)
        with pytest.raises(Unsupported, match="boot always"):
            bmc.boot_always(BootDevice.DISK, "uefi")
        bmc.close()
