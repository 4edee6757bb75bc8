"""One install from open to close. Image and deploy RAM OS are small files here; what serves them is real."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab import paths
from lab.deadline import Deadline
from lab.errors import ChecksumMismatch, ConfigError, InstallFailure, NoErasableDisk
from lab.machine import credentials as store
from lab.machine.credentials import Phase, Stamp
from lab.media import deploy as deploy_module
from lab.media import image as image_module
from lab.media import iso as iso_module
from lab.media.image import Image
from lab.media.install import Installation, as_shell, overlay, settings
from lab.rack.model import Disk, Rack, Server
from lab.release import Release, load_release
from tests.serving.rack_on_loopback import MAC, bench
from tests.serving.test_service import ask

IMAGE = b"whole disk"
DIGEST = hashlib.blake2b(IMAGE).hexdigest()


@dataclass
class Media:
    """What the builders would have made, and what they were asked for."""

    folder: Path
    iso_arguments: str = ""


@pytest.fixture
def release() -> Release:
    return load_release("kvm-debian12")


@pytest.fixture
def media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Media:
    made = Media(tmp_path / "media")
    made.folder.mkdir()
    for name, content in (("image", IMAGE), ("kernel", b"kernel"), ("initrd", b"initrd")):
        (made.folder / name).write_bytes(content)
    image = Image(made.folder / "image", DIGEST, len(IMAGE), 4096, made.folder / "packages.tsv")
    files = SimpleNamespace(kernel=made.folder / "kernel", initrd=made.folder / "initrd", digest="d")

    def write_iso(files: object, kernel_arguments: str, out: Path) -> None:
        made.iso_arguments = kernel_arguments
        out.write_bytes(b"iso")

    monkeypatch.setattr(image_module, "build_image", lambda release, progress: image)
    monkeypatch.setattr(deploy_module, "build_deploy", lambda progress: files)
    monkeypatch.setattr(iso_module, "deploy_iso", write_iso)
    return made


@pytest.fixture
def installation(tmp_path: Path, media: Media, release: Release) -> Iterator[Installation]:
    rack = bench(tmp_path)
    with Installation(rack, rack.servers[0], release) as opened:
        yield opened


def soon() -> Deadline:
    return Deadline.after(5, "the test's install")


def url_of(installation: Installation) -> str:
    return installation.kernel_arguments.split()[0].removeprefix("lab.url=")


def done(installation: Installation, serial: str = "D1", digest: str = DIGEST) -> None:
    assert ask(f"{url_of(installation)}/done", data=f"serial={serial}\ndigest={digest}\n".encode())[0] == 200


def test_the_whole_of_an_install_as_the_deploy_ram_os_sees_it(installation: Installation) -> None:
    url = url_of(installation)
    text = ask(f"{url}/install.env")[1].decode()
    told = dict(line.split("=", 1) for line in text.splitlines())
    assert told["SERVER"] == "'s1'"
    assert told["INSTALL_ID"] == f"'{installation.stamp.install_id}'"
    assert (told["TARGET_SERIAL"], told["TARGET_WWN"]) == ("'D1'", "''")
    assert told["ALLOWED"] == "'D1 0x5000c500a1b2c3d4'", "the second disk is never named"
    assert (told["IMAGE_DIGEST"], told["IMAGE_BYTES"]) == (f"'{DIGEST}'", f"'{len(IMAGE)}'")
    assert ask(f"{url}/image")[1] == IMAGE
    assert ask(f"{url}/kernel")[1] == b"kernel"
    assert f"lab.mac={MAC}" in installation.kernel_arguments
    done(installation)
    installation.wait_done(soon())
    kept = store.latest("bench", "s1")
    assert kept is not None
    assert (kept.stamp, kept.phase) == (installation.stamp, Phase.INSTALLED)


def test_the_settings_are_what_the_deploy_ram_os_reads(installation: Installation, tmp_path: Path) -> None:
    """The RAM OS's own reader, in a real shell, takes exactly what is served."""
    file = tmp_path / "install.env"
    file.write_bytes(ask(f"{url_of(installation)}/install.env")[1])
    reader = paths.firmware() / "deploy" / "arguments.sh"
    script = '. "$1"; read_settings "$2" && printf "%s|%s|%s" "$TARGET_SERIAL" "$ALLOWED" "$INSTALL_ID"'
    ran = subprocess.run(["sh", "-c", script, "sh", str(reader), str(file)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout == f"D1|D1 0x5000c500a1b2c3d4|{installation.stamp.install_id}"


@pytest.mark.parametrize("text", ["it's", 'a"b', "$(reboot)", "`x`", "a\\b", "a\nROOT='x"])
def test_what_needs_a_shell_is_never_served(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be told"):
        as_shell({"TARGET_SERIAL": text})


def test_the_clock_is_read_when_the_settings_are_fetched(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for now in (1_900_000_000.7, 1_900_000_100.2):
        monkeypatch.setattr("lab.media.install.time.time", lambda now=now: now)
        assert f"NOW='{int(now)}'".encode() in ask(f"{url_of(installation)}/install.env")[1]


def test_the_overlay_carries_keys_name_and_stamp_owned_by_root(installation: Installation) -> None:
    url = url_of(installation)
    ask(f"{url}/install.env")
    packed = ask(f"{url}/overlay.tar")[1]
    assert packed == overlay(installation.credentials), "the same bytes each time"
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        modes = {entry.name: entry.mode for entry in tar}
        assert {(entry.uid, entry.gid, entry.uname) for entry in tar} == {(0, 0, "root")}
        content = {entry.name: tar.extractfile(entry) for entry in tar if entry.isfile()}
        texts = {name: stream.read().decode() for name, stream in content.items() if stream is not None}
    assert modes["root/.ssh"] == 0o700
    assert modes["root/.ssh/authorized_keys"] == modes["etc/ssh/ssh_host_ed25519_key"] == 0o600
    assert texts["etc/hostname"] == "s1\n"
    assert Stamp.parse(texts["etc/lab/stamp.json"]) == installation.stamp
    assert texts["root/.ssh/authorized_keys"].strip() == installation.credentials.client_public_key
    assert texts["etc/ssh/ssh_host_ed25519_key"] == installation.credentials.host_key.read_text()
    client_secret = installation.credentials.client_key.read_text()
    assert client_secret not in texts.values(), "the lab's private key never leaves"


def test_the_iso_is_made_when_asked_for_and_gone_afterwards(
    media: Media, tmp_path: Path, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    rack = bench(tmp_path)
    with Installation(rack, rack.servers[0], release) as installation:
        assert not list(scratch.iterdir())
        url = installation.iso_url
        assert ask(url)[1] == b"iso"
        assert installation.iso_url == url
        assert media.iso_arguments == installation.kernel_arguments
        assert len(list(scratch.iterdir())) == 1
    assert not list(scratch.iterdir())
    with pytest.raises(ConnectionRefusedError):
        ask(url)


def test_an_install_that_never_began_is_forgotten(media: Media, tmp_path: Path, release: Release) -> None:
    rack = bench(tmp_path)
    with Installation(rack, rack.servers[0], release) as installation:
        ask(f"{url_of(installation)}/install.env")
        assert store.load(installation.stamp.install_id) is not None
    assert store.load(installation.stamp.install_id) is None


def test_an_install_that_broke_off_while_writing_is_remembered(
    media: Media, tmp_path: Path, release: Release
) -> None:
    rack = bench(tmp_path)
    with Installation(rack, rack.servers[0], release) as installation:
        ask(f"{url_of(installation)}/install.env")
        ask(f"{url_of(installation)}/image")
    found = store.latest("bench", "s1")
    assert found is not None
    assert (found.stamp, found.phase) == (installation.stamp, Phase.WRITING)


def test_a_damaged_image_is_refused_before_anything_is_served(
    tmp_path: Path, release: Release, media: Media
) -> None:
    rack = bench(tmp_path)
    (media.folder / "image").write_bytes(b"whole dusk")
    with pytest.raises(ChecksumMismatch) as error:
        Installation(rack, rack.servers[0], release).open()
    assert error.value.exit_code == 21
    assert "remove the folder" in error.value.next_step
    assert store.installs_of(rack.rack, rack.servers[0].name) == []


@pytest.mark.parametrize(("serial", "digest"), [("D2", DIGEST), ("D1", "6" * 128), ("", "")])
def test_done_with_another_disk_or_image_is_not_done(
    installation: Installation, serial: str, digest: str
) -> None:
    ask(f"{url_of(installation)}/install.env")
    ask(f"{url_of(installation)}/image")
    done(installation, serial, digest)
    with pytest.raises(InstallFailure, match="was asked for"):
        installation.wait_done(soon())
    assert installation.credentials.phase is Phase.WRITING


def test_only_a_disk_that_may_be_erased_is_installed_onto(
    media: Media, tmp_path: Path, release: Release
) -> None:
    rack = bench(tmp_path)
    one, two = rack.servers
    assert Installation(rack, one, release).disk.serial == "D1"
    for disk in (one.disks[1], Disk(serial="D1", erase=False), Disk(serial="ELSEWHERE", erase=True)):
        with pytest.raises(ConfigError, match="not one the lab may erase"):
            Installation(rack, one, release, disk)
    with pytest.raises(NoErasableDisk):
        Installation(rack, two, release)


def test_a_disk_known_by_wwn_alone_is_named_by_it(tmp_path: Path, release: Release) -> None:
    rack = bench(tmp_path)
    disk = rack.servers[0].disks[2]
    stamp = Stamp(rack="r", server="s1", release="k", release_digest="", image_digest="", disk=disk.name)
    told = settings(stamp, rack.servers[0], disk, release)
    assert (told["TARGET_SERIAL"], told["TARGET_WWN"]) == ("", "0x5000c500a1b2c3d4")


def test_two_servers_of_a_rack_get_ports_of_their_own(media: Media, tmp_path: Path, release: Release) -> None:
    with Installation(*_first(tmp_path, "{media_address: 127.0.0.1}"), release) as probe:
        port = probe.service.port
    rack, server = _first(tmp_path, f"{{media_address: 127.0.0.1, media_port: {port}}}")
    with Installation(rack, server, release) as installation:
        assert installation.service.port == port
        assert Installation(rack, server, release)._new_service().port == port
        assert f":{port}/" in installation.kernel_arguments
    second = rack.servers[1].model_copy(update={"disks": server.disks})
    assert Installation(rack, second, release, server.disks[0])._new_service().port == port + 1


def test_a_server_reaches_the_install_address_and_a_bmc_the_media_address(
    media: Media, tmp_path: Path, release: Release
) -> None:
    rack, server = _first(tmp_path, "{media_address: 127.0.0.1, install_address: 127.0.0.2}")
    with Installation(rack, server, release) as installation:
        assert installation.iso_url.startswith("http://127.0.0.1:")
        assert url_of(installation).startswith("http://127.0.0.2:")
        assert ask(f"{url_of(installation)}/kernel")[0] == 200
        assert ask(installation.iso_url)[0] == 200


_INTERRUPTED = """
import hashlib, sys, threading, time
from pathlib import Path
from types import SimpleNamespace
from lab.deadline import Deadline
from lab.media import deploy, image, iso
from lab.media.install import Installation
from lab.release import load_release
from tests.serving.rack_on_loopback import bench

where, folder = sys.argv[1], Path(sys.argv[2])
def here(name):
    if name == where:
        print("here", flush=True)
        time.sleep(30)
(folder / "f").write_bytes(b"f")
file = folder / "f"
built = image.Image(file, hashlib.blake2b(b"f").hexdigest(), 1, 1, folder / "packages.tsv")
image.build_image = lambda r, p: here("image") or built
deploy.build_deploy = lambda p: here("deploy") or SimpleNamespace(kernel=file, initrd=file)
def make(files, arguments, out):
    out.write_bytes(b"half an iso")
    here("iso")
iso.deploy_iso = make
rack = bench(folder)
try:
    with Installation(rack, rack.servers[0], load_release("kvm-debian12")) as installation:
        installation.iso_url
        here("open")
        print("here", flush=True)
        installation.wait_done(Deadline.after(30, "nothing"))
except KeyboardInterrupt:
    left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    print("left", left, flush=True)
"""


@pytest.mark.parametrize("where", ["image", "deploy", "iso", "open", "wait"])
def test_ctrl_c_leaves_no_thread_file_or_credential(where: str, tmp_path: Path, own_state: Path) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, where, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TMPDIR": str(scratch)},
    ) as process:
        guard = threading.Timer(20, process.kill)
        guard.start()
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "left []\n"
        assert process.wait(10) == 0
        guard.cancel()
    assert not list(scratch.iterdir())
    assert not list((paths.state() / "installs").glob("*"))


def _first(folder: Path, controller: str) -> tuple[Rack, Server]:
    rack = bench(folder, controller)
    return rack, rack.servers[0]
