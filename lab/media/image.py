"""Build the disk image of a release from Debian packages: unprivileged, cached by what went in.

`image_root` makes the root file system of an installed system (`firmware/image/` says how it is set up),
`tiny` that of an unpacked one; `disk_layout` puts a partition table and GRUB for both firmwares around it.
Source: facts, xen-kvm-debian.md §2-§4, §7.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.errors import ChecksumMismatch
from lab.media import debian, deploy, disk_layout, image_cpio, image_root, image_tools, tiny
from lab.media.debian import Archive
from lab.media.image_root import recipe_folder
from lab.media.image_tools import Heartbeat, run
from lab.progress import Progress, silent
from lab.release import Release

_ZSTD_LEVEL = "-6"


@dataclass(frozen=True)
class Image:
    """A built disk image.

    Attributes:
        path: `image.raw.zst`, the whole disk, zstd-compressed.
        digest: BLAKE2b-512 of that file, hexadecimal, as `b2sum` prints it.
        compressed_size: bytes of that file.
        raw_size: bytes of the disk it unpacks to.
        packages: file with one line per installed package: name, version, installed size in KiB.
    """

    path: Path
    digest: str
    compressed_size: int
    raw_size: int
    packages: Path

    def verify(self) -> None:
        """Read the file once and compare it with its digest, before any server is touched.

        Raises:
            ChecksumMismatch: it is not what was built.
        """
        found = image_tools.blake2b(self.path)
        if found != self.digest:
            raise ChecksumMismatch(
                f"the cached image {self.path} is not what was built: its digest is {found[:16]}…, "
                f"not {self.digest[:16]}…",
                tried="read it whole, BLAKE2b",
                next_step=f"remove the folder {self.path.parent}; the next run builds it anew",
            )


def image_key(release: Release, resolved: tuple[debian.Package, ...]) -> str:
    """The cache key: release data, recipe, builder code, and every package version that apt resolves."""
    modules = [debian, disk_layout, image_root, image_tools]
    recipes = [recipe_folder()]
    if release.image.made == "unpacked":
        modules += [deploy, image_cpio, tiny]
        recipes += [tiny.recipe_folder(), deploy.recipe_folder()]
    files = [file for recipe in recipes for file in image_tools.files_under(recipe)]
    return image_tools.content_key(
        [release.image.model_dump_json(), release.title, release.family, debian.ARCHITECTURE, *resolved],
        [*files, *(Path(str(module.__file__)) for module in modules), Path(__file__)],
    )


def build_image(release: Release, progress: Progress = silent) -> Image:
    """The release's disk image, from the cache or built now.

    Raises:
        MissingMedia: the archive cannot be reached, a package does not exist, or a tool failed.
    """
    archive = Archive(release.image.suite)
    archive.refresh(progress)
    packages = release_packages(release)
    always = image_root.ALWAYS if release.image.made == "installed" else ()
    key = image_key(release, archive.resolve((*always, *packages)))

    def build(folder: Path) -> None:
        _build(folder, release, archive, packages, progress)

    folder = image_tools.cached("images", release.name or release.family, key, build, progress)
    facts = json.loads((folder / "image.json").read_text())
    return Image(
        path=folder / "image.raw.zst",
        digest=facts["digest"],
        compressed_size=facts["compressed_size"],
        raw_size=facts["raw_size"],
        packages=folder / "packages.tsv",
    )


def release_packages(release: Release) -> tuple[str, ...]:
    """Every package that the release names, once, in the order of its groups."""
    return tuple(dict.fromkeys(name for group in release.image.packages.values() for name in group))


def _build(
    folder: Path, release: Release, archive: Archive, packages: tuple[str, ...], progress: Progress
) -> None:
    root, disk, packed = folder / "root.ext4", folder / "image.raw", folder / "image.raw.zst"
    # The tree is built by a user namespace's root, who must be able to enter and write here.
    with (
        tempfile.TemporaryDirectory(prefix="lab-image-", ignore_cleanup_errors=True) as name,
        Heartbeat(progress, "installing packages") as heartbeat,
    ):
        work = Path(name)
        work.chmod(0o1777)
        made = tiny if release.image.made == "unpacked" else image_root
        boot = made.root_file_system(
            work, root, folder / "packages.tsv", release, archive, packages, heartbeat
        )
        heartbeat.step("writing the disk image")
        esp = work / "esp.img"
        disk_layout.fat_image(
            esp,
            {
                "EFI/BOOT/BOOTX64.EFI": boot / "shimx64.efi.signed",
                "EFI/BOOT/grubx64.efi": boot / "grubx64.efi.signed",
                "EFI/BOOT/mmx64.efi": boot / "mmx64.efi.signed",
                "EFI/debian/grub.cfg": recipe_folder() / "esp-grub.cfg",
            },
            disk_layout.ESP_BYTES,
            "LAB-EFI",
        )
        layout = disk_layout.write_disk(
            disk,
            root=root,
            esp=esp,
            boot=(boot / "boot.img").read_bytes(),
            core=(boot / "core.img").read_bytes(),
        )
        root.unlink()
        heartbeat.step("compressing the disk image")
        run(["zstd", "--quiet", "-T0", _ZSTD_LEVEL, "--rm", str(disk), "-o", str(packed)])
        facts = {
            "digest": image_tools.blake2b(packed),
            "compressed_size": packed.stat().st_size,
            "raw_size": layout.disk_bytes,
        }
    (folder / "image.json").write_text(json.dumps(facts, indent=1))
