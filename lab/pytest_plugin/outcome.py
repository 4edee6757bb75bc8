"""From a lab error to what a reader of the results sees, and to the exit code."""

from __future__ import annotations

from typing import Any

import pytest

from lab.errors import LabError
from lab.secret import redact

FAILED: pytest.StashKey[bool] = pytest.StashKey()
"""On an item: setup or call has failed."""

_first: list[int] = []


def explain(report: Any, call: pytest.CallInfo[None]) -> None:
    """Replace the stack of a lab error by its own words, and note its exit code on the report.

    The code travels as a plain attribute, because xdist carries those from worker to controller.
    """
    error = call.excinfo.value if call.excinfo is not None else None
    if isinstance(error, LabError):
        report.lab_exit_code = error.exit_code
        report.longrepr = redact(f"{type(error).__name__}: {error}")


def remember(report: Any) -> None:
    """Keep the exit code of the first lab error of this run."""
    code = getattr(report, "lab_exit_code", None)
    if code is not None and report.failed:
        _first.append(code)


def exit_code() -> int | None:
    """The exit code of the first lab error; None when there was none."""
    return _first[0] if _first else None


def forget() -> None:
    """Start anew (several pytest runs in one process, as pytester does)."""
    _first.clear()
