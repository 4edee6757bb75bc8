"""Ctrl-C or a kill at any moment: nothing stays locked or goes on, and the next run says what it found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lab import paths
from lab.errors import ServerBusy
from lab.machine import lease
from lab.machine.credentials import Phase, installs_of, latest
from lab.machine.edges import State
from lab.machine.machine import Machine
from tests.machine.bench import Bench, notes
from tests.machine.scripted import DEPLOY, XEN_BOOT, interrupt_at

ORDERS = {
    "s1": [("insert", 0), ("boot cd", 0), ("power on", 0), ("eject", 0), ("boot disk", 0), ("power on", 1)],
    "s2": [("boot pxe", 0), ("power on", 0), ("boot disk", 0), ("power on", 1)],
}
EVERY_ORDER = [(server, order, nth) for server, orders in ORDERS.items() for order, nth in orders]


def given_back_as_it_should_be(bench: Bench, machine: Machine, server: str) -> None:
    """The machine was interrupted: give it back, and nothing is left; then a whole new run goes well."""
    scripted = bench.servers[server]
    assert bench.open_installs == []
    assert machine.state is State.UNKNOWN
    assert machine.give_back() is None
    assert scripted.state == "off"
    assert scripted.media_seen is None
    assert scripted.netboot is None
    assert lease.leases() == []
    assert bench.left_over() == []
    before = latest("bench", server)
    half_written = before is not None and before.phase is Phase.WRITING
    installed = before is not None and before.phase is Phase.INSTALLED
    scripted.before = scripted.after = lambda order: None
    scripted.installer, scripted.boot, scripted.answers_ssh = list(DEPLOY), list(XEN_BOOT), True
    scripted.orders.clear()
    following = bench.take(server)
    following.goto("ready", bench.release())
    disk = following.server.erasable[0].name
    assert any(f"disk {disk} is half written" in note for note in notes(following)) == half_written
    assert (scripted.orders == ["boot disk", "power on"]) == installed
    assert following.give_back() is None
    assert [install.phase for install in installs_of("bench", server)] == [Phase.INSTALLED]
    assert bench.left_over() == []


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("server", "order", "nth"), EVERY_ORDER)
def test_interrupted_at_an_order_to_the_bmc(
    bench: Bench, server: str, order: str, nth: int, moment: str
) -> None:
    setattr(bench.servers[server], moment, interrupt_at(order, nth))
    machine = bench.take(server)
    with pytest.raises(KeyboardInterrupt):
        machine.goto("ready", bench.release())
    given_back_as_it_should_be(bench, machine, server)


@pytest.mark.parametrize("lines", range(len(DEPLOY)))
def test_interrupted_while_the_installer_is_awaited(bench: Bench, lines: int) -> None:
    bench.servers["s1"].installer = list(DEPLOY[:lines])
    interrupted_while_waiting(bench)


@pytest.mark.parametrize("lines", range(len(XEN_BOOT)))
def test_interrupted_while_the_boot_is_awaited(bench: Bench, lines: int) -> None:
    bench.servers["s1"].boot = list(XEN_BOOT[:lines])
    bench.servers["s1"].answers_ssh = False
    interrupted_while_waiting(bench)


def interrupted_while_waiting(bench: Bench) -> None:
    machine = bench.take()
    powered = threading.Event()
    calm = Calm(bench, powered)
    bench.servers["s1"].after = calm.order
    threading.Thread(target=calm.interrupt_when_silent, daemon=True).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        machine.goto("ready", bench.release())
    assert time.monotonic() - started < 4
    given_back_as_it_should_be(bench, machine, "s1")


class Calm:
    """Sends SIGINT to this process when no order has come for a while: the lab waits for the console."""

    def __init__(self, bench: Bench, begun: threading.Event) -> None:
        self._begun = begun
        self._last = time.monotonic()

    def order(self, order: str) -> None:
        self._last = time.monotonic()
        if order == "power on":
            self._begun.set()

    def interrupt_when_silent(self) -> None:
        self._begun.wait(10)
        while (left := self._last + 0.4 - time.monotonic()) > 0:
            time.sleep(left)
        os.kill(os.getpid(), signal.SIGINT)


def test_a_machine_interrupted_once_can_be_used_again_in_the_same_run(bench: Bench) -> None:
    server = bench.servers["s1"]
    server.after = interrupt_at("power on", 0)
    machine = bench.take()
    with pytest.raises(KeyboardInterrupt):
        machine.goto("ready", bench.release())
    machine.goto("ready", bench.release())
    assert machine.state is State.READY
    assert machine.give_back() is None
    assert bench.left_over() == []


@pytest.mark.parametrize("order", ["power off", "eject", "boot none"])
def test_interrupted_while_giving_back_leaves_no_lease_and_tells_the_next_run(
    bench: Bench, order: str
) -> None:
    machine = bench.take()
    bench.servers["s1"].before = interrupt_at(order, 0)
    with pytest.raises(KeyboardInterrupt):
        machine.give_back()
    assert lease.leases() == []
    assert bench.left_over() == []
    following = bench.take()
    assert any("KeyboardInterrupt" in note and "given back dirty" in note for note in notes(following))
    assert following.give_back() is None


def test_interrupted_while_the_machine_is_taken_leaves_no_lease(bench: Bench) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    bench.servers["s1"].reads = interrupt
    with pytest.raises(KeyboardInterrupt):
        bench.take()
    assert lease.leases() == []
    assert bench.left_over() == []


def test_a_second_run_is_refused_while_the_first_holds_the_server(bench: Bench) -> None:
    machine = bench.take()
    with pytest.raises(ServerBusy) as busy:
        bench.take()
    assert busy.value.exit_code == 14
    assert bench.servers["s1"].opened == 1  # its BMC was not even asked
    machine.give_back()


_KILLED = """
import os, signal, sys
from pathlib import Path
import pytest
from tests.machine.bench import Bench
bench = Bench(pytest.MonkeyPatch(), Path(sys.argv[1]))
def die(order):
    os.kill(os.getpid(), signal.SIGKILL)
bench.servers["s1"].installer = bench.servers["s1"].installer[:5]
bench.servers["s1"].after = lambda order: order == "power on" and die(order)
machine = bench.take()
machine.goto("ready", bench.release())
"""


def test_after_a_kill_in_the_middle_of_writing_the_next_run_says_so_and_installs_anew(bench: Bench) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(bench.folder)],
        cwd=paths.project(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(lease.leases()) == 1
    bench.servers["s1"].state = "on"  # as it was left
    machine = bench.take()
    assert any("took over the lease" in note and "process is gone" in note for note in notes(machine))
    assert any("disk D1 is half written" in note for note in notes(machine))
    machine.goto("ready", bench.release())
    assert bench.servers["s1"].orders[:2] == ["power off", "insert"]
    assert machine.give_back() is None
    assert lease.leases() == []
    assert [install.phase for install in installs_of("bench", "s1")] == [Phase.INSTALLED]
