"""The recorder over a real socket: nothing lost, everything stamped, gaps marked."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from lab.bmc.api import ByteStream
from lab.console.api import Pattern, Position
from lab.console.journal import read_log
from lab.console.recorder import Console
from lab.console.transports import TcpStream
from lab.deadline import Deadline
from lab.errors import BmcCredentials, ConsoleLost
from tests.console.console_server import ConsoleServer

BEGIN = Position(0, 0.0)
PROMPT = Pattern("login-prompt", "milestone", "services", r"^\S+ login: $")


def until(condition: Callable[[], bool], why: str, seconds: float = 5.0) -> None:
    deadline = Deadline.after(seconds, why)
    pause = threading.Event()
    while not condition():
        assert not deadline.passed, f"not in time: {why}"
        pause.wait(0.005)


def end_mark(number: int) -> Pattern:
    return Pattern("end", "milestone", "services", rf"^END {number}$")


def test_records_with_nobody_waiting_and_on_disk_at_once(
    console: Console, far_end: ConsoleServer, tmp_path: Path
) -> None:
    far_end.say(b"first line\r\nbox login: ")
    until(lambda: (tmp_path / "box.log").read_text().endswith("| box login: "), "the prompt is in the log")
    assert (tmp_path / "box.raw").read_bytes() == b"first line\r\nbox login: "
    far_end.say(b"root\r\n")
    until(lambda: console.tail() == ("first line", "box login: root"), "the rest of the line")
    assert (tmp_path / "box.log").read_text().endswith("| box login: root\n")


def test_files_are_complete_after_close(console: Console, far_end: ConsoleServer, tmp_path: Path) -> None:
    far_end.say(b"last words, no line feed\x1b[")
    until(lambda: (tmp_path / "box.raw").stat().st_size == 26, "the bytes arrive")
    console.close()
    console.close()
    lines = list(read_log(tmp_path / "box.log"))
    assert [line.text for line in lines if not line.mark] == ["last words, no line feed["]
    assert [line.text for line in lines if line.mark] == ["recording begins", "recording ends"]


def test_every_line_is_stamped_in_order_on_both_clocks(
    console: Console, far_end: ConsoleServer, tmp_path: Path
) -> None:
    for number in range(20):
        far_end.say(f"line {number}\r\n".encode(), bytewise=True)
        console.note(f"note {number}")
    until(lambda: console.tail(1) == ("line 19",), "all lines")
    console.close()
    lines = (tmp_path / "box.log").read_text().splitlines()
    form = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \+(\d+\.\d{6}) (?:\||--)")
    stamps = [form.match(line) for line in lines]
    assert None not in stamps
    seconds = [float(stamp[1]) for stamp in stamps if stamp]
    assert seconds == sorted(seconds)


def test_five_megabytes_come_through_whole(console: Console, far_end: ConsoleServer, tmp_path: Path) -> None:
    sent = b"".join(
        b"[%12.6f] line %06d of many, as kernels print them\r\n" % (n / 1000, n) for n in range(85_000)
    )
    assert len(sent) > 5_000_000
    far_end.say(sent + b"END 0\r\n")
    console.expect(end_mark(0), Deadline.after(20, "5 MB"), failures=[], since=BEGIN)
    console.close()
    raw = (tmp_path / "box.raw").read_bytes()
    assert hashlib.sha256(raw).digest() == hashlib.sha256(sent + b"END 0\r\n").digest()
    assert console.text(BEGIN) == (sent + b"END 0\r\n").decode().replace("\r\n", "\n")
    assert sum(1 for line in read_log(tmp_path / "box.log") if not line.mark) == 85_001


def test_a_lost_stream_is_opened_again_under_a_gap_mark(
    console: Console, far_end: ConsoleServer, tmp_path: Path
) -> None:
    far_end.say(b"half a li")
    until(lambda: console.tail() == ("half a li",), "the text before the loss")
    far_end.hang_up()
    far_end.say(b"ne that is none\r\nbox login: ")
    console.expect(PROMPT, Deadline.after(5, "the prompt after the gap"), failures=[], since=BEGIN)
    assert console.lost is None
    console.close()
    lines = list(read_log(tmp_path / "box.log"))
    assert [line.text for line in lines if not line.mark] == ["half a li", "ne that is none", "box login: "]
    begins, gap = [line.text for line in lines if line.mark][1:3]
    assert begins.startswith("gap begins: console at tcp 127.0.0.1:") and "closed by the other side" in begins
    assert re.match(
        r"gap: \S+Z to \S+Z \(\d+\.\d{3} s\), .*: console at tcp \S+: closed by the other side", gap
    )
    assert far_end.clients == 2


def test_close_ends_a_recorder_that_cannot_connect_again(
    console: Console, far_end: ConsoleServer, tmp_path: Path
) -> None:
    far_end.say(b"x")
    far_end.close()
    until(lambda: console.lost is not None, "the loss is known")
    with pytest.raises(ConsoleLost, match="cannot type"):
        console.write(b"\r")
    started = time.monotonic()
    console.close()
    assert time.monotonic() - started < 2
    marks = [line.text for line in read_log(tmp_path / "box.log") if line.mark]
    assert [mark.split(":")[0] for mark in marks] == [
        "recording begins",
        "gap begins",
        "gap",
        "recording ends",
    ]


def test_what_the_transport_knows_to_be_lost_is_marked_in_place(
    tmp_path: Path, far_end: ConsoleServer
) -> None:
    class Lossy(TcpStream):
        told: list[str] = []

        def events(self) -> list[str]:
            told, self.told[:] = list(self.told), []
            return told

    marks: list[tuple[str, str]] = []
    console = Console(
        "box",
        partial(Lossy, far_end.address),
        tmp_path,
        zero=time.monotonic(),
        on_mark=lambda kind, text, at: marks.append((kind, text)),
    )
    console.open(Deadline.after(5, "open"))
    far_end.say(b"log")
    until(lambda: console.tail() == ("log",), "the first half")
    Lossy.told += ["gap: 3 packets missing", "session activated again"]
    far_end.say(b"in: ")
    until(lambda: len(marks) == 3, "the events")
    console.close()
    assert marks[1:3] == [("gap", "gap: 3 packets missing"), ("note", "session activated again")]


def test_typing_reaches_the_server(console: Console, far_end: ConsoleServer) -> None:
    console.write(b"root\r")
    until(lambda: far_end.received == b"root\r", "what was typed")


def test_opening_fails_with_server_and_next_step(tmp_path: Path) -> None:
    with ConsoleServer() as gone:
        address = gone.address
    console = Console("box", partial(TcpStream, address), tmp_path, zero=0.0)
    with pytest.raises(ConsoleLost) as caught:
        console.open(Deadline.after(0.4, "the console of box to open"))
    console.close()
    assert caught.value.server == "box"
    assert "refused" in caught.value.message
    assert caught.value.next_step


def test_refused_credentials_are_not_tried_again(tmp_path: Path) -> None:
    tries: list[int] = []

    def refuse() -> ByteStream:
        tries.append(1)
        raise BmcCredentials("wrong password", next_step="mend it")

    console = Console("box", refuse, tmp_path, zero=0.0)
    with pytest.raises(BmcCredentials):
        console.open(Deadline.after(5, "open"))
    console.close()
    assert len(tries) == 1


def test_a_full_disk_does_not_stop_the_console(tmp_path: Path, far_end: ConsoleServer) -> None:
    (tmp_path / "box.raw").symlink_to("/dev/full")
    console = Console("box", partial(TcpStream, far_end.address), tmp_path, zero=time.monotonic())
    console.open(Deadline.after(5, "open"))
    far_end.say(b"one\r\nbox login: ")
    console.expect(PROMPT, Deadline.after(5, "the prompt"), failures=[], since=BEGIN)
    assert "No space left" in (console.incomplete or "")
    console.close()
    assert any("gap: not on disk" in line.text for line in read_log(tmp_path / "box.log") if line.mark)


def test_a_slice_holds_this_tests_lines_and_marks(console: Console, far_end: ConsoleServer) -> None:
    far_end.say(b"before\r\n")
    until(lambda: console.tail() == ("before",), "before")
    start = time.monotonic()
    console.note("power on sent", kind="power")
    far_end.say(b"during\r\n")
    until(lambda: console.tail(1) == ("during",), "during")
    end = time.monotonic()
    far_end.say(b"after\r\n")
    until(lambda: console.tail(1) == ("after",), "after")
    mark, line = console.lines_between(start, end).splitlines()
    assert mark.endswith("-- power on sent --")
    assert line.endswith(" | during")
    assert {mark, line} <= set(console.log.read_text().splitlines())
