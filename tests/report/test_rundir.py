"""Run folders: made, found, merged, told of."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.errors import ConfigError, UnknownName
from lab.measure.model import MeasurementsFile, TimelineFile
from lab.report.merge import merge, read_run
from lab.report.rundir import RunFolder
from lab.schemas import schema_of
from lab.secret import conceal
from tests.report.sample_run import KVM, XEN, write_part


def test_a_later_run_sorts_later_and_is_the_latest(tmp_path: Path) -> None:
    first = RunFolder.create(tmp_path, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    second = RunFolder.create(tmp_path, datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC))
    assert first.id < second.id
    assert (tmp_path / "run").is_symlink()
    assert RunFolder.find(None, tmp_path) == second
    assert RunFolder.find(first.id, tmp_path) == first
    assert RunFolder.find(first.path, tmp_path) == first
    assert RunFolder.every(tmp_path) == [first, second]


def test_two_runs_in_one_second_do_not_meet(tmp_path: Path) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert RunFolder.create(tmp_path, now).path != RunFolder.create(tmp_path, now).path


def test_the_link_survives_a_move_of_the_reports(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    assert RunFolder.find(None, tmp_path / "new").id == run.id


def test_an_unknown_run_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no run in"):
        RunFolder.find(None, tmp_path)
    run = RunFolder.create(tmp_path)
    with pytest.raises(UnknownName, match=run.id):
        RunFolder.find("2001-01-01T00-00-00Z-0000", tmp_path)


def test_a_folder_named_run_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(ConfigError, match="in the way"):
        RunFolder.create(tmp_path)


def test_facts_tell_of_begin_and_end(sample: RunFolder) -> None:
    facts = sample.facts
    assert facts is not None
    assert (facts.rack, facts.origin, facts.exit_status) == ("sample", "emulated", 0)
    assert facts.servers == ("sample-uefi", "sample-bios")
    assert facts.ended is not None
    assert facts.ended >= facts.started


def test_a_secret_on_the_command_line_is_not_kept(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path)
    run.begin(
        rack="r", origin="hardware", servers=[], releases=[], command=f"pytest -k {conceal('s3cr3t-word')}"
    )
    assert "s3cr3t-word" not in (run.path / "run.json").read_text()
    assert "s3cr3t-word" not in (run.allure_results / "environment.properties").read_text()


def test_damaged_facts_are_named(sample: RunFolder) -> None:
    (sample.path / "run.json").write_text('{"id": 1')
    with pytest.raises(ConfigError, match=r"run\.json"):
        _ = sample.facts


def test_merging_is_deterministic_whatever_the_parts_are_called(sample: RunFolder) -> None:
    before = sample.measurements.read_bytes(), sample.timeline.read_bytes()
    parts = list(sample.parts.glob("*.json"))
    names = [part.name for part in parts]
    kinds = {"measurements", "timeline"}
    for kind in kinds:
        mine = [part for part in parts if part.name.startswith(kind)]
        for number, part in enumerate(random.Random(7).sample(mine, len(mine))):  # noqa: S311
            part.rename(part.with_name(f"{kind}-moved{number}.json"))
    assert {part.name for part in sample.parts.glob("*.json")}.isdisjoint(names)
    merge(sample)
    assert (sample.measurements.read_bytes(), sample.timeline.read_bytes()) == before


def test_merging_keeps_every_entry_once(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path)
    write_part(run, "gw0", "one", XEN)
    write_part(run, "gw1", "two", KVM)
    once = merge(run)
    for part in list(run.parts.glob("*-gw1.json")):
        part.with_name(part.name.replace("gw1", "gw9")).write_bytes(part.read_bytes())
    assert merge(run) == once
    assert {entry.server for entry in once[0].measurements} == {"one", "two"}
    assert set(once[0].bills) == {"one", "two"}


def test_a_run_without_parts_merges_to_empty_files(tmp_path: Path) -> None:
    measured, timeline = merge(RunFolder.create(tmp_path))
    assert measured.measurements == ()
    assert timeline.spans == ()


def test_a_run_that_was_killed_can_still_be_read(sample: RunFolder) -> None:
    sample.measurements.unlink()
    measured, _ = read_run(sample)
    assert measured.measurements


def test_a_damaged_part_is_named(sample: RunFolder) -> None:
    (sample.parts / "measurements-gw5.json").write_text("{")
    with pytest.raises(ConfigError, match=r"measurements-gw5\.json"):
        merge(sample)


def test_the_files_are_what_the_schemas_say(sample: RunFolder) -> None:
    from jsonschema import Draft202012Validator

    for file, model in ((sample.measurements, MeasurementsFile), (sample.timeline, TimelineFile)):
        Draft202012Validator(schema_of(model)).validate(json.loads(file.read_text()))


def test_the_committed_schemas_are_current() -> None:
    from lab import schemas

    project = Path(__file__).resolve().parents[2]
    assert [file.name for file in schemas.stale(project) if file.parent.name == "reports"] == []
