"""The ETag ladder, tasks, sessions and connections; what arrived is counted at the service."""

from __future__ import annotations

import pytest

from lab.bmc.quirk_model import Behaviour
from lab.bmc.redfish_etag import IfMatch, ladder

FORMS = Behaviour().etag_forms


@pytest.mark.parametrize(
    ("tag", "headers"),
    [
        ('W/"1"', ['W/"1"', '"1"', "1", 'W/"1" in body', None]),
        ('"1"', ['"1"', "1", '"1" in body', None]),
        ('""1""', ['""1""', '"1"', "1", '""1"" in body', None]),
        ("", [None]),
        ('""', [None]),
        ('W/""', [None]),
        (None, [None]),
    ],
)
def test_etag_ladder(tag: str | None, headers: list[str | None]) -> None:
    told = [f"{one.header} in body" if one.in_body else one.header for one in ladder(tag, FORMS)]
    assert told == headers


def test_a_tag_that_changes_for_ever_ends_the_ladder_all_the_same() -> None:
    condition, sent = IfMatch('"0"', FORMS), 1
    while condition.refused(f'"{sent}"'):
        sent += 1
    assert sent <= 8
