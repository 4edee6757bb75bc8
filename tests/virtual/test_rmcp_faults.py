"""Every fault of the responder, seen on the wire; and what a sound BMC does instead."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.bmc.api import BootDevice
from lab.rack.virtual import FaultEntry
from lab.virtual.ipmi import rmcp
from lab.virtual.ipmi.faults import Frequency, IpmiFaults
from lab.virtual.ipmi.in_force import Trigger
from lab.virtual.ipmi.rmcp import PayloadType
from tests.virtual.responder import Running, responder
from tests.virtual.rmcp_client import Client

STATUS, CONTROL = (0x00, 0x01), (0x00, 0x02)
PARAMETER_80 = 0x80


@contextlib.contextmanager
def bmc(folder: Path, **faults: object) -> Iterator[Running]:
    with responder(folder, IpmiFaults.model_validate(faults)) as running:
        yield running


def test_presence_ping_is_answered(tmp_path: Path) -> None:
    with bmc(tmp_path) as running, Client(running.port) as client:
        client.put(bytes.fromhex("0600ff06000011be802a0000"))
        pong = client.get()
    assert pong is not None
    assert pong[8:10] == b"\x40\x2a"
    assert pong[20] == 0x81


def test_suite_17_alone(tmp_path: Path) -> None:
    with bmc(tmp_path, suites=[17]) as running, Client(running.port) as client:
        assert client.open_session(3)[1] == 0x04
        assert client.open_session(17)[1] == 0
        assert running.played == {"Q28": 1}
        assert running.ipmitool("mc", "info", cipher=17).returncode == 0


def test_an_offer_of_sha256_is_answered_with_sha1(tmp_path: Path) -> None:
    with bmc(tmp_path, sha1_for_sha256=True) as running, Client(running.port, suite=3) as client:
        opened = client.open_session(17)
        assert (opened[1], opened[16]) == (0, 0x01)
        assert len(client.rakp1(opened)[0]) == 40 + 20


def test_rakp2_with_tag_zero_and_strays(tmp_path: Path) -> None:
    faults = {"rakp2_tag_zero": True, "stray_rakp2": {"times": 1}}
    with bmc(tmp_path, **faults) as running, Client(running.port) as client:
        came = client.rakp1(client.open_session())
        assert [answer[0] for answer in came] == [0xFF, 0]
        assert came[0][4:8] != came[1][4:8]
        assert client.rakp3(came[1])[0][1] == 0
        assert running.played == {"Q28": 2}


def test_inactive_session_flaps_as_often_as_it_is_told(tmp_path: Path) -> None:
    with bmc(tmp_path, inactive_session={"times": 2}) as running, Client(running.port) as client:
        for _ in range(2):
            assert client.rakp1(client.open_session())[0][1] == 0x08
        client.log_in()
        assert running.played == {"Q19": 2}


def test_a_full_session_table_and_one_that_is_filled(tmp_path: Path) -> None:
    with bmc(tmp_path, table_full={"times": 1}, sessions=2) as running:
        with Client(running.port) as one, Client(running.port) as two, Client(running.port) as three:
            assert one.open_session()[1] == 0x01
            one.log_in()
            two.log_in()
            assert three.open_session()[1] == 0x01
            assert one.ask(0x06, 0x3C, one.id.to_bytes(4, "little")).code == 0
            three.log_in()
        sessions = running.status["sessions"]
        assert (sessions["opened"], sessions["closed"], sessions["open"]) == (3, 1, 2)


def test_a_silent_session_ends(tmp_path: Path) -> None:
    with bmc(tmp_path, session_timeout_s=0.5) as running, Client(running.port) as client:
        client.log_in()
        running.wait(lambda: running.status["sessions"]["expired"] == 1, "the session to end")


def test_a_repeated_log_in_message_gets_the_same_answer(tmp_path: Path) -> None:
    """Without that a lost RAKP 2 or RAKP 4 would cost the whole log-in, and leave a session behind."""
    with bmc(tmp_path) as running, Client(running.port) as client:
        rakp2 = client.rakp1(client.open_session())[0]
        first = client.rakp3(rakp2)[0]
        assert client.rakp3(rakp2)[0] == first
        assert running.status["sessions"]["opened"] == 1


def test_a_datagram_that_comes_twice_is_obeyed_once(tmp_path: Path) -> None:
    with bmc(tmp_path) as running, Client(running.port) as client:
        client.log_in()
        twice = client.datagram(PayloadType.IPMI, client.request(*CONTROL, b"\x01"))
        client.put(twice)
        client.put(twice)
        assert client.ask(*STATUS).code == 0
        assert running.status["chassis_control"] == {"on": 1}
        assert running.status["stale"] == 1


def test_a_datagram_that_is_not_genuine_is_not_obeyed(tmp_path: Path) -> None:
    with bmc(tmp_path) as running, Client(running.port) as client:
        client.log_in()
        forged = bytearray(client.datagram(PayloadType.IPMI, client.request(*CONTROL, b"\x01")))
        forged[-1] ^= 1
        client.put(bytes(forged))
        assert client.ask(*STATUS).data[0] & 1 == 0
        assert running.status["chassis_control"] == {}


@pytest.mark.parametrize(
    ("faults", "code"),
    [({"boot_flags": "refused"}, PARAMETER_80), ({"boot_flags": "ignored"}, 0), ({"boot_flags": "wrong"}, 0)],
)
def test_boot_flags_that_are_not_kept(tmp_path: Path, faults: dict[str, str], code: int) -> None:
    with bmc(tmp_path, **faults) as running, Client(running.port) as client:
        client.log_in()
        assert client.ask(0x00, 0x08, b"\x05\x80\x14\x00\x00\x00").code == code
        read = client.ask(0x00, 0x09, b"\x05\x00\x00").data
        assert read[2:4] == (b"\x80\x04" if faults["boot_flags"] == "wrong" else b"\x00\x00")


def test_parameter_3_is_refused_or_keeps_the_flags(tmp_path: Path) -> None:
    (tmp_path / "no").mkdir()
    with bmc(tmp_path / "no", boot_parameter_3=False) as running, Client(running.port) as client:
        assert client.log_in().ask(0x00, 0x08, b"\x03\x08").code == PARAMETER_80
    (tmp_path / "yes").mkdir()
    with bmc(tmp_path / "yes", boot_flags_lapse_s=0.3) as running, Client(running.port) as client:
        client.log_in().ask(0x00, 0x08, b"\x05\x80\x14")
        running.wait(lambda: running.override().device is BootDevice.CD, "the override")
        running.wait(lambda: running.override().device is BootDevice.NONE, "the flags to lapse")
        client.ask(0x00, 0x08, b"\x03\x08")
        client.ask(0x00, 0x08, b"\x05\x80\x14")
        time.sleep(0.6)  # twice the time in which they would lapse
        assert client.ask(0x00, 0x09, b"\x05\x00\x00").data[2:4] == b"\x80\x14"


@pytest.mark.parametrize(("selector", "boots"), [(0x08, BootDevice.NONE), (0x24, BootDevice.DISK)])
def test_a_uefi_disk_by_its_own_selector(tmp_path: Path, selector: int, boots: BootDevice) -> None:
    with bmc(tmp_path, uefi_disk_selector=0x24) as running, Client(running.port) as client:
        client.log_in().ask(0x00, 0x08, bytes([5, 0xA0, selector, 0, 0, 0]))
        assert client.ask(0x00, 0x09, b"\x05\x00\x00").data[2:4] == bytes([0xA0, selector])
        client.ask(*CONTROL, b"\x01")
        running.wait(lambda: running.board.boots == [boots], "a boot")
        assert client.ask(0x00, 0x09, b"\x05\x00\x00").data[2] == 0


def test_nmi_that_is_unknown(tmp_path: Path) -> None:
    with bmc(tmp_path, nmi=False) as running, Client(running.port) as client:
        assert client.log_in().ask(*CONTROL, b"\x04").code == 0xCC
        assert running.board.acts["nmi"] == 0


def test_power_that_lags_and_power_that_lies(tmp_path: Path) -> None:
    with bmc(tmp_path, power_lag_s=0.6, power_lies=2) as running, Client(running.port) as client:
        client.log_in().ask(*CONTROL, b"\x01")
        began = time.monotonic()
        assert client.ask(*STATUS).data[0] & 1 == 0
        running.wait(lambda: running.board.power == "on", "power")
        assert time.monotonic() - began > 0.5
        assert [client.ask(*STATUS).data[0] & 1 for _ in range(2)] == [0, 1]


def test_commands_too_close_make_it_hang(tmp_path: Path) -> None:
    with bmc(tmp_path, spacing_s=0.5, hang_s=0.7) as running, Client(running.port) as client:
        client.log_in().ask(*STATUS)
        client.put(client.datagram(PayloadType.IPMI, client.request(*STATUS)))
        assert client.get(0.3) is None
        running.wait(lambda: not running.call(lambda: running.responder.away), "the hang to end")
        time.sleep(0.6)
        assert client.ask(*STATUS).code == 0
        assert running.played == {"Q33": 1}


@pytest.mark.parametrize("unheard", [False, True])
def test_a_restart_in_the_middle_of_a_command(tmp_path: Path, unheard: bool) -> None:
    # Occasions: privilege, then power on.
    faults = {"reboot": {"after": 1, "times": 1}, "reboot_s": 0.5, "reboot_unheard": unheard}
    with bmc(tmp_path, **faults) as running, Client(running.port) as client:
        client.log_in()
        client.put(client.datagram(PayloadType.IPMI, client.request(*CONTROL, b"\x01")))
        assert client.get(0.3) is None
        running.wait(lambda: not running.call(lambda: running.responder.away), "the BMC to come back")
        assert running.board.acts["on"] == (0 if unheard else 1)
        assert running.status["sessions"]["lost"] == 1
        client.put(client.datagram(PayloadType.IPMI, client.request(*STATUS)))
        assert client.get(0.2) is None  # the session is gone
        client.log_in()


def test_faults_of_the_rack_file(tmp_path: Path) -> None:
    with bmc(tmp_path) as running, Client(running.port) as client:
        running.inject(FaultEntry(fault="session-table-full"))
        assert client.open_session()[1] == 0x01
        client.log_in()
        running.inject(FaultEntry(fault="loss", way="in"), FaultEntry(fault="loss", way="out"))
        for _ in range(2):
            client.put(client.datagram(PayloadType.IPMI, client.request(*STATUS)))
            assert client.get(0.2) is None
        running.inject(FaultEntry(fault="duplicate", way="out"))
        client.put(client.datagram(PayloadType.IPMI, client.request(*STATUS)))
        assert client.get() == client.get()
        running.inject(FaultEntry(fault="late", way="out", seconds=0.4))
        began = time.monotonic()
        assert client.ask(*STATUS).code == 0
        assert time.monotonic() - began > 0.3
        running.inject(FaultEntry(fault="bmc-reboot", seconds=0.3))
        client.put(client.datagram(PayloadType.IPMI, client.request(*STATUS)))
        assert client.get(0.2) is None
        expected = {"session-table-full": 1, "loss": 2, "duplicate": 1, "late": 1, "bmc-reboot": 1}
        assert running.played == expected


def test_sol_goes_one_packet_at_a_time_until_acknowledged(tmp_path: Path) -> None:
    with bmc(tmp_path) as running, Client(running.port) as client:
        assert client.log_in().activate_sol().code == 0
        running.print(b"first")
        sequence, _, data = client.output(acknowledge=False)
        assert client.output(acknowledge=False) == (sequence, 0, data)
        client.sol(acknowledged=sequence, count=3)  # the rest was not accepted
        assert client.output() == (sequence % 15 + 1, 0, b"st")
        client.sol(sequence=1, data=b"key")
        client.sol(sequence=1, data=b"key")
        client.sol(sequence=2, data=b"s")
        running.wait(lambda: bytes(running.wire.received) == b"keys", "input once")


def test_sol_of_another_is_refused_and_can_be_taken(tmp_path: Path) -> None:
    with bmc(tmp_path) as running, Client(running.port) as one, Client(running.port, suite=3) as two:
        assert one.log_in().activate_sol().code == 0
        assert two.log_in().activate_sol().code == 0x80
        owner = two.ask(0x06, 0x4B, b"\x01\x01").data[:4]
        assert int.from_bytes(owner, "little") == one.id
        assert two.ask(0x06, 0x49, b"\x01\x01\0\0\0\0").code == 0
        assert one.output()[1] & 0x10
        assert two.activate_sol().code == 0
        assert running.status["sol_activated"] == 2


@pytest.mark.parametrize("how", ["dropped", "frozen"])
def test_sol_at_a_power_change(tmp_path: Path, how: str) -> None:
    with bmc(tmp_path, sol_at_power_change=how) as running, Client(running.port) as client:
        client.log_in().activate_sol()
        running.print(b"before")
        client.output()
        client.put(client.datagram(PayloadType.IPMI, client.request(*CONTROL, b"\x01")))
        running.wait(lambda: "Q29" in running.played, "the fault")
        running.print(b"after") if how == "frozen" else None
        client.get(0.3)  # the answer to the command, which may still have come
        assert client.get(0.3) is None
        sessions = running.status["sessions"]
        assert (sessions["open"], sessions["lost"]) == ((1, 0) if how == "frozen" else (0, 1))
        if how == "frozen":
            assert client.ask(0x06, 0x49, b"\x01\x01\0\0\0\0").code == 0
            assert client.activate_sol().code == 0


def test_sol_settings_that_cannot_be_written(tmp_path: Path) -> None:
    with bmc(tmp_path, sol_settable=False, sol_enabled=False) as running, Client(running.port) as client:
        assert client.log_in().activate_sol().code == 0x81
        assert client.ask(0x0C, 0x21, b"\x01\x01\x01").code == 0x82
        assert running.played == {"Q29": 1}


def test_an_orphan_holds_sol_and_ends_the_next_one(tmp_path: Path) -> None:
    faults = {"sol_orphan": True, "sol_orphan_kills": True, "session_timeout_s": 4.0}
    with bmc(tmp_path, **faults) as running, Client(running.port) as client:
        assert client.log_in().activate_sol().code == 0x80
        assert client.ask(0x06, 0x49, b"\x01\x01\0\0\0\0").code == 0
        assert client.activate_sol().code == 0
        running.wait(lambda: client.ask(0x06, 0x4A, b"\x01").data[1] == 0, "the orphan's time to be over")
        assert running.played == {"Q30": 1}


def test_a_session_that_had_sol_ends_anothers_when_it_times_out(tmp_path: Path) -> None:
    with (
        bmc(tmp_path, sol_orphan_kills=True, session_timeout_s=1.5) as running,
        Client(running.port) as gone,
        Client(running.port) as client,
    ):
        gone.log_in().activate_sol()
        client.log_in().ask(0x06, 0x49, b"\x01\x01\0\0\0\0")
        assert client.activate_sol().code == 0
        running.wait(lambda: client.ask(0x06, 0x4A, b"\x01").data[1] == 0, "the other's time to be over")
        assert running.played == {"Q30": 1}


def test_sol_that_ends_deactivates_skips_and_grows(tmp_path: Path) -> None:
    faults: dict[str, Any] = {"sol_gap": {"after": 1, "times": 1}, "sol_grown": {"after": 2, "times": 1}}
    faults |= {"sol_deactivate": {"after": 4, "times": 1}}
    with bmc(tmp_path, **faults) as running, Client(running.port) as client:
        client.log_in().activate_sol()
        running.print(b"one")
        assert client.output() == (1, 0, b"one")
        running.print(b"lost")
        running.wait(lambda: "sol_gap" in running.played, "the gap")
        running.print(b"three")
        assert client.output() == (3, 0, b"three")
        running.print(b"four")
        assert client.output() == (4, 0, b"four")
        running.print(b"five")
        assert client.output() == (4, 0, b"fourfive")
        running.print(b"six")
        assert client.output()[1] & 0x10


def test_sol_that_ends_without_a_word(tmp_path: Path) -> None:
    with bmc(tmp_path, sol_end={"times": 1}) as running, Client(running.port) as client:
        client.log_in().activate_sol()
        running.print(b"one")
        assert client.get(0.3) is None
        assert running.status["sessions"]["open"] == 0


@pytest.mark.parametrize(
    ("when", "hits"),
    [
        (Frequency(), []),
        (Frequency(times=2), [1, 2]),
        (Frequency(every=3), [3, 6, 9]),
        (Frequency(after=4, every=2, times=2), [6, 8]),
        (Frequency(probability=1.0, after=8), [9, 10]),
        (Frequency(probability=0.0), []),
    ],
)
def test_when_a_fault_happens(when: Frequency, hits: list[int]) -> None:
    trigger = Trigger(when, random.Random(1))  # noqa: S311
    assert [occasion for occasion in range(1, 11) if trigger()] == hits


def test_a_bare_number_is_a_probability() -> None:
    assert Frequency.model_validate(0.05) == Frequency(probability=0.05)


def test_stray_datagrams_do_no_harm(tmp_path: Path) -> None:
    with bmc(tmp_path) as running, Client(running.port) as client:
        client.log_in()
        for datagram in (
            b"",
            b"\x06",
            b"GET / HTTP/1.1\r\n\r\n",
            rmcp.RMCP_HEADER,
            b"\x06\0\xff\x07\x06" * 9,
        ):
            client.put(datagram)
        assert client.ask(*STATUS).code == 0
