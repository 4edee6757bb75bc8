"""Running the `lab` command inside a test."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from lab.cli.app import app


@dataclass(frozen=True)
class Ran:
    """How one call of the command ended and what it printed."""

    code: int
    out: str
    err: str


class LabCommand:
    """Calls the command as a shell would, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ran:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app(list(arguments))
        shown = self._capsys.readouterr()
        return Ran(int(ended.value.code or 0), shown.out, shown.err)


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> LabCommand:
    """The `lab` command."""
    return LabCommand(capsys)
