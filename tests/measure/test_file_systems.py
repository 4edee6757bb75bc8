"""File systems, partitions and swap: what is counted, and that each is counted once."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.hypervisors.contract import Host
from lab.measure import file_systems as fs
from tests.measure.measuring import evidence

PATHS = st.from_regex(r"/[a-z]{0,6}", fullmatch=True)
MOUNTS = st.builds(
    fs.FileSystem,
    target=PATHS,
    source=st.sampled_from(
        [
            "/dev/sda2",
            "/dev/sda2[/@home]",
            "/dev/nvme0n1p1",
            "/dev/mapper/pve-root",
            "/dev/loop0",
            "tmpfs",
            "nas:/x",
        ]
    ),
    kind=st.sampled_from(["ext4", "vfat", "btrfs", "iso9660", "squashfs", "fuse.sshfs"]),
    size=st.integers(0, 2**60),
    used=st.integers(0, 2**60),
)


@given(st.lists(MOUNTS, min_size=1), st.booleans())
def test_findmnt_round_trip(mounted: list[fs.FileSystem], as_text: bool) -> None:
    number = str if as_text else int
    rows = [
        {
            "target": m.target,
            "source": m.source,
            "fstype": m.kind,
            "size": number(m.size),
            "used": number(m.used),
        }
        for m in mounted
    ]
    assert fs.parse_findmnt(evidence(json.dumps({"filesystems": rows}))) == mounted


@given(st.lists(MOUNTS))
def test_each_device_counts_once_and_only_disks_count(mounted: list[fs.FileSystem]) -> None:
    counted = fs.needed(mounted)
    devices = [one.device for one in counted]
    assert len(devices) == len(set(devices))
    assert all(device.startswith("/dev/") and "loop" not in device for device in devices)
    assert all(one.kind in ("ext4", "vfat", "btrfs") for one in counted)
    for one in mounted:
        if one.kind in ("ext4", "vfat", "btrfs") and one.device.startswith(
            ("/dev/sda", "/dev/nvme", "/dev/mapper")
        ):
            assert one.device in devices


def test_zfs_datasets_of_one_pool_all_count() -> None:
    datasets = [fs.FileSystem(f"/{name}", f"rpool/{name}", "zfs", 100, 10) for name in ("ROOT", "var")]
    assert fs.needed(datasets) == datasets


def test_this_machine_as_the_kernel_counts_it(local_host: Host) -> None:
    """statvfs(2) is the judge."""
    mounted = fs.needed(fs.parse_findmnt(local_host.check(fs.FINDMNT)))
    if not any(one.target == "/" for one in mounted):
        pytest.skip("this machine's root is not a disk")
    for one in mounted:
        seen = os.statvfs(one.target)
        assert one.size == seen.f_blocks * seen.f_frsize
        assert one.used == pytest.approx((seen.f_blocks - seen.f_bfree) * seen.f_frsize, rel=0.02)


DISK = {
    "path": "/dev/sda",
    "type": "disk",
    "size": 64 * 2**30,
    "mountpoints": [None],
    "parttype": None,
    "children": [
        {
            "path": "/dev/sda1",
            "type": "part",
            "size": 2**20,
            "mountpoints": [None],
            "parttype": "21686148-6449",
        },
        {
            "path": "/dev/sda2",
            "type": "part",
            "size": 2**28,
            "mountpoints": [None],
            "parttype": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        },
        {
            "path": "/dev/sda3",
            "type": "part",
            "size": 6 * 2**30,
            "mountpoints": [None],
            "parttype": "e6d6d379",
            "children": [
                {
                    "path": "/dev/mapper/pve-root",
                    "type": "lvm",
                    "size": 5,
                    "mountpoints": ["/"],
                    "parttype": None,
                },
                {
                    "path": "/dev/mapper/pve-swap",
                    "type": "lvm",
                    "size": 1,
                    "mountpoints": ["[SWAP]"],
                    "parttype": None,
                },
            ],
        },
    ],
}
OTHER = DISK | {"path": "/dev/sdb", "children": [DISK["children"][1]]}  # type: ignore[index]


def test_only_the_disk_that_holds_the_system_is_allocated() -> None:
    devices = fs.parse_lsblk(evidence(json.dumps({"blockdevices": [DISK, OTHER]})))
    root = fs.FileSystem("/", "/dev/mapper/pve-root", "ext4", 5, 4)
    disks = fs.system_disks(devices, [root])
    assert [disk.path for disk in disks] == ["/dev/sda"]
    assert fs.allocated(disks[0]) == 2**20 + 2**28 + 6 * 2**30
    assert [hidden.path for hidden in fs.hidden_efi(disks)] == ["/dev/sda2"]


def test_a_mounted_efi_partition_is_not_hidden() -> None:
    mounted = DISK | {"children": [DISK["children"][1] | {"mountpoints": ["/boot/efi"]}]}  # type: ignore[index]
    devices = fs.parse_lsblk(evidence(json.dumps({"blockdevices": [mounted]})))
    assert fs.hidden_efi(devices) == []


def test_a_file_system_without_partitions_takes_the_whole_disk() -> None:
    device = fs.BlockDevice("/dev/vda", "disk", 1000, ("/",), "")
    assert fs.allocated(device) == 1000


def test_swap_names_are_unescaped() -> None:
    text = (
        "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
        "/swap\\040file   file\t\t524284\t\t0\t\t-2\n"
        "/dev/sda5 partition\t1\t0\t-3\n"
    )
    assert fs.parse_swaps(evidence(text)) == [
        fs.Swap("/swap file", "file"),
        fs.Swap("/dev/sda5", "partition"),
    ]


@given(st.dictionaries(st.from_regex(r"/[a-z ]{1,9}[a-z]", fullmatch=True), st.integers(0, 2**50)))
def test_sizes_by_path(sizes: dict[str, int]) -> None:
    text = "".join(f"{size} {path}\n" for path, size in sizes.items())
    assert fs.parse_sizes(evidence(text)) == sizes
    assert fs.parse_blocks(evidence(text)) == {path: size * 512 for path, size in sizes.items()}
