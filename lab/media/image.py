"""Build the disk image of a release from Debian packages: unprivileged, cached by what went in.

mmdebstrap installs the packages (as root of a user namespace, or as root where the caller is),
`firmware/image/` says how the system is set up, mke2fs makes a file system of the tree, and
`disk_layout` puts a partition table and GRUB for both firmwares around it.
Source: mmdebstrap(1), mke2fs(8); facts, xen-kvm-debian.md §2-§4, §7.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import jinja2

from lab import paths
from lab.errors import MissingMedia
from lab.media import debian, disk_layout, image_tools
from lab.media.debian import Archive
from lab.media.image_tools import Heartbeat, missing_tool, run, tool_environment
from lab.progress import Progress, silent
from lab.release import Release

SLACK_MIB = 64
_ROOT_UUID = "1ab00000-0000-4000-8000-0000000000f5"
_ZSTD_LEVEL = "-6"
_ALWAYS = ("?essential", "apt")
"""What mmdebstrap's variant `apt` installs whatever is asked for."""


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


def recipe_folder() -> Path:
    """Where the files lie that set up an installed system."""
    return paths.firmware() / "image"


def image_key(release: Release, resolved: tuple[debian.Package, ...]) -> str:
    """The cache key: release data, recipe, builder code, and every package version that apt resolves."""
    code = [Path(str(module.__file__)) for module in (debian, disk_layout, image_tools)] + [Path(__file__)]
    return image_tools.content_key(
        [release.image.model_dump_json(), release.title, release.family, debian.ARCHITECTURE, *resolved],
        [*image_tools.files_under(recipe_folder()), *code],
    )


def build_image(release: Release, progress: Progress = silent) -> Image:
    """The release's disk image, from the cache or built now.

    Raises:
        MissingMedia: the archive cannot be reached, a package does not exist, or a tool failed.
    """
    archive = Archive(release.image.suite)
    archive.refresh(progress)
    packages = release_packages(release)
    key = image_key(release, archive.resolve((*_ALWAYS, *packages)))

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


def overlay_tar(release: Release) -> bytes:
    """The lab's own files for the installed system, owned by root, as a tar archive."""
    recipe = recipe_folder()
    rendered = {
        "etc/fstab": _render("fstab.j2", release),
        "boot/grub/grub.cfg": _render("grub.cfg.j2", release),
    }
    for file in image_tools.files_under(recipe / "overlay"):
        rendered[str(file.relative_to(recipe / "overlay"))] = file.read_bytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in sorted(rendered.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _render(template: str, release: Release) -> bytes:
    source = (recipe_folder() / template).read_text()
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )  # noqa: S701 (GRUB and fstab, not HTML)
    return (
        environment.from_string(source)
        .render(
            title=release.title,
            hypervisor=release.family == "xen",
            kernel_arguments=release.image.kernel_arguments,
            hypervisor_arguments=release.image.hypervisor_arguments,
            root_partuuid=disk_layout.ROOT_PARTUUID,
            esp_partuuid=disk_layout.ESP_PARTUUID,
        )
        .encode()
    )


def _build(
    folder: Path, release: Release, archive: Archive, packages: tuple[str, ...], progress: Progress
) -> None:
    archive.fetch((*_ALWAYS, *packages), progress)
    root, disk, packed = folder / "root.ext4", folder / "image.raw", folder / "image.raw.zst"
    # The tree is built by another user id (a user namespace's root), who must be able to enter and write here.
    with (
        tempfile.TemporaryDirectory(prefix="lab-image-") as name,
        Heartbeat(progress, "installing packages") as heartbeat,
    ):
        work = Path(name)
        work.chmod(0o1777)
        _root_file_system(work, root, folder / "packages.tsv", release, archive, packages, heartbeat)
        heartbeat.step("writing the disk image")
        boot = work / "boot"
        boot.mkdir()
        _dump(root, boot)
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


def _root_file_system(
    work: Path,
    root: Path,
    listing: Path,
    release: Release,
    archive: Archive,
    packages: tuple[str, ...],
    heartbeat: Heartbeat,
) -> None:
    for file in (
        recipe_folder() / "finish.sh",
        recipe_folder() / "root_fs.sh",
        recipe_folder() / "mke2fs.conf",
    ):
        shutil.copy(file, work / file.name)
    (work / "overlay.tar").write_bytes(overlay_tar(release))
    (work / "sources.list").write_text(archive.sources_file.read_text())
    (work / "proxy.conf").write_text("\n".join([*debian.proxy_settings(), ""]))
    install = [
        *["mmdebstrap", "--variant=apt", f"--architectures={debian.ARCHITECTURE}", "--format=tar"],
        *[
            "--aptopt=APT::Install-Recommends false",
            f"--aptopt={work / 'proxy.conf'}",
            "--dpkgopt=force-unsafe-io",
        ],
        f"--include={','.join(packages)}",
        "--skip=download/empty",
        '--setup-hook=mkdir -p "$1/var/cache/apt/archives"',
        f"--setup-hook=sync-in {archive.folder / 'archives'} /var/cache/apt/archives",
        f"--essential-hook=tar-in {work / 'overlay.tar'} /",
        f"--customize-hook={work / 'finish.sh'}",
        f"--customize-hook=download /lab-packages.tsv {listing}",
        '--customize-hook=rm "$1/lab-packages.tsv"',
        *[release.image.suite, "-", str(work / "sources.list")],
    ]
    pack = ["sh", str(work / "root_fs.sh")]
    if os.getuid() != 0:
        pack = ["mmdebstrap", "--unshare-helper", *pack]
    env = {
        "TMPDIR": str(work),
        "SOURCE_DATE_EPOCH": _source_date(archive),
        "SERVICES_OFF": " ".join(release.image.services_off),
        "SLACK_MIB": str(SLACK_MIB),
        "ROOT_UUID": _ROOT_UUID,
        "MKE2FS_CONFIG": str(work / "mke2fs.conf"),
    }
    with root.open("wb") as output:
        _pipe(install, pack, output, tool_environment(env), heartbeat)


def _pipe(
    first: list[str], second: list[str], output: IO[bytes], env: dict[str, str], heartbeat: Heartbeat
) -> None:
    """Run `first | second > output`; mmdebstrap's own steps become progress."""
    said: list[str] = []

    def listen(stream: IO[bytes]) -> None:
        for line in stream:
            text = line.decode(errors="replace").strip()
            said.append(text)
            if text.startswith("I: ") and " hook" not in text:
                heartbeat.step(text.removeprefix("I: "))

    try:
        source = subprocess.Popen(first, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    except FileNotFoundError as error:
        raise missing_tool(first[0]) from error
    sink = subprocess.Popen(second, stdin=source.stdout, stdout=output, stderr=subprocess.PIPE, env=env)
    if source.stdout is None or source.stderr is None or sink.stderr is None:
        raise RuntimeError("a pipe that was asked for is not there")
    source.stdout.close()  # so that the source notices when the sink ends
    listeners = [
        threading.Thread(target=listen, args=(stream,), daemon=True)
        for stream in (source.stderr, sink.stderr)
    ]
    for thread in listeners:
        thread.start()
    try:
        codes = (source.wait(), sink.wait())
    except BaseException:
        source.terminate()
        sink.terminate()
        raise
    for thread in listeners:
        thread.join()
    if any(codes):
        complaints = [line for line in said if line.startswith(("E:", "mke2fs", "tar:"))] or said
        raise MissingMedia(
            f"the image could not be built: {' | '.join(complaints[-6:])}",
            tried=" ".join(first),
            next_step="read the complaint; a missing package or an unreachable mirror is the commonest cause",
        )


def _source_date(archive: Archive) -> str:
    """Seconds of the newest package list: the same packages give the same time stamps."""
    return str(int(max(file.stat().st_mtime for file in (archive.folder / "lists").glob("*Release"))))


def _dump(root: Path, folder: Path) -> None:
    """Copy the boot files out of a file system image, without mounting it."""
    for name in (
        "/usr/lib/shim/shimx64.efi.signed",
        "/usr/lib/shim/mmx64.efi.signed",
        "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
        "/boot/grub/i386-pc/boot.img",
        "/boot/grub/i386-pc/core.img",
    ):
        target = folder / Path(name).name
        run(["debugfs", "-R", f"dump {name} {target}", str(root)])
        if not target.is_file() or not target.stat().st_size:
            raise MissingMedia(
                f"the image has no {name}", next_step="add its package to the release's group 'boot'"
            )
