"""Media of the deploy RAM OS: an ISO image for virtual media, and the files for network boot.

What begins with `lab.` among the kernel arguments (the install's secret address) goes into a small
initramfs of its own, not on the kernel's command line, so that it never shows on a console.
Source: xorriso(1) "as mkisofs"; grub-mkrescue of GRUB 2.06 for the hybrid layout.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

from lab.media.deploy import MARKER, DeployFiles
from lab.media.image_cpio import Cpio
from lab.media.image_tools import link_or_copy, run

_SERIAL = """serial --unit=0 --speed=115200 --word=8 --parity=no --stop=1
terminal_input serial console
terminal_output serial
"""
_SECRET_PREFIX = "lab."  # noqa: S105 (the names of arguments, no secret)
VOLUME = "LAB_DEPLOY"


def deploy_iso(files: DeployFiles, kernel_arguments: str, out: Path) -> None:
    """Write an ISO image to `out` that boots the deploy RAM OS on UEFI (signed) and on BIOS, from CD or USB.

    Raises:
        MissingMedia: xorriso failed.
    """
    public, private = split_arguments(kernel_arguments)
    with tempfile.TemporaryDirectory(prefix="lab-iso-", dir=out.parent) as name:
        work = Path(name)
        config, arguments, marker = work / "grub.cfg", work / "arguments.img", work / "marker"
        config.write_text(_grub_config("/lab/kernel", "/lab/initrd /lab/arguments", public))
        arguments.write_bytes(arguments_archive(private))
        marker.write_text(f"{files.digest}\n")
        out.unlink(missing_ok=True)
        hybrid = ["--grub2-boot-info", "--grub2-mbr", str(files.hybrid_sector), "-partition_offset", "16"]
        efi = ["-append_partition", "2", "0xef", str(files.efi_image), "-appended_part_as_gpt"]
        grafts = {
            "/boot/grub/grub.cfg": config,
            "/boot/grub/eltorito.img": files.bios_loader,
            "/lab/kernel": files.kernel,
            "/lab/initrd": files.initrd,
            "/lab/arguments": arguments,
            f"/{MARKER}": marker,
        }
        run(
            [
                *["xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-V", VOLUME, "-o", str(out), *efi],
                *[
                    "-b",
                    "boot/grub/eltorito.img",
                    "-c",
                    "boot/boot.cat",
                    "-no-emul-boot",
                    "-boot-load-size",
                    "4",
                ],
                *[
                    "-boot-info-table",
                    *hybrid,
                    "-eltorito-alt-boot",
                    "-e",
                    "--interval:appended_partition_2:all::",
                ],
                *["-no-emul-boot", "-graft-points", *(f"{path}={file}" for path, file in grafts.items())],
            ]
        )


def netboot_files(files: DeployFiles, kernel_arguments: str, folder: Path, base_url: str) -> None:
    """Fill a TFTP folder: `boot.ipxe` for BIOS, `netboot.efi` (signed shim) with signed GRUB for UEFI.

    BIOS loads kernel and initrd by HTTP from `base_url` (`/kernel`, `/initrd`), which iPXE shows on its
    screen, so it must not be the secret one; arguments come by TFTP. GRUB of UEFI takes all three by TFTP.
    """
    public, private = split_arguments(kernel_arguments)
    (folder / "grub").mkdir(parents=True, exist_ok=True)
    (folder / "arguments").write_bytes(arguments_archive(private))
    for source, name in ((files.kernel, "kernel"), (files.initrd, "initrd")):
        link_or_copy(source, folder / name)
    shutil.copy(files.shim, folder / "netboot.efi")
    shutil.copy(files.network_grub, folder / "grubx64.efi")
    (folder / "grub" / "grub.cfg").write_text(_grub_config("/kernel", "/initrd /arguments", public))
    (folder / "boot.ipxe").write_text(
        "#!ipxe\n"
        f"kernel {base_url}/kernel initrd=initrd initrd=arguments {public}\n"
        f"initrd {base_url}/initrd\ninitrd arguments\nboot\n"
    )


def split_arguments(kernel_arguments: str) -> tuple[str, str]:
    """The arguments for the kernel's command line, and those for the deploy RAM OS alone."""
    words = kernel_arguments.split()
    public = [word for word in words if not word.startswith(_SECRET_PREFIX)]
    private = [word for word in words if word.startswith(_SECRET_PREFIX)]
    return " ".join(public), " ".join(private)


def arguments_archive(private: str) -> bytes:
    """An initramfs that holds the deploy RAM OS's own arguments in `/lab/arguments`."""
    buffer = io.BytesIO()
    cpio = Cpio(buffer)
    cpio.file("lab/arguments", f"{private}\n".encode(), 0o600)
    cpio.close()
    return buffer.getvalue()


def _grub_config(kernel: str, initrds: str, arguments: str) -> str:
    return f"""{_SERIAL}set default=0
set timeout=0
menuentry 'Lab deploy RAM OS' {{
	echo 'Loading Linux for the deploy RAM OS ...'
	linux {kernel} {arguments}
	initrd {initrds}
}}
"""
