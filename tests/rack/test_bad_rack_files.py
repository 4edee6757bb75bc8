"""A wrong rack file: one clear message with file, line and key, the next step and its own exit code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.errors import MissingSecret, NoErasableDisk
from lab.rack.load import erasable_disk, load_rack
from tests.lab_command import LabCommand

GOOD = """\
rack: bad
controller: {media_address: 127.0.0.1}
servers:
  - name: one
    firmware: uefi
    bmc:
      redfish: "https://192.0.2.1"
      user: lab
      password: env:TEST_RACK_BMC
    console: {tcp: "192.0.2.9:4001"}
    nics:
      - {mac: "02:00:00:00:00:01", boot: true}
      - {mac: "02:00:00:00:00:02"}
    disks:
      - {serial: AAA, erase: true}
      - {serial: BBB}
  - name: two
    firmware: bios
    bmc: {ipmi: "192.0.2.2", user: lab, password: env:TEST_RACK_BMC}
    console: {sol: {}}
    nics: [{mac: "02:00:00:00:00:03", boot: true}]
    disks: [{serial: CCC}]
"""


@dataclass(frozen=True)
class Bad:
    """One edit of the good file, and the complaint it must bring: the place in the file and the words."""

    name: str
    old: str
    new: str
    place: str
    words: str


MEND = "mend the lines named above in bad.yaml"
BAD = [
    Bad(
        "unknown key", "  user: lab\n", "  user: lab\n      usr: x\n", "9: servers[0].bmc.usr", "unknown key"
    ),
    Bad("missing key", "      user: lab\n", "", "6: servers[0].bmc.user", "is missing"),
    Bad(
        "plain secret",
        "password: env:TEST_RACK_BMC\n",
        "password: hunter2\n",
        "9: servers[0].bmc.password",
        "a secret is named as env:NAME or file:PATH, never written here",
    ),
    Bad("serial twice", "BBB", "aaa", "16: servers[0].disks[1].serial", "serial aaa is listed twice"),
    Bad(
        "erasable disk of two servers",
        "CCC",
        "AAA",
        "22: servers[1].disks[0].serial",
        "serial of an erasable disk AAA is listed twice",
    ),
    Bad(
        "MAC twice",
        "00:00:02",
        "00:00:01",
        "13: servers[0].nics[1].mac",
        "MAC 02:00:00:00:00:01 is listed twice",
    ),
    Bad(
        "MAC of two servers",
        "00:00:03",
        "00:00:01",
        "21: servers[1].nics[0].mac",
        "MAC 02:00:00:00:00:01 is listed twice",
    ),
    Bad(
        "two boot NICs",
        '00:00:02"}',
        '00:00:02", boot: true}',
        "13: servers[0].nics[1].boot",
        "a second NIC is marked `boot: true`; mark exactly one",
    ),
    Bad(
        "no boot NIC",
        ", boot: true}\n      - {mac",
        "}\n      - {mac",
        "11: servers[0].nics",
        "mark the NIC that",
    ),
    Bad(
        "no NIC", '[{mac: "02:00:00:00:00:03", boot: true}]', "[]", "21: servers[1].nics", "list at least one"
    ),
    Bad(
        "unquoted MAC that YAML takes for a number",
        '"02:00:00:00:00:03"',
        "12:34:56:10:20:30",
        "21: servers[1].nics[0].mac",
        "must be text; put it in quotes",
    ),
    Bad(
        "not a MAC",
        "02:00:00:00:00:03",
        "02:00",
        "21: servers[1].nics[0].mac",
        "'02:00' is not a MAC address",
    ),
    Bad("server twice", "name: two", "name: one", "17: servers[1].name", "server name one is listed twice"),
    Bad(
        "erase that is not true or false",
        "BBB}",
        'BBB, erase: "no"}',
        "16: servers[0].disks[1].erase",
        "must be true or false",
    ),
    Bad(
        "blank serial",
        "serial: BBB",
        'serial: " "',
        "16: servers[0].disks[1].serial",
        "is not a serial or WWN",
    ),
    Bad(
        "disk without a name",
        "{serial: BBB}",
        "{}",
        "16: servers[0].disks[1]",
        "named by serial, wwn or both",
    ),
    Bad(
        "console of no kind",
        "{sol: {}}",
        "{serail: /dev/ttyS0}",
        "20: servers[1].console",
        "give exactly one of sol, serial, rfc2217, tcp, such as {sol: {}}",
    ),
    Bad("console empty", "{sol: {}}", "", "20: servers[1].console", "give exactly one of sol"),
    Bad(
        "console of two kinds",
        "{sol: {}}",
        '{sol: {}, tcp: "192.0.2.9:4002"}',
        "20: servers[1].console.tcp",
        "unknown key",
    ),
    Bad(
        "console port",
        "192.0.2.9:4001",
        "192.0.2.9:99999",
        "10: servers[0].console.tcp",
        "port 99999 is not between 1 and 65535",
    ),
    Bad(
        "SOL without IPMI",
        '{tcp: "192.0.2.9:4001"}',
        "{sol: {}}",
        "10: servers[0].console.sol",
        "Serial over LAN needs bmc.ipmi",
    ),
    Bad(
        "plain http not on purpose",
        "https://192",
        "http://192",
        "7: servers[0].bmc.redfish",
        "plain http needs `tls: none` beside it",
    ),
    Bad(
        "https without trust",
        "      user: lab\n",
        "      user: lab\n      tls: none\n",
        "9: servers[0].bmc.tls",
        "`none` is for plain http",
    ),
    Bad(
        "password in the URL",
        "https://192",
        "https://lab:hunter2@192",
        "7: servers[0].bmc.redfish",
        "is not a BMC's URL",
    ),
    Bad(
        "permission",
        "    disks: [",
        "    allow: [explode]\n    disks: [",
        "22: servers[1].allow[0]",
        "power-cut",
    ),
    Bad(
        "address",
        "media_address: 127.0.0.1",
        "media_address: here",
        "2: controller.media_address",
        "'here' does",
    ),
    Bad("no servers", GOOD[GOOD.index("servers:") :], "servers: []\n", "3: servers", "list at least one"),
    Bad("not a mapping", GOOD, "- rack\n", "1: file", "valid dictionary"),
]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The good rack file, its secret present."""
    monkeypatch.setenv("TEST_RACK_BMC", "s3cret")
    path = tmp_path / "bad.yaml"
    path.write_text(GOOD)
    return path


def test_the_file_that_the_bad_ones_are_made_from_is_good(file: Path) -> None:
    assert [server.name for server in load_rack(str(file)).servers] == ["one", "two"]


@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_a_wrong_rack_file_names_file_line_and_key(bad: Bad, file: Path, lab: LabCommand) -> None:
    assert bad.old in GOOD
    file.write_text(GOOD.replace(bad.old, bad.new, 1))
    ran = lab("check", str(file))
    assert ran.code == 10
    assert ran.out == ""
    lines = ran.err.splitlines()
    assert lines[0].startswith(f"error: {file}:{bad.place}: ")
    assert bad.words in lines[0]
    assert lines[1:] == [f"  next: {MEND}"]
    if bad.name == "plain secret":
        assert "hunter2" not in ran.err


def test_every_mistake_is_named_at_once(file: Path, lab: LabCommand) -> None:
    file.write_text(GOOD.replace("user: lab\n", "usr: lab\n").replace("firmware: bios", "firmware: coreboot"))
    ran = lab("check", str(file))
    assert [line.split(": ")[-2] for line in ran.err.splitlines()[:-1]] == [
        "servers[0].bmc.user",
        "servers[0].bmc.usr",
        "servers[1].firmware",
    ]


@pytest.mark.parametrize(
    ("text", "complaint", "next_step"),
    [
        ("", "1: file: is empty", "start from a file that works in the same folder"),
        ("# nothing but this\n", "1: file: is empty", "start from a file that works in the same folder"),
        ("rack: a\nrack: b\n", "2: rack: the key stands twice", "remove one of the two"),
        ("rack: a\nservers: [\n", "3: file: not YAML: ", "mend line 3 of bad.yaml"),
        ("rack: a\n\tcontroller: {}\n", "2: file: not YAML: ", "mend line 2 of bad.yaml"),
        ("{[1]: 2}\n", "1: file: not YAML: found unhashable key", "mend line 1 of bad.yaml"),
    ],
)
def test_a_file_that_is_no_yaml_mapping(
    text: str, complaint: str, next_step: str, file: Path, lab: LabCommand
) -> None:
    file.write_text(text)
    ran = lab("check", str(file))
    assert ran.code == 10
    assert ran.err.startswith(f"error: {file}:{complaint}")
    assert ran.err.endswith(f"  next: {next_step}\n")


def test_a_file_that_is_not_text(file: Path, lab: LabCommand) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    ran = lab("check", str(file))
    assert ran.code == 10
    assert ran.err.startswith(f"error: {file}: cannot be read: ")


def test_an_unknown_rack_names_those_there_are(lab: LabCommand) -> None:
    ran = lab("check", "virtaul")
    assert ran.code == 11
    assert ran.err.startswith("error: no rack 'virtaul'\n")
    assert "virtual" in ran.err.splitlines()[-1]
    assert ran.err.endswith("(nearest: virtual), or give the path of a rack file\n")


def test_an_unknown_server_names_those_there_are(file: Path, lab: LabCommand) -> None:
    ran = lab("check", str(file), "--server", "onne")
    assert ran.code == 11
    assert ran.err == "error: rack bad has no server 'onne'\n  next: choose from one, two (nearest: one)\n"


def test_a_missing_secret_names_the_key_and_the_variable(
    file: Path, lab: LabCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_RACK_BMC")
    with pytest.raises(MissingSecret) as refused:
        load_rack(str(file)).secret("env:TEST_RACK_BMC").reveal()
    assert refused.value.exit_code == 12
    assert (
        refused.value.message == f"{file}:9: servers[0].bmc.password: secret env:TEST_RACK_BMC is not there"
    )
    assert refused.value.next_step == "set the environment variable TEST_RACK_BMC"


def test_a_missing_secret_file_names_the_file(file: Path) -> None:
    file.write_text(GOOD.replace("env:TEST_RACK_BMC", "file:keys/bmc", 1))
    with pytest.raises(MissingSecret) as refused:
        load_rack(str(file)).secret("file:keys/bmc").reveal()
    assert refused.value.next_step == f"write the secret to {file.parent}/keys/bmc (mode 0600)"


def test_a_server_without_an_erasable_disk_is_refused(file: Path) -> None:
    rack = load_rack(str(file))
    assert erasable_disk(rack.servers[0]).serial == "AAA"
    with pytest.raises(NoErasableDisk) as refused:
        erasable_disk(rack.servers[1])
    assert refused.value.exit_code == 13
    assert refused.value.server == "two"
    assert refused.value.message == f"{file}:22: servers[1].disks: no disk has `erase: true`"
    assert refused.value.next_step.startswith("mark the disk that the lab may overwrite with `erase: true`")


def test_a_server_that_lists_no_disks_at_all_is_refused(file: Path) -> None:
    file.write_text(GOOD.replace("    disks: [{serial: CCC}]\n", ""))
    with pytest.raises(NoErasableDisk) as refused:
        erasable_disk(load_rack(str(file)).servers[1])
    assert refused.value.message == f"{file}:17: servers[1].disks: no disk has `erase: true`"
