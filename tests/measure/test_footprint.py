"""Installed disk: the sum, what is subtracted, and that nothing is written onto the host."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from lab import measure
from lab.errors import HypervisorFailure
from lab.hypervisors.contract import Host
from tests.measure.measuring import RecordedShell, recorded

PACKAGES = {"base": ("openssh-server",), "hypervisor": ("xen-system-amd64",)}


def answers(**changed: str) -> dict[str, str]:
    """A host with root, a separate /boot, a hidden ESP, a swap file and a crash dump."""
    mounts = [
        ("/", "/dev/sda3", "ext4", 1000, 700),
        ("/boot", "/dev/sda4", "ext4", 200, 60),
        ("/mnt", "/dev/sda3[/mnt]", "ext4", 1000, 700),
    ]
    parts = [
        ("sda1", 50, None, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
        ("sda3", 1100, "/", "x"),
        ("sda4", 210, "/boot", "x"),
    ]
    disk: dict[str, Any] = {
        "path": "/dev/sda",
        "type": "disk",
        "size": 9999,
        "mountpoints": [None],
        "parttype": None,
    }
    disk["children"] = [
        {"path": f"/dev/{name}", "type": "part", "size": size, "mountpoints": [point], "parttype": kind}
        for name, size, point, kind in parts
    ]
    keys = ("target", "source", "fstype", "size", "used")
    known = {
        "findmnt": json.dumps({"filesystems": [dict(zip(keys, mount, strict=True)) for mount in mounts]}),
        "lsblk": json.dumps({"blockdevices": [disk]}),
        "sh -c": "   Used\n     7\n",
        "cat /proc/swaps": "Filename Type Size Used Priority\n/swap file 1 0 -2\n",
        "stat -c": "1 /swap\n",
        "find /var/crash": "0 /var/crash/empty\n",
        "dpkg-query": "a\t1\t3\tinstalled\t\t, \n",
        "find /boot": "8 /boot/vmlinuz-6.1\n30 /boot/initrd.img-6.1\n2 /boot/xen-4.17-amd64.gz\n",
    }
    return known | changed


def test_the_sum(recorded_host: Callable[..., Host]) -> None:
    host = recorded_host(answers())
    footprint = measure.footprint(host)
    assert footprint.value("swap-and-dumps") == 512
    assert footprint.value("installed-disk") == 700 + 60 + 7 - 512
    assert footprint.value("allocated-partitions") == 50 + 1100 + 210
    assert footprint.value("boot-image-bytes") == 40
    assert footprint.value("package-bytes") == 3 * 1024
    asked = cast(RecordedShell, host.shell).asked
    assert [one.command for one in footprint.evidence] == asked
    assert "-o ro" in next(command for command in asked if command.startswith("sh -c"))


def test_every_number_says_how_it_was_taken(recorded_host: Callable[..., Host]) -> None:
    for one in measure.footprint(recorded_host(answers(), PACKAGES)).measurements:
        assert (one.server, one.release, one.origin, one.area) == ("s-1", "r-1", "emulated", "footprint")
        assert one.samples == (one.value,)
        assert one.spread == 0
        assert one.method
        assert one.command


@pytest.mark.parametrize(
    "command", [name for name in answers() if name not in ("find /var/crash", "stat -c")]
)
def test_a_command_that_prints_nothing_is_a_failure(recorded_host: Callable[..., Host], command: str) -> None:
    with pytest.raises(HypervisorFailure) as caught:
        measure.footprint(recorded_host(answers(**{command: ""})))
    assert caught.value.server == "s-1"
    assert caught.value.release == "r-1"


def test_a_system_that_runs_from_memory_has_no_footprint(recorded_host: Callable[..., Host]) -> None:
    row = {"target": "/", "source": "tmpfs", "fstype": "tmpfs", "size": 5, "used": 4}
    with pytest.raises(HypervisorFailure, match="no disk is found"):
        measure.footprint(recorded_host(answers(findmnt=json.dumps({"filesystems": [row]}))))


def test_recorded_from_a_real_host(recorded_host: Callable[..., Host]) -> None:
    """Debian 12 with Xen in a QEMU server: root directly on /dev/sda; the judge is dumpe2fs of that disk."""
    host = recorded_host(
        {
            "findmnt": recorded("findmnt.json"),
            "lsblk": recorded("lsblk.json"),
            "cat /proc/swaps": recorded("swaps.txt"),
            "find /var/crash": "",
            "dpkg-query": recorded("dpkg-query.txt"),
            "find /boot": recorded("boot-images.txt"),
        },
        PACKAGES,
    )
    footprint = measure.footprint(host)
    judge = dict(line.split(": ") for line in recorded("dumpe2fs.txt").splitlines())
    blocks = int(judge["Block count"]) - int(judge["Overhead clusters"]) - int(judge["Free blocks"])
    assert footprint.value("installed-disk") == pytest.approx(blocks * int(judge["Block size"]), rel=0.001)
    assert footprint.value("package-bytes-hypervisor") > 30 * 2**20
