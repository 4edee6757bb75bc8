"""The image's disk: partition table as sfdisk reads it, GRUB's block lists against GRUB's own bytes."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import MissingMedia
from lab.media import disk_layout
from lab.media.disk_layout import ESP_BYTES, MEBIBYTE, SECTOR, Layout

GRUB = Path("/usr/lib/grub/i386-pc")
needs_grub = pytest.mark.skipif(not GRUB.is_dir(), reason="needs the Debian package grub-pc-bin")


def a_core(sectors: int) -> bytes:
    """core.img as grub-mkimage leaves it: the first sector ends in a block list of what follows."""
    first = bytes(SECTOR - 12) + struct.pack("<QHH", 2, sectors - 1, 0x820)
    return first + b"".join(bytes([number % 251]) * SECTOR for number in range(1, sectors))


def a_disk(folder: Path, core: bytes) -> Path:
    root, esp, disk = folder / "root", folder / "esp", folder / "disk"
    root.write_bytes(b"\x01" * (3 * MEBIBYTE + 5 * SECTOR))
    with esp.open("wb") as stream:
        stream.write(b"\x02" * SECTOR)
        stream.truncate(ESP_BYTES)
    boot = bytes(range(256)) * 2
    disk_layout.write_disk(disk, root=root, esp=esp, boot=boot, core=core)
    return disk


def test_partition_table_is_what_the_deploy_os_expects(tmp_path: Path) -> None:
    disk = a_disk(tmp_path, a_core(4))
    shown = subprocess.run(["/sbin/sfdisk", "--json", str(disk)], capture_output=True, check=True)
    table = json.loads(shown.stdout)["partitiontable"]
    assert table["label"] == "gpt"
    assert table["id"].lower() == disk_layout.DISK_GUID
    uuids = [part["uuid"].lower() for part in table["partitions"]]
    assert uuids == [disk_layout.BIOS_PARTUUID, disk_layout.ESP_PARTUUID, disk_layout.ROOT_PARTUUID]
    starts = [part["start"] * SECTOR for part in table["partitions"]]
    assert starts == [Layout.bios_at, Layout.esp_at, Layout.root_at]
    assert starts == sorted(starts), "root is last, so that it can grow"
    assert table["partitions"][2]["size"] * SECTOR == 4 * MEBIBYTE


def test_every_part_lies_where_the_table_says(tmp_path: Path) -> None:
    core = a_core(4)
    content = a_disk(tmp_path, core).read_bytes()
    assert len(content) == Layout(4 * MEBIBYTE).disk_bytes
    assert content[Layout.esp_at : Layout.esp_at + SECTOR] == b"\x02" * SECTOR
    assert content[Layout.root_at : Layout.root_at + SECTOR] == b"\x01" * SECTOR
    assert content[Layout.bios_at + SECTOR : Layout.bios_at + len(core)] == core[SECTOR:]
    assert content[510:512] == b"\x55\xaa"


def test_boot_sector_points_at_core_and_keeps_the_partition_table(tmp_path: Path) -> None:
    content = a_disk(tmp_path, a_core(4)).read_bytes()
    (sector,) = struct.unpack_from("<Q", content, 0x5C)
    assert sector * SECTOR == Layout.bios_at
    assert content[446 + 4] == 0xEE, "the protective entry of GPT is still there"


@given(sectors=st.integers(2, 1500), at=st.integers(1, 2**40))
def test_core_loads_the_rest_from_right_behind_itself(sectors: int, at: int) -> None:
    start, count, segment = struct.unpack_from("<QHH", disk_layout.core_with_blocks(a_core(sectors), at), 500)
    assert (start, count, segment) == (at + 1, sectors - 1, 0x820)


def test_core_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="sectors follow"):
        disk_layout.core_with_blocks(a_core(5) + bytes(SECTOR), 2048)


def test_core_too_large_for_its_partition_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingMedia, match="do not fit"):
        a_disk(tmp_path, a_core(2049))


@needs_grub
def test_block_lists_lie_where_grub_keeps_them() -> None:
    """GRUB's own boot.img holds the default sector 1 at 0x5c, and at 0x66 the jump its installer removes."""
    boot = (GRUB / "boot.img").read_bytes()
    assert struct.unpack_from("<Q", boot, 0x5C) == (1,)
    assert boot[0x66] == 0xEB
    diskboot = (GRUB / "diskboot.img").read_bytes()
    assert struct.unpack_from("<QHH", diskboot, 500) == (2, 0, 0x820)


@needs_grub
def test_a_core_of_grub_itself_is_accepted(tmp_path: Path) -> None:
    made = tmp_path / "core.img"
    subprocess.run(
        ["grub-mkimage", "-O", "i386-pc", "-p", "/", "-o", str(made), "biosdisk", "ext2"], check=True
    )
    patched = disk_layout.core_with_blocks(made.read_bytes(), 2048)
    assert struct.unpack_from("<Q", patched, 500) == (2049,)
    assert len(patched) % SECTOR == 0


def test_fat_image_holds_the_files(tmp_path: Path) -> None:
    file = tmp_path / "grub.cfg"
    file.write_text("set timeout=1\n")
    image = tmp_path / "esp"
    disk_layout.fat_image(image, {"EFI/debian/grub.cfg": file}, ESP_BYTES, "LAB-EFI")
    shown = subprocess.run(
        ["mtype", "-i", str(image), "::EFI/debian/grub.cfg"], capture_output=True, check=True
    )
    assert shown.stdout == b"set timeout=1\n"
    assert image.stat().st_size == ESP_BYTES
