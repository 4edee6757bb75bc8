"""The one list of errors is consistent, documented, and survives a process boundary."""

from __future__ import annotations

import pickle

import pytest

from lab import paths
from lab.errors import LabError, every_error


def test_exit_codes_are_distinct_and_clear_of_pytest_and_shell() -> None:
    codes = [kind.exit_code for kind in every_error()]
    assert len(codes) == len(set(codes))
    assert all(6 <= code < 64 for code in codes)


def test_first_digit_names_who_must_act() -> None:
    for kind in every_error():
        for parent in kind.__mro__:
            if issubclass(parent, LabError) and parent is not LabError:
                assert kind.exit_code // 10 == parent.exit_code // 10


@pytest.mark.parametrize("kind", list(every_error()), ids=lambda kind: kind.__name__)
def test_error_says_where_what_and_what_next(kind: type[LabError]) -> None:
    error = kind("it broke", server="r7u12", tried="twice", console=("last words",), next_step="mend it")
    assert str(error).splitlines() == [
        "r7u12: it broke",
        "  tried: twice",
        "  console: last words",
        "  next: mend it",
    ]
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is kind
    assert str(copy) == str(error)


def test_documented_list_is_the_real_one() -> None:
    documented = (paths.project() / "docs" / "exit-codes.md").read_text()
    for kind in every_error():
        assert f"| {kind.exit_code} | {kind.__name__} |" in documented
