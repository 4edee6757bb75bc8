"""Build the guest appliance: Debian's kernel and a tiny initramfs that says on its console that it runs.

The same two files boot as a Xen PV, PVH or HVM guest and as a KVM guest (`-kernel`, `-initrd`); the
console is whichever `console=` names (hvc0, ttyS0). What the agent says: `firmware/guest/agent.sh`.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import paths
from lab.media import debian, deploy, image_cpio, image_tools
from lab.media.debian import Archive
from lab.media.image_cpio import Cpio
from lab.media.image_tools import Heartbeat
from lab.progress import Progress, silent

_PACKAGES = ("linux-image-amd64", "busybox-static")


@dataclass(frozen=True)
class GuestFiles:
    """What a hypervisor boots the guest appliance from."""

    kernel: Path
    initrd: Path


def recipe_folder() -> Path:
    """Where the guest appliance is described."""
    return paths.firmware() / "guest"


def build_guest(progress: Progress = silent) -> GuestFiles:
    """The guest appliance, from the cache or built now.

    Raises:
        MissingMedia: the archive cannot be reached, or a tool failed.
    """
    archive = Archive(deploy.SUITE)
    archive.refresh(progress)
    code = [Path(str(module.__file__)) for module in (debian, deploy, image_cpio, image_tools)] + [
        Path(__file__)
    ]
    files = [*image_tools.files_under(recipe_folder()), *code]
    key = image_tools.content_key(archive.resolve(_PACKAGES), files)

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="lab-guest-") as name:
            tree = Path(name)
            archive.unpack(_PACKAGES, tree, progress)
            with Heartbeat(progress, "building the guest appliance"):
                shutil.copy(tree / "boot" / f"vmlinuz-{deploy.kernel_version(tree)}", folder / "kernel")
                _write_initrd(folder / "initrd", tree)

    folder = image_tools.cached("guest", "guest", key, build, progress)
    return GuestFiles(folder / "kernel", folder / "initrd")


def _write_initrd(initrd: Path, tree: Path) -> None:
    with initrd.open("wb") as stream:
        cpio = Cpio(stream)
        for name in ("dev", "proc", "sys", "run", "tmp"):
            cpio.folder(name)
        deploy.add_busybox(cpio, tree)
        cpio.copy(recipe_folder() / "init", "init")
        cpio.copy(recipe_folder() / "agent.sh", "lib/lab/agent.sh")
        cpio.close()
