"""A real Xen boot, replayed byte by byte, whole and with faults."""

from __future__ import annotations

import os
import pty
import threading
import time
import tty
from pathlib import Path

import pytest

from lab.console.api import NotSeen, Pattern, Position
from lab.console.catalogue import failures, milestones, pattern
from lab.console.journal import read_log
from lab.console.recorder import Console
from lab.console.timeline import boot_spans
from lab.console.transports import SerialStream
from lab.deadline import Deadline
from lab.errors import HypervisorFailure
from tests.console.console_server import ConsoleServer

BEGIN = Position(0, 0.0)
BOOT = (Path(__file__).parent / "transcripts" / "healthy-xen-seabios.raw").read_bytes()
LOGIN = pattern("login-prompt")
WATCHED = failures()
MILESTONES = [
    "firmware-seabios",
    "boot-from-cd",
    "loader-grub",
    "loader-grub-xen",
    "xen-banner",
    "xen-dom0-console",
    "linux-banner",
    "systemd-welcome",
    "ssh-started",
    "login-prompt",
]


def test_byte_by_byte_over_tcp(console: Console, far_end: ConsoleServer, tmp_path: Path) -> None:
    replay = threading.Thread(target=far_end.say, args=(BOOT,), kwargs={"bytewise": True})
    replay.start()
    match = console.expect(LOGIN, Deadline.after(30, "Xen to boot"), failures=WATCHED, since=BEGIN)
    replay.join()
    assert match.line == "hvtest login: "
    seen = console.seen(milestones(), BEGIN)
    assert [one.pattern.name for one in seen] == MILESTONES
    assert [one.monotonic for one in seen] == sorted(one.monotonic for one in seen)
    spans = boot_spans(seen, server="box", release=None, power_on=seen[0].monotonic - 1, zero=0.0)
    assert [span.name for span in spans] == ["firmware", "loader", "hypervisor", "control-domain", "services"]
    console.close()
    assert (tmp_path / "box.raw").read_bytes() == BOOT


def test_through_a_serial_port_in_pieces(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    console = Console("box", lambda: SerialStream(Path(os.ttyname(theirs)), 115200), tmp_path, zero=0.0)
    console.open(Deadline.after(5, "open"))
    for start in range(0, len(BOOT), 97):
        os.write(ours, BOOT[start : start + 97])
    console.expect(LOGIN, Deadline.after(30, "Xen to boot"), failures=WATCHED, since=BEGIN)
    console.close()
    os.close(ours)
    os.close(theirs)
    assert (tmp_path / "box.raw").read_bytes() == BOOT


@pytest.mark.parametrize("name", MILESTONES[:-1])
def test_a_panic_after_any_milestone_is_known_within_a_second(
    console: Console, far_end: ConsoleServer, name: str
) -> None:
    far_end.say(BOOT)
    console.expect(LOGIN, Deadline.after(10, "the whole boot"), failures=WATCHED, since=BEGIN)
    whole = console.text(BEGIN)
    cut = next(match for match in console.seen([pattern(name)], BEGIN)).end
    again = console.position()
    far_end.say(whole[: cut.offset].replace("\n", "\r\n").encode() + b"\r\n")
    console.expect(pattern(name), Deadline.after(10, name), failures=WATCHED, since=again)
    said = time.monotonic()
    far_end.say(
        b"\x00\xff\x1b[31m(XEN) Panic\x1b[0m on CPU 1:\r\n(XEN) GENERAL PROTECTION FAULT\r\n", bytewise=True
    )
    with pytest.raises(HypervisorFailure, match="Panic on CPU 1:"):
        console.expect(LOGIN, Deadline.after(60, "Xen to boot"), failures=WATCHED, since=again)
    assert time.monotonic() - said < 1


def test_the_line_breaks_off_again_and_again(
    console: Console, far_end: ConsoleServer, tmp_path: Path
) -> None:
    far_end.say(BOOT)
    console.expect(LOGIN, Deadline.after(10, "the whole boot"), failures=WATCHED, since=BEGIN)
    begin = console.position()
    pieces = [BOOT[start : start + 12_000] for start in range(0, len(BOOT), 12_000)]
    for piece in pieces:
        before = console.position().offset
        far_end.say(piece)
        deadline = Deadline.after(5, "the piece arrives")
        while not deadline.passed and console.position().offset == before:
            threading.Event().wait(0.005)
        far_end.hang_up()
    far_end.say(b"the end: ")
    end = Pattern("end", "milestone", "services", "^the end: $")
    console.expect(end, Deadline.after(10, "the end"), failures=WATCHED, since=begin)
    console.close()
    gaps = [
        line.text for line in read_log(tmp_path / "box.log") if line.mark and line.text.startswith("gap: ")
    ]
    assert len(gaps) == len(pieces)


def test_silence_in_the_middle_of_a_boot(console: Console, far_end: ConsoleServer) -> None:
    far_end.say(BOOT[: len(BOOT) // 2])
    with pytest.raises(NotSeen) as caught:
        console.expect(LOGIN, Deadline.after(0.5, "Xen to boot"), failures=WATCHED, since=BEGIN)
    assert len(caught.value.tail) == 20
    assert caught.value.silent_for > 0.2
