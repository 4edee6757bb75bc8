"""A project folder of its own for whole runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin.whole_run import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.make(tmp_path)
