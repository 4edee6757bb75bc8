"""PCI devices, disks and the bill."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import measure
from lab.bmc.bill import Inventory
from lab.errors import HypervisorFailure
from lab.hypervisors.contract import Host
from lab.measure.disks import parse_disks
from lab.measure.pci_devices import PciDevice, parse_lspci
from tests.measure.measuring import evidence, recorded

WORDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 ()/,.-]{0,20}[A-Za-z0-9]|", fullmatch=True)
IDS = st.from_regex(r"[0-9a-f]{4}", fullmatch=True)
DRIVERS = st.from_regex(r"[a-z][a-z0-9_-]{0,12}", fullmatch=True)
DEVICES = st.builds(
    PciDevice,
    slot=st.from_regex(r"[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", fullmatch=True),
    class_name=WORDS,
    class_code=IDS,
    vendor=WORDS,
    vendor_id=IDS,
    device=WORDS,
    device_id=IDS,
    revision=st.sampled_from(["", "02", "b0"]),
    driver=st.just("") | DRIVERS,
    modules=st.lists(DRIVERS, max_size=3).map(tuple),
)


def as_lspci(device: PciDevice) -> str:
    lines = [
        f"Slot:\t{device.slot}",
        f"Class:\t{device.class_name} [{device.class_code}]".replace("\t [", "\t["),
        f"Vendor:\t{device.vendor} [{device.vendor_id}]".replace("\t [", "\t["),
        f"Device:\t{device.device} [{device.device_id}]".replace("\t [", "\t["),
    ]
    lines += [f"Rev:\t{device.revision}"] if device.revision else []
    lines += [f"Driver:\t{device.driver}"] if device.driver else []
    lines += [f"Module:\t{module}" for module in device.modules]
    return "\n".join([*lines, "NUMANode:\t0", "IOMMUGroup:\t3"]) + "\n"


@given(st.lists(DEVICES, min_size=1))
def test_lspci_round_trip(devices: list[PciDevice]) -> None:
    assert list(parse_lspci(evidence("\n".join(as_lspci(device) for device in devices)))) == devices


def test_a_record_cut_off_in_the_middle_is_a_failure() -> None:
    with pytest.raises(HypervisorFailure, match="Device is missing"):
        parse_lspci(evidence("Slot:\t0000:00:00.0\nClass:\tHost bridge [0600]\nVendor:\tIntel [8086]\n"))


def test_recorded_host(recorded_host: Callable[..., Host]) -> None:
    found, measured = measure.devices(recorded_host({"lspci": recorded("lspci.txt")}))
    drivers = {device.driver for device in found}
    assert {"ahci", "virtio-pci"} <= drivers
    assert measured.value("pci-devices") == len(found) == recorded("lspci.txt").count("Slot:")
    assert measured.value("pci-devices-driven") == recorded("lspci.txt").count("Driver:")


def test_an_undriven_device_is_counted_only_where_a_module_claims_it(
    recorded_host: Callable[..., Host],
) -> None:
    bare = PciDevice("0000:00:00.0", "Host bridge", "0600", "Intel", "8086", "x", "29c0")
    unbound = PciDevice("0000:00:02.0", "Ethernet", "0200", "Intel", "8086", "y", "10d3", modules=("e1000e",))
    text = "\n".join(as_lspci(device) for device in (bare, unbound))
    _, measured = measure.devices(recorded_host({"lspci": text}))
    assert measured.value("pci-devices-undriven") == 1


def test_bill(recorded_host: Callable[..., Host]) -> None:
    host = recorded_host(
        {
            "sh -c": "/sys/class/dmi/id/sys_vendor: QEMU\n/sys/class/dmi/id/bios_version: 1.16: x\n"
            "/sys/class/nvme/nvme0/firmware_rev: 7.2.0\nmode: uefi\nkernel: 6.1.0-50-amd64\n",
            "lspci": recorded("lspci.txt"),
            "for d in": "ahci=3.0\nvirtio-pci=1\n",
        }
    )
    bill, raw = measure.bill(host, Inventory(vendor="Dell", firmware={"bmc": "7.10"}))
    assert (bill.server, bill.vendor, bill.firmware_mode) == ("s-1", "Dell", "uefi")
    assert bill.firmware == {"bmc": "7.10", "bios_version": "1.16: x", "nvme0 firmware_rev": "7.2.0"}
    assert bill.drivers["ahci"] == "3.0"
    assert bill.drivers["lpc_ich"] == "kernel 6.1.0-50-amd64"
    assert len(raw) == 3


def test_disks_are_those_that_hold_data() -> None:
    rows = [
        {
            "path": "/dev/sda",
            "type": "disk",
            "size": 10,
            "serial": " A1 ",
            "wwn": None,
            "model": "M",
            "tran": "sata",
        },
        {
            "path": "/dev/sr0",
            "type": "rom",
            "size": 10,
            "serial": "CD",
            "wwn": None,
            "model": "M",
            "tran": "sata",
        },
        {
            "path": "/dev/zram0",
            "type": "disk",
            "size": 0,
            "serial": None,
            "wwn": None,
            "model": None,
            "tran": None,
        },
    ]
    (disk,) = parse_disks(evidence(json.dumps({"blockdevices": rows})))
    assert (disk.serial, disk.wwn, disk.size) == ("A1", "", 10)
