"""The IPMI provider against our RMCP+ responder: quirks and faults that no other simulator plays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from lab.bmc import power, quirks
from lab.bmc.api import BootDevice, Outcome, PowerAction
from lab.bmc.bill import FirmwareMode
from lab.bmc.capability import Area
from lab.bmc.ipmi import manager as ipmi_manager
from lab.bmc.ipmi import session as ipmi_session
from lab.bmc.ipmi.provider import IpmiBmc
from lab.bmc.quirk_model import Behaviour, QuirkFile
from lab.bmc.quirks import Catalogue
from lab.bmc.sol.stream import SolStream
from lab.bmc.target import Account, Target, Unsupported
from lab.deadline import Deadline
from lab.errors import BmcAccountLocked, BmcBusy, BmcCredentials, BmcRefused, LabFault
from lab.virtual.ipmi.faults import IpmiFaults
from tests.virtual.responder import PASSWORD, SOL_PASSWORD, SOL_USER, USER, Running, responder

Errant = Callable[..., tuple[Running, IpmiBmc]]


@pytest.fixture
def errant(tmp_path: Path) -> Iterator[Errant]:
    """Starts a BMC that errs as told, and our provider for it; both are ended with the test."""
    started: list[AbstractContextManager[Running]] = []
    opened: list[IpmiBmc] = []

    def start(catalogue: Catalogue | None = None, **faults: Any) -> tuple[Running, IpmiBmc]:  # noqa: ANN401
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(responder(folder, IpmiFaults.model_validate(faults)))
        bmc = started[-1].__enter__()
        opened.append(provider(bmc, catalogue=catalogue))
        return bmc, opened[-1]

    yield start
    for ours in opened:
        ours.close()
    for running in started:
        running.__exit__(None, None, None)


def provider(
    bmc: Running, *, user: str = USER, password: str = PASSWORD, catalogue: Catalogue | None = None
) -> IpmiBmc:
    account = Account(user, lambda: password)
    return IpmiBmc(Target("l1", bmc.address), "127.0.0.1", bmc.port, account, catalogue)


def impatient(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """A request that is sent once is waited for so long."""
    once = ipmi_session.IpmiSession.ask_once

    def wait(self: ipmi_session.IpmiSession, netfn: int, command: int, data: Sequence[int]) -> bytes:
        return once(self, netfn, command, data, seconds)

    monkeypatch.setattr(ipmi_session.IpmiSession, "ask_once", wait)


def knob(**behaviour: object) -> Catalogue:
    """A lab's own quirk, for every BMC."""
    entry = {"id": "lab-own", "title": "x", "handled": ["knob"], "behaviour": behaviour, "evidence": ["test"]}
    return Catalogue((*quirks.load().entries, *QuirkFile.model_validate({"quirks": [entry]}).quirks))


@pytest.mark.parametrize(
    "faults",
    [
        {"suites": (17,)},
        {"suites": (3,)},
        {"sha1_for_sha256": True},
        {"rakp2_tag_zero": True},
        {"stray_rakp2": {"every": 1}},
        {"inactive_session": {"times": 2}},
        {"table_full": {"times": 1}},
    ],
    ids=str,
)
def test_every_odd_log_in_ends_well_and_leaves_no_session(errant: Errant, faults: dict[str, Any]) -> None:
    bmc, ours = errant(**faults)
    assert ours.power() == "off"
    with pytest.raises(BmcCredentials, match="incorrect password"):
        provider(bmc, password="wrong-Pw").power()
    ours.close()
    sessions = bmc.status["sessions"]
    assert (sessions["opened"], sessions["open"]) == (1, 0)


def test_a_suite_that_quirks_leave_out_is_not_offered(errant: Errant) -> None:
    _, ours = errant(knob(cipher_suites=[17]), suites=(3,))
    with pytest.raises(LabFault, match="none of the cipher suites 17") as refusal:
        ours.power()
    assert "enable cipher suite" in refusal.value.next_step


def test_a_full_session_table_is_busy(errant: Errant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipmi_session, "_BUSY_S", 0.05)
    bmc, ours = errant(table_full={"every": 1})
    with pytest.raises(BmcBusy, match="no free session"):
        ours.power()
    assert bmc.status["log_ins_refused"] == ipmi_session.BUSY_TRIES


def test_a_user_who_was_let_in_and_then_is_unknown_has_been_locked_out(errant: Errant) -> None:
    bmc, ours = errant()
    ours.power()
    ours.close()
    bmc.call(lambda: setattr(bmc.responder._login, "_accounts", {}))
    with pytest.raises(BmcAccountLocked, match="logged in before") as locked:
        ours.power()
    assert "wait" in locked.value.next_step
    with pytest.raises(BmcCredentials, match="no such user") as unknown:
        provider(bmc, user="nobody").power()
    assert not isinstance(unknown.value, BmcAccountLocked)


@pytest.mark.parametrize(
    "network",
    [
        {"loss": 0.05},
        {"duplicate": 0.3},
        {"late": 0.05, "late_s": 0.3},
    ],
    ids=str,
)
def test_two_hundred_reads_over_a_bad_network_are_two_hundred_right_answers(
    errant: Errant, network: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same ladder, shorter: loopback answers in a millisecond.
    monkeypatch.setattr(ipmi_session, "ANSWER_S", (0.1, 0.2, 0.4))
    bmc, ours = errant(to_bmc=network, from_bmc=network)
    answers, truth = [], []
    for number in range(200):
        if number % 20 == 0:
            action = PowerAction.OFF if number % 40 else PowerAction.ON
            bmc.within(bmc.board.act(action))
        truth.append(bmc.board.power)
        answers.append(ours.power())
    assert answers == truth
    assert {"on", "off"} == set(answers)
    status = bmc.status
    assert status["lost"] + status["doubled"] + status["delayed"] > 10


def test_a_log_in_whose_last_answer_is_lost_leaves_no_session(errant: Errant) -> None:
    bmc, ours = errant(from_bmc={"loss": {"after": 3, "times": 1}})
    ours.power()
    ours.close()
    deadline = Deadline.after(5, "the sessions to be closed")
    while bmc.status["sessions"]["open"] and not deadline.passed:
        time.sleep(0.05)
    assert (bmc.status["lost"], bmc.status["sessions"]["opened"]) == (1, 2)
    assert (bmc.status["sessions"]["open"], bmc.status["sessions"]["closed"]) == (0, 2)


@pytest.mark.parametrize("fault", [{"loss": 0.1}, {"duplicate": 1.0}, {"late": 0.1, "late_s": 0.6}], ids=str)
def test_no_reset_is_carried_out_twice_whatever_happens_to_its_datagrams(
    errant: Errant, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ipmi_session, "ANSWER_S", (0.1, 0.2, 0.4))
    impatient(monkeypatch, 0.4)
    bmc, ours = errant(to_bmc=fault, from_bmc=fault)
    bmc.within(bmc.board.act(PowerAction.ON))
    for _ in range(6):
        answer = ours.set_power(PowerAction.RESET, deadline_s=15)
        assert answer.tries == 1
    assert 1 <= bmc.status["chassis_control"]["reset"] <= 6
    assert bmc.board.acts[PowerAction.RESET] == bmc.status["chassis_control"]["reset"]


def test_every_power_action_that_ipmi_has(errant: Errant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "DIP_S", 0.2)
    bmc, ours = errant()
    for action in (PowerAction.ON, PowerAction.NMI, PowerAction.CYCLE, PowerAction.RESET):
        ours.set_power(action)
    ours.set_power(PowerAction.GRACEFUL_OFF)
    assert bmc.status["chassis_control"] == {"on": 1, "nmi": 1, "cycle": 1, "reset": 1, "graceful-off": 1}


def test_an_interrupt_that_the_bmc_lacks_is_unsupported(errant: Errant) -> None:
    bmc, ours = errant(nmi=False)
    bmc.within(bmc.board.act(PowerAction.ON))
    with pytest.raises(Unsupported, match="nmi"):
        ours.set_power(PowerAction.NMI)


@pytest.mark.parametrize("mode", ["uefi", "bios"])
@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("device", [BootDevice.DISK, BootDevice.CD, BootDevice.PXE, BootDevice.SETUP])
def test_boot_flags_are_what_ipmitool_reads(
    errant: Errant, device: BootDevice, lasting: bool, mode: FirmwareMode
) -> None:
    bmc, ours = errant(boot_parameter_3=not lasting)
    answer = ours.boot_always(device, mode) if lasting else ours.boot_once(device, mode)
    assert answer.outcome is Outcome.VERIFIED, answer.evidence
    assert ours.boot_override() is device
    assert (bmc.override().device, bmc.override().once) == (device, not lasting)
    told = bmc.ipmitool("chassis", "bootparam", "get", "5").stdout
    assert ("all future boots" in told) is lasting
    assert ("BIOS EFI boot" in told) is (mode == "uefi")
    assert ours.boot_once(BootDevice.NONE, mode).outcome is Outcome.VERIFIED
    assert bmc.override().device is BootDevice.NONE


def test_a_lasting_override_that_holds_already_is_not_written_again(errant: Errant) -> None:
    _, ours = errant()
    assert ours.boot_always(BootDevice.DISK, "uefi").tries == 1
    assert ours.boot_always(BootDevice.DISK, "uefi").tries == 0
    assert ours.boot_once(BootDevice.DISK, "uefi").tries == 1


def test_a_vendor_has_its_own_selector_for_a_uefi_disk(errant: Errant) -> None:
    bmc, plain = errant(uefi_disk_selector=0x24)
    plain.boot_once(BootDevice.DISK, "uefi")
    assert bmc.override().device is BootDevice.NONE
    ours = provider(bmc, catalogue=knob(boot_selectors={"disk": 0x24}))
    assert ours.boot_once(BootDevice.DISK, "uefi").outcome is Outcome.VERIFIED
    assert bmc.override().device is BootDevice.DISK
    assert ours.boot_override() is BootDevice.DISK
    ours.close()


def test_flags_that_are_dropped_refused_or_wrong_are_never_called_verified(errant: Errant) -> None:
    _, dropping = errant(boot_flags="ignored")
    assert dropping.boot_once(BootDevice.CD, "uefi").outcome is Outcome.UNVERIFIABLE
    _, refusing = errant(boot_flags="refused")
    with pytest.raises(Unsupported):
        refusing.boot_once(BootDevice.CD, "uefi")
    _, wrong = errant(boot_flags="wrong")
    with pytest.raises(BmcRefused, match="another device"):
        wrong.boot_once(BootDevice.CD, "uefi")


def test_sol_is_enabled_once_and_read_back(errant: Errant) -> None:
    bmc, ours = errant(sol_enabled=False)
    assert (ours.sol().enabled, ours.sol().bit_rate) == (False, 115200)
    assert ours.enable_sol().outcome is Outcome.VERIFIED
    assert "Enabled                         : true" in bmc.ipmitool("sol", "info").stdout
    assert ours.enable_sol().tries == 0


def test_sol_that_cannot_be_set_is_unsupported(errant: Errant) -> None:
    _, ours = errant(sol_enabled=False, sol_settable=False)
    with pytest.raises(Unsupported):
        ours.enable_sol()
    assert not ours.sol().enabled


def test_a_restart_is_asked_for_once_and_awaited(errant: Errant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipmi_manager, "_LOOK_EVERY_S", 0.2)
    bmc, ours = errant(cold_reset_s=1.5)
    answer = ours.reset_bmc(deadline_s=60)
    assert (answer.outcome, bmc.status["reboots"]) == (Outcome.VERIFIED, 1)
    assert ours.power() == "off"


def test_a_restart_in_the_middle_of_a_reset_is_settled_by_reading(
    errant: Errant, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch, 0.5)
    bmc, ours = errant(reboot={"after": 3, "times": 1}, reboot_s=2.0)
    bmc.within(bmc.board.act(PowerAction.ON))
    for _ in range(3):
        ours.set_power(PowerAction.RESET, deadline_s=40)
    assert bmc.status["reboots"] == 1
    assert bmc.status["chassis_control"]["reset"] == bmc.board.acts[PowerAction.RESET] <= 3


def test_commands_keep_the_distance_that_a_slow_bmc_needs(errant: Errant) -> None:
    bmc, ours = errant(knob(command_spacing_s=0.3), spacing_s=0.2, hang_s=5.0)
    began = time.monotonic()
    assert [ours.power() for _ in range(4)] == ["off"] * 4
    assert time.monotonic() - began >= 0.9
    assert "Q33" not in bmc.played


def test_sensors_with_all_their_thresholds(errant: Errant) -> None:
    bmc, ours = errant()
    seen = {reading.name: reading for reading in ours.sensors()}
    rows = [
        [cell.strip() for cell in line.split("|")]
        for line in bmc.ipmitool("sensor", "list").stdout.splitlines()
    ]
    compared = 0
    for name, value, _, _, *limits in rows:
        if "0x" in value or name not in seen or value == "na":
            continue
        ours_limits = seen[name].thresholds
        order = (
            ours_limits.lower_fatal,
            ours_limits.lower_critical,
            ours_limits.lower_warning,
            ours_limits.upper_warning,
            ours_limits.upper_critical,
            ours_limits.upper_fatal,
        )
        assert seen[name].value == pytest.approx(float(value), abs=0.01)
        told = [None if text == "na" else float(text) for text in limits]
        for mine, theirs in zip(order, told, strict=True):
            assert mine == (None if theirs is None else pytest.approx(theirs, abs=0.01)), name
        compared += 1
    assert compared >= 4


def test_who_is_logged_in(errant: Errant) -> None:
    bmc, ours = errant()
    other = provider(bmc, user=SOL_USER, password=SOL_PASSWORD)
    other.power()
    sessions = ours.sessions()
    assert [(one.user, one.ours) for one in sessions] == [(USER, True), (SOL_USER, False)]
    assert all(one.peer.startswith("127.0.0.1:") for one in sessions)
    other.close()


def test_identity_names_maker_model_and_firmware(errant: Errant) -> None:
    _, ours = errant()
    identity = ours.identity()
    assert (identity.vendor, identity.model) == ("hypervisor-lab", "Light")
    assert identity.firmware
    dell = ipmi_manager.decode_device(bytes((0x20, 1, 7, 0x10, 2, 0xDF, *(674).to_bytes(3, "little"), 0, 1)))
    assert (dell.vendor, dell.firmware) == ("Dell", "7.10")


def test_quirks_follow_from_who_the_bmc_says_it_is(errant: Errant) -> None:
    entry = {
        "id": "light",
        "title": "x",
        "match": {"model": "^Light$"},
        "handled": ["knob"],
        "behaviour": {"login_retries": 7},
        "evidence": ["test"],
    }
    _, ours = errant(Catalogue(QuirkFile.model_validate({"quirks": [entry]}).quirks))
    assert ours.quirks().behaviour.login_retries == Behaviour().login_retries
    ours.identity()
    assert ours.quirks().behaviour.login_retries == 7


def test_the_matrix_has_all_areas_and_says_how_each_was_learned(errant: Errant) -> None:
    bmc, ours = errant()
    matrix = {one.area: one for one in ours.capabilities()}
    assert set(matrix) == set(Area)
    can = {area for area, one in matrix.items() if one.can == "yes"}
    assert can == {Area.POWER, Area.BOOT, Area.CONSOLE, Area.LOGS, Area.SENSORS, Area.INVENTORY}
    assert matrix[Area.MEDIA].learned == "IPMI has no such command"
    assert all("Get " in matrix[area].learned for area in can)
    assert bmc.status["chassis_control"] == {}
    assert bmc.override().device is BootDevice.NONE


def console(bmc: Running, behaviour: Behaviour | None = None) -> SolStream:
    account = Account(SOL_USER, lambda: SOL_PASSWORD)
    return SolStream(Target("l1", bmc.address), "127.0.0.1", bmc.port, account, behaviour)


def told(stream: SolStream, word: str, seconds: float = 15.0) -> list[str]:
    """The events until one has that word."""
    events: list[str] = []
    end = time.monotonic() + seconds
    while not any(word in event for event in events) and time.monotonic() < end:
        stream.read()
        events += stream.events()
        time.sleep(0.02)
    assert any(word in event for event in events), events
    return events


def test_sol_of_an_orphan_is_freed_before_it_is_ours(errant: Errant) -> None:
    bmc, _ = errant(sol_orphan=True)
    stream = console(bmc, Behaviour(sol_deactivate_first=True))
    assert stream.events() == [], "nothing had to be taken by force"
    bmc.print(b"x")
    stream.close()


@pytest.mark.parametrize(
    "faults",
    [
        {"sol_at_power_change": "dropped"},
        {"sol_at_power_change": "frozen"},
        {"sol_deactivate": {"times": 1}},
    ],
    ids=str,
)
def test_a_console_that_ends_or_freezes_is_attached_again_and_the_gap_is_told(
    errant: Errant, faults: dict[str, Any], sol_in_a_hurry: None
) -> None:
    bmc, ours = errant(**faults)
    stream = console(bmc)
    bmc.wait(lambda: bmc.call(lambda: bmc.responder.bmc.sol._heard_sequence) > 0, "the console to be asked")
    ours.set_power(PowerAction.ON)
    bmc.print(b"hello\r\n")
    events = told(stream, "console back")
    assert events[0].startswith("gap: console lost")
    assert ("froze" in events[0]) == ("frozen" in faults.values())
    stream.close()


def test_the_identity_is_asked_by_nobody_who_only_reads_power(errant: Errant) -> None:
    bmc, ours = errant()
    ours.power()
    ours.close()
    # Set Session Privilege Level, Get Chassis Status, Close Session.
    assert bmc.status["requests"] == 3
