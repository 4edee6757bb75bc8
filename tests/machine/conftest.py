"""A bench of scripted servers for the tests of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machine.bench import Bench


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    return Bench(monkeypatch, tmp_path)
