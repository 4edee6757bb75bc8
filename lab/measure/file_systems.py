"""What file systems and partitions a system occupies: findmnt, lsblk, /proc/swaps taken apart.

Source: xen-kvm-debian.md §5 (util-linux 2.38), proc(5) for the octal escapes of /proc/swaps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.measure.model import Evidence
from lab.measure.reading import Json, bytes_of, json_rows, reading, rows, text_of, unreadable

FINDMNT = "findmnt -J -b -l --real -o TARGET,SOURCE,FSTYPE,SIZE,USED"
LSBLK = "lsblk -J -b -o NAME,PATH,TYPE,SIZE,MOUNTPOINTS,PARTTYPE"
SWAPS = "cat /proc/swaps"

EFI_SYSTEM = ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "0xef")
"""Partition types of an EFI system partition, on GPT and on MBR disks (UEFI 2.10 §5)."""

_MEDIA = ("iso9660", "udf", "squashfs")


@dataclass(frozen=True)
class FileSystem:
    """A mounted file system; sizes in bytes, `used` as statvfs counts it."""

    target: str
    source: str
    kind: str
    size: int
    used: int

    @property
    def device(self) -> str:
        """What holds it, without the bracketed subvolume or bind path that findmnt adds."""
        return self.source.split("[")[0]


@dataclass(frozen=True)
class BlockDevice:
    """A disk, partition or mapped device, with what lies on it; `size` in bytes."""

    path: str
    kind: str
    size: int
    mountpoints: tuple[str, ...]
    partition_type: str
    children: tuple[BlockDevice, ...] = ()

    def walk(self) -> Iterator[BlockDevice]:
        """This device and all that lies on it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def holds(self, targets: Sequence[str]) -> bool:
        """Whether one of these mount points is on it."""
        return any(point in targets for device in self.walk() for point in device.mountpoints)


@dataclass(frozen=True)
class Swap:
    """An area that /proc/swaps lists; `kind` is `file` or `partition`."""

    path: str
    kind: str


def parse_findmnt(evidence: Evidence) -> list[FileSystem]:
    """Every mounted file system in the output of `FINDMNT`.

    Raises:
        HypervisorFailure: the output has another form.
    """
    with reading(evidence):
        return [
            FileSystem(
                text_of(row, "target"),
                text_of(row, "source"),
                text_of(row, "fstype"),
                bytes_of(row, "size"),
                bytes_of(row, "used"),
            )
            for row in json_rows(evidence, "filesystems")
        ]


def needed(mounted: Sequence[FileSystem]) -> list[FileSystem]:
    """The file systems that an installed system keeps its files on, each once.

    Left out: install media and images of file systems (their files are counted where they lie), loop
    devices, network, FUSE and memory file systems, and second mounts of the same device. Each dataset of
    a ZFS pool counts, because each reports only what it refers to.
    """
    found: dict[str, FileSystem] = {}
    for one in mounted:
        on_disk = one.device.startswith("/dev/") and not one.device.startswith("/dev/loop")
        if one.kind == "zfs" or (on_disk and one.kind not in _MEDIA and not one.kind.startswith("fuse")):
            found.setdefault(one.device, one)
    return list(found.values())


def parse_lsblk(evidence: Evidence) -> list[BlockDevice]:
    """The tree of block devices in the output of `LSBLK`.

    Raises:
        HypervisorFailure: the output has another form.
    """
    with reading(evidence):
        return [_block_device(row) for row in json_rows(evidence, "blockdevices")]


def _block_device(row: dict[str, Json]) -> BlockDevice:
    points, children = row["mountpoints"], row.get("children") or []
    if not isinstance(points, list) or not isinstance(children, list):
        raise ValueError("mountpoints or children is not a list")
    return BlockDevice(
        text_of(row, "path"),
        text_of(row, "type"),
        bytes_of(row, "size"),
        tuple(point for point in points if isinstance(point, str)),
        text_of(row, "parttype").lower(),
        tuple(_block_device(child) for child in children if isinstance(child, dict)),
    )


def system_disks(devices: Sequence[BlockDevice], mounted: Sequence[FileSystem]) -> list[BlockDevice]:
    """The disks that the system's file systems lie on."""
    targets = [one.target for one in mounted]
    return [device for device in devices if device.kind == "disk" and device.holds(targets)]


def allocated(disk: BlockDevice) -> int:
    """Bytes of all partitions of a disk; of the whole disk where a file system lies on it directly."""
    partitions = [child.size for child in disk.children if child.kind == "part"]
    return sum(partitions) if partitions else disk.size


def hidden_efi(disks: Sequence[BlockDevice]) -> list[BlockDevice]:
    """EFI system partitions that are not mounted."""
    everything = (device for disk in disks for device in disk.walk())
    return [device for device in everything if device.partition_type in EFI_SYSTEM and not device.mountpoints]


def parse_swaps(evidence: Evidence) -> list[Swap]:
    """The swap areas in /proc/swaps.

    Raises:
        HypervisorFailure: its heading is not there, or a line has not its five columns.
    """
    lines = rows(evidence, 5)
    if not lines or lines[0][0] != "Filename":
        raise unreadable(evidence, "its heading is missing")
    return [Swap(_unescaped(path), kind) for path, kind, *_ in lines[1:]]


def parse_used(evidence: Evidence) -> int:
    """Bytes used, from `df -B1 --output=used`.

    Raises:
        HypervisorFailure: that is not what it printed.
    """
    lines = evidence.output.split()
    if len(lines) != 2 or not lines[1].isdecimal():
        raise unreadable(evidence, "not a heading and one number")
    return int(lines[1])


def parse_sizes(evidence: Evidence) -> dict[str, int]:
    """Bytes by path, from lines of `BYTES PATH`; empty where nothing was found.

    Raises:
        HypervisorFailure: a line has another form.
    """
    with reading(evidence):
        return {path: _count(size) for size, path in rows(evidence, 2, " ")}


def parse_blocks(evidence: Evidence) -> dict[str, int]:
    """Bytes by path, from lines of `BLOCKS PATH` in blocks of 512 bytes (stat(2), st_blocks)."""
    return {path: blocks * 512 for path, blocks in parse_sizes(evidence).items()}


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text!r} is not a number")
    return int(text)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
