"""The IPMI provider against ipmi_sim; ipmitool is the independent witness."""

from __future__ import annotations

import os
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest

from lab.bmc.api import BootDevice, MediaSource, Outcome, PowerAction
from lab.bmc.ipmi import session as ipmi_session
from lab.bmc.ipmi.provider import IpmiBmc
from lab.bmc.target import Account, Target, Unsupported
from lab.errors import BmcCredentials, BmcUnreachable
from tests.bmc.ipmi_sim import PASSWORD, USER, Simulator, free_port


def ipmitool(sim: Simulator, *words: str) -> str:
    """What ipmitool says."""
    command = [
        "ipmitool",
        "-I",
        "lanplus",
        "-C",
        "3",
        "-H",
        "127.0.0.1",
        "-p",
        str(sim.port),
        "-U",
        USER,
        "-E",
    ]
    environment = {**os.environ, "IPMI_PASSWORD": PASSWORD}
    return subprocess.run(
        [*command, *words], env=environment, capture_output=True, text=True, check=True, timeout=20
    ).stdout


def as_user(sim: Simulator, user: str, password: str) -> IpmiBmc:
    """The provider, logging in as somebody."""
    return IpmiBmc(Target("sim-1", sim.address), "127.0.0.1", sim.port, Account(user, lambda: password))


def test_power_on_and_off_are_verified_and_seen_by_ipmitool(sim: Simulator, ipmi: IpmiBmc) -> None:
    assert ipmi.set_power(PowerAction.ON).outcome is Outcome.VERIFIED
    assert "is on" in ipmitool(sim, "chassis", "power", "status")
    assert ipmi.set_power(PowerAction.GRACEFUL_OFF).outcome is Outcome.VERIFIED
    assert "is off" in ipmitool(sim, "chassis", "power", "status")


def test_off_when_off_sends_nothing(sim: Simulator, ipmi: IpmiBmc) -> None:
    answer = ipmi.set_power(PowerAction.OFF)
    assert (answer.outcome, answer.tries, sim.sets) == (Outcome.VERIFIED, 0, [])


def test_somebody_elses_power_button_is_seen(sim: Simulator, ipmi: IpmiBmc) -> None:
    assert ipmi.power() == "off"
    sim.set_power(True)
    assert ipmi.power() == "on"


def test_reset_is_sent_once_and_cannot_be_proven(sim: Simulator, ipmi: IpmiBmc) -> None:
    sim.set_power(True)
    assert ipmi.set_power(PowerAction.RESET).outcome is Outcome.UNVERIFIABLE
    assert sim.sets == ["reset 1"]


def test_a_reset_whose_answer_is_late_is_not_sent_again(
    sim: Simulator, ipmi: IpmiBmc, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.set_power(True)
    ipmi.power()
    once = ipmi._session.ask_once

    def frozen(netfn: int, command: int, data: tuple[int, ...]) -> bytes:
        sim.pause()
        try:
            return once(netfn, command, data, wait=0.8)
        finally:
            sim.resume()

    monkeypatch.setattr(ipmi._session, "ask_once", frozen)
    answer = ipmi.set_power(PowerAction.RESET, deadline_s=10)
    assert answer.outcome is Outcome.UNVERIFIABLE
    assert "no answer" in " ".join(answer.evidence)
    time.sleep(1.5)  # longer than pyghmi's own retry interval
    assert sim.sets == ["reset 1"]


def test_an_action_that_the_bmc_lacks_is_unsupported(sim: Simulator, ipmi: IpmiBmc) -> None:
    sim.set_power(True)
    with pytest.raises(Unsupported, match="nmi"):
        ipmi.set_power(PowerAction.NMI)
    with pytest.raises(Unsupported):
        ipmi.insert_media(MediaSource("http://127.0.0.1/x.iso"))


def test_boot_once_arrives_and_is_called_unverifiable(sim: Simulator, ipmi: IpmiBmc) -> None:
    assert ipmi.boot_once(BootDevice.CD, "uefi").outcome is Outcome.UNVERIFIABLE
    assert ipmi.boot_override() is None
    assert "CD/DVD" in ipmitool(sim, "chassis", "bootparam", "get", "5")
    assert ipmi.boot_once(BootDevice.NONE, "uefi").outcome is Outcome.VERIFIED
    assert sim.sets == ["boot cdrom", "boot none"]


def test_identify(sim: Simulator, ipmi: IpmiBmc) -> None:
    assert ipmi.identify(True).outcome in Outcome
    assert len(sim.sets) == 1
    assert sim.sets[0].startswith("identify")


def test_sensors_are_those_that_ipmitool_reads(sim: Simulator, ipmi: IpmiBmc) -> None:
    readings = {reading.name: reading for reading in ipmi.sensors()}
    rows = [line.split("|") for line in ipmitool(sim, "sdr", "list").splitlines()]
    assert {name.strip() for name, *_ in rows} == set(readings)
    numeric = {name.strip(): float(value.split()[0]) for name, value, _ in rows if "degrees" in value}
    assert numeric
    assert all(readings[name].value == value for name, value in numeric.items())
    assert all(readings[name].unit == "°C" for name in numeric)


def test_event_log_has_times_and_can_be_cleared(sim: Simulator, ipmi: IpmiBmc) -> None:
    ipmitool(sim, "sel", "clear")
    overheated = "0x00 0x00 0x02 0 0 0 0 0x20 0x00 0x04 0x01 0x01 0x01 0x59 0xff 0xff"  # add SEL entry, 31.6
    ipmitool(sim, "raw", "0x0a", "0x44", *overheated.split())
    (entry, *_) = [entry for entry in ipmi.event_log() if entry.message]
    assert (entry.message, entry.severity) == ("CPU Temp Upper critical", "critical")
    assert entry.at is not None
    assert abs(entry.at - datetime.now(UTC)) < timedelta(minutes=2)
    assert ipmi.clear_event_log().outcome is Outcome.VERIFIED
    assert ipmi.event_log() == []


def test_inventory_reads_a_fru_longer_than_one_answer(sim: Simulator, ipmi: IpmiBmc) -> None:
    seen = ipmi.inventory()
    assert (seen.vendor, seen.model, seen.serial) == ("Example Maker", "Example Server", "SN-4711")
    assert seen.firmware["BMC"]
    assert "SN-4711" in ipmitool(sim, "fru", "print", "0")


def test_wrong_password_and_wrong_user_are_told_as_such(sim: Simulator) -> None:
    for user, password in ((USER, "wrong-Pw"), ("nobody", PASSWORD)):
        with pytest.raises(BmcCredentials) as refusal:
            as_user(sim, user, password).power()
        assert password not in str(refusal.value)
        assert refusal.value.server == "sim-1"


def test_nobody_there_is_known_within_ten_seconds() -> None:
    port = free_port()
    bmc = IpmiBmc(Target("sim-1", f"127.0.0.1:{port}"), "127.0.0.1", port, Account(USER, lambda: PASSWORD))
    began = time.monotonic()
    with pytest.raises(BmcUnreachable):
        bmc.power()
    assert time.monotonic() - began < 10


def test_two_sessions_of_one_account_in_one_process_do_not_hang(sim: Simulator, ipmi: IpmiBmc) -> None:
    other = as_user(sim, USER, PASSWORD)
    assert (ipmi.power(), other.power(), ipmi.power()) == ("off", "off", "off")
    other.close()
    assert ipmi.power() == "off"


def test_a_session_that_the_bmc_forgot_is_made_anew(sim: Simulator, ipmi: IpmiBmc) -> None:
    assert ipmi.power() == "off"
    sim.stop()
    sim.start()
    assert ipmi.power() == "off"


def test_an_idle_session_is_not_trusted(
    sim: Simulator, ipmi: IpmiBmc, monkeypatch: pytest.MonkeyPatch
) -> None:
    ipmi.power()
    first = ipmi._session._session
    monkeypatch.setattr(ipmi_session, "IDLE_S", 0.0)
    assert ipmi.power() == "off"
    assert ipmi._session._session is not first


def test_no_password_reaches_a_log(
    sim: Simulator,
    ipmi: IpmiBmc,
    everything_logged: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    ipmi.set_power(PowerAction.ON)
    ipmi.close()
    told = everything_logged.text + "".join(capfd.readouterr()) + repr(ipmi.__dict__)
    assert PASSWORD not in told
