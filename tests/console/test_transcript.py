"""The transcript and the files: what arrived when, sliced and written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.console.journal import Journal, read_log
from lab.console.transcript import Stamp, Transcript

START = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
PIECES = st.lists(st.text(alphabet="ab \n", max_size=8), max_size=20)


def at(seconds: float) -> Stamp:
    return Stamp(START + timedelta(seconds=seconds), 100.0 + seconds)


def filled(pieces: list[str]) -> Transcript:
    transcript = Transcript()
    for second, piece in enumerate(pieces):
        transcript.feed(piece, at(second))
    return transcript


@settings(deadline=None)
@given(PIECES, st.integers(0, 60), st.integers(0, 60))
def test_slices_are_those_of_the_whole_text(pieces: list[str], since: int, until: int) -> None:
    whole = "".join(pieces)
    assert filled(pieces).text(since, until) == whole[since : max(since, until)]
    assert filled(pieces).end == len(whole)


@settings(deadline=None)
@given(PIECES)
def test_every_character_keeps_its_arrival(pieces: list[str]) -> None:
    transcript = filled(pieces)
    offset = 0
    for second, piece in enumerate(pieces):
        for _ in piece:
            assert transcript.arrival(offset) == at(second)
            offset += 1


@settings(deadline=None)
@given(PIECES, st.integers(0, 20), st.integers(0, 20))
def test_lines_between_misses_nothing_that_arrived_then(pieces: list[str], start: int, end: int) -> None:
    shown = "\n".join(text for _, text in filled(pieces).lines_between(100.0 + start, 100.0 + end))
    assert "".join(pieces[start:end]).strip("\n") in shown


def test_tail_counts_a_growing_line_but_no_empty_one() -> None:
    transcript = filled(["one\ntwo\n"])
    assert transcript.tail(1) == ("two",)
    transcript.feed("login: ", at(1))
    assert transcript.tail(2) == ("two", "login: ")


def test_the_log_has_the_documented_form(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "box", zero=99.0)
    journal.text("boot\n\nbox log", at(0))
    journal.text("in: ", at(1))
    assert (tmp_path / "box.log").read_text().endswith(" | box login: ")
    journal.mark("power on sent", at(2))
    journal.text("root\nnext\n", at(3.5))
    journal.close()
    assert (tmp_path / "box.log").read_text().splitlines() == [
        "2026-11-23T07:00:00.000000Z +1.000000 | boot",
        "2026-11-23T07:00:00.000000Z +1.000000 |",
        "2026-11-23T07:00:00.000000Z +1.000000 | box login: ",
        "2026-11-23T07:00:02.000000Z +3.000000 -- power on sent --",
        "2026-11-23T07:00:03.500000Z +4.500000 |+root",
        "2026-11-23T07:00:03.500000Z +4.500000 | next",
    ]
    assert [(line.text, line.mark) for line in read_log(tmp_path / "box.log")] == [
        ("boot", False),
        ("", False),
        ("box login: root", False),
        ("power on sent", True),
        ("next", False),
    ]


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(alphabet="ab|+- \n", max_size=8), st.none()), max_size=20))
def test_the_log_reads_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str | None]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    journal = Journal(folder, "box", zero=99.0)
    for second, piece in enumerate(pieces):
        if piece is None:
            journal.mark("a mark", at(second))
        else:
            journal.text(piece, at(second))
    journal.close()
    text = "".join(piece or "" for piece in pieces)
    lines = [line for line in read_log(folder / "box.log") if not line.mark]
    assert [line.text for line in lines] == text.removesuffix("\n").split("\n") if text else not lines


def test_a_second_recording_does_not_run_on_from_an_unfinished_line(tmp_path: Path) -> None:
    (tmp_path / "box.log").write_text("2026-11-23T07:00:00.000000Z +1.000000 | cut of")
    journal = Journal(tmp_path, "box", zero=99.0)
    journal.text("fresh\n", at(0))
    journal.close()
    assert [line.text for line in read_log(tmp_path / "box.log")] == ["cut of", "fresh"]


def test_a_foreign_line_is_refused_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "box.log").write_text("hello there, world\n")
    with pytest.raises(ValueError, match=r"box\.log:1"):
        list(read_log(tmp_path / "box.log"))
