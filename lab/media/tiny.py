"""A release that is a kernel and an initramfs on disk: packages unpacked, not installed.

What goes in is listed in `firmware/tiny/`. Disk layout, boot loaders and the way it is installed are those of
every other image (`lab.media.image`).
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

from lab import paths
from lab.media import debian, deploy, disk_layout
from lab.media.debian import Archive, Package
from lab.media.image_cpio import Cpio
from lab.media.image_root import recipe_folder as image_recipe
from lab.media.image_tools import Heartbeat, run, tool_environment
from lab.release import Release

_SHARED = ("arguments.sh", "dhcp.sh", "network.sh")
_OWN = ("boot.sh", "start.sh")
_BIOS_MODULES = (
    *("biosdisk", "part_gpt", "ext2", "normal", "configfile", "test", "echo", "serial", "terminal"),
    *("linux", "all_video", "reboot", "halt"),
)
_ETC = {
    "passwd": "root:x:0:0:root:/disk/root:/bin/sh\n",
    "shadow": "root:*:19000:0:99999:7:::\n",
    "group": "root:x:0:\ntty:x:5:\n",
    "shells": "/bin/sh\n",
    "issue": "Debian GNU/Linux kernel \\r, busybox, \\n \\l\n",
}
_ROOT_UUID = "1ab00000-0000-4000-8000-0000000000f6"


def recipe_folder() -> Path:
    """Where this system is described."""
    return paths.firmware() / "tiny"


def root_file_system(
    work: Path,
    root: Path,
    listing: Path,
    release: Release,
    archive: Archive,
    packages: tuple[str, ...],
    heartbeat: Heartbeat,
) -> Path:
    """Write the root file system to `root`, the packages it is made of to `listing`.

    Args:
        work: a scratch folder that a user namespace's root may enter and write to.

    Returns:
        A folder with the boot files of both firmwares: shim, signed GRUB, boot.img and core.img.

    Raises:
        MissingMedia: a package cannot be had, or a tool failed.
    """
    tree, boot = work / "packages", work / "boot"
    tree.mkdir()
    boot.mkdir()
    heartbeat.step(f"unpacking packages of {release.name}")
    archive.unpack(packages, tree)
    heartbeat.step("writing the initramfs")
    kernel = deploy.kernel_version(tree)
    parts = [deploy.recipe_folder() / name for name in _SHARED] + [recipe_folder() / name for name in _OWN]
    deploy.write_initrd(work / "initrd", tree, kernel, recipe_folder(), parts, _fill)
    _boot_files(tree, boot)
    contents = {
        "boot/vmlinuz": (tree / "boot" / f"vmlinuz-{kernel}").read_bytes(),
        "boot/initrd": (work / "initrd").read_bytes(),
        "boot/grub/grub.cfg": grub_config(release, kernel),
        "etc/fstab": b"# The whole system runs from memory; its disk is at /disk.\n",
        "etc/hostname": b"tiny-linux\n",
    }
    heartbeat.step("writing the root file system")
    for name in ("root_fs.sh", "mke2fs.conf"):
        shutil.copy(image_recipe() / name, work / name)
    _pack(work, root, _archive(contents))
    listing.write_text("".join(_line(package) for package in archive.resolve(packages)))
    return boot


def grub_config(release: Release, kernel: str) -> bytes:
    """The boot menu on the root file system; the deploy RAM OS puts the install's partition id there."""
    text = (recipe_folder() / "grub.cfg").read_text()
    for word, value in (
        ("TITLE", release.title.replace("'", "")),
        ("KERNEL_VERSION", kernel),
        ("ROOT_PARTUUID", disk_layout.ROOT_PARTUUID),
        ("ARGUMENTS", " ".join(release.image.kernel_arguments)),
    ):
        text = text.replace(word, value)
    return text.encode()


def _fill(cpio: Cpio) -> None:
    cpio.copy(recipe_folder() / "inittab", "etc/inittab")
    for name, text in _ETC.items():
        cpio.file(f"etc/{name}", text.encode(), 0o600 if name == "shadow" else 0o644)
    cpio.folder("disk")
    cpio.link("etc/lab", "/disk/etc/lab")
    cpio.link("bin/init", "busybox")


def _boot_files(tree: Path, boot: Path) -> None:
    bios = tree / "usr/lib/grub/i386-pc"
    for name in ("shim/shimx64.efi.signed", "shim/mmx64.efi.signed"):
        shutil.copy(tree / "usr/lib" / name, boot)
    shutil.copy(tree / "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", boot)
    shutil.copy(bios / "boot.img", boot)
    arguments = ["-O", "i386-pc", "-d", str(bios), "-p", "(,gpt3)/boot/grub", "-o", str(boot / "core.img")]
    debian.run_in_tree(tree, "usr/bin/grub-mkimage", *arguments, *_BIOS_MODULES)


def _archive(contents: dict[str, bytes]) -> bytes:
    """A tar of those files and root's home, all of it root's."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        home = tarfile.TarInfo("root")
        home.type, home.mode = tarfile.DIRTYPE, 0o700
        tar.addfile(home)
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _pack(work: Path, root: Path, archive: bytes) -> None:
    pack = ["sh", str(work / "root_fs.sh")]
    if os.getuid() != 0:
        pack = ["mmdebstrap", "--unshare-helper", *pack]
    env = tool_environment(
        {
            "TMPDIR": str(work),
            "SLACK_MIB": "8",
            "ROOT_UUID": _ROOT_UUID,
            "MKE2FS_CONFIG": str(work / "mke2fs.conf"),
        }
    )
    with root.open("wb") as output:
        run(pack, stdin=archive, env=env, output=output)


def _line(package: Package) -> str:
    return f"{package.name}\t{package.version}\t\n"
