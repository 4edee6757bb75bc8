from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab import paths
from lab.errors import ConfigError, LabFault
from lab.media import pxe as pxe_module
from lab.media.pxe import pxe
from lab.rack.load import load_rack
from tests.serving.rack_on_loopback import bench


def _namespaces() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    cable = ["ip", "link", "add", "lab0", "type", "veth", "peer", "name", "srv0"]
    return subprocess.run(["unshare", "-Urnm", *cable], capture_output=True).returncode == 0


needs_wire = pytest.mark.skipif(
    not _namespaces() or shutil.which("dnsmasq", path="/usr/sbin:/usr/bin") is None,
    reason="needs unprivileged network namespaces, iproute2 and dnsmasq-base",
)


def on_a_wire(
    scenario: str, scratch: Path, *more: str, module: str = "pxe_wire", timeout_s: float = 60
) -> dict[str, Any]:
    ran = subprocess.run(
        ["unshare", "-Urnm", sys.executable, "-m", f"tests.serving.{module}", scenario, *more, str(scratch)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=Path(__file__).parents[2],
    )
    assert ran.returncode == 0, ran.stderr
    seen: dict[str, Any] = json.loads(ran.stdout)
    return seen


@needs_wire
@pytest.mark.parametrize("scenario", ["range", "proxy"])
def test_only_the_leased_mac_is_answered_on_the_named_interface_while_it_installs(
    scenario: str, tmp_path: Path
) -> None:
    seen = on_a_wire(scenario, tmp_path)
    assert seen["running"] == 1
    assert seen["bios"]["boot_file"] == "undionly.kpxe"
    assert seen["ipxe"]["boot_file"] == "boot.ipxe"
    given = seen["bios"]["address"] == "10.77.0.100"
    assert given == (scenario == "range"), "a proxy gives no address"
    for uefi in (seen["uefi"], seen["uefi 9"]):
        # A proxy names itself; the boot file follows on port 4011 (the nightly test boots a real UEFI by it).
        assert (uefi["boot_file"], uefi["server"]) == (
            "netboot.efi" if scenario == "range" else "",
            "10.77.0.1",
        )
    assert not {3, 6} & set(seen["bios"]["options"]), "no router, no name server of ours"
    assert seen["stranger"] is None
    assert seen["second port"] is None
    assert seen["other interface"] is None
    assert (seen["script"], seen["grub"]) == ("#!ipxe\n", "set timeout=0")
    assert seen["nothing"].startswith("error: ")
    assert seen["stranger's script"].startswith("error: ")
    assert "PXE: sent boot.ipxe" in seen["said"]
    assert (seen["after"], seen["script after"], seen["running after"]) == (None, None, 0)


@needs_wire
def test_two_servers_install_at_once_on_one_interface(tmp_path: Path) -> None:
    assert on_a_wire("two", tmp_path) == {
        "addresses": ["10.77.0.100", "10.77.0.101"],
        "one": "one",
        "two": "two",
        "running after": 0,
    }


@needs_wire
def test_pxe_does_not_outlive_a_lab_that_is_killed(tmp_path: Path) -> None:
    assert on_a_wire("killed", tmp_path) == {"running": 1, "running after": 0}


@needs_wire
@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="needs QEMU")
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
@pytest.mark.parametrize("addresses", ["range", "proxy"])
def test_a_real_firmware_boots_the_deploy_ram_os_by_pxe(
    firmware: str, addresses: str, tmp_path: Path
) -> None:
    """The server has no disk, so it must come up, fetch its settings, and refuse; nothing is installed."""
    seen = on_a_wire(firmware, tmp_path, addresses, module="pxe_boot", timeout_s=600)
    assert seen["failure"] == ["DiskNotFound", "the deploy RAM OS refused: no disk with serial D1"], seen[
        "console"
    ]
    assert "install.env" in seen["fetched"]
    assert "image" not in seen["fetched"]
    assert not seen["secret on console"]


@pytest.mark.parametrize(
    ("controller", "message"),
    [
        ("{media_address: 127.0.0.1}", "names no interface for PXE"),
        ("{media_address: 127.0.0.1, pxe_interface: nosuch0}", "nosuch0 is not an interface"),
        ("{media_address: 127.0.0.1, pxe_interface: lo, pxe_range: 10.9.9.1-10.9.9.9}", "no address on lo"),
        ("{media_address: 127.0.0.1, pxe_interface: lo, pxe_range: 127.0.0.1-127.0.0.9}", "no address on lo"),
    ],
)
def test_nothing_starts_that_the_rack_file_does_not_name(
    controller: str, message: str, tmp_path: Path
) -> None:
    rack = bench(tmp_path, controller)
    with pytest.raises(ConfigError, match=message) as error, pxe(rack, rack.servers[0], lambda folder: None):
        pass
    assert error.value.server == "s1"
    assert "pxe_interface" in str(error.value) or "range" in error.value.next_step
    assert not [child.name() for child in psutil.Process().children() if child.name() == "dnsmasq"]


def test_a_range_too_short_for_the_rack_is_refused(tmp_path: Path) -> None:
    controller = "{media_address: 127.0.0.1, pxe_interface: lo, pxe_range: 127.0.0.9-127.0.0.9}"
    rack = bench(tmp_path, controller)
    with pytest.raises(ConfigError, match="for this server"), pxe(rack, rack.servers[1], lambda folder: None):
        pass


@pytest.mark.parametrize("text", ["10.0.0.9", "10.0.0.9-10.0.0.1", "a-b", "10.0.0.1-::1", ""])
def test_a_range_that_is_none_is_refused_by_the_rack_file(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pxe_range"):
        bench(tmp_path, f'{{media_address: 127.0.0.1, pxe_range: "{text}"}}')


def test_missing_programs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rack = bench(tmp_path, "{media_address: 127.0.0.1, pxe_interface: lo}")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with (
        pytest.raises(LabFault, match="dnsmasq is not installed") as fault,
        pxe(rack, rack.servers[0], lambda _: None),
    ):
        pass
    assert "dnsmasq-base" in fault.value.next_step


def test_a_dnsmasq_that_does_not_start_leaves_no_boot_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rack = bench(tmp_path, "{media_address: 127.0.0.1, pxe_interface: lo}")
    broken = tmp_path / "dnsmasq"
    broken.write_text(
        "#!/bin/sh\necho 'dnsmasq: failed to bind DHCP server socket: Permission denied' >&2\nexit 2\n"
    )
    broken.chmod(0o755)
    monkeypatch.setattr(pxe_module, "_find_dnsmasq", lambda server: str(broken))
    monkeypatch.setattr(pxe_module, "_tftp_home", lambda: tmp_path)
    with (
        pytest.raises(LabFault, match="failed to bind DHCP server socket"),
        pxe(rack, rack.servers[0], _one_file),
    ):
        pass
    assert not list((tmp_path / "lo").iterdir())


def test_a_hard_link_is_never_given_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the cache may be hard links; dnsmasq's account must not come to own the cache."""
    cached = tmp_path / "cached"
    cached.write_text("kernel")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "kernel").hardlink_to(cached)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    given: list[str] = []
    monkeypatch.setattr("os.chown", lambda path, *_: given.append(str(path)))
    pxe_module._hand_over(folder)
    if given:  # where there is an account to give to
        assert cached.stat().st_nlink == 1
        assert (folder / "kernel").read_text() == "kernel"


def test_a_virtual_rack_serves_from_qemus_own_folder_and_empties_it(tmp_path: Path) -> None:
    rack = load_rack(str(Path(__file__).parents[2] / "inventory" / "virtual.yaml"))
    server = rack.servers[0]
    with pxe(rack, server, _one_file):
        placed = [file for file in paths.state().rglob("boot.ipxe") if file.is_file()]
        assert len(placed) == 1
        assert server.name in str(placed[0])
    assert not list(placed[0].parent.iterdir())


def _one_file(folder: Path) -> None:
    (folder / "boot.ipxe").write_text("#!ipxe\n")
    (folder / "grub").mkdir()
    (folder / "grub" / "grub.cfg").write_text("")
