"""The exported JSON Schemas are current, and refuse what the lab refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lab import schemas
from lab.rack.model import Rack
from tests.lab_command import LabCommand

PROJECT = Path(__file__).parents[2]


def read(file: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    return yaml.safe_load(file.read_text())


def test_the_schemas_in_the_project_are_current() -> None:
    assert schemas.stale(PROJECT) == [], "run `lab schema` and commit the result"


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("inventory/rack.schema.json", "inventory/*.yaml"),
        ("firmware/releases/release.schema.json", "firmware/releases/*.yaml"),
    ],
)
def test_the_files_of_the_project_fit_and_name_their_schema(schema: str, files: str) -> None:
    rules = json.loads((PROJECT / schema).read_text())
    jsonschema.Draft202012Validator.check_schema(rules)
    found = sorted(PROJECT.glob(files))
    assert len(found) >= 2
    for file in found:
        jsonschema.validate(read(file), rules, jsonschema.Draft202012Validator)
        assert file.read_text().startswith(f"# yaml-language-server: $schema={Path(schema).name}\n")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("stranger", 1),
        ("firmware", "coreboot"),
        ("console", {"sol": {"x": "y"}}),
        ("nics", []),
        ("disks", [{"erase": "no"}]),
    ],
)
def test_an_editor_refuses_what_the_lab_refuses(key: str, value: object) -> None:
    content = read(PROJECT / "inventory/example-rack.yaml")
    content["servers"][0][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schemas.schema_of(Rack), jsonschema.Draft202012Validator)


def test_a_plain_secret_does_not_fit_the_schema() -> None:
    content = read(PROJECT / "inventory/example-rack.yaml")
    content["servers"][0]["bmc"]["password"] = "hunter2"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schemas.schema_of(Rack), jsonschema.Draft202012Validator)


def test_lab_schema_writes_and_checks(
    lab: LabCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_PROJECT", str(tmp_path))
    missing = lab("schema", "--check")
    assert missing.code == 10
    assert "inventory/rack.schema.json" in missing.err
    assert missing.err.endswith("  next: run `lab schema` and commit the result\n")
    assert lab("schema").out.splitlines() == [f"wrote {name}" for name in schemas.SCHEMAS]
    assert lab("schema", "--check").code == 0
    assert lab("schema").out == ""
    (tmp_path / "inventory/rack.schema.json").write_text("{}")
    assert lab("schema", "--check").code == 10
