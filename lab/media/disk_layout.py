"""The disk that every image of ours is: GPT, GRUB for BIOS, an EFI partition, the root file system last.

Root is last so that the deploy RAM OS can grow it. Nothing here needs root or loop devices.

GRUB's block lists, as its own installer writes them: `boot.img` is the 512-byte boot sector; eight bytes
at 0x5c hold the sector where core.img begins, two at 0x66 the jump that a hard disk does not want.
core.img begins with a sector that loads the rest; the last 12 bytes of that sector are one block list
entry (start sector u64, sectors u16, segment u16). Source: GRUB 2.06, include/grub/i386/pc/boot.h
(GRUB_BOOT_MACHINE_KERNEL_SECTOR, GRUB_BOOT_MACHINE_DRIVE_CHECK) and include/grub/offsets.h.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lab.errors import MissingMedia
from lab.media.image_tools import run

SECTOR = 512
MEBIBYTE = 2**20
BIOS_BOOT_BYTES = MEBIBYTE
ESP_BYTES = 64 * MEBIBYTE
ROOT_PARTITION = 3

DISK_GUID = "1ab00000-0000-4000-8000-000000000000"
BIOS_PARTUUID = "1ab00000-0000-4000-8000-000000000001"
ESP_PARTUUID = "1ab00000-0000-4000-8000-000000000002"
ROOT_PARTUUID = "1ab00000-0000-4000-8000-000000000003"
"""Placeholders: every install gets its own, so that two disks with one image never clash."""

_BOOT_CODE_BYTES = 440
_KERNEL_SECTOR = 0x5C
_DRIVE_CHECK = 0x66
_BLOCK_LIST = struct.Struct("<QHH")
_BLOCK_LIST_AT = SECTOR - _BLOCK_LIST.size
_TYPES = {"bios": "21686148-6449-6E6F-744E-656564454649", "esp": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"}
_LINUX_ROOT_X86_64 = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"


@dataclass(frozen=True)
class Layout:
    """Where each part lies, in bytes from the start of the disk."""

    root_bytes: int

    bios_at = MEBIBYTE
    esp_at = bios_at + BIOS_BOOT_BYTES
    root_at = esp_at + ESP_BYTES

    @property
    def disk_bytes(self) -> int:
        """The whole image: the root file system and one MiB for the backup GPT."""
        return self.root_at + self.root_bytes + MEBIBYTE

    def sfdisk_script(self) -> str:
        """The partition table as sfdisk reads it."""

        def line(at: int, size: int, kind: str, uuid: str, name: str) -> str:
            return f"start={at // SECTOR}, size={size // SECTOR}, type={kind}, uuid={uuid}, name={name}\n"

        return (
            f"label: gpt\nlabel-id: {DISK_GUID}\nunit: sectors\nsector-size: {SECTOR}\n\n"
            + line(self.bios_at, BIOS_BOOT_BYTES, _TYPES["bios"], BIOS_PARTUUID, "bios-boot")
            + line(self.esp_at, ESP_BYTES, _TYPES["esp"], ESP_PARTUUID, "efi")
            + line(self.root_at, self.root_bytes, _LINUX_ROOT_X86_64, ROOT_PARTUUID, "root")
        )


def write_disk(disk: Path, *, root: Path, esp: Path, boot: bytes, core: bytes) -> Layout:
    """Write the disk image `disk` from its parts; `boot` and `core` are GRUB's boot.img and core.img.

    Raises:
        MissingMedia: a part does not fit, or sfdisk failed.
    """
    layout = Layout(-(-root.stat().st_size // MEBIBYTE) * MEBIBYTE)
    if len(core) > BIOS_BOOT_BYTES or esp.stat().st_size != ESP_BYTES:
        raise MissingMedia(
            "GRUB or the EFI files do not fit their partitions", next_step="report a bug of the lab"
        )
    with disk.open("wb") as stream:
        stream.truncate(layout.disk_bytes)
    run(
        ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", str(disk)],
        stdin=layout.sfdisk_script().encode(),
    )
    with disk.open("r+b") as stream:
        stream.write(boot_sector(boot, layout.bios_at // SECTOR)[:_BOOT_CODE_BYTES])
        stream.seek(layout.bios_at)
        stream.write(core_with_blocks(core, layout.bios_at // SECTOR))
        for at, part in ((layout.esp_at, esp), (layout.root_at, root)):
            stream.seek(at)
            with part.open("rb") as source:
                shutil.copyfileobj(source, stream, 4 * MEBIBYTE)
    return layout


def boot_sector(boot: bytes, core_sector: int) -> bytes:
    """GRUB's boot.img made to load core.img from `core_sector` of the disk it was loaded from."""
    if len(boot) != SECTOR:
        raise ValueError(f"boot.img has {len(boot)} bytes, not {SECTOR}")
    patched = bytearray(boot)
    struct.pack_into("<Q", patched, _KERNEL_SECTOR, core_sector)
    patched[_DRIVE_CHECK : _DRIVE_CHECK + 2] = b"\x90\x90"
    return bytes(patched)


def core_with_blocks(core: bytes, at_sector: int) -> bytes:
    """core.img, padded to whole sectors, whose first sector loads the rest from right behind itself."""
    whole = core + bytes(-len(core) % SECTOR)
    rest = len(whole) // SECTOR - 1
    _, sectors, segment = _BLOCK_LIST.unpack_from(whole, _BLOCK_LIST_AT)
    if sectors != rest:
        raise ValueError(f"core.img says {sectors} sectors follow its first, but {rest} do")
    patched = bytearray(whole)
    _BLOCK_LIST.pack_into(patched, _BLOCK_LIST_AT, at_sector + 1, rest, segment)
    return bytes(patched)


def fat_image(image: Path, files: Mapping[str, Path], size: int, label: str) -> None:
    """A FAT file system in the file `image` that holds `files` (path inside: file), with mtools.

    Raises:
        MissingMedia: mkfs.vfat or mtools failed.
    """
    image.unlink(missing_ok=True)
    with image.open("wb") as stream:
        stream.truncate(size)
    width = "32" if size >= 33 * MEBIBYTE else "12"
    run(
        [
            "mkfs.vfat",
            "-F",
            width,
            "-i",
            "1ab00002",
            "-n",
            label,
            *(["-s", "1"] if width == "32" else []),
            str(image),
        ]
    )
    folders = sorted(
        {str(parent) for name in files for parent in PurePosixPath(name).parents if str(parent) != "."}
    )
    if folders:
        run(["mmd", "-i", str(image), *(f"::{folder}" for folder in folders)])
    for name, file in sorted(files.items()):
        run(["mcopy", "-i", str(image), str(file), f"::{name}"])
