"""The pattern catalogue: each regex matches its example and no near miss; healthy boots raise no alarm."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.console import catalogue
from lab.console.api import Pattern
from lab.console.catalogue import Entry
from lab.console.decode import Decoder
from lab.console.search import Window, first_in
from lab.errors import ConfigError, UnknownName

TRANSCRIPTS = Path(__file__).parent / "transcripts"
ENTRIES = [entry for group in catalogue.entries().values() for entry in group]


def text_of(name: str) -> str:
    decoder = Decoder()
    return decoder.feed((TRANSCRIPTS / name).read_bytes()) + decoder.flush()


def found(patterns: list[Pattern], text: str) -> set[str]:
    return {pattern.name for pattern in patterns if first_in([pattern], Window(text, 0, 0))}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_matches_its_example_and_not_its_near_miss(entry: Entry) -> None:
    assert re.search(entry.regex, entry.example, re.MULTILINE)
    assert not re.search(entry.regex, entry.counterexample, re.MULTILINE)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_example_is_no_failure_of_another_kind(entry: Entry) -> None:
    if entry.kind == "milestone":
        assert found(catalogue.failures(), entry.example) == set()


@pytest.mark.parametrize("name", sorted(file.name for file in TRANSCRIPTS.glob("healthy-*")))
def test_a_healthy_boot_raises_no_alarm(name: str) -> None:
    assert found(catalogue.failures(), text_of(name)) == set()


def test_there_are_healthy_boots_to_judge_by() -> None:
    assert list(TRANSCRIPTS.glob("healthy-*"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ovmf-blank-disk.raw", {"disk-not-bootable-uefi", "uefi-shell"}),
        ("seabios-blank-disk.raw", {"no-bootable-device", "pxe-nothing-to-boot"}),
        ("xen-dom0-crash.raw", {"xen-dom0-crashed"}),
    ],
)
def test_what_really_went_wrong_is_recognised(name: str, expected: set[str]) -> None:
    assert found(catalogue.failures(), text_of(name)) == expected


def test_selection_by_file_stage_and_kind() -> None:
    assert {pattern.stage for pattern in catalogue.patterns("loader")} == {"loader"}
    assert {pattern.kind for pattern in catalogue.failures("xen", "kernel")} == {"failure"}
    assert catalogue.pattern("xen-banner") in catalogue.milestones("hypervisor")
    assert catalogue.patterns("xen") is not catalogue.patterns("xen")


@pytest.mark.parametrize("ask", [lambda: catalogue.patterns("toaster"), lambda: catalogue.pattern("toaster")])
def test_an_unknown_name_lists_the_known(ask: object) -> None:
    assert callable(ask)
    with pytest.raises(UnknownName, match="toaster") as caught:
        ask()
    assert "xen" in caught.value.next_step


GOOD = {
    "name": "a",
    "kind": "failure",
    "stage": "kernel",
    "regex": "'bang'",
    "example": "bang",
    "counterexample": "boom",
    "source": "a test",
    "blame": "hypervisor",
    "means": "it banged",
    "next_step": "look",
}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"regex": "'('"}, "not a regular expression"),
        ({"example": "boom"}, "does not match its example"),
        ({"counterexample": "bang"}, "matches its counterexample"),
        ({"blame": None}, "a failure needs blame"),
        ({"error": "Toaster"}, "no class Toaster"),
        ({"kind": "milestone"}, "blames nobody"),
        ({"colour": "red"}, "unknown key"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, str | None], complaint: str
) -> None:
    monkeypatch.setattr(catalogue, "folder", lambda: tmp_path)
    fields = {key: value for key, value in (GOOD | change).items() if value is not None}
    body = "\n    ".join(f"{key}: {value}" for key, value in fields.items())
    (tmp_path / "x.yaml").write_text(f"patterns:\n  - {body}\n")
    with pytest.raises(ConfigError, match=rf"x\.yaml:\d+: .*{complaint}"):
        catalogue.patterns()


def test_two_patterns_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "folder", lambda: tmp_path)
    body = "\n    ".join(f"{key}: {value}" for key, value in GOOD.items())
    for name in ("x", "y"):
        (tmp_path / f"{name}.yaml").write_text(f"patterns:\n  - {body}\n")
    with pytest.raises(ConfigError, match="pattern a stands twice"):
        catalogue.patterns()
