"""The matrix judged: which cells there are, and what counts as right; no server boots here."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lab.rack.virtual import FaultKind
from tests.matrix.__main__ import chosen
from tests.matrix.cells import RELEASE, cells
from tests.matrix.judge import Happened, complaints, duplicates, leaked
from tests.matrix.rack import rack_for

INSTALLED = Happened(
    "installed",
    orders=3,
    before={"redfish": {"resets": 1, "sessions": {"open": 1}}, "ipmi": {"chassis_control": {}}},
    after={
        "redfish": {"resets": 3, "sessions": {"open": 1}},
        "ipmi": {"chassis_control": {"on": 1}, "sessions": {"open": 0}},
    },
    played={"loss": 4},
)


def test_every_quirk_and_every_kind_of_fault_has_its_cell() -> None:
    known = cells()
    assert {cell.quirk for cell in known.values()} - {None} == {f"Q{number}" for number in range(1, 34)}
    kinds = {entry.fault for cell in known.values() if cell.kind == "fault" for entry in cell.play.faults}
    assert kinds == set(FaultKind.__args__)  # type: ignore[attr-defined]
    assert len([cell for cell in known.values() if cell.kind == "fault" and cell.release == RELEASE]) == 12
    assert len([cell for cell in known.values() if cell.sample]) == 6
    assert len([cell for cell in known.values() if cell.release != RELEASE]) == 3


def test_every_cell_has_a_rack_that_can_be_built(tmp_path: Path) -> None:
    for place, cell in enumerate(cells().values()):
        rack = rack_for(cell, place % 3, tmp_path)
        (server,) = rack.servers
        assert server.virtual is not None
        assert server.virtual.bmc.profile == cell.play.profile
        assert server.virtual.bmc.faults == cell.play.faults
        assert (server.bmc.redfish is not None) is cell.server.redfish


def test_what_a_command_line_means() -> None:
    known = cells()
    assert [cell.name for cell in chosen(known, ["loss"], sample=False, more=False)] == ["loss"]
    assert all(cell.sample for cell in chosen(known, [], sample=True, more=False))
    whole = chosen(known, [], sample=False, more=False)
    assert whole[0].release != RELEASE
    assert not [cell for cell in whole if cell.kind == "more"]
    assert len(chosen(known, [], sample=False, more=True)) == len(known)
    with pytest.raises(SystemExit, match="no cell nonsense"):
        chosen(known, ["nonsense"], sample=False, more=False)


def test_an_install_is_right() -> None:
    assert complaints(INSTALLED, "", ("loss", "loss")) == []


def test_a_fault_that_names_the_cause_is_right_where_one_may_be() -> None:
    ended = dataclasses.replace(INSTALLED, outcome="LabFault", is_fault=True, text="the BMC lost datagrams")
    assert complaints(ended, "LOST", ()) == []
    assert complaints(ended, "", ()) == ["did not install: the BMC lost datagrams"]
    assert complaints(ended, "session", ())[0].startswith("the fault does not name the cause (session)")


def test_another_error_is_not() -> None:
    ended = dataclasses.replace(INSTALLED, outcome="BootFailure", text="power is off")
    assert complaints(ended, "power", ()) == ["ended by BootFailure, which is no LabFault: power is off"]


def test_resets_and_sessions_are_counted_at_the_server() -> None:
    assert (duplicates(INSTALLED), leaked(INSTALLED)) == (0, 0)
    twice = dataclasses.replace(INSTALLED, orders=1)
    assert complaints(twice, "", ()) == ["2 duplicate resets"]
    held = {"redfish": {"resets": 1, "sessions": {"open": 2}}, "ipmi": {"sessions": {"open": 1}}}
    assert complaints(dataclasses.replace(INSTALLED, after=held), "", ()) == ["2 leaked sessions"]


def test_a_fault_that_never_happened_proves_nothing() -> None:
    assert complaints(INSTALLED, "", ("loss", "late", "late")) == ["late was never played"]
    once = dataclasses.replace(INSTALLED, played={"bad-body": 1})
    assert complaints(once, "", ("bad-body", "bad-body")) == ["bad-body was played 1 times, not 2"]
    ended = dataclasses.replace(once, outcome="LabFault", is_fault=True, text="no JSON")
    assert complaints(ended, "JSON", ("bad-body", "bad-body")) == []
