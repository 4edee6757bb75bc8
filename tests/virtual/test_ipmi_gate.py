"""The gate in front of `ipmi_sim`: what a network does to datagrams, as often as it is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from lab.rack.virtual import FaultEntry
from lab.virtual.faults import Faults
from lab.virtual.ipmi.faults import IpmiFaults
from lab.virtual.ipmi.gate import Gate
from lab.virtual.ipmi.in_force import InForce
from tests.virtual.rackfile import free_port

OPEN_SESSION = bytes.fromhex("0600ff07061000000000000000002000") + bytes.fromhex(
    "07040000aabbccdd000000080100000001000008010000000200000801000000"
)
A_COMMAND = bytes.fromhex("0600ff0706c0010000000100000010") + bytes(17)
QUIET_S = 0.3


class Echo(asyncio.DatagramProtocol):
    """The BMC: sends back what comes, and keeps it."""

    def __init__(self) -> None:
        self.came: list[bytes] = []

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.came.append(data)
        self.transport.sendto(data, addr)


class Caller(asyncio.DatagramProtocol):
    """The client."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.answers.put_nowait(data)


@asynccontextmanager
async def gate(
    faults: IpmiFaults, *entries: FaultEntry
) -> AsyncIterator[tuple[Gate, Echo, Callable[[bytes], None], Caller]]:
    loop = asyncio.get_running_loop()
    inner, echo = await loop.create_datagram_endpoint(Echo, ("127.0.0.1", 0))
    gate = Gate(inner.get_extra_info("sockname"), InForce(faults, Faults("s1", entries)))
    port = free_port(socket.SOCK_DGRAM)
    await gate.open("127.0.0.1", port)
    outer, caller = await loop.create_datagram_endpoint(Caller, remote_addr=("127.0.0.1", port))
    try:
        yield gate, echo, outer.sendto, caller
    finally:
        for closing in (outer, gate, inner):
            closing.close()


async def answers(caller: Caller, count: int) -> list[bytes]:
    """So many answers, and no more behind them."""
    got = [await asyncio.wait_for(caller.answers.get(), 10) for _ in range(count)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(caller.answers.get(), QUIET_S)
    return got


@pytest.mark.parametrize(
    ("faults", "arrived", "answered", "status"),
    [
        ({}, 4, 4, (0, 0)),
        ({"to_bmc": {"loss": {"every": 2}}}, 2, 2, (2, 0)),
        ({"from_bmc": {"loss": {"times": 3}}}, 4, 1, (3, 0)),
        ({"to_bmc": {"duplicate": {"times": 1}}}, 5, 5, (0, 1)),
        ({"from_bmc": {"duplicate": {"every": 4}}}, 4, 5, (0, 1)),
        ({"to_bmc": {"loss": 1.0}}, 0, 0, (4, 0)),
    ],
)
def test_lost_and_doubled(
    faults: dict[str, Any], arrived: int, answered: int, status: tuple[int, int]
) -> None:
    async def work() -> None:
        async with gate(IpmiFaults.model_validate(faults)) as (between, echo, send, caller):
            for number in range(4):
                send(bytes([number]) * 8)
            await answers(caller, answered)
            assert len(echo.came) == arrived
            assert (between.status()["lost"], between.status()["doubled"]) == status

    asyncio.run(work())


def test_late_ones_come_behind_the_others() -> None:
    async def work() -> None:
        late = FaultEntry(fault="late", way="out", seconds=0.5)
        async with gate(IpmiFaults(), late) as (_, _, send, caller):
            send(b"first---")
            send(b"second--")
            assert await answers(caller, 1) == [b"second--"]
            assert await answers(caller, 1) == [b"first---"]

    asyncio.run(work())


def test_a_full_session_table_is_answered_here() -> None:
    async def work() -> None:
        full = FaultEntry(fault="session-table-full")
        async with gate(IpmiFaults(), full) as (_, echo, send, caller):
            send(OPEN_SESSION)
            answer = (await answers(caller, 1))[0]
            assert answer[16:24] == b"\x07\x01\0\0\xaa\xbb\xcc\xdd"
            assert echo.came == []
            send(OPEN_SESSION)
            assert await answers(caller, 1) == [OPEN_SESSION]

    asyncio.run(work())


@pytest.mark.parametrize(("way", "arrived"), [("after", 1), ("before", 0)])
def test_a_restart_lets_nothing_through(way: Literal["after", "before"], arrived: int) -> None:
    async def work() -> None:
        reboot = FaultEntry(fault="bmc-reboot", way=way, seconds=0.8)
        async with gate(IpmiFaults(), reboot) as (between, echo, send, caller):
            send(A_COMMAND)
            await answers(caller, 0)
            send(A_COMMAND)
            assert between.is_shut
            assert len(echo.came) == arrived
            await asyncio.sleep(0.9)
            send(A_COMMAND)
            assert (await answers(caller, 1)) == [A_COMMAND]

    asyncio.run(work())
