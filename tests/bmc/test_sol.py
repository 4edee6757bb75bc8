"""The SOL console against ipmi_sim: complete output, input, and every break told."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.bmc.sol.stream import SolStream
from lab.bmc.target import Account, Target
from lab.errors import BmcCredentials, ConsoleLost
from tests.bmc.ipmi_sim import PASSWORD, SOL_PASSWORD, SOL_USER, USER, Simulator

ROOT = Path(__file__).parents[2]
Open = Callable[..., SolStream]


@pytest.fixture
def console(sim: Simulator) -> Iterator[Open]:
    """Opens consoles of `sim`, closed in the end."""
    opened: list[SolStream] = []

    def open_one(user: str = SOL_USER, password: str = SOL_PASSWORD) -> SolStream:
        target = Target("sim-1", sim.address)
        opened.append(SolStream(target, "127.0.0.1", sim.port, Account(user, lambda: password)))
        return opened[-1]

    yield open_one
    for stream in opened:
        stream.close()


def read_until(
    stream: SolStream, done: Callable[[bytes, list[str]], bool], seconds: float = 10
) -> tuple[bytes, list[str]]:
    """What comes until `done` says so."""
    output, events = b"", list(stream.events())
    end = time.monotonic() + seconds
    while not done(output, events) and time.monotonic() < end:
        if select.select([stream], [], [], 0.2)[0]:
            output += stream.read()
            events += stream.events()
    assert done(output, events), (output[-200:], events)
    return output, events


def told(word: str) -> Callable[[bytes, list[str]], bool]:
    """Whether an event has that word."""
    return lambda _, events: any(word in event for event in events)


def test_output_is_complete_and_input_arrives(sim: Simulator, console: Open) -> None:
    stream = console()
    lines = b"".join(b"line %05d of what the server prints\r\n" % number for number in range(2000))
    sim.serial.send(lines)
    output, events = read_until(stream, lambda output, _: len(output) >= len(lines))
    assert output == lines
    assert events == []
    typed = bytes(range(32, 127)) * 3
    stream.write(typed)
    end = time.monotonic() + 10
    while len(sim.serial.received) < len(typed) and time.monotonic() < end:
        time.sleep(0.05)
    assert bytes(sim.serial.received) == typed


def test_a_wrong_password_is_told_as_such(console: Open) -> None:
    with pytest.raises(BmcCredentials):
        console(password="wrong-Pw")


def test_the_password_is_in_no_argument_and_no_environment(
    console: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RACK_SOL", SOL_PASSWORD)
    pid = console()._process.pid
    for file in ("cmdline", "environ"):
        assert SOL_PASSWORD.encode() not in Path(f"/proc/{pid}/{file}").read_bytes()


def test_a_bmc_that_restarts_gives_a_gap_and_comes_back(
    sim: Simulator, console: Open, sol_in_a_hurry: None
) -> None:
    stream = console()
    sim.stop()
    _, events = read_until(stream, told("console lost"))
    assert events[0].startswith("gap:")
    sim.start()
    restarted = time.monotonic()
    read_until(stream, told("console back"))
    assert time.monotonic() - restarted <= 5
    sim.serial.send(b"login: ")
    assert read_until(stream, lambda output, _: b"login: " in output)[0] == b"login: "


def test_a_console_held_by_another_client_is_freed_once_and_both_are_told(console: Open) -> None:
    first = console()
    second = console(USER, PASSWORD)
    assert second.events() == ["the console was held by another client, whose session was ended"]
    read_until(first, told("console lost"))
    time.sleep(1.5)  # two questions whether it is still ours
    assert second.read() == b""
    assert second.events() == [], "the first client took the console back by force"


def test_the_process_ends_with_its_parent(sim: Simulator) -> None:
    code = (
        "import os, sys; from lab.bmc.sol.stream import SolStream; from lab.bmc.target import *\n"
        f"account = Account('{SOL_USER}', lambda: sys.stdin.readline().strip())\n"
        f"s = SolStream(Target('x', 'x'), '127.0.0.1', {sim.port}, account)\n"
        "print(s._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], input=SOL_PASSWORD, capture_output=True, text=True, cwd=ROOT, timeout=30
    )
    assert re.fullmatch(r"\d+\n", ended.stdout), ended.stderr
    pid, end = int(ended.stdout), time.monotonic() + 5
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(pid)


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_process_that_is_killed_is_a_lost_console(console: Open) -> None:
    stream = console()
    os.kill(stream._process.pid, 9)
    end = time.monotonic() + 5
    with pytest.raises(ConsoleLost, match="its process ended") as lost:
        while time.monotonic() < end:
            select.select([stream], [], [], 0.2)
            stream.read()
    assert lost.value.server == "sim-1"
