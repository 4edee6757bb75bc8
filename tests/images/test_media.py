"""Media of the deploy RAM OS, read back by xorriso; small stand-ins take the place of built files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lab.media import disk_layout
from lab.media.deploy import DeployFiles
from lab.media.iso import deploy_iso, netboot_files

ARGUMENTS = "lab.url=http://10.0.2.2:1/secret lab.mac=52:54:00:00:00:01 console=tty0 console=ttyS0,115200n8"


@pytest.fixture
def files(tmp_path: Path) -> DeployFiles:
    folder = tmp_path / "deploy"
    folder.mkdir()
    for name, size in (("kernel", 9000), ("initrd", 30000), ("eltorito.img", 8192), ("boot_hybrid.img", 512)):
        (folder / name).write_bytes(name.encode().ljust(size, b"."))
    (folder / "shimx64.efi").write_bytes(b"shim")
    (folder / "grubnetx64.efi").write_bytes(b"grub")
    disk_layout.fat_image(
        folder / "efi.img", {"EFI/BOOT/BOOTX64.EFI": folder / "shimx64.efi"}, 2 * 2**20, "T"
    )
    return DeployFiles(folder, folder / "kernel", folder / "initrd", "d" * 128)


def xorriso(iso: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["xorriso", "-indev", str(iso), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


def test_iso_boots_on_both_firmwares(files: DeployFiles, tmp_path: Path) -> None:
    iso = tmp_path / "deploy.iso"
    deploy_iso(files, ARGUMENTS, iso)
    report = xorriso(iso, "-report_el_torito", "plain")
    platforms = re.findall(r"El Torito boot img :\s+\d+\s+(\w+)\s+y", report)
    assert platforms == ["BIOS", "UEFI"]
    assert "grub2-mbr" in xorriso(iso, "-report_system_area", "plain")
    disk = subprocess.run(["/sbin/sfdisk", "--dump", str(iso)], capture_output=True, text=True, check=True)
    assert "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" in disk.stdout, (
        "plugged in as a disk, it has an EFI partition"
    )


def test_iso_carries_kernel_initrd_and_the_secret_apart(files: DeployFiles, tmp_path: Path) -> None:
    iso = tmp_path / "deploy.iso"
    deploy_iso(files, ARGUMENTS, iso)
    out = tmp_path / "out"
    xorriso(iso, "-osirrox", "on", "-extract", "/", str(out))
    assert (out / "lab/kernel").read_bytes() == files.kernel.read_bytes()
    assert (out / "lab/initrd").read_bytes() == files.initrd.read_bytes()
    config = (out / "boot/grub/grub.cfg").read_text()
    assert "linux /lab/kernel console=tty0 console=ttyS0,115200n8" in config
    assert "initrd /lab/initrd /lab/arguments" in config
    assert "serial --unit=0 --speed=115200" in config
    assert "secret" not in config
    assert b"lab.url=http://10.0.2.2:1/secret" in (out / "lab/arguments").read_bytes()


def test_netboot_folder_serves_both_firmwares(files: DeployFiles, tmp_path: Path) -> None:
    folder = tmp_path / "tftp"
    netboot_files(files, ARGUMENTS, folder, "http://10.0.2.2:1/base")
    script = (folder / "boot.ipxe").read_text()
    assert script.startswith("#!ipxe\n")
    assert "initrd http://10.0.2.2:1/base/initrd" in script
    assert "console=ttyS0,115200n8" in script
    assert "lab.url" not in script
    assert (folder / "netboot.efi").read_bytes() == b"shim"
    assert (folder / "grubx64.efi").read_bytes() == b"grub"
    assert "initrd /initrd /arguments" in (folder / "grub/grub.cfg").read_text()
    assert (folder / "initrd").read_bytes() == files.initrd.read_bytes()
