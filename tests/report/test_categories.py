"""Every error finds its category, in Allure 2's and Allure 3's way of matching."""

from __future__ import annotations

import json
import re

import pytest

from lab.errors import LabError, every_error
from lab.report.categories import categories
from lab.report.rundir import RunFolder


def category_of(message: str, *, whole: bool) -> str | None:
    for category in categories():
        pattern = re.compile(category["messageRegex"])
        if pattern.fullmatch(message) if whole else pattern.search(message):
            return str(category["name"])
    return None


@pytest.mark.parametrize("whole", [True, False], ids=["allure2", "allure3"])
@pytest.mark.parametrize("kind", list(every_error()), ids=lambda kind: kind.__name__)
def test_every_error_finds_its_own_category(kind: type[LabError], whole: bool) -> None:
    error = kind("it is so", next_step="do that", server="r7u12", console=("a line",))
    name = f"{kind.__module__}.{kind.__name__}"
    assert category_of(f"{name}: {error}", whole=whole) == kind.category
    assert category_of(f"{kind.__name__}: {error}", whole=whole) == kind.category
    assert category_of(f"Skipped: broken by {kind.__name__}: {error}", whole=whole) == kind.category


@pytest.mark.parametrize("message", ["AssertionError: assert 1 == 2", "NotALabFault: x", "MyLabError: x", ""])
def test_what_is_no_lab_error_is_left_to_allures_own_categories(message: str) -> None:
    assert category_of(message, whole=False) is None


def test_begin_writes_categories_and_environment(sample: RunFolder) -> None:
    written = json.loads((sample.allure_results / "categories.json").read_text())
    assert [entry["name"] for entry in written] == list(
        dict.fromkeys(kind.category for kind in every_error())
    )
    assert "rack=sample\n" in (sample.allure_results / "environment.properties").read_text()
