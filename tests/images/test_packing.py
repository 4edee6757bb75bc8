"""Archives, keys and caches that images are made with."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import MissingMedia
from lab.media import debian, deploy, disk_layout, image, image_root, image_tools, iso, tiny
from lab.media.debian import Package
from lab.media.image_cpio import Cpio
from lab.progress import silent
from lab.release import Release, load_release

SIMULATION = """NOTE: This is only a simulation!
Inst gcc-12-base (12.2.0-14+deb12u1 Debian:12.11/stable [amd64])
Inst libc6 [2.36-9] (2.36-9+deb12u10 Debian:12.11/stable, Debian-Security:12/stable-security [amd64]) []
Inst tzdata (2025b-0+deb12u1 Debian:12.11/stable [all])
Conf gcc-12-base (12.2.0-14+deb12u1 Debian:12.11/stable [amd64])
"""


def xen() -> Release:
    return load_release("xen-4.17-debian12")


def test_what_apt_would_install_is_read() -> None:
    assert debian.parse_simulation(SIMULATION) == (
        Package("gcc-12-base", "12.2.0-14+deb12u1", "amd64"),
        Package("libc6", "2.36-9+deb12u10", "amd64"),
        Package("tzdata", "2025b-0+deb12u1", "all"),
    )


def test_an_epoch_is_written_as_apt_writes_it() -> None:
    assert Package("shim", "1:2-3", "amd64").file_name == "shim_1%3a2-3_amd64.deb"


def test_sources_of_a_suite_come_from_the_mirror_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(debian.MIRROR_VARIABLE, "http://mirror.example/debian")
    (line,) = debian.sources("bookworm")
    assert line.endswith("http://mirror.example/debian bookworm main")


def test_a_controller_without_such_a_suite_is_told_what_to_do() -> None:
    with pytest.raises(MissingMedia, match="no apt source for Debian no-such-suite") as caught:
        debian.sources("no-such-suite")
    assert debian.MIRROR_VARIABLE in caught.value.next_step


def test_key_is_stable_and_changes_with_everything_that_goes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    release, packages = xen(), (Package("a", "1", "amd64"),)
    key = image.image_key(release, packages)
    assert image.image_key(xen(), packages) == key
    others = [image.image_key(release, (Package("a", "2", "amd64"),))]
    changed = release.image.model_copy(update={"kernel_arguments": ("console=ttyS1",)})
    others.append(image.image_key(release.model_copy(update={"image": changed}), packages))
    others.append(image.image_key(load_release("kvm-debian12"), packages))
    assert len({key, *others}) == 4


def test_key_changes_with_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "finish.sh"
    recipe.write_text("true\n")
    before = image_tools.content_key(["x"], [recipe])
    recipe.write_text("false\n")
    assert image_tools.content_key(["x"], [recipe]) != before


def test_key_of_code_is_its_meaning_not_its_layout(tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text("x = [1, 2]\n")
    before = image_tools.content_key([], [code])
    code.write_text("# why\nx = [\n    1,\n    2,\n]\n")
    assert image_tools.content_key([], [code]) == before
    code.write_text("x = [1, 3]\n")
    assert image_tools.content_key([], [code]) != before


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.usefixtures("own_cache")
def test_two_builds_of_one_thing_build_it_once() -> None:
    built: list[Path] = []
    first_is_in = threading.Event()

    def build(folder: Path) -> None:
        built.append(folder)
        first_is_in.set()
        (folder / "made").write_text("yes")

    def ask() -> None:
        assert (image_tools.cached("images", "thing", "key", build, silent) / "made").read_text() == "yes"

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert first_is_in.is_set()
    assert len(built) == 1


def test_a_build_that_failed_leaves_nothing_behind(own_cache: Path) -> None:
    def broken(folder: Path) -> None:
        (folder / "half").write_text("")
        raise MissingMedia("no", next_step="none")

    with pytest.raises(MissingMedia):
        image_tools.cached("images", "thing", "key", broken, silent)
    assert [entry.name for entry in own_cache.rglob("*") if entry.is_dir() and "thing" in entry.name] == []


def test_a_tool_that_fails_is_quoted() -> None:
    with pytest.raises(MissingMedia, match=r"sh failed \(exit 3\): sad"):
        image_tools.run(["sh", "-c", "echo sad >&2; exit 3"])


def test_a_missing_tool_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_tools, "_PATH", "/nowhere")
    with pytest.raises(MissingMedia) as caught:
        image_tools.run(["mcopy"])
    assert "mtools" in caught.value.next_step


def test_long_work_is_never_silent_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_tools, "HEARTBEAT_SECONDS", 0.02)
    said: list[str] = []
    twice = threading.Event()

    def hear(text: str) -> None:
        said.append(text)
        if len(said) > 2:
            twice.set()

    with image_tools.Heartbeat(hear, "unpacking"):
        assert twice.wait(10)
    assert said[0] == "unpacking"
    assert said[1].startswith("unpacking (")


@settings(deadline=None, max_examples=25)  # each example starts a program
@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}){0,2}x", fullmatch=True), st.binary(max_size=40))
)
def test_cpio_reads_back(files: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    cpio = Cpio(buffer)
    for name, content in files.items():
        cpio.file(f"d/{name}.f", content)
    cpio.close()
    shown = subprocess.run(
        ["busybox", "cpio", "-t"], input=buffer.getvalue(), capture_output=True, check=True
    )
    listed = shown.stdout.decode().split()
    assert {f"d/{name}.f" for name in files} == {name for name in listed if name.endswith(".f")}
    assert len(listed) == len(set(listed)), "a folder stands once"
    assert all(content in buffer.getvalue() for content in files.values())


def test_overlay_belongs_to_root_and_holds_no_secret() -> None:
    with tarfile.open(fileobj=io.BytesIO(image_root.overlay_tar(xen()))) as tar:
        entries = tar.getmembers()
        names = {entry.name for entry in entries}
        fstab = tar.extractfile("etc/fstab")
        assert fstab is not None
        assert (
            fstab.read()
            .decode()
            .splitlines()[1]
            .startswith("PARTUUID=1ab00000-0000-4000-8000-000000000003\t/\t")
        )
    assert all((entry.uid, entry.gid) == (0, 0) for entry in entries)
    assert not [name for name in names if "ssh_host" in name or "authorized_keys" in name]


@pytest.mark.parametrize("name", ["xen-4.17-debian12", "kvm-debian12"])
def test_boot_menu_carries_the_releases_arguments(name: str) -> None:
    release = load_release(name)
    with tarfile.open(fileobj=io.BytesIO(image_root.overlay_tar(release))) as tar:
        member = tar.extractfile("boot/grub/grub.cfg")
        assert member is not None
        config = member.read().decode()
    assert "serial --unit=0 --speed=115200" in config
    assert " ".join(release.image.kernel_arguments) in config
    assert ("multiboot2 /boot/" in config) is (release.family == "xen")
    assert " ".join(release.image.hypervisor_arguments) in config


def test_a_system_that_runs_from_memory_names_its_partition_and_can_start() -> None:
    release = load_release("tiny-linux")
    config = tiny.grub_config(release, "6.1.0-1-amd64").decode()
    assert f"root=PARTUUID={disk_layout.ROOT_PARTUUID} {' '.join(release.image.kernel_arguments)}" in config
    assert "echo 'Loading Linux 6.1.0-1-amd64 ...'" in config
    for name in ("init", "start.sh"):  # the kernel, and init, start these two as programs
        assert os.access(tiny.recipe_folder() / name, os.X_OK)
    key = image.image_key(release, ())
    assert key != image.image_key(release.model_copy(update={"title": "another"}), ())


def test_modules_bring_what_they_need() -> None:
    depends = deploy.parse_depends(
        "kernel/net/a.ko: kernel/lib/b.ko kernel/lib/c.ko\nkernel/lib/b.ko:\nkernel/lib/c.ko:\n"
    )
    assert deploy.with_depends(depends, ["net"]) == ["kernel/lib/b.ko", "kernel/lib/c.ko", "kernel/net/a.ko"]
    with pytest.raises(MissingMedia, match="no module net/b"):
        deploy.with_depends(depends, ["net/b"])


def test_the_installs_address_is_kept_off_the_kernels_command_line() -> None:
    public, private = iso.split_arguments("lab.url=http://x/secret console=ttyS0 lab.mac=aa panic=10")
    assert public == "console=ttyS0 panic=10"
    assert private == "lab.url=http://x/secret lab.mac=aa"
    assert b"secret" in iso.arguments_archive(private)
