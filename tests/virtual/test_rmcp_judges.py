"""The responder judged by those who did not write it: ipmitool, freeipmi and our own IPMI provider."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.bmc.api import BootDevice, Outcome, PowerAction
from lab.bmc.ipmi.provider import IpmiBmc
from lab.bmc.sol.stream import SolStream
from lab.bmc.target import Account, Target
from lab.deadline import Deadline
from lab.errors import BmcCredentials
from lab.virtual.ipmi.faults import IpmiFaults
from tests.virtual.responder import PASSWORD, SOL_PASSWORD, SOL_USER, USER, Running, responder


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[Running]:
    """A responder without faults."""
    with responder(tmp_path) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """freeipmi's configuration: the password is on no command line."""
    file = tmp_path / "freeipmi.conf"
    file.touch(mode=0o600)
    file.write_text(f"username {USER}\npassword {PASSWORD}\ndriver-type LAN_2_0\n")
    return file


def freeipmi(settings: Path, bmc: Running, tool: str, *arguments: str, suite: int = 3) -> str:
    """What the tool says; it must succeed."""
    place = ["--config-file", str(settings), "-h", bmc.address, "-I", str(suite)]
    done = subprocess.run([tool, *place, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def provider(bmc: Running) -> IpmiBmc:
    return IpmiBmc(Target("l1", bmc.address), "127.0.0.1", bmc.port, Account(USER, lambda: PASSWORD))


@pytest.mark.parametrize("cipher", [3, 17])
def test_ipmitool_drives_power_by_either_suite(bmc: Running, cipher: int) -> None:
    assert "is off" in bmc.ipmitool("power", "status", cipher=cipher).stdout
    for word in ("on", "reset", "cycle", "diag"):
        assert bmc.ipmitool("power", word, cipher=cipher).returncode == 0
    assert "is on" in bmc.ipmitool("power", "status", cipher=cipher).stdout
    bmc.ipmitool("power", "soft", cipher=cipher)
    bmc.wait(lambda: bmc.board.power == "off", "a soft power-off")
    assert bmc.status["chassis_control"] == {"on": 1, "reset": 1, "cycle": 1, "nmi": 1, "graceful-off": 1}
    assert bmc.board.acts == {"on": 1, "reset": 1, "cycle": 1, "nmi": 1, "graceful-off": 1}
    assert bmc.ipmitool("power", "reset", cipher=cipher).returncode != 0  # it is off


def test_an_operator_may_switch_but_not_reset_the_bmc(bmc: Running) -> None:
    assert bmc.ipmitool("-L", "OPERATOR", "power", "on").returncode == 0
    refused = bmc.ipmitool("-L", "OPERATOR", "raw", "0x06", "0x02")
    assert "rsp=0xd4" in refused.stderr
    assert bmc.ipmitool("-L", "USER", "power", "off").returncode != 0
    assert bmc.board.power == "on"
    assert bmc.status["reboots"] == 0


def test_ipmitool_finds_the_suites_by_itself(bmc: Running) -> None:
    listed = bmc.ipmitool("channel", "getciphers", "ipmi", "1").stdout
    assert [line.split()[0] for line in listed.splitlines()[1:]] == ["3", "17"]


@pytest.mark.parametrize(
    ("cipher", "user", "password"), [(3, USER, "no"), (17, "who", PASSWORD), (0, USER, "")]
)
def test_nobody_else_gets_in(bmc: Running, cipher: int, user: str, password: str) -> None:
    refused = bmc.ipmitool("mc", "info", cipher=cipher, user=user, password=password)
    assert refused.returncode != 0
    assert "Device ID" not in refused.stdout
    assert bmc.status["sessions"]["opened"] == 0


@pytest.mark.parametrize(
    ("options", "flags"), [("", "80"), ("options=persistent", "c0"), ("options=efiboot", "a0")]
)
def test_boot_flags_read_back_as_they_were_set(bmc: Running, options: str, flags: str) -> None:
    bmc.ipmitool(*["chassis", "bootdev", "cdrom", options][: 4 if options else 3])
    assert f"data: {flags}14000000" in bmc.ipmitool("chassis", "bootparam", "get", "5").stdout
    assert bmc.override().device is BootDevice.CD
    assert bmc.override().once is (flags != "c0")
    bmc.ipmitool("power", "on")
    bmc.wait(lambda: bmc.board.boots == [BootDevice.CD], "a boot from CD")
    left = bmc.ipmitool("chassis", "bootparam", "get", "5").stdout
    assert ("Boot Flag Invalid" in left) is (flags != "c0")


def test_what_the_other_face_sets_reads_as_boot_flags(bmc: Running) -> None:
    bmc.set_override(BootDevice.PXE, once=False)
    assert "data: c004000000" in bmc.ipmitool("chassis", "bootparam", "get", "5").stdout


def test_ipmitool_reads_sensors_events_fru_and_power(bmc: Running) -> None:
    bmc.ipmitool("power", "on")
    bmc.wait(lambda: bmc.board.power == "on", "power")
    assert "FAN1             | 5200.000   | RPM" in bmc.ipmitool("sensor").stdout
    bmc.ipmitool("sensor", "thresh", "Inlet Temp", "unc", "21")
    assert "Upper Non-critical going high" in bmc.ipmitool("sel", "elist").stdout
    bmc.ipmitool("sel", "clear")
    assert "no entries" in (lambda done: done.stdout + done.stderr)(bmc.ipmitool("sel", "list"))
    assert "Product Serial        : VR-L1" in bmc.ipmitool("fru", "print").stdout
    assert "180 Watts" in bmc.ipmitool("dcmi", "power", "reading").stdout
    assert "slot count                    : 16" in bmc.ipmitool("session", "info", "active").stdout


def test_a_bmc_that_is_reset_goes_away_and_comes_back(tmp_path: Path) -> None:
    with responder(tmp_path, IpmiFaults(cold_reset_s=1.5)) as bmc:
        assert bmc.ipmitool("mc", "reset", "cold").returncode == 0
        bmc.wait(lambda: not bmc.responder.away, "the BMC to come back")
        assert bmc.ipmitool("mc", "info").returncode == 0
        assert bmc.status["reboots"] == 1


@pytest.mark.parametrize("suite", [3, 17])
def test_freeipmi_drives_power_without_workarounds(bmc: Running, settings: Path, suite: int) -> None:
    assert ": off" in freeipmi(settings, bmc, "ipmipower", "--stat", suite=suite)
    assert ": ok" in freeipmi(settings, bmc, "ipmipower", "--on", suite=suite)
    assert ": ok" in freeipmi(settings, bmc, "ipmipower", "--pulse", suite=suite)
    assert ": on" in freeipmi(settings, bmc, "ipmipower", "--stat", suite=suite)
    assert bmc.board.acts["nmi"] == 1


def test_freeipmi_reads_the_chassis_the_log_and_sensors(bmc: Running, settings: Path, tmp_path: Path) -> None:
    cache = ["--sdr-cache-directory", str(tmp_path)]
    bmc.ipmitool("event", "1")
    assert "Upper Critical" in freeipmi(settings, bmc, "ipmi-sel", *cache)
    assert "System Power                        : off" in freeipmi(
        settings, bmc, "ipmi-chassis", "--get-chassis-status"
    )
    assert "12V" in freeipmi(settings, bmc, "ipmi-sensors", *cache, suite=17)
    freeipmi(
        settings,
        bmc,
        "ipmi-config",
        "--category=chassis",
        "--commit",
        "-e",
        "Chassis_Boot_Flags:Boot_Device=PXE",
    )
    assert bmc.override().device is BootDevice.PXE


def test_freeipmi_shows_the_console(bmc: Running, settings: Path) -> None:
    ours, theirs = pty.openpty()
    command = ["ipmiconsole", "--config-file", str(settings), "-h", bmc.address, "-I", "17"]
    client = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        seen = read_until(ours, b"SOL established")
        bmc.print(b"hello from the server\r\n")
        assert b"hello from the server" in read_until(ours, b"server")
        os.write(ours, b"typed")
        bmc.wait(lambda: b"typed" in bmc.wire.received, "input", 10)
        assert b"ERROR" not in seen
    finally:
        client.kill()
        client.wait(10)
        os.close(ours)


def test_our_provider_does_everything_it_can(bmc: Running) -> None:
    ours = provider(bmc)
    try:
        assert ours.power() == "off"
        assert ours.set_power(PowerAction.ON).outcome is Outcome.VERIFIED
        assert ours.boot_once(BootDevice.CD, "uefi").outcome is Outcome.VERIFIED
        assert ours.boot_override() is BootDevice.CD
        assert ours.set_power(PowerAction.RESET).outcome is Outcome.UNVERIFIABLE
        bmc.wait(lambda: BootDevice.CD in bmc.board.boots, "a boot from CD")
        assert ours.boot_override() in (BootDevice.NONE, None)
        assert {"CPU Temp", "FAN1"} <= {sensor.name for sensor in ours.sensors()}
        assert ours.clear_event_log().outcome is Outcome.VERIFIED
        assert ours.inventory().serial == "VR-L1"
        assert ours.identify(True).outcome is Outcome.VERIFIED
        assert ours.clock() is not None
    finally:
        ours.close()
    assert bmc.board.acts["reset"] == 1
    bmc.wait(lambda: bmc.status["sessions"]["open"] == 0, "no session to be left")


def test_our_provider_tells_a_wrong_password(bmc: Running) -> None:
    ours = IpmiBmc(Target("l1", bmc.address), "127.0.0.1", bmc.port, Account(USER, lambda: "wrong"))
    with pytest.raises(BmcCredentials):
        ours.power()


def test_our_console_carries_both_ways_and_loses_nothing(bmc: Running) -> None:
    stream = SolStream(
        Target("l1", bmc.address), "127.0.0.1", bmc.port, Account(SOL_USER, lambda: SOL_PASSWORD)
    )
    try:
        text = b"".join(b"line %05d\r\n" % number for number in range(3000))
        bmc.print(text)
        assert console(stream, text[-20:]) == text
        stream.write(b"typed at length, over several packets\r")
        bmc.wait(lambda: bmc.wire.received.endswith(b"packets\r"), "input")
        assert bytes(bmc.wire.received) == b"typed at length, over several packets\r"
    finally:
        stream.close()
    bmc.wait(lambda: bmc.status["sessions"]["open"] == 0 and not bmc.status["sol_open"], "SOL to be left")


def test_our_console_under_loss_loses_nothing(tmp_path: Path) -> None:
    bad = IpmiFaults.model_validate({"to_bmc": {"loss": 0.03}, "from_bmc": {"loss": 0.03, "duplicate": 0.03}})
    with responder(tmp_path, bad) as bmc:
        account = Account(SOL_USER, lambda: SOL_PASSWORD)
        stream = SolStream(Target("l1", bmc.address), "127.0.0.1", bmc.port, account)
        try:
            text = b"".join(b"line %05d\r\n" % number for number in range(300))
            bmc.print(text)
            assert console(stream, text[-20:], seconds=60) == text
        finally:
            stream.close()
        assert bmc.status["lost"] > 0


def console(stream: SolStream, last: bytes, seconds: float = 30.0) -> bytes:
    """What the console shows up to `last`."""
    deadline, seen = Deadline.after(seconds, f"{last!r} on the console"), b""
    while not seen.endswith(last):
        assert not deadline.passed, (len(seen), seen[-100:], stream.events())
        if select.select([stream], [], [], min(0.5, deadline.left))[0]:
            seen += stream.read()
    return seen


def read_until(terminal: int, words: bytes, seconds: float = 15.0) -> bytes:
    """What a terminal shows up to `words`."""
    deadline, seen = Deadline.after(seconds, f"{words!r} on the terminal"), b""
    while words not in seen:
        assert select.select([terminal], [], [], deadline.left)[0], f"no {deadline.why}: {seen!r}"
        seen += os.read(terminal, 4096)
    return seen
