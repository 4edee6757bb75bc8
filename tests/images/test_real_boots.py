"""Images, deploy RAM OS and guest appliance, built and really booted in plain QEMU: the nightly proof."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lab.media.deploy import build_deploy
from lab.media.guest import build_guest
from lab.media.image import Image, build_image
from lab.media.iso import deploy_iso, netboot_files
from lab.release import load_release
from tests.images.plain_boot import DISKS, MAC, SERIAL, Boot, Service, qemu_command, settings_for

pytestmark = pytest.mark.nightly
CONSOLES = "console=tty0 console=ttyS0,115200n8 panic=10"
DEPLOY_S, BOOT_S = 500.0, 500.0


@pytest.fixture
def image() -> Image:
    return build_image(load_release("kvm-debian12"))


@pytest.fixture
def service(image: Image) -> Iterator[Service]:
    with closing(Service(image, settings_for(image), "plain-1")) as running:
        yield running


def deployed(
    folder: Path, service: Service, firmware: str, disk: str, nic: str = "virtio-net-pci"
) -> list[str]:
    """Boot the deploy ISO to its power-off; what the deploy RAM OS said."""
    iso = folder / "deploy.iso"
    deploy_iso(build_deploy(), f"lab.url={service.url} lab.mac={MAC} {CONSOLES}", iso)
    return powered_off(qemu_command(folder, firmware, disk, iso=iso, nic=nic), folder / "deploy.log")


def powered_off(command: list[str], log: Path) -> list[str]:
    with closing(Boot(command, log)) as boot:
        boot.wait("<power off>", DEPLOY_S)
        return [line for _, line in boot.lines if line.startswith("lab-deploy: ")]


@pytest.mark.parametrize(
    ("release", "firmware", "disk", "nic"),
    [
        ("xen-4.17-debian12", "uefi", "nvme", "virtio-net-pci"),
        ("kvm-debian12", "bios", "ahci", "e1000e"),
        ("xen-4.17-debian12", "bios", "megasas", "e1000e"),
        ("kvm-debian12", "uefi", "virtio-scsi", "vmxnet3"),
    ],
)
def test_release_installs_and_answers(
    tmp_path: Path, release: str, firmware: str, disk: str, nic: str
) -> None:
    image = build_image(load_release(release))
    with closing(Service(image, settings_for(image), "plain-1")) as service:
        said = deployed(tmp_path, service, firmware, disk, nic)
        assert said[-1] == "lab-deploy: done"
        assert service.said[-1] == ("done", f"serial={SERIAL}\ndigest={image.digest}\n")
        key = service.private_key(tmp_path / "key")
    with closing(socket.socket()) as finder:
        finder.bind(("127.0.0.1", 0))
        port = finder.getsockname()[1]
    forward = f",hostfwd=tcp:127.0.0.1:{port}-:22"
    with closing(
        Boot(qemu_command(tmp_path, firmware, disk, nic=nic, netdev=forward), tmp_path / "boot.log")
    ) as boot:
        boot.wait("plain-1 login:", BOOT_S)
        shown = ssh(
            port,
            key,
            "cat /proc/cmdline /proc/xen/capabilities; systemctl --failed",
        )
        assert "root=PARTUUID=11111111-2222-4333-8444-555555555555" in shown
        assert ("control_d" in shown) is release.startswith("xen")
        assert "0 loaded units listed" in shown


def ssh(port: int, key: Path, command: str) -> str:
    options = [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "ConnectTimeout=60",
        "ConnectionAttempts=5",
    ]
    done = subprocess.run(
        [
            "ssh",
            "-i",
            str(key),
            "-p",
            str(port),
            *(f"-o{option}" for option in options),
            "root@127.0.0.1",
            command,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout


def test_every_bus_tells_its_serial(tmp_path: Path, service: Service) -> None:
    service.settings |= {"TARGET_SERIAL": "NOT-THERE", "ALLOWED": "S-ahci NOT-THERE"}
    extra: list[str] = []
    for number, (bus, devices) in enumerate(DISKS.items()):
        file = tmp_path / f"disk{number}"
        with file.open("wb") as stream:
            stream.truncate(2**30)
        extra += ["-drive", f"if=none,id=x{number},format=raw,file={file}"]
        names = (("d0", f"x{number}"), ("s0", f"s{number}"), ("ahci0", f"ahci{number}"), (",bootindex=1", ""))
        for part in devices:
            for old, new in names:
                part = part.replace(old, new)
            extra.append(part.format(serial=f"S-{bus}"))
    iso = tmp_path / "deploy.iso"
    deploy_iso(build_deploy(), f"lab.url={service.url} lab.mac={MAC} {CONSOLES}", iso)
    said = powered_off(qemu_command(tmp_path, "uefi", "nvme", iso=iso, extra=tuple(extra)), tmp_path / "log")
    for bus in DISKS:
        (line,) = [line for line in said if f"serial=S-{bus} " in line]
        assert line.endswith(" allowed" if bus == "ahci" else "not allowed")
    assert "lab-deploy: refused: no disk with serial NOT-THERE" in said
    assert service.said == [("failed", "refused: no disk with serial NOT-THERE")]


def test_an_image_of_another_digest_never_boots(tmp_path: Path, service: Service) -> None:
    service.settings["IMAGE_DIGEST"] = "00" * 64
    said = deployed(tmp_path, service, "bios", "virtio-blk")
    assert [line for line in said if line.startswith("lab-deploy: failed: digest")]
    assert service.said[-1][0] == "failed"
    with (tmp_path / "disk.img").open("rb") as disk:
        assert not any(disk.read(2**20)), "no boot code and no partition table"


@pytest.mark.parametrize(("firmware", "boot_file"), [("uefi", "netboot.efi"), ("bios", "boot.ipxe")])
def test_deploy_ram_os_comes_by_network(
    tmp_path: Path, service: Service, firmware: str, boot_file: str
) -> None:
    service.settings |= {"TARGET_SERIAL": "NOT-THERE", "ALLOWED": "NOT-THERE"}
    tftp = tmp_path / "tftp"
    netboot_files(build_deploy(), f"lab.url={service.url} lab.mac={MAC} {CONSOLES}", tftp, service.url)
    service.files = tftp
    command = qemu_command(
        tmp_path, firmware, "ahci", netdev=f",tftp={tftp},bootfile={boot_file}", nic="e1000e"
    )
    command = [part.replace(f"mac={MAC}", f"mac={MAC},bootindex=0") for part in command]
    assert powered_off(command, tmp_path / "log")[-1] == "lab-deploy: refused: no disk with serial NOT-THERE"


def test_guest_appliance_speaks_and_goes(tmp_path: Path) -> None:
    files = build_guest()
    command = [
        "qemu-system-x86_64",
        "-accel",
        "tcg",
        "-m",
        "256",
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
    ]
    command += ["-serial", "stdio", "-kernel", str(files.kernel), "-initrd", str(files.initrd)]
    with closing(Boot([*command, "-append", "console=ttyS0 lab.name=web-1"], tmp_path / "log")) as boot:
        boot.wait("lab-guest: ready web-1 kernel 6.", 120)
        boot.type("ping 7\npoweroff\n")
        boot.wait("lab-guest: pong 7", 60)
        boot.wait("<power off>", 60)
