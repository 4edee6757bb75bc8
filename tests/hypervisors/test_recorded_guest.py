"""The console's recorder with real pipes, tail, grep and timeout; a shell script plays the guest."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import ConfigError, HypervisorFailure
from lab.hypervisors.contract import Host
from lab.hypervisors.recorded_guest import RecordedGuest

ECHO = (
    "sh -c 'echo booting; echo ready 1; "
    'while read -r line; do echo "got $line"; [ "$line" = off ] && exit 3; done\''
)


def started(host: Host, program: str = ECHO, name: str = "g-1") -> RecordedGuest:
    guest = RecordedGuest(host, name, "kvm")
    guest.prepare()
    guest.record(program)
    return guest


def soon(seconds: float = 10) -> Deadline:
    return Deadline.after(seconds, "the guest to speak")


def test_a_line_is_found_whenever_it_comes(host: Host) -> None:
    guest = started(host)
    assert guest.console_until("ready [0-9]", soon()) == "ready 1"
    assert guest.console_until("^boot", soon()) == "booting"
    guest.send("it's $HOME")
    assert guest.console_until(r"got \w+", soon()) == "got it's $HOME"
    assert guest.console() == "booting\nready 1\ngot it's $HOME\n"
    guest.stop()


def test_what_comes_later_is_awaited_not_polled(host: Host) -> None:
    guest = started(host, "sh -c 'sleep 0.5; echo late; sleep 30'")
    begun = time.monotonic()
    assert guest.console_until("late", soon()) == "late"
    assert time.monotonic() - begun < 5
    guest.stop()


def test_a_guest_that_ends_is_told_at_once_with_its_last_words(host: Host) -> None:
    guest = started(host)
    guest.send("off")
    begun = time.monotonic()
    with pytest.raises(HypervisorFailure, match="its console ended with exit status 3") as caught:
        guest.console_until("never", soon(30))
    assert time.monotonic() - begun < 10
    assert "got off" in caught.value.console
    assert caught.value.server == "s-1"
    guest.stop()


def test_a_silent_guest_meets_the_deadline(host: Host) -> None:
    guest = started(host)
    with pytest.raises(HypervisorFailure, match="the deadline passed") as caught:
        guest.console_until("never", soon(0.5))
    assert caught.value.tried == "waited for the guest to speak"
    guest.stop()


def test_a_pattern_that_is_no_regular_expression_is_named(host: Host) -> None:
    guest = started(host)
    with pytest.raises(HypervisorFailure, match="grep"):
        guest.console_until("(", soon())
    guest.stop()


def test_stop_leaves_nothing_and_may_be_repeated(host: Host, tmp_path: Path) -> None:
    ended: list[str] = []
    guest = RecordedGuest(host, "g-2", "pvh", lambda: ended.append("destroyed"))
    guest.prepare()
    guest.record("sh -c 'echo $$ > pid; sleep 300'".replace("pid", str(tmp_path / "pid")))
    deadline = soon()
    while not (tmp_path / "pid").exists() and not deadline.passed:
        host.run("sleep 0.05")
    pid = int((tmp_path / "pid").read_text())
    guest.stop()
    guest.stop()
    assert not (tmp_path / "guests" / "g-2").exists()
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()
    assert ended == ["destroyed"] * 3  # once when the place was prepared


def test_a_left_over_of_the_same_name_is_removed_first(host: Host) -> None:
    started(host, "sh -c 'echo old; sleep 300'").console_until("old", soon())
    guest = started(host, "sh -c 'echo new; sleep 300'")
    guest.console_until("new", soon())
    assert "old" not in guest.console()
    guest.stop()


@pytest.mark.parametrize("name", ["", "-x", "a b", "a;reboot", "A", "../x"])
def test_a_name_that_a_shell_could_misread_is_refused(host: Host, name: str) -> None:
    with pytest.raises(ConfigError):
        RecordedGuest(host, name, "kvm")
