"""Quirks as data: every one is there, applies where it should, and changes what it says."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml

from lab import paths
from lab.bmc import quirks
from lab.bmc.capability import Identity
from lab.bmc.quirk_model import Behaviour, Fact, Quirk, QuirkFile
from lab.bmc.quirks import Probed
from lab.errors import ConfigError
from lab.rack.load import rack_names
from lab.strict_yaml import load_model

OURS = quirks.load().entries
ANY = Identity()


def lab_file(folder: Path, text: str) -> Path:
    (folder / "quirks.yaml").write_text(text)
    return folder


@pytest.mark.parametrize("number", range(1, 34))
def test_each_of_the_33_is_there_with_its_evidence_and_how_it_is_handled(number: int) -> None:
    entry = next(quirk for quirk in OURS if quirk.id == f"Q{number}")
    assert f"facts/bmc.md Q{number}" in entry.evidence
    assert entry.title and entry.handled


@pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry.id)
def test_the_modules_that_handle_a_quirk_exist(entry: Quirk) -> None:
    for name in entry.where:
        importlib.import_module(name)


def test_what_is_for_every_bmc_applies_to_one_that_says_nothing() -> None:
    found = quirks.applying(ANY)
    assert found.ids == ()
    assert found.behaviour.retry_for("power-on", 409, "conflict") is not None
    assert found.behaviour.retry_for("reset", 409, "conflict") is None
    assert found.behaviour.retry_for("reset", 503, "busy") is None
    assert found.behaviour.retry_for("reset", 503, "busy", asked=True) is not None


@pytest.mark.parametrize(
    ("identity", "probed", "ids"),
    [
        (Identity("Dell Inc.", "R640", "iDRAC9", "4.40.10.00"), (), {"Q2", "Q4", "Q7", "Q8"}),
        (Identity("Dell Inc.", "R640", "iDRAC9", "4.40.40.00"), (), {"Q4", "Q7", "Q8"}),
        (Identity("Dell Inc.", "R670", "iDRAC10", "4.40.10.00"), (), {"Q3", "Q4", "Q7", "Q8"}),
        (Identity("Supermicro"), ("boot-target-cd", "boot-target-usbcd"), {"Q16", "Q17", "Q19"}),
        (Identity("Supermicro"), (), {"Q17", "Q19"}),
        (Identity("GIGABYTE (AMI)", "R282", "MegaRAC"), (), {"Q24"}),
        (Identity("Lenovo", "ThinkSystem SR655"), (), {"Q22", "Q24-sr655"}),
        (Identity(), ("boot-oem-dell",), {"Q1"}),
        (Identity(generation="iLO 4"), ("boot-oem-hpe",), {"Q11", "Q11-ilo4"}),
        (Identity(generation="iLO 5"), ("boot-oem-hpe",), {"Q11"}),
        (Identity("OpenBMC", "Witherspoon", "OpenBMC"), (), {"Q28", "Q29"}),
        (Identity("Miami Computers"), (), set()),
    ],
)
def test_which_apply(identity: Identity, probed: tuple[Fact, ...], ids: set[str]) -> None:
    assert set(quirks.applying(identity, Probed.of(*probed)).ids) == ids


def test_what_was_probed_wins_over_a_name(tmp_path: Path) -> None:
    text = """
quirks:
  - id: L1
    title: probed
    match: {probed: [media-none]}
    behaviour: {media_slot: probed}
    handled: [knob]
    evidence: [x]
  - id: L2
    title: named
    match: {vendor: acme}
    behaviour: {media_slot: named}
    handled: [knob]
    evidence: [x]
"""
    known = quirks.load(lab_file(tmp_path, text))
    acme = Identity("Acme")
    assert known.applying(acme).behaviour.media_slot == "named"
    assert known.applying(acme, Probed.of("media-none")).behaviour.media_slot == "probed"


def test_a_labs_entry_stands_in_place_of_ours_with_that_id_and_retries_add_up(tmp_path: Path) -> None:
    text = """
quirks:
  - id: Q6
    title: ours waits too long here
    behaviour: {retries: [{intent: power-on, status: [409], times: 1, every_s: 1}], command_spacing_s: 5}
    handled: [knob]
    evidence: [measured here]
"""
    behaviour = quirks.load(lab_file(tmp_path, text)).applying(ANY).behaviour
    rule = behaviour.retry_for("power-on", 409, "conflict")
    assert rule is not None
    assert (rule.times, behaviour.command_spacing_s) == (1, 5.0)
    assert behaviour.retry_for("media", 503, "") is not None


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            "{id: A1, title: t, evidence: [x], handled: [knob]}",
            "1].handled: `knob` and `behaviour` go together",
        ),
        ("{id: A1, title: t, evidence: [x], handled: [advice]}", "key `advice` go together"),
        ("{id: A1, title: t, evidence: [], handled: [always], where: [m]}", "1].evidence: list at least one"),
        (
            "{id: A1, title: t, evidence: [x], handled: [advice], advice: a, match: {firmware: '4'}}",
            "1].match.firmware: a firmware version is compared within one generation",
        ),
        (
            "{id: A1, title: t, evidence: [x], handled: [advice], advice: a, match: {probed: [no-such]}}",
            "1].match.probed[0]:",
        ),
        (
            "{id: A1, title: t, evidence: [x], handled: [advice], advice: a, match: {vendor: '('}}",
            "1].match.vendor: '(' is not a regular expression",
        ),
        (
            "{id: A1, title: t, evidence: [x], handled: [knob], behaviour: {poll: 3}}",
            "1].behaviour.poll: unknown key",
        ),
        (
            "{id: A1, title: t, handled: [knob], behaviour: {retries: [{times: 1, every_s: 1}]}}",
            "1].behaviour.retries[0]: name a status",
        ),
        ("{id: A0, title: t, evidence: [x], handled: [always], where: [m]}", "1].id: A0 stands twice"),
    ],
)
def test_a_labs_mistake_is_told_with_file_line_and_key(tmp_path: Path, entry: str, said: str) -> None:
    good = "{id: A0, title: t, evidence: [x], handled: [always], where: [m]}"
    folder = lab_file(tmp_path, f"quirks:\n  - {good}\n  - {entry}\n")
    with pytest.raises(ConfigError) as wrong:
        quirks.load(folder)
    assert f"{folder / 'quirks.yaml'}:3: quirks[" in wrong.value.message
    assert said in wrong.value.message


def test_quirks_beside_racks_are_no_rack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "inventory", lambda: tmp_path)
    lab_file(tmp_path, "quirks: []")
    (tmp_path / "rack1.yaml").write_text("")
    assert rack_names() == ["rack1"]


def test_every_knob_is_described_and_used() -> None:
    described = Behaviour.__doc__ or ""
    code = "".join(file.read_text() for file in Path(quirks.__file__).parent.rglob("*.py"))
    assert [knob for knob in Behaviour.model_fields if f"        {knob}: " not in described] == []
    assert [knob for knob in Behaviour.model_fields if f".{knob}" not in code] == []


def test_advice_is_told_of_those_that_apply() -> None:
    advice = quirks.applying(Identity("Dell Inc.", "R640", "iDRAC9", "4.40.10.00")).advice
    assert any(line.startswith("Q2: ") and "HTML5" in line for line in advice)
    assert not any(line.startswith("Q27: ") for line in advice)


def test_our_file_names_its_schema() -> None:
    file = Path(quirks.__file__).with_name(quirks.FILE_NAME)
    schema = file.parent / file.read_text().splitlines()[0].partition("$schema=")[2]
    assert schema.is_file()
    assert load_model(file, QuirkFile).quirks == OURS
    assert yaml.safe_load(file.read_text())
