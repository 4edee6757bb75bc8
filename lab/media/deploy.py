"""Build the deploy RAM OS: Debian's signed kernel and one small initrd that writes an image to a disk.

The packages are unpacked, not installed: no root, no chroot, no scripts of theirs run. What goes in is
listed in `firmware/deploy/`, and what it does is written there as shell.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import paths
from lab.errors import MissingMedia
from lab.media import debian, disk_layout, image_cpio, image_tools
from lab.media.debian import Archive
from lab.media.image_cpio import Cpio
from lab.media.image_tools import Heartbeat, missing_tool, run
from lab.progress import Progress, silent

SUITE = "bookworm"
_ZSTD_LEVEL = "-12"
_MODULE_ZSTD_LEVEL = "-17"
_SHELL_PARTS = "*.sh"
_BIOS_MODULES = (
    *("biosdisk", "iso9660", "part_gpt", "part_msdos", "all_video", "serial", "terminal"),
    *("normal", "configfile", "search", "test", "echo", "linux", "halt", "reboot"),
)
_EFI_IMAGE_BYTES = 6 * disk_layout.MEBIBYTE
MARKER = "lab/deploy-medium"
"""A file on every medium of ours, by which GRUB finds the medium it was loaded from."""


@dataclass(frozen=True)
class DeployFiles:
    """What a medium or a PXE answer is made of.

    Attributes:
        folder: where the built files lie.
        kernel: Debian's signed kernel.
        initrd: the deploy RAM OS.
        digest: BLAKE2b-512 of the initrd, hexadecimal.
    """

    folder: Path
    kernel: Path
    initrd: Path
    digest: str

    @property
    def efi_image(self) -> Path:
        """FAT image with signed shim and GRUB, for El Torito."""
        return self.folder / "efi.img"

    @property
    def bios_loader(self) -> Path:
        """GRUB for BIOS, El Torito form."""
        return self.folder / "eltorito.img"

    @property
    def hybrid_sector(self) -> Path:
        """GRUB's boot sector for a medium that is plugged in as a disk."""
        return self.folder / "boot_hybrid.img"

    @property
    def shim(self) -> Path:
        """Signed first stage for UEFI network boot."""
        return self.folder / "shimx64.efi"

    @property
    def network_grub(self) -> Path:
        """Signed GRUB for UEFI network boot."""
        return self.folder / "grubnetx64.efi"


def recipe_folder() -> Path:
    """Where the deploy RAM OS is described."""
    return paths.firmware() / "deploy"


def recipe_lines(file: Path) -> list[str]:
    """The lines of a recipe list, without comments and blanks."""
    lines = (line.strip() for line in file.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def build_deploy(progress: Progress = silent) -> DeployFiles:
    """The deploy RAM OS, from the cache or built now.

    Raises:
        MissingMedia: the archive cannot be reached, or a tool failed.
    """
    recipe = recipe_folder()
    archive = Archive(SUITE)
    archive.refresh(progress)
    packages = tuple(recipe_lines(recipe / "packages.txt"))
    code = [Path(str(module.__file__)) for module in (debian, disk_layout, image_cpio, image_tools)] + [
        Path(__file__)
    ]
    key = image_tools.content_key(archive.resolve(packages), [*image_tools.files_under(recipe), *code])

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="lab-deploy-") as name:
            tree = Path(name)
            archive.unpack(packages, tree, progress)
            with Heartbeat(progress, "building the deploy RAM OS"):
                _build(folder, tree)

    folder = image_tools.cached("deploy", "deploy", key, build, progress)
    facts = json.loads((folder / "deploy.json").read_text())
    return DeployFiles(folder, folder / "kernel", folder / "initrd", facts["digest"])


def _build(folder: Path, tree: Path) -> None:
    kernel = kernel_version(tree)
    shutil.copy(tree / "boot" / f"vmlinuz-{kernel}", folder / "kernel")
    write_initrd(folder / "initrd", tree, kernel, recipe_folder(), sorted(recipe_folder().glob(_SHELL_PARTS)))
    _boot_files(folder, tree)
    facts = {"kernel": kernel, "digest": image_tools.blake2b(folder / "initrd")}
    (folder / "deploy.json").write_text(json.dumps(facts, indent=1))


def kernel_version(tree: Path) -> str:
    """The one kernel in an unpacked tree."""
    found = sorted(path.name for path in (tree / "lib/modules").iterdir())
    if len(found) != 1:
        raise MissingMedia(
            f"expected one kernel, found {found}", next_step="mend firmware/deploy/packages.txt"
        )
    return found[0]


def write_initrd(
    initrd: Path,
    tree: Path,
    kernel: str,
    recipe: Path,
    parts: Iterable[Path],
    fill: Callable[[Cpio], None] | None = None,
) -> None:
    """A zstd-compressed initramfs: busybox, `recipe`'s programs, modules and `init`, and shell parts.

    Args:
        initrd: the file to write.
        tree: the unpacked packages.
        kernel: the version of the kernel among them.
        recipe: a folder with `programs.txt`, `modules.txt` and `init`.
        parts: what goes to `/lib/lab`.
        fill: adds whatever else belongs in it.

    Raises:
        MissingMedia: zstd failed, or a list names what is not there.
    """
    with initrd.open("wb") as output, _zstd(output) as packer:
        if packer.stdin is None:
            raise RuntimeError("a pipe that was asked for is not there")
        cpio = Cpio(packer.stdin)  # type: ignore[arg-type]
        for folder in ("dev", "proc", "sys", "run", "tmp", "mnt", "etc", "lab"):
            cpio.folder(folder)
        add_busybox(cpio, tree)
        _add_programs(cpio, tree, recipe_lines(recipe / "programs.txt"))
        _add_modules(cpio, tree, kernel, recipe_lines(recipe / "modules.txt"))
        cpio.copy(recipe / "init", "init")
        for part in parts:
            cpio.file(f"lib/lab/{part.name}", part.read_bytes(), 0o755)
        if fill is not None:
            fill(cpio)
        cpio.close()
        packer.stdin.close()
        if packer.wait() != 0:
            raise MissingMedia("zstd failed", next_step="check the space on the cache's file system")


def add_busybox(cpio: Cpio, tree: Path) -> None:
    """Debian's static busybox, with a link for each of its applets."""
    busybox = tree / "bin/busybox"
    cpio.copy(busybox, "bin/busybox")
    for applet in run([str(busybox), "--list"]).split():
        if applet not in ("busybox", "init", "modprobe", "dd"):
            cpio.link(f"bin/{applet}", "busybox")


def _zstd(output: object) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(["zstd", "--quiet", "-T0", _ZSTD_LEVEL], stdin=subprocess.PIPE, stdout=output)  # type: ignore[call-overload, no-any-return]
    except FileNotFoundError as error:
        raise missing_tool("zstd") from error


def _add_programs(cpio: Cpio, tree: Path, lines: list[str]) -> None:
    """Programs go to /sbin under their own name (or the one given); libraries keep their folder."""
    wanted: dict[str, Path] = {}
    for line in lines:
        source, _, name = line.partition(" ")
        program = tree / source.lstrip("/")
        cpio.copy(program, name.lstrip("/") if name else f"sbin/{program.name}")
        for library in debian.libraries(tree, program):
            wanted[str(library.relative_to(tree))] = library
    for name, library in sorted(wanted.items()):
        cpio.copy(library, name)
    loader = tree / "lib64/ld-linux-x86-64.so.2"
    cpio.copy(loader, "lib64/ld-linux-x86-64.so.2")


def _add_modules(cpio: Cpio, tree: Path, kernel: str, lines: list[str]) -> None:
    modules = tree / "lib/modules" / kernel
    _depmod(tree, tree, kernel)
    depends = parse_depends((modules / "modules.dep").read_text())
    chosen = with_depends(depends, lines)
    with tempfile.TemporaryDirectory(prefix="lab-modules-") as name:
        small = Path(name) / "lib/modules" / kernel
        for module in chosen:
            (small / module).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(modules / module, small / module)
        # Each by itself, so that only what a machine needs is ever unpacked there; modprobe reads both.
        _compress([small / module for module in chosen])
        for listing in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
            shutil.copy(modules / listing, small / listing)
        _depmod(tree, Path(name), kernel)
        for file in image_tools.files_under(small):
            if file.with_name(f"{file.name}.bin").exists():
                continue  # modprobe reads the index alone
            cpio.copy(file, str(Path("lib/modules") / kernel / file.relative_to(small)))


def _compress(files: list[Path]) -> None:
    run(["zstd", "--quiet", "--rm", "-T0", _MODULE_ZSTD_LEVEL, *(str(file) for file in files)])


def _depmod(tree: Path, base: Path, kernel: str) -> None:
    debian.run_in_tree(tree, "bin/kmod", "--basedir", str(base), kernel, called="depmod")


def parse_depends(text: str) -> dict[str, tuple[str, ...]]:
    """modules.dep: each module with those it needs."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {module: tuple(needs.split()) for module, needs in pairs}


def with_depends(depends: dict[str, tuple[str, ...]], lines: list[str]) -> list[str]:
    """The modules that the recipe's folders and files name, and all that they need, sorted.

    Raises:
        MissingMedia: a line of the recipe names nothing.
    """
    chosen: set[str] = set()
    for line in lines:
        named = set(_named(depends, f"kernel/{line}"))
        if not named:
            raise MissingMedia(
                f"this kernel has no module {line}", next_step="mend firmware/deploy/modules.txt"
            )
        chosen |= named
    return sorted(chosen | {need for module in chosen for need in depends[module]})


def _named(depends: dict[str, tuple[str, ...]], path: str) -> Iterator[str]:
    return (module for module in depends if module == path or module.startswith(f"{path}/"))


def _boot_files(folder: Path, tree: Path) -> None:
    signed = tree / "usr/lib/grub/x86_64-efi-signed"
    bios = tree / "usr/lib/grub/i386-pc"
    shutil.copy(tree / "usr/lib/shim/shimx64.efi.signed", folder / "shimx64.efi")
    shutil.copy(signed / "grubnetx64.efi.signed", folder / "grubnetx64.efi")
    shutil.copy(bios / "boot_hybrid.img", folder / "boot_hybrid.img")
    find = f"search --no-floppy --set=root --file /{MARKER}\nset prefix=($root)/boot/grub\n"
    early = folder / "early.cfg"
    early.write_text(f"{find}configfile /boot/grub/grub.cfg\n")
    disk_layout.fat_image(
        folder / "efi.img",
        {
            "EFI/BOOT/BOOTX64.EFI": folder / "shimx64.efi",
            "EFI/BOOT/grubx64.efi": signed / "grubx64.efi.signed",
            "EFI/debian/grub.cfg": early,
        },
        _EFI_IMAGE_BYTES,
        "LAB-DEPLOY",
    )
    arguments = ["-O", "i386-pc-eltorito", "-d", str(bios), "-p", "/boot/grub", "-c", str(early)]
    debian.run_in_tree(
        tree, "usr/bin/grub-mkimage", *arguments, "-o", str(folder / "eltorito.img"), *_BIOS_MODULES
    )
