"""The draft of a server's entry: it fits the schema, never allows an erase, and marks what it guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.bmc.bill import DiskSeen, FirmwareMode, Inventory, Port
from lab.errors import ConfigError
from lab.rack.draft import Trust, asking_rack, draft
from lab.rack.load import load_rack
from lab.rack.model import Rack
from tests.lab_command import LabCommand

HEADER = "rack: drafted\ncontroller: {media_address: 127.0.0.1}\nservers:\n"
SEEN = Inventory(
    vendor="Dell Inc.",
    model="PowerEdge R660: #1",
    serial="ABC 1234",
    firmware_mode="uefi",
    ports=(Port("B0:7B:25:00:00:01"), Port("b0:7b:25:00:00:02")),
    disks=(DiskSeen("0123456789", "SAMSUNG MZ", 960 * 10**9), DiskSeen("", wwn="0x5000c500a1b2c3d4")),
)


def load(text: str, folder: Path) -> Rack:
    file = folder / "drafted.yaml"
    file.write_text(HEADER + text, encoding="utf-8")
    return load_rack(str(file))


def test_a_draft_is_a_server_entry_of_a_rack_file(tmp_path: Path) -> None:
    asking = asking_rack("https://192.0.2.12", "lab", Trust(fingerprint="sha256:" + "ab" * 32))
    server = load(draft(asking.servers[0].bmc, SEEN), tmp_path).servers[0]
    assert server.name == "abc-1234"
    assert server.model == "Dell Inc. PowerEdge R660: #1"
    assert server.firmware == "uefi"
    assert server.bmc == asking.servers[0].bmc.model_copy(update={"ipmi": "192.0.2.12"})
    assert [nic.mac for nic in server.nics] == ["b0:7b:25:00:00:01", "b0:7b:25:00:00:02"]
    assert [(disk.serial, disk.wwn) for disk in server.disks] == [
        ("0123456789", None),
        (None, "0x5000c500a1b2c3d4"),
    ]
    assert server.erasable == ()


def test_a_draft_marks_what_was_guessed() -> None:
    bmc = asking_rack("https://192.0.2.12", "lab", Trust()).servers[0].bmc
    text = draft(bmc, Inventory(ports=(Port("b0:7b:25:00:00:01"),)))
    guessed = [line.split(":")[0].strip(" -") for line in text.splitlines() if "a guess" in line]
    assert guessed == ["firmware", "ipmi", "console", "{mac"]
    assert "# 960 GB" not in text
    assert "SAMSUNG MZ 960 GB" in draft(bmc, SEEN)


def test_two_drafts_stand_one_below_the_other(tmp_path: Path) -> None:
    bmc = asking_rack("https://192.0.2.12", "lab", Trust()).servers[0].bmc
    other = Inventory(serial="B", ports=(Port("02:00:00:00:00:01"),))
    assert len(load(draft(bmc, SEEN) + draft(bmc, other), tmp_path).servers) == 2


def test_a_draft_without_nics_says_so_when_it_is_read(tmp_path: Path) -> None:
    bmc = asking_rack("https://192.0.2.12", "lab", Trust()).servers[0].bmc
    with pytest.raises(ConfigError, match=r"servers\[0\]\.nics: list at least one"):
        load(draft(bmc, Inventory()), tmp_path)


words = st.text(max_size=30)
inventories = st.builds(
    Inventory,
    vendor=words,
    model=words,
    serial=words,
    firmware_mode=st.sampled_from([None, "uefi", "bios"]).map(lambda mode: mode and FirmwareModes[mode]),
    ports=st.lists(
        st.from_regex(r"([0-9A-F]{2}:){5}[0-9a-f]{2}", fullmatch=True), min_size=1, unique_by=str.lower
    ).map(lambda macs: tuple(map(Port, macs))),
    disks=st.lists(
        st.builds(
            DiskSeen,
            serial=st.from_regex(r"[!-~]{1,20}", fullmatch=True),
            model=words,
            size=st.none() | st.integers(0, 2**50),
        ),
        unique_by=lambda disk: disk.serial.lower(),
        max_size=4,
    ).map(tuple),
)
FirmwareModes: dict[str, FirmwareMode] = {"uefi": "uefi", "bios": "bios"}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seen=inventories)
def test_whatever_a_bmc_calls_its_parts_the_draft_holds_them(seen: Inventory, tmp_path: Path) -> None:
    bmc = asking_rack("https://192.0.2.12:8443", "lab", Trust()).servers[0].bmc
    text = draft(bmc, seen)
    server = load(text, tmp_path).servers[0]
    assert [nic.mac for nic in server.nics] == [mac.lower() for mac in seen.macs]
    assert [disk.serial for disk in server.disks] == [disk.serial for disk in seen.disks]
    assert server.erasable == ()
    assert yaml.safe_load(text)[0]["disks"] == [
        {"serial": disk.serial, "erase": False} for disk in seen.disks
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--redfish", "http://192.0.2.12"], "http://192.0.2.12 is plain http"),
        (["--redfish", "192.0.2.12"], "is not a BMC's URL such as https://192.0.2.12"),
        (["--redfish", "https://192.0.2.12", "--insecure-http"], "`none` is for plain http"),
        (["--redfish", "https://192.0.2.12", "--fingerprint", "12"], "cannot ask https://192.0.2.12: "),
    ],
)
def test_import_refuses_what_it_cannot_ask(arguments: list[str], words: str, lab: LabCommand) -> None:
    ran = lab("rack", "import", *arguments)
    assert ran.code == 10
    assert words in ran.err
    assert "  next: " in ran.err
    assert ran.out == ""
