"""SOL packets as a BMC may send them, one by one (IPMI 2.0, 15.11); pyghmi gets these wrong."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.bmc.sol import sender as sol_sender
from lab.bmc.sol import session as sol_session
from lab.bmc.sol.sender import Sender
from lab.bmc.sol.session import SolSession


class Bench(SolSession):
    """An activated session without a network: what it sends is kept."""

    def __init__(self) -> None:
        self.output, self.told, self.sent = bytearray(), list[str](), list[bytes]()
        self.ipmi_session: Any = SimpleNamespace(logged=1, send_payload=self._keep)
        self._output, self._event, self.lost = self.output.extend, self.told.append, None
        self._sender, self._unanswered = Sender(self._emit, self._event, self._lose), 0
        self.remseq = self.lastsize = 0

    def _keep(self, payload: bytearray, **_: object) -> None:
        self.sent.append(bytes(payload))

    def arrive(
        self, sequence: int, data: bytes = b"", *, ack: int = 0, took: int = 0, status: int = 0
    ) -> None:
        """A packet from the BMC."""
        self._got_sol_payload(bytearray((sequence, ack, took, status)) + data)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_retransmission_that_has_grown_loses_nothing(bench: Bench) -> None:
    bench.arrive(1, b"abcd")
    bench.arrive(1, b"abcdefgh")
    assert bench.output == b"abcdefgh"
    assert bench.sent == [bytes((0, 1, 4, 0)), bytes((0, 1, 8, 0))]


def test_a_plain_retransmission_is_acknowledged_and_not_repeated(bench: Bench) -> None:
    bench.arrive(1, b"abcd")
    bench.arrive(1, b"abcd")
    assert bench.output == b"abcd"
    assert len(bench.sent) == 2


def test_a_lost_packet_is_a_gap_where_it_was_lost(bench: Bench) -> None:
    bench.arrive(1, b"a")
    bench.arrive(3, b"c")
    assert bench.output == b"ac"
    assert bench.told == ["gap: 1 packets of output were lost on the network"]


def test_numbers_wrap_from_fifteen_to_one_without_a_gap(bench: Bench) -> None:
    for sequence in [*range(1, 16), 1, 2]:
        bench.arrive(sequence, b"x")
    assert bench.told == []
    assert len(bench.output) == 17


def test_an_overrun_at_the_bmc_is_a_gap(bench: Bench) -> None:
    bench.arrive(1, b"a", status=0x08)
    assert bench.told == ["gap: the BMC's buffer overran; output was lost"]


def test_an_unasked_deactivation_ends_the_session_at_once(bench: Bench) -> None:
    bench.arrive(0, status=0x10)
    assert bench.lost == sol_session.TAKEN


def numbered(bench: Bench) -> None:
    """The empty packet before any input, acknowledged."""
    bench._sender.turn()
    bench.arrive(0, ack=1)
    assert bench.sent.pop() == bytes((1, 0, 0, 0))


def test_what_was_not_accepted_is_sent_again(bench: Bench) -> None:
    numbered(bench)
    bench.type(b"reboot\r")
    bench._sender.turn()
    bench.arrive(0, ack=2, took=3, status=0x40)
    bench._sender.turn()
    assert bench.sent == [bytes((2, 0, 0, 0)) + b"reboot\r", bytes((3, 0, 0, 0)) + b"oot\r"]


def test_an_acknowledgement_of_the_last_try_counts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sol_sender, "RESEND_S", 0.0)
    numbered(bench)
    bench.type(b"x")
    for _ in range(1 + sol_sender.RESENDS):
        bench._sender.turn()
    bench.arrive(0, ack=2, took=1)
    bench._sender.turn()
    assert bench.lost is None
    assert bench.quiet


def test_input_that_nobody_acknowledges_is_a_lost_session(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sol_sender, "RESEND_S", 0.0)
    numbered(bench)
    bench.type(b"x")
    for _ in range(2 + sol_sender.RESENDS):
        bench._sender.turn()
    assert bench.lost == sol_sender.UNACKNOWLEDGED
    assert len(set(bench.sent)) == 1


def test_input_goes_in_small_pieces(bench: Bench) -> None:
    numbered(bench)
    bench.type(b"0123456789abcdefXYZ")
    bench._sender.turn()
    assert bench.sent == [bytes((2, 0, 0, 0)) + b"0123456789abcdef"]
    assert bench._sender._resend_at > time.monotonic()


def test_a_console_that_answered_and_falls_silent_is_frozen(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sol_sender, "RESEND_S", 0.0)
    monkeypatch.setattr(sol_sender, "SILENT_S", 0.0)
    numbered(bench)
    for _ in range(2 + sol_sender.RESENDS):
        bench._sender.turn()
    assert bench.lost == sol_sender.FROZEN


def test_a_bmc_that_never_acknowledges_an_empty_packet_is_not_called_frozen(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sol_sender, "RESEND_S", 0.0)
    monkeypatch.setattr(sol_sender, "SILENT_S", 0.0)
    for _ in range(20):
        bench._sender.turn()
    assert bench.lost is None
    assert len(bench.sent) == sol_sender.ASKS_IN_VAIN
    bench.type(b"x")
    bench._sender.turn()
    assert bench.sent[-1][4:] == b"x"


@given(st.lists(st.binary(max_size=300), max_size=30))
def test_any_packet_is_survived(packets: list[bytes]) -> None:
    bench = Bench()
    for packet in packets:
        bench._got_sol_payload(bytearray(packet))
    assert sum(len(packet) - 4 for packet in packets if len(packet) > 4) >= len(bench.output)
