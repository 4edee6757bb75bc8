"""Installed disk: what the hypervisor and its management OS occupy. Definition: design.md.

The issue's table this repeats: "installing each product and measuring disk space consumed, less memory
swap files" (VMware, 2008).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab.errors import HypervisorFailure
from lab.measure import file_systems as fs
from lab.measure.model import Measured
from lab.measure.packages import DPKG_QUERY, group_sizes, parse_packages
from lab.measure.taking import Taking

if TYPE_CHECKING:
    from lab.hypervisors.contract import Host

_DUMPS = "find /var/crash /var/lib/systemd/coredump -xdev -type f -printf '%b %p\\n' 2>/dev/null; true"
_BOOT_IMAGES = (
    "find /boot -xdev -maxdepth 1 -type f "
    r"\( -name 'vmlinuz-*' -o -name 'initrd.img-*' -o -name 'xen-*.gz' \) -printf '%s %p\n'"
)
# A look into the ESP must not leave traces: read-only, on a memory file system, and modules that the mount
# loaded are unloaded again, or the attack surface measured afterwards would count them.
_LOOK_INTO = """sh -c '
set -e
before=$(cut -d" " -f1 /proc/modules)
place=$(mktemp -d /run/lab-efi.XXXXXX)
clean() {{
  umount "$place" 2>/dev/null || true
  rmdir "$place"
  cut -d" " -f1 /proc/modules | grep -vxF -e "$before" | while read -r new; do
    rmmod "$new" 2>/dev/null || true
  done
}}
trap clean EXIT
mount -o ro {device} "$place"
df -B1 --output=used "$place"
'"""


def footprint(host: Host) -> Measured:
    """Installed disk, and beside it allocated partitions, package bytes and boot-image bytes.

    Take it before any test tool is copied onto the host. Metrics: `installed-disk`, `allocated-partitions`,
    `package-bytes`, `package-bytes-GROUP` for each package group of the release and `system`,
    `boot-image-bytes`, `swap-and-dumps` (what was subtracted).

    Raises:
        HypervisorFailure: a command failed or printed something unexpected.
        LabFault: the connection was lost.
    """
    taking = Taking(host, "footprint")
    with host.named_in_errors():
        _disk(taking)
        _packages(taking, host.release.image.packages)
        images = fs.parse_sizes(taking.check(_BOOT_IMAGES))
        if not images:
            raise HypervisorFailure(
                "no kernel is found in /boot",
                tried=_BOOT_IMAGES,
                next_step="look where this release keeps its boot images",
            )
        taking.add(
            "boot-image-bytes",
            [sum(images.values())],
            "B",
            method="sizes of kernels, initial RAM disks and hypervisors in /boot",
            command=_BOOT_IMAGES,
        )
    return taking.measured()


def _disk(taking: Taking) -> None:
    mounted = fs.needed(fs.parse_findmnt(taking.check(fs.FINDMNT)))
    listing = taking.check(fs.LSBLK)
    disks = fs.system_disks(fs.parse_lsblk(listing), mounted)
    if not disks or not any(one.target == "/" for one in mounted):
        raise HypervisorFailure(
            "no disk is found that holds the root file system",
            tried=f"{fs.FINDMNT}; {fs.LSBLK}",
            next_step="check that the host runs from its disk and not from memory",
        )
    hidden = [_look_into(taking, device.path) for device in fs.hidden_efi(disks)]
    left_out = _swap_files(taking, mounted) + sum(fs.parse_blocks(taking.check(_DUMPS)).values())
    used = sum(one.used for one in mounted) + sum(hidden)
    taking.add(
        "installed-disk",
        [used - left_out],
        "B",
        method="bytes used on every file system that the system keeps its files on, the EFI system partition "
        "included, less swap files and crash dumps (statvfs: blocks - free, without ext4's own tables)",
        command=fs.FINDMNT,
    )
    taking.add(
        "allocated-partitions",
        [sum(fs.allocated(disk) for disk in disks)],
        "B",
        method="sizes of all partitions of the disks that the system lies on",
        command=fs.LSBLK,
    )
    taking.add(
        "swap-and-dumps",
        [left_out],
        "B",
        method="blocks of swap files and crash dumps, subtracted from the installed disk",
        command=f"{fs.SWAPS}; {_DUMPS}",
    )


def _look_into(taking: Taking, device: str) -> int:
    return fs.parse_used(taking.check(_LOOK_INTO.format(device=shlex.quote(device).replace("'", "'\\''"))))


def _swap_files(taking: Taking, mounted: Sequence[fs.FileSystem]) -> int:
    files = [swap.path for swap in fs.parse_swaps(taking.check(fs.SWAPS)) if swap.kind == "file"]
    if not files:
        return 0
    names = " ".join(shlex.quote(name) for name in files)
    return sum(fs.parse_blocks(taking.check(f"stat -c '%b %n' -- {names}")).values())


def _packages(taking: Taking, groups: dict[str, tuple[str, ...]]) -> None:
    packages = parse_packages(taking.check(DPKG_QUERY))
    method = "sum of Installed-Size of every installed package, an estimate by whoever built it"
    taking.add("package-bytes", [sum(one.size for one in packages)], "B", method=method, command=DPKG_QUERY)
    for group, size in group_sizes(packages, groups).items():
        taking.add(
            f"package-bytes-{group}",
            [size],
            "B",
            method="Installed-Size of the packages that this group brings beyond the groups before it",
            command=DPKG_QUERY,
        )
