"""Waits: what comes first in the text wins, failures are always watched, silence is reported."""

from __future__ import annotations

import threading
import time

import pytest

from lab.console.api import NotSeen, Pattern, Position
from lab.console.catalogue import failures, pattern
from lab.console.recorder import Console
from lab.deadline import Deadline
from lab.errors import (
    BootFailure,
    ConsoleLost,
    DiskAmbiguous,
    DiskNotFound,
    HypervisorFailure,
    InstallFailure,
    LabFault,
)
from tests.console.console_server import ConsoleServer

BEGIN = Position(0, 0.0)
LOGIN = pattern("login-prompt")
BOOT_FAILURES = failures("firmware", "loader", "xen", "linux")


def soon(why: str = "the test's text") -> Deadline:
    return Deadline.after(5, why)


def test_matches_a_prompt_without_line_feed_split_over_bytes(
    console: Console, far_end: ConsoleServer
) -> None:
    far_end.say(b"Debian GNU/Linux 12 box hvc0\r\n\r\nbox \x1b[1mlog\x1b[0min: ", bytewise=True)
    match = console.expect(LOGIN, soon(), failures=BOOT_FAILURES, since=BEGIN)
    assert (match.text, match.line) == ("box login: ", "box login: ")
    assert match.before == "Debian GNU/Linux 12 box hvc0\n\n"
    assert match.end.offset == console.position().offset


def test_wakes_on_arrival(console: Console, far_end: ConsoleServer) -> None:
    said: list[float] = []

    def later() -> None:
        said.append(time.monotonic())
        far_end.say(b"box login: ")

    timer = threading.Timer(0.3, later)
    timer.start()
    match = console.expect(LOGIN, soon(), failures=BOOT_FAILURES)
    woken = time.monotonic()
    timer.join()
    assert woken - said[0] < 0.5
    assert said[0] <= match.monotonic <= woken


def test_a_panic_in_the_middle_of_a_boot_ends_the_wait_within_a_second(
    console: Console, far_end: ConsoleServer
) -> None:
    far_end.say(
        b"(XEN) Xen version 4.17.7 (Debian)\r\n" + b"".join(b"(XEN) line %d\r\n" % n for n in range(30))
    )
    said = time.monotonic()
    far_end.say(b"(XEN) Panic on CPU 0:\r\n(XEN) FATAL TRAP: vec 6\r\n", bytewise=True)
    with pytest.raises(HypervisorFailure) as caught:
        console.expect(LOGIN, Deadline.after(60, "Xen to boot"), failures=BOOT_FAILURES, since=BEGIN)
    assert time.monotonic() - said < 1
    error = caught.value
    assert "(XEN) Panic on CPU 0:" in error.message and error.server == "box" and error.tried == "Xen to boot"
    assert "(XEN) Panic on CPU 0:" in error.console and "(XEN) line 29" in error.console
    assert len(error.console) <= 20


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("error: no such partition.", BootFailure),
        ("lab-deploy: refused: disk with serial A is not allowed to be erased", InstallFailure),
        ("lab-deploy: refused: no disk with serial A", DiskNotFound),
        ("lab-deploy: refused: 2 disks with serial A", DiskAmbiguous),
        ("No more network devices", LabFault),
        ("[ 1.0] Kernel panic - not syncing: sysrq triggered crash", HypervisorFailure),
        (
            "[ 1.0] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
            BootFailure,
        ),
    ],
)
def test_blame_chooses_the_error(
    console: Console, far_end: ConsoleServer, line: str, error: type[Exception]
) -> None:
    far_end.say(f"{line}\r\n".encode(), bytewise=True)
    with pytest.raises(error) as caught:
        console.expect(LOGIN, soon(), failures=failures(), since=BEGIN)
    assert type(caught.value) is error
    assert line in str(caught.value)


def test_what_comes_first_in_the_text_wins(console: Console, far_end: ConsoleServer) -> None:
    far_end.say(b"box login: \r\n(XEN) Panic on CPU 0:\r\n")
    match = console.expect(LOGIN, soon(), failures=BOOT_FAILURES, since=BEGIN)
    with pytest.raises(HypervisorFailure):
        console.expect(LOGIN, soon(), failures=BOOT_FAILURES, since=match.end)


def test_a_wanted_failure_is_a_match(console: Console, far_end: ConsoleServer) -> None:
    far_end.say(b"(XEN) Panic on CPU 0:\r\n")
    match = console.expect(pattern("xen-panic"), soon(), failures=BOOT_FAILURES, since=BEGIN)
    assert match.line == "(XEN) Panic on CPU 0:"


def test_the_past_does_not_count_unless_asked_for(console: Console, far_end: ConsoleServer) -> None:
    far_end.say(b"old login: \r\n")
    console.expect(LOGIN, soon(), failures=[], since=BEGIN)
    with pytest.raises(NotSeen):
        console.expect(LOGIN, Deadline.after(0.1, "a new prompt"), failures=[])


def test_line_starts_are_those_of_the_console_not_of_the_wait(
    console: Console, far_end: ConsoleServer
) -> None:
    far_end.say(b"this is no host login: ")
    start = console.expect(
        Pattern("no", "milestone", "services", "no "), soon(), failures=[], since=BEGIN
    ).end
    with pytest.raises(NotSeen):
        console.expect(LOGIN, Deadline.after(0.1, "a prompt"), failures=[], since=start)


def test_a_silent_port_says_so(console: Console, far_end: ConsoleServer) -> None:
    far_end.say(b"SeaBIOS (version 1.16.2)\r\n")
    console.expect(pattern("firmware-seabios"), soon(), failures=[], since=BEGIN)
    with pytest.raises(NotSeen) as caught:
        console.expect(
            [LOGIN, pattern("linux-banner")], Deadline.after(0.2, "box to boot"), failures=BOOT_FAILURES
        )
    unseen = caught.value
    assert unseen.wanted == ("login-prompt", "linux-banner")
    assert (unseen.server, unseen.why, unseen.lost) == ("box", "box to boot", None)
    assert unseen.tail == ("SeaBIOS (version 1.16.2)",)
    assert 0.2 <= unseen.silent_for < 2


def test_a_babbling_port_does_not_outlast_the_deadline(console: Console, far_end: ConsoleServer) -> None:
    stop = threading.Event()

    def babble() -> None:
        while not stop.wait(0.001):
            far_end.say(b"\x00noise\r\n")

    thread = threading.Thread(target=babble)
    thread.start()
    started = time.monotonic()
    with pytest.raises(NotSeen):
        console.expect(LOGIN, Deadline.after(0.3, "a prompt"), failures=BOOT_FAILURES)
    stop.set()
    thread.join()
    assert time.monotonic() - started < 2


def test_a_wait_ends_with_the_recording(console: Console) -> None:
    timer = threading.Timer(0.1, console.close)
    timer.start()
    with pytest.raises(ConsoleLost, match="recording ended"):
        console.expect(LOGIN, soon(), failures=[])
    timer.join()


def test_a_failure_line_that_never_ends_is_reported_all_the_same(
    console: Console, far_end: ConsoleServer
) -> None:
    far_end.say(b"grub rescue> ")
    started = time.monotonic()
    with pytest.raises(BootFailure, match="grub rescue>"):
        console.expect(LOGIN, soon(), failures=BOOT_FAILURES, since=BEGIN)
    assert time.monotonic() - started < 1


def test_seen_gives_the_first_of_each_in_the_order_of_the_text(
    console: Console, far_end: ConsoleServer
) -> None:
    far_end.say(b"Linux version 6.1\r\n(XEN) Xen version 4.17.7\r\nLinux version 6.1\r\nbox login: ")
    end = console.expect(LOGIN, soon(), failures=[], since=BEGIN).end
    names = [LOGIN, pattern("xen-banner"), pattern("linux-banner"), pattern("power-down")]
    assert [(match.pattern.name, match.line) for match in console.seen(names, BEGIN, end)] == [
        ("linux-banner", "Linux version 6.1"),
        ("xen-banner", "(XEN) Xen version 4.17.7"),
        ("login-prompt", "box login: "),
    ]


def test_searching_long_output_costs_no_more_than_its_length(
    console: Console, far_end: ConsoleServer
) -> None:
    far_end.say(b"x" * 2_000_000 + b"\r\nbox login: ")
    started = time.monotonic()
    console.expect(LOGIN, Deadline.after(20, "the prompt"), failures=failures(), since=BEGIN)
    assert time.monotonic() - started < 10
