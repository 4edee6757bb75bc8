"""The decoder: bytes to lines, however the bytes are cut."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.console.decode import MAX_LINE, Decoder

# Pieces of what consoles really send, and of what they never should.
TOKENS = st.sampled_from(
    [
        *(
            b"\r",
            b"\n",
            b"\r\n",
            b"\r\r\n",
            b"\x1b",
            b"\x1b[",
            b"\x1b[0;32m",
            b"\x1b[2J",
            b"\x1b[01;01H",
            b"\x1b[1;9H",
        ),
        *(
            b"\x1b[5C",
            b"\x1b[K",
            b"\x1b]0;title\x07",
            b"\x1b]0;t\x1b\\",
            b"\x1bP",
            b"\x1b(B",
            b"\x1bc",
            b"\x1bE",
            b"\x1b[=3h",
        ),
        *(
            b"\x00",
            b"\x07",
            b"\x08",
            b"\x7f",
            b"\xff",
            b"\xc3",
            b"\xa9",
            b"\xe2\x82\xac",
            b"\x9b",
            b"\xc2\x9b",
            b"\t",
        ),
        *(b"login: ", b"(XEN) Panic on CPU 0:", b"x" * 100, b"[", b"3", b"H", b";"),
    ]
)
STREAMS = st.lists(st.one_of(TOKENS, st.binary(max_size=6)), max_size=40).map(b"".join)


def decode(*pieces: bytes) -> str:
    decoder = Decoder()
    return "".join(decoder.feed(piece) for piece in pieces) + decoder.flush()


@settings(deadline=None)
@given(STREAMS, st.data())
def test_any_cutting_gives_the_same_text(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert decode(*pieces) == decode(stream)


@settings(deadline=None)
@given(STREAMS)
def test_byte_by_byte_gives_the_same_text(stream: bytes) -> None:
    assert decode(*(stream[i : i + 1] for i in range(len(stream)))) == decode(stream)


@settings(deadline=None)
@given(STREAMS)
def test_text_holds_no_control_character_but_line_feed_and_tab(stream: bytes) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", decode(stream))


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]), max_size=200))
def test_plain_text_comes_through_unchanged(text: str) -> None:
    assert decode(text.encode()) == text


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 3))
def test_lines_are_bounded(garbage: bytes, times: int) -> None:
    assert max(map(len, decode(garbage + b"y" * MAX_LINE * times).split("\n"))) <= MAX_LINE


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (b"one\r\ntwo\r\r\nthree\n\rfour", "one\ntwo\nthree\nfour"),
        (b"writing 10%\rwriting 20%\r\n", "writing 10%\nwriting 20%\n"),
        (b"\rat the start", "at the start"),
        (b"[\x1b[0;32m  OK  \x1b[0m] Started", "[  OK  ] Started"),
        (b"log\x1b[1min\x1b[0m: ", "login: "),
        (b"\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe: loading", "BdsDxe: loading"),
        (b"GNU GRUB\x1b[3;5H*Debian\x1b[4;5H Xen", "GNU GRUB\n*Debian\n Xen"),
        (b"\x1b[7;1Hab\x1b[7;3Hcd\x1b[7;9Hef", "abcd    ef"),
        (b"\x1b[7;1Habc\x1b[7;1HX", "abc\nX"),
        (b"a\x1b[3Cb\x1b[9Gc", "a   b   c"),
        (b"title\x1b]0;root@box: ~\x07$ ", "title$ "),
        (b"caf\xc3\xa9 \xff\x00\x07!", "caf\u00e9 \ufffd!"),
        (b"\x1b[31\nmid", "[31\nmid"),
        (b"tail\x1b[", "tail["),
        (b"\xc2\x9bK8-bit CSI introducer", "K8-bit CSI introducer"),
    ],
)
def test_what_people_see(sent: bytes, seen: str) -> None:
    assert decode(sent) == seen


def test_a_lone_escape_waits_for_its_rest_but_the_text_before_it_does_not() -> None:
    decoder = Decoder()
    assert decoder.feed(b"login: \x1b[0") == "login: "
    assert decoder.feed(b"mroot") == "root"
