"""RMCP+ as bytes: what is written is read again, and no datagram makes the responder stumble."""

from __future__ import annotations

import asyncio
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.rack.model import Server
from lab.virtual.folder import ServerFolder
from lab.virtual.ipmi import commands, rmcp
from lab.virtual.ipmi.bmc import Bmc, Identity
from lab.virtual.ipmi.config import Account
from lab.virtual.ipmi.faults import IpmiFaults
from lab.virtual.ipmi.fru import Fru
from lab.virtual.ipmi.in_force import InForce
from lab.virtual.ipmi.login import Login
from lab.virtual.ipmi.rakp import SUITES, Exchange, Keys, Suite
from lab.virtual.ipmi.rmcp import Message, Packet, PayloadType
from lab.virtual.ipmi.session import Session, SessionTable
from lab.virtual.light import LightChassis
from tests.virtual.rackfile import server, write_rack

suites = st.sampled_from(list(SUITES.values()))
ids = st.integers(1, 2**32 - 1)
PEER = ("127.0.0.1", 9)


def keys(suite: Suite) -> Keys:
    return Keys(suite, b"k" * 20)


@given(suites, st.sampled_from([PayloadType.IPMI, PayloadType.SOL]), ids, ids, st.binary(max_size=300))
def test_a_datagram_of_a_session_is_read_as_it_was_written(
    suite: Suite, kind: PayloadType, session: int, sequence: int, payload: bytes
) -> None:
    ours = keys(suite)
    signed = rmcp.in_session(kind, session, sequence, ours.encrypt(payload))
    datagram = rmcp.RMCP_HEADER + signed + ours.code(signed)
    packet = rmcp.decode(datagram, suite.code_bytes)
    assert isinstance(packet, Packet)
    assert (packet.type, packet.session, packet.sequence, packet.encrypted) == (kind, session, sequence, True)
    assert rmcp.session_of(datagram) == session
    assert ours.vouches(packet.signed, packet.code)
    assert ours.decrypt(packet.payload) == payload
    assert (len(signed) + 0) % 4 == 0


@given(st.binary(max_size=300), st.sampled_from([0, 12, 16]))
def test_no_datagram_is_too_odd_to_be_decoded(datagram: bytes, code_bytes: int) -> None:
    for head in (b"", rmcp.RMCP_HEADER, rmcp.RMCP_HEADER + b"\x06", rmcp.RMCP_HEADER + b"\x06\xc0"):
        packet = rmcp.decode(head + datagram, code_bytes)
        rmcp.session_of(head + datagram)
        if isinstance(packet, Packet):
            rmcp.decode_message(packet.payload)
            keys(SUITES[3]).decrypt(packet.payload)


@given(
    st.integers(0, 31).map(lambda n: n * 2), st.integers(0, 255), st.binary(max_size=40), st.integers(0, 63)
)
def test_a_request_is_read_and_its_response_adds_up(
    function: int, command: int, data: bytes, sequence: int
) -> None:
    head = bytes([rmcp.BMC_ADDRESS, function << 2])
    body = bytes([0x81, sequence << 2, command]) + data
    payload = head + bytes([-sum(head) & 0xFF]) + body + bytes([-sum(body) & 0xFF])
    request = rmcp.decode_message(payload)
    assert request == Message(function, command, data, 0x81, sequence << 2, 0)
    response = rmcp.encode_response(request, 0, b"\x01\x02")
    assert sum(response[:3]) & 0xFF == 0
    assert sum(response[3:]) & 0xFF == 0
    assert response[4] >> 2 == sequence
    assert rmcp.decode_message(payload[:-1] + bytes([payload[-1] ^ 1])) is None


def test_codes_are_those_of_the_specification() -> None:
    """The formulas of 13.31 and 13.32 once more, written out."""
    console, managed, guid = b"CONS", b"MNGD", bytes(16)
    exchange = Exchange(SUITES[17], console, managed, guid, b"c" * 16, b"m" * 16, 0x14, b"lab")
    who = b"\x14\x03lab"
    told = console + managed + b"c" * 16 + b"m" * 16 + guid + who
    assert exchange.rakp2_code(b"pw") == hmac.digest(b"pw", told, "sha256")
    assert exchange.rakp3_code(b"pw") == hmac.digest(b"pw", b"m" * 16 + console + who, "sha256")
    key = hmac.digest(b"pw", b"c" * 16 + b"m" * 16 + who, "sha256")
    assert exchange.session_key(b"pw") == key
    assert exchange.rakp4_code(key) == hmac.digest(key, b"c" * 16 + managed + guid, "sha256")[:16]
    first = hmac.digest(key, b"\x01" * 20, "sha256")
    assert Keys(SUITES[17], key).code(b"signed") == hmac.digest(first, b"signed", "sha256")[:16]


@given(st.lists(st.integers(0, 60), max_size=40))
def test_each_sequence_number_counts_once(numbers: list[int]) -> None:
    session = Session(1, 1, Exchange(SUITES[3], b"", b"", b""), PEER, b"", 0.0)
    newest, taken = 0, set()
    for number in numbers:
        expected = number > newest or (number > 0 and newest - number < 32 and number not in taken)
        assert session.is_new(number) is expected
        if expected:
            taken.add(number)
            newest = max(newest, number)


@given(st.sampled_from([0x10, 0x12, 0x14, 0x00, 0x3F]), st.binary(max_size=80))
def test_no_log_in_message_makes_it_stumble(kind: int, payload: bytes) -> None:
    faults = InForce(IpmiFaults())
    login = Login(SessionTable(faults), [Account("lab", "pw")], bytes(16), faults)
    login.answer(kind, payload, PEER)
    opened = login.answer(0x10, payload.ljust(32, b"\0"), PEER)
    if opened and opened[0][1][1] == 0:
        number = opened[0][1][8:12]
        login.answer(0x12, payload[:4].ljust(4, b"\0") + number + payload[4:], PEER)
        login.answer(0x14, b"\0\0\0\0" + number + payload, PEER)


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Server:
    return write_rack(tmp_path_factory.mktemp("codec"), server("l1")).servers[0]


@given(st.sampled_from(sorted(commands.KNOWN)), st.binary(max_size=24))
def test_no_request_makes_a_command_stumble(entry: Server, command: tuple[int, int], data: bytes) -> None:
    async def ask() -> None:
        identity = Identity("l1", "127.0.0.1", 9, bytes(16), (Account("lab", "pw"),), Fru("a", "b", "c", "d"))
        board = LightChassis(entry, ServerFolder(Path("unused")))
        bmc = Bmc(board, identity, _no_serial_port, InForce())
        session = bmc.sessions.add(Exchange(SUITES[3], b"CONS", b"", bytes(16)), PEER, b"")
        assert session is not None
        session.account, session.privilege = identity.accounts[0], 4
        bmc.sessions.establish(session, keys(SUITES[3]))
        request = Message(*command, data, 0x81, 0, 0)
        completion, answer = commands.carry_out(bmc, request, session)
        assert 0 <= completion <= 255
        assert len(rmcp.encode_response(request, completion, answer)) >= 8
        commands.carry_out(bmc, request, None)
        bmc.sol.receive(session, data)
        await bmc.close()

    asyncio.run(ask())


async def _no_serial_port(protocol: object) -> asyncio.Transport:
    raise ConnectionRefusedError
