"""From a release's packages to a root file system, by mmdebstrap and mke2fs.

Both run as root of a user namespace where the caller is an ordinary user (mmdebstrap's `unshare` mode,
which needs the package uidmap and a range in /etc/subuid), and as root where the caller is root.
Source: mmdebstrap(1), mke2fs(8), mke2fs.conf(5).
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import IO

import jinja2

from lab import paths
from lab.errors import MissingMedia
from lab.media import debian, disk_layout, image_tools
from lab.media.debian import Archive
from lab.media.image_tools import Heartbeat, link_or_copy, missing_tool, run, tool_environment
from lab.release import Release

SLACK_MIB = 64
"""Free space in the image; the deploy RAM OS grows the file system on the disk."""
ALWAYS = ("?essential", "apt")
"""What mmdebstrap's variant `apt` installs whatever is asked for."""
_STEPS = ("running apt-get", "downloading", "extracting", "installing", "creating tarball")
_ROOT_UUID = "1ab00000-0000-4000-8000-0000000000f5"


def recipe_folder() -> Path:
    """Where the files lie that set up an installed system."""
    return paths.firmware() / "image"


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
    # GRUB's language and fstab, not HTML.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)  # noqa: S701
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


def root_file_system(
    work: Path,
    root: Path,
    listing: Path,
    release: Release,
    archive: Archive,
    packages: tuple[str, ...],
    heartbeat: Heartbeat,
) -> Path:
    """Install the release's packages, write their tree to `root` as ext4 and the list of them to `listing`.

    Args:
        work: a scratch folder that a user namespace's root may enter and write to.

    Returns:
        A folder with the boot files of both firmwares: shim, signed GRUB, boot.img and core.img.

    Raises:
        MissingMedia: mmdebstrap, tar or mke2fs failed.
    """
    for file in ("finish.sh", "root_fs.sh", "mke2fs.conf"):
        shutil.copy(recipe_folder() / file, work / file)
    debs = work / "debs"
    debs.mkdir()
    heartbeat.step(f"downloading packages of {release.name}")
    for deb in archive.fetch((*ALWAYS, *packages)):
        link_or_copy(deb, debs / deb.name)
    (work / "overlay.tar").write_bytes(overlay_tar(release))
    (work / "sources.list").write_text(archive.sources_file.read_text())
    (work / "proxy.conf").write_text("\n".join([*debian.proxy_settings(), ""]))
    install = [
        *["mmdebstrap", "--variant=apt", f"--architectures={debian.ARCHITECTURE}", "--format=tar"],
        "--aptopt=APT::Install-Recommends false",
        f"--aptopt={work / 'proxy.conf'}",
        "--dpkgopt=force-unsafe-io",
        f"--include={','.join(packages)}",
        "--skip=download/empty",
        # Plain commands: of mmdebstrap's own copying hooks, one failed now and then while two builds ran.
        f'--setup-hook=mkdir -p "$1/var/cache/apt/archives" && cp {debs}/*.deb "$1/var/cache/apt/archives"',
        f'--essential-hook=tar -x -f {work / "overlay.tar"} -C "$1"',
        f"--customize-hook={work / 'finish.sh'}",
        f'--customize-hook=mv "$1/lab-packages.tsv" {work / "packages.tsv"}',
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
    shutil.copyfile(work / "packages.tsv", listing)
    boot = work / "boot"
    boot.mkdir()
    _dump(root, boot)
    return boot


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


def _pipe(
    first: list[str], second: list[str], output: IO[bytes], env: dict[str, str], heartbeat: Heartbeat
) -> None:
    """Run `first | second > output`; mmdebstrap's own steps become progress."""
    said: list[str] = []

    def listen(stream: IO[bytes]) -> None:
        for line in stream:
            text = line.decode(errors="replace").strip()
            said.append(text)
            step = text.removeprefix("I: ")
            if step.startswith(_STEPS):
                heartbeat.step(step.rstrip("."))

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
        for process in (source, sink):
            process.terminate()
            process.wait()
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
