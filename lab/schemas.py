"""The JSON Schemas that editors and other tools read, and the models they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lab.bmc.bios_profile import BiosProfile
from lab.bmc.probe import ProbeReport
from lab.bmc.quirk_model import QuirkFile
from lab.measure.model import MeasurementsFile, TimelineFile
from lab.rack.model import Rack
from lab.release import Release

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

SCHEMAS: dict[str, type[BaseModel]] = {
    "inventory/rack.schema.json": Rack,
    "inventory/quirks.schema.json": QuirkFile,
    "firmware/releases/release.schema.json": Release,
    "firmware/bios/profile.schema.json": BiosProfile,
    "reports/probe.schema.json": ProbeReport,
    "reports/measurements.schema.json": MeasurementsFile,
    "reports/timeline.schema.json": TimelineFile,
}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what may stand in a file of that model."""
    return {"$schema": _DIALECT, **model.model_json_schema(mode="validation")}


def stale(project: Path) -> list[Path]:
    """The schema files under `project` that are missing or differ from their model."""
    return [file for file, text in _wanted(project) if not file.is_file() or file.read_text() != text]


def write(project: Path) -> list[Path]:
    """Bring every schema file under `project` up to date; those that changed."""
    changed = stale(project)
    for file, text in _wanted(project):
        if file in changed:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    return changed


def _wanted(project: Path) -> list[tuple[Path, str]]:
    return [
        (project / name, json.dumps(schema_of(model), indent=1) + "\n") for name, model in SCHEMAS.items()
    ]
