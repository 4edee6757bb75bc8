"""The pure parts of the deploy RAM OS, run by the shell that runs them there, on a sysfs made of files."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from lab.media import deploy, disk_layout

FOLDER = deploy.recipe_folder()
PURE = ("arguments.sh", "disks.sh", "partitions.sh", "network.sh")


@pytest.fixture(scope="session", autouse=True)
def applets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Debian's busybox applets and nothing else, as the deploy RAM OS has it."""
    folder = tmp_path_factory.mktemp("applets")
    busybox = shutil.which("busybox")
    assert busybox, "install busybox-static"
    for name in subprocess.run(
        [busybox, "--list"], capture_output=True, text=True, check=True
    ).stdout.split():
        (folder / name).symlink_to(busybox)
    PATH.append(folder)
    return folder


PATH: list[Path] = []
GOOD = {
    "SERVER": "uefi-1",
    "RELEASE": "xen-4.17-debian12",
    "INSTALL_ID": "7",
    "NOW": "1790000000",
    "TARGET_SERIAL": "VR-1",
    "TARGET_WWN": "",
    "ALLOWED": "VR-1 5000c500a1b2c3d4",
    "IMAGE_DIGEST": "ab" * 64,
    "IMAGE_BYTES": "100",
    "RAW_SIZE": "1153433600",
    "ROOT_SIZE": str(6 * 2**30),
    "ROOT_PARTUUID": "11111111-2222-4333-8444-555555555555",
    "DISK_GUID": "11111111-2222-4333-8444-666666666666",
}


def shell(
    script: str, settings: dict[str, str] | None = None, *, sys: Path | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    parts = "".join(f". {shlex.quote(str(FOLDER / part))}\n" for part in PURE)
    env = {"PATH": str(PATH[-1]), "SYS": str(sys or "/nowhere"), **(settings or {})}
    command = [str(PATH[-1] / "busybox"), "sh", "-c", parts + script]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, env=env, check=False)


def said(
    script: str, settings: dict[str, str] | None = None, *, sys: Path | None = None, stdin: str = ""
) -> str:
    done = shell(script, settings, sys=sys, stdin=stdin)
    assert done.returncode == 0, done
    return done.stdout.rstrip("\n")


class Sysfs:
    """A sysfs with the disks that it is told of, each laid out as its driver does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "block").mkdir(parents=True)

    def _disk(self, name: str, size: int) -> Path:
        block = self.root / "block" / name
        (block / "device").mkdir(parents=True)
        (block / "size").write_text(f"{size // 512}\n")
        return block

    def nvme(self, name: str, serial: str, size: int = 2**36) -> Sysfs:
        block = self._disk(name, size)
        (block / "device/serial").write_text(f"{serial:20}\n")
        (block / "wwid").write_text("nvme.1b36-56522d-51454d55204e564d65204374726c-00000001\n")
        return self

    def virtio(self, name: str, serial: str, size: int = 2**36) -> Sysfs:
        (self._disk(name, size) / "serial").write_text(serial)
        return self

    def scsi(self, name: str, serial: str, wwid: str = "", size: int = 2**36) -> Sysfs:
        block = self._disk(name, size)
        text = serial.encode()
        (block / "device/vpd_pg80").write_bytes(bytes([0, 0x80, 0, len(text)]) + text)
        (block / "device/wwid").write_text(f"{wwid}\n" if wwid else "")
        return self


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    return Sysfs(tmp_path / "sys")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("lab.url", "quiet lab.url=http://10.0.2.2:80/x?a=b lab.mac=aa", "http://10.0.2.2:80/x?a=b"),
        ("lab.mac", "lab.mac=aa lab.mac=bb", "bb"),
        ("lab.url", "xlab.url=1 lab.urls=2", ""),
    ],
)
def test_boot_arguments(name: str, text: str, expected: str) -> None:
    assert said(f"argument {name} {shlex.quote(text)}") == expected


def env_file(folder: Path, values: dict[str, str]) -> Path:
    file = folder / "install.env"
    file.write_text("".join(f"{key}='{value}'\n" for key, value in values.items()))
    return file


def test_settings_become_variables(tmp_path: Path) -> None:
    file = env_file(tmp_path, GOOD)
    shown = said(f'read_settings {file} && echo "$SERVER|$ALLOWED|$TARGET_WWN|$ROOT_SIZE"')
    assert shown == f"uefi-1|VR-1 5000c500a1b2c3d4||{6 * 2**30}"


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"PATH": "/evil"}, "unknown key"),
        ({"SERVER": "$(reboot)"}, "needs a shell"),
        ({"SERVER": "a'; reboot; '"}, "needs a shell"),
        ({"SERVER": "`reboot`"}, "needs a shell"),
        ({"ALLOWED": ""}, "ALLOWED is missing"),
        ({"IMAGE_DIGEST": ""}, "IMAGE_DIGEST is missing"),
        ({"TARGET_SERIAL": ""}, "neither TARGET_SERIAL nor TARGET_WWN"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, changed: dict[str, str], complaint: str) -> None:
    done = shell(f"read_settings {env_file(tmp_path, GOOD | changed)}")
    assert done.returncode == 1
    assert complaint in done.stdout


def test_nothing_in_a_setting_is_ever_run(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    file = env_file(tmp_path, GOOD | {"SERVER": f"$(touch {witness})"})
    shell(f"read_settings {file}")
    assert not witness.exists()


def test_serials_of_every_bus(sysfs: Sysfs) -> None:
    sysfs.nvme("nvme0n1", "VR-NVME").virtio("vda", "VR-VIRTIO")
    sysfs.scsi("sda", "             VR-SATA").scsi("sdb", "VR-SAS\0\0")
    assert said('for d in $(disk_names); do echo "$(disk_serial $d)"; done', sys=sysfs.root).split() == [
        "VR-NVME",
        "VR-SATA",
        "VR-SAS",
        "VR-VIRTIO",
    ]


def test_a_serial_with_blanks_inside_keeps_them(sysfs: Sysfs) -> None:
    assert said("disk_serial sda", sys=sysfs.scsi("sda", "  A B ").root) == "A B"


def test_a_disk_that_does_not_say_its_serial_has_none(sysfs: Sysfs) -> None:
    sysfs.nvme("nvme0n1", "")
    assert said("disk_serial nvme0n1", sys=sysfs.root) == ""


@pytest.mark.parametrize(
    ("wwid", "expected"),
    [
        ("naa.5000C500A1B2C3D4", "5000c500a1b2c3d4"),
        ("eui.0025388b91b2c3d4", "0025388b91b2c3d4"),
        ("t10.ATA     QEMU HARDDISK                           VR-SATA", ""),
    ],
)
def test_wwn_is_bare_digits(sysfs: Sysfs, wwid: str, expected: str) -> None:
    assert said("disk_wwn sda", sys=sysfs.scsi("sda", "X", wwid).root) == expected


@pytest.mark.parametrize(
    "spelling", ["5000c500a1b2c3d4", "0x5000C500A1B2C3D4", "naa.5000c500a1b2c3d4", "50:00:c5:00:a1:b2:c3:d4"]
)
def test_a_wwn_in_any_spelling_is_the_same(spelling: str) -> None:
    assert said(f"echo {spelling} | bare_wwn") == "5000c500a1b2c3d4"


def test_only_whole_disks_with_a_size_count(sysfs: Sysfs) -> None:
    for name in ("loop0", "ram0", "sr0", "dm-0", "md0"):
        sysfs.virtio(name, "X")
    sysfs.virtio("vda", "A").virtio("vdb", "B", size=0).nvme("nvme0c0n1", "C")
    (sysfs.root / "block/nvme0c0n1/hidden").write_text("1\n")
    assert said("disk_names", sys=sysfs.root) == "vda"


def verdict(sysfs: Sysfs, **settings: str) -> str:
    return said("disk_table | why_not", GOOD | settings, sys=sysfs.root)


def test_exactly_one_allowed_disk_is_written(sysfs: Sysfs) -> None:
    sysfs.nvme("nvme0n1", "VR-1").scsi("sda", "VR-2")
    assert verdict(sysfs) == ""
    assert said("disk_table | matching_disks | cut -d'|' -f1", GOOD, sys=sysfs.root) == "nvme0n1"


def test_a_disk_by_wwn_alone(sysfs: Sysfs) -> None:
    sysfs.scsi("sda", "", "naa.5000c500a1b2c3d4").scsi("sdb", "VR-1")
    assert verdict(sysfs, TARGET_SERIAL="", TARGET_WWN="0x5000C500A1B2C3D4") == ""


def test_no_such_disk_is_refused(sysfs: Sysfs) -> None:
    assert verdict(sysfs.nvme("nvme0n1", "OTHER")) == "no disk with serial VR-1"


def test_a_server_without_disks_is_refused(sysfs: Sysfs) -> None:
    assert verdict(sysfs) == "no disk with serial VR-1"


def test_a_serial_that_stands_twice_is_refused(sysfs: Sysfs) -> None:
    sysfs.scsi("sda", "VR-1").scsi("sdb", "VR-1").scsi("sdc", "VR-1")
    assert verdict(sysfs) == "3 disks with serial VR-1"


def test_an_empty_serial_never_matches(sysfs: Sysfs) -> None:
    sysfs.scsi("sda", "")
    assert (
        verdict(sysfs, TARGET_SERIAL="", TARGET_WWN="5000c500a1b2c3d4") == "no disk with WWN 5000c500a1b2c3d4"
    )


def test_part_of_a_serial_is_no_match(sysfs: Sysfs) -> None:
    assert verdict(sysfs.scsi("sda", "VR-10")) == "no disk with serial VR-1"


def test_serial_and_wwn_must_both_match_where_both_are_given(sysfs: Sysfs) -> None:
    sysfs.scsi("sda", "VR-1", "naa.5000c500ffffffff")
    assert verdict(sysfs, TARGET_WWN="5000c500a1b2c3d4") == "no disk with serial VR-1"


def test_a_disk_that_may_not_be_erased_is_refused(sysfs: Sysfs) -> None:
    assert "not allowed" in verdict(sysfs.nvme("nvme0n1", "VR-1"), ALLOWED="VR-2 VR-11")


def test_a_disk_too_small_is_refused(sysfs: Sysfs) -> None:
    assert verdict(sysfs.nvme("nvme0n1", "VR-1", size=2**30)).startswith("disk too small")


def dump(disk: Path) -> str:
    return subprocess.run(
        ["/sbin/sfdisk", "--dump", str(disk)], capture_output=True, text=True, check=True
    ).stdout


def test_partition_table_becomes_the_installs_own(tmp_path: Path) -> None:
    """What own_table writes is read back by sfdisk itself, from a disk larger than the image."""
    disk = tmp_path / "disk"
    layout = disk_layout.Layout(4 * 2**20)
    with disk.open("wb") as stream:
        stream.truncate(layout.disk_bytes)
    quiet = ["/sbin/sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", str(disk)]
    subprocess.run(quiet, input=layout.sfdisk_script(), text=True, check=True)
    with disk.open("r+b") as stream:
        stream.truncate(200 * 2**20)
    table = dump(disk)
    start = said("root_start", stdin=table)
    assert int(start) * 512 == layout.root_at
    sectors = said(f"root_sectors {200 * 2**20} {start} 8192", GOOD)
    script = said(f"own_table {sectors} esp-id bios-id", GOOD, stdin=table)
    esp, bios = "aaaaaaaa-2222-4333-8444-777777777777", "aaaaaaaa-2222-4333-8444-888888888888"
    subprocess.run(quiet, input=script.replace("esp-id", esp).replace("bios-id", bios), text=True, check=True)
    own = dump(disk)
    assert f"label-id: {GOOD['DISK_GUID']}".lower() in own.lower()
    assert [uuid.lower() for uuid in re.findall(r"uuid=([^,]+)", own)] == [bios, esp, GOOD["ROOT_PARTUUID"]]
    assert f"size= {int(sectors):>11}".split() == re.findall(r"size=\s+\d+", own)[2].split()
    assert layout.root_at + int(sectors) * 512 <= 199 * 2**20, "the backup table has room"
    check = subprocess.run(
        ["/sbin/sfdisk", "--verify", str(disk)], capture_output=True, text=True, check=True
    )
    assert "No errors detected" in check.stdout


@pytest.mark.parametrize(
    ("disk_bytes", "old", "expected"),
    [(64 * 2**30, 2097152, 6 * 2**21), (4 * 2**30, 2097152, 8251392), (64 * 2**30, 2**25, 2**25)],
)
def test_root_grows_as_far_as_asked_and_possible(disk_bytes: int, old: int, expected: int) -> None:
    assert int(said(f"root_sectors {disk_bytes} 135168 {old}", GOOD)) == expected


@pytest.mark.parametrize(("disk", "node"), [("nvme0n1", "nvme0n1p3"), ("sda", "sda3"), ("vda", "vda3")])
def test_partitions_are_found_whatever_their_name(tmp_path: Path, disk: str, node: str) -> None:
    folder = tmp_path / "block" / disk / node
    folder.mkdir(parents=True)
    (folder / "partition").write_text("3\n")
    assert said(f"partition_node {disk} 3", sys=tmp_path) == node


def test_a_port_is_found_by_its_mac(tmp_path: Path) -> None:
    for name, mac in (
        ("lo", "00:00:00:00:00:00"),
        ("eth0", "52:54:00:00:00:01"),
        ("eth1", "52:54:00:00:00:02"),
    ):
        (tmp_path / "class/net" / name / "device").mkdir(parents=True)
        (tmp_path / "class/net" / name / "address").write_text(f"{mac}\n")
    assert said("nic_with_mac 52:54:00:00:00:02", sys=tmp_path) == "eth1"
    assert said("nic_with_mac 52:54:00:00:00:0A || true", sys=tmp_path) == ""


def test_only_devices_not_seen_before_ask_for_drivers(tmp_path: Path) -> None:
    for bus, device, asks in (
        ("pci", "0000:00:03.0", "pci:v00001B36d00000010"),
        ("pci", "0000:00:04.0", "pci:v00001B36d00000010"),
        ("acpi", "PNP0A08:00", "acpi:PNP0A08:PNP0A03:"),
        ("scsi", "5:0:0:0", "scsi:t-0x05"),
    ):
        (tmp_path / "bus" / bus / "devices" / device).mkdir(parents=True)
        (tmp_path / "bus" / bus / "devices" / device / "modalias").write_text(f"{asks}\n")
    everything = said("new_aliases ''", sys=tmp_path)
    assert everything.splitlines() == ["acpi:PNP0A08:PNP0A03:", "pci:v00001B36d00000010", "scsi:t-0x05"]
    before = "\nacpi:PNP0A08:PNP0A03:\npci:v00001B36d00000010"
    assert said(f"new_aliases {shlex.quote(before)}", sys=tmp_path) == "scsi:t-0x05"
    assert said(f"new_aliases {shlex.quote(everything)}", sys=tmp_path) == ""


def test_drivers_are_never_loaded_by_the_modprobe_of_busybox() -> None:
    for file in (*FOLDER.glob("*.sh"), *(FOLDER.parent / "tiny").glob("*.sh")):
        assert not re.search(r"(?<!/sbin/)modprobe -", file.read_text()), file


def test_placeholders_are_those_of_the_image() -> None:
    text = (FOLDER / "main.sh").read_text()
    assert f"IMAGE_ROOT_PARTUUID={disk_layout.ROOT_PARTUUID}\n" in text
    assert f"IMAGE_ESP_PARTUUID={disk_layout.ESP_PARTUUID}\n" in text


@pytest.mark.parametrize("part", [*sorted(FOLDER.glob("*.sh")), FOLDER / "init"], ids=lambda part: part.name)
def test_every_part_parses(part: Path) -> None:
    assert subprocess.run(["busybox", "sh", "-n", str(part)], check=False).returncode == 0


def test_a_wait_ends_by_the_clock(tmp_path: Path) -> None:
    before = time.monotonic()
    assert shell("slow() { sleep 0.6; false; }; within 1 slow").returncode == 1
    assert 0.5 < time.monotonic() - before < 6
    assert shell("within 5 true").returncode == 0
