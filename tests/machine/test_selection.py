"""Which server gets which release, and when nothing may happen at all."""

from __future__ import annotations

import shutil

import pytest

from lab.errors import ConfigError, MissingMedia, NoErasableDisk, UnknownName
from lab.rack.load import load_rack
from lab.rack.model import Rack
from lab.release import Release, hypervisor_names, load_release
from lab.selection import plan_text, select

XEN, KVM = "xen-4.17-debian12", "kvm-debian12"


@pytest.fixture
def virtual() -> Rack:
    return load_rack("virtual")


@pytest.fixture
def real() -> Rack:
    return load_rack("example-rack")


def ids(rack: Rack, hypervisors: list[str], servers: list[str], pair: bool = False) -> list[str]:
    return [target.id for target in select(rack, hypervisors, servers, pair=pair)]


def test_virtual_rack_runs_every_release_on_every_server(virtual: Rack) -> None:
    expected = [f"{server.name}-{release}" for server in virtual.servers for release in hypervisor_names()]
    assert ids(virtual, [], []) == expected


def test_pair_spreads_releases_in_the_order_given(virtual: Rack) -> None:
    assert ids(virtual, [XEN, KVM], [], pair=True) == [f"uefi-1-{XEN}", f"bios-1-{KVM}"]
    assert ids(virtual, [KVM, XEN], [], pair=True) == [f"uefi-1-{KVM}", f"bios-1-{XEN}"]


def test_pair_with_too_few_servers_is_refused(virtual: Rack) -> None:
    with pytest.raises(ConfigError, match="--pair"):
        ids(virtual, [XEN, KVM], ["uefi-1"], pair=True)


@pytest.mark.parametrize(("hypervisors", "servers"), [([], []), ([XEN], []), ([], ["all"])])
def test_real_servers_are_left_alone_unless_both_are_named(
    real: Rack, hypervisors: list[str], servers: list[str]
) -> None:
    with pytest.raises(ConfigError, match="nothing happens"):
        ids(real, hypervisors, servers)


def test_real_servers_all_at_once_need_the_word(real: Rack) -> None:
    named = {target.server.name for target in select(real, [XEN], ["all"], pair=False)}
    assert named == {server.name for server in real.servers}


def test_unknown_names_are_refused(virtual: Rack) -> None:
    with pytest.raises(UnknownName, match="xen-9"):
        ids(virtual, ["xen-9"], [])
    with pytest.raises(UnknownName, match="uefi-9"):
        ids(virtual, [XEN], ["uefi-9"])


def test_a_server_without_an_erasable_disk_is_refused(virtual: Rack) -> None:
    server = virtual.servers[0]
    safe = server.model_copy(
        update={"disks": tuple(disk.model_copy(update={"erase": False}) for disk in server.disks)}
    )
    rack = virtual.model_copy(update={"servers": (safe,)})
    with pytest.raises(NoErasableDisk) as error:
        select(rack, [XEN], [], pair=False)
    assert error.value.server == "uefi-1"
    assert "erase: true" in str(error.value)


def test_release_that_does_not_fit_the_firmware_is_skipped_with_the_reason(
    virtual: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def uefi_only(name: str) -> Release:
        return load_release(name).model_copy(update={"firmware": ("uefi",)})

    monkeypatch.setattr("lab.selection.load_release", uefi_only)
    skips = {target.server.name: target.skip for target in select(virtual, [XEN], [], pair=False)}
    assert skips["uefi-1"] is None
    assert "bios" in str(skips["bios-1"])


def test_missing_media_is_an_error_when_named_and_a_skip_when_not(
    virtual: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert all("mmdebstrap" in str(target.skip) for target in select(virtual, [], [], pair=False))
    with pytest.raises(MissingMedia) as error:
        ids(virtual, [XEN], [])
    assert error.value.exit_code == 20


def test_plan_names_disks_erased_and_kept_and_power_ons(virtual: Rack) -> None:
    text = plan_text(virtual, select(virtual, [XEN, KVM], [], pair=True))
    assert "Nothing has been touched" in text
    assert "erases disk VR-UEFI1-NVME" in text
    assert "never written: VR-UEFI1-SATA" in text
    assert "powered on at most 2 times" in text
