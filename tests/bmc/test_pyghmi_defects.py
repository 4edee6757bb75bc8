"""The ten defects of pyghmi 1.6.19 (facts/bmc.md, 2.1): each shown in plain pyghmi, and absent from our API.

A newer pyghmi that has lost a defect fails here: then what `lab.bmc` does about it may go.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyghmi.ipmi import command, console
from pyghmi.ipmi.private.session import Session

from lab.bmc.api import BootDevice
from lab.bmc.ipmi import pyghmi_loop
from lab.bmc.ipmi.lan import LanSession
from lab.bmc.ipmi.provider import IpmiBmc
from lab.bmc.sol.session import TAKEN, SolSession
from lab.bmc.sol.stream import SolStream
from lab.bmc.target import Account, Target, Unsupported
from lab.errors import LabFault
from lab.virtual.ipmi.faults import IpmiFaults
from tests.bmc.test_sol_packets import Bench, numbered
from tests.virtual.responder import PASSWORD, SOL_PASSWORD, SOL_USER, USER, Running, responder


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[Running]:
    """A BMC without faults."""
    with responder(tmp_path) as running:
        yield running


def provider(port: int) -> IpmiBmc:
    """Our API."""
    target = Target("l1", f"127.0.0.1:{port}")
    return IpmiBmc(target, "127.0.0.1", port, Account(USER, lambda: PASSWORD))


def plain_session(port: int, told: Callable[[dict[str, Any]], None], *, text: bool = False) -> Any:  # noqa: ANN401
    """pyghmi as its documentation says."""
    user, password = (USER, PASSWORD) if text else (USER.encode(), PASSWORD.encode())
    return Session("127.0.0.1", user, password, port, onlogon=told)


def drive(done: Callable[[], object], seconds: float) -> bool:
    """Run pyghmi's loop until something has happened; whether it has."""
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        Session.wait_for_rsp(timeout=0.05)
    return bool(done())


class PlainConsole(console.Console):  # type: ignore[misc]  # pyghmi is untyped
    """pyghmi's console without a network, its session activated."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.sent: list[bytes] = []
        self.ipmi_session: Any = SimpleNamespace(
            logged=1,
            sol_handler=None,
            send_payload=lambda payload, **_: self.sent.append(bytes(payload)),
            unregister_keepalive=lambda _: None,
        )
        self.outputlock, self.out_handler = threading.RLock(), self.told.append
        self.connected, self.broken, self.awaitingack, self.pendingoutput = True, False, False, list[Any]()
        self.remseq = self.myseq = self.lastsize = 0
        self.keepaliveid = None

    def arrive(self, sequence: int, data: bytes = b"", *, status: int = 0) -> None:
        """A packet from the BMC."""
        self._got_sol_payload(bytearray((sequence, 0, 0, status)) + data)


def test_1_a_second_session_to_one_bmc_works_at_once(bmc: Running) -> None:
    first, second = list[dict[str, Any]](), list[dict[str, Any]]()
    sessions = [plain_session(bmc.port, first.append, text=True)]
    assert drive(lambda: first, 5)
    sessions.append(plain_session(bmc.port, second.append, text=True))
    hangs = not drive(lambda: second, 1.0)
    pyghmi_loop.forget(sessions[0])
    assert hangs, "plain pyghmi: fixed?"
    assert sessions[0] is sessions[1]

    one, two = provider(bmc.port), provider(bmc.port)
    began = time.monotonic()
    assert (one.power(), two.power()) == ("off", "off")
    assert time.monotonic() - began < 5
    one.close()
    assert two.power() == "off", "a session has one owner: closing one leaves the other"
    assert bmc.status["sessions"]["opened"] == 1 + 2
    two.close()


def test_2_a_bmc_that_answers_sha256_with_sha1_is_logged_into(tmp_path: Path) -> None:
    with responder(tmp_path, IpmiFaults(sha1_for_sha256=True)) as bmc:
        told: list[dict[str, Any]] = []
        session = plain_session(bmc.port, told.append)
        with pytest.raises(struct.error):
            drive(lambda: told, 3)
        pyghmi_loop.forget(session)
        ours = provider(bmc.port)
        assert ours.power() == "off"
        ours.close()


def test_3_a_retransmission_that_has_grown_loses_nothing() -> None:
    plain, ours = PlainConsole(), Bench()
    for one in (plain, ours):
        one.arrive(1, b"abcd")
        one.arrive(1, b"abcdefghij")
    assert plain.told == [b"abcd", b"ij"]
    assert ours.output == b"abcdefghij"


def test_4_output_that_was_lost_is_told() -> None:
    plain, ours = PlainConsole(), Bench()
    for one in (plain, ours):
        one.arrive(1, b"a")
        one.arrive(4, b"d")
        one.arrive(5, b"e", status=0x08)
    assert plain.told == [b"a", b"d", b"e"]
    assert [event.split(":")[0] for event in ours.told] == ["gap", "gap"]


def test_5_a_deactivation_is_noticed_at_once() -> None:
    plain, ours = PlainConsole(), Bench()
    for one in (plain, ours):
        one.arrive(0, status=0x10)
    assert plain.told == []
    assert ours.lost == TAKEN


def test_6_an_acknowledgement_in_the_last_window_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyghmi looks at the tries that are left before it looks whether the packet was acknowledged."""
    plain = PlainConsole()
    clock = iter(range(10_000))
    monkeypatch.setattr(console, "_monotonic_time", lambda: next(clock))

    def last_moment(_: float) -> None:
        if len(plain.sent) == 5:
            plain.awaitingack = False

    monkeypatch.setattr(plain, "wait_for_rsp", last_moment)
    plain._sendoutput(b"x")
    assert {"error": "Connection lost"} in plain.told

    ours = Bench()
    numbered(ours)
    ours.type(b"x")
    for _ in range(1 + 5):
        ours._sender._resend_at = 0.0
        ours._sender.turn()
    ours.arrive(0, ack=2, took=1)
    ours._sender.turn()
    assert ours.lost is None


@contextmanager
def ipmi_15_bmc() -> Iterator[int]:
    """A UDP service that says it speaks IPMI 1.5 with MD5 (22.13), and gives a challenge (22.16)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("127.0.0.1", 0))
        service.settimeout(0.1)
        ended = threading.Event()
        replies = {0x38: bytes((1, 0x04, 0, 0, 0, 0, 0, 0)), 0x39: bytes(20)}

        def serve() -> None:
            while not ended.is_set():
                try:
                    data, peer = service.recvfrom(1024)
                except OSError:
                    continue
                asked = data[14 : 14 + data[13]]
                body = bytes((0x81, 0x1C, 0x63, 0x20, asked[4], asked[5], 0, *replies.get(asked[5], b""), 0))
                service.sendto(bytes.fromhex("0600ff0700") + bytes(8) + bytes((len(body),)) + body, peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield service.getsockname()[1]
        ended.set()
        thread.join(5)


def test_7_a_bmc_of_ipmi_15_is_called_that() -> None:
    with ipmi_15_bmc() as port:
        told: list[dict[str, Any]] = []
        session = plain_session(port, told.append)
        with pytest.raises(TypeError):
            drive(lambda: told, 3)
        pyghmi_loop.forget(session)
        with pytest.raises(LabFault, match=r"IPMI 1\.5 alone") as refusal:
            provider(port).power()
        assert "IPMI 2.0" in refusal.value.next_step


@contextmanager
def forwarded(port: int) -> Iterator[int]:
    """Another UDP port that leads to this one, as NAT does."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outer,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inner,
    ):
        outer.bind(("127.0.0.1", 0))
        inner.connect(("127.0.0.1", port))
        client: list[Any] = []
        ended = threading.Event()

        def inward() -> None:
            while not ended.is_set():
                try:
                    data, peer = outer.recvfrom(4096)
                except OSError:
                    continue
                client[:] = [peer]
                inner.send(data)

        def outward() -> None:
            while not ended.is_set():
                try:
                    data = inner.recv(4096)
                except OSError:
                    continue
                outer.sendto(data, client[0])

        outer.settimeout(0.1)
        inner.settimeout(0.1)
        threads = [threading.Thread(target=way, daemon=True) for way in (inward, outward)]
        for thread in threads:
            thread.start()
        yield outer.getsockname()[1]
        ended.set()
        for thread in threads:
            thread.join(5)


def test_8_the_console_opens_behind_a_forwarded_port(bmc: Running) -> None:
    plain = PlainConsole()
    plain.port, plain.force_session, plain.retriedpayload = bmc.port + 1, False, 0
    told = struct.pack("<IHHHH", 0, 200, 200, bmc.port, 0xFFFF)
    plain.ipmi_session.raw_command = lambda **_: {"code": 0, "data": bytearray(told)}
    with pytest.raises(NotImplementedError):
        plain._got_session({"success": True})

    with forwarded(bmc.port) as port:
        account = Account(SOL_USER, lambda: SOL_PASSWORD)
        stream = SolStream(Target("l1", f"127.0.0.1:{port}"), "127.0.0.1", port, account)
        bmc.print(b"login: ")
        output, end = b"", time.monotonic() + 10
        while b"login: " not in output and time.monotonic() < end:
            output += stream.read()
            time.sleep(0.02)
        stream.close()
    assert output == b"login: "


def test_9_sockets_are_counted_once_nothing_is_printed_and_no_answer_ends_another(
    bmc: Running, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[dict[str, Any]] = []
    session = plain_session(bmc.port, told.append)
    assert drive(lambda: told, 5)
    before = Session.socketpool[session.socket]
    session.logout()
    assert Session.socketpool[session.socket] == before - 2, "plain pyghmi: fixed?"
    Session.socketpool[session.socket] += 1

    users = dict(Session.socketpool)
    ours = provider(bmc.port)
    ours.power()
    ours.close()
    assert {pool: users.get(pool, 0) for pool in Session.socketpool} == Session.socketpool
    bad = IpmiBmc(Target("l1", bmc.address), "127.0.0.1", bmc.port, Account(USER, lambda: "no"))
    with pytest.raises(LabFault):
        bad.power()
    assert capfd.readouterr() == ("", "")


def test_9_a_bmc_that_does_not_know_who_holds_the_payload_keeps_its_console() -> None:
    """pyghmi's own server has no command 0x4b, and pyghmi's console takes that for the end."""
    plain, ours = PlainConsole(), Bench()
    plain._got_payload_instance_info({"error": "Invalid command", "code": 0xC1})
    ours._still_ours({"code": 0xC1, "data": b""})
    assert plain.told == [{"error": "Invalid command"}]
    assert ours.lost is None


def test_9_a_callback_that_fails_in_one_session_does_not_surface_in_another(bmc: Running) -> None:
    class Odd(LanSession):
        def _got_rakp2(self, data: bytearray) -> None:
            raise IndexError("an answer that is odd")

    told: list[dict[str, Any]] = []
    odd = Odd("127.0.0.1", bmc.port, USER.encode(), PASSWORD.encode(), told.append)
    ours = provider(bmc.port)
    assert ours.power() == "off"
    assert drive(lambda: odd.stumble, 3)
    assert told == []
    ours.close()
    odd.logout()


def test_10_a_boot_from_http_is_unsupported_and_not_a_network_boot(bmc: Running) -> None:
    assert command.boot_devices["http"] == command.boot_devices["network"]
    ours = provider(bmc.port)
    with pytest.raises(Unsupported, match="http"):
        ours.boot_once(BootDevice.HTTP, "uefi")
    with pytest.raises(Unsupported, match="URI"):
        ours.boot_once(BootDevice.PXE, "uefi", uri="http://127.0.0.1/boot.efi")
    assert bmc.override().device is BootDevice.NONE
    ours.close()


def test_10_a_boot_device_that_does_not_read_back_is_a_refusal(tmp_path: Path) -> None:
    with responder(tmp_path, IpmiFaults(boot_flags="wrong")) as bmc:
        ours = provider(bmc.port)
        with pytest.raises(LabFault, match="keeps another device"):
            ours.boot_once(BootDevice.CD, "uefi")
        ours.close()


def test_names_in_packed_ascii_do_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eleventh, found since: pyghmi decodes the first three bytes of such a name for ever."""
    from pyghmi.ipmi import sdr

    from lab.bmc.ipmi import sdr as ipmi_sdr

    rounds = iter(range(5))
    monkeypatch.setattr(sdr, "chr", lambda code: str(next(rounds)), raising=False)
    entry = sdr.SDREntry.__new__(sdr.SDREntry)
    with pytest.raises(StopIteration):
        entry.tlv_decode(0x83, bytearray((0x29, 0xDC, 0xA6)))
    assert ipmi_sdr.Entry.__new__(ipmi_sdr.Entry).tlv_decode(0x83, bytearray((0x29, 0xDC, 0xA6))) == "IPMI"


def test_the_sol_session_is_of_our_kind(bmc: Running) -> None:
    """What holds for log-ins above holds for consoles."""
    session = SolSession(
        "127.0.0.1", bmc.port, USER.encode(), PASSWORD.encode(), lambda _: None, lambda _: None, force=False
    )
    assert isinstance(session.ipmi_session, LanSession)
    assert drive(lambda: session.connected, 5)
    session.release()
    bmc.wait(lambda: not bmc.status["sol_open"], "the console to be given back")
