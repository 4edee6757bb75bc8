"""Redfish JSON with members missing or of the wrong type: our answers or our errors, nothing else."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.bmc.api import Answer, BootDevice, Power, PowerAction
from lab.bmc.capability import Identity
from lab.bmc.quirks import applying
from lab.bmc.redfish import bios as redfish_bios
from lab.bmc.redfish import boot_plan as redfish_boot_plan
from lab.bmc.redfish import facts as redfish_facts
from lab.bmc.redfish import slots as redfish_slots
from lab.bmc.redfish import task as redfish_task
from lab.bmc.redfish import update as redfish_update
from lab.bmc.redfish.json import moment
from lab.bmc.redfish.media import RedfishMedia
from lab.bmc.redfish.power import RedfishPower
from lab.bmc.redfish.reads import RedfishReads
from lab.bmc.redfish.reply import Reply
from lab.bmc.redfish.tree import RedfishTree
from lab.bmc.target import Target, Unsupported
from lab.deadline import Deadline
from lab.errors import LabError
from tests.bmc.rich_redfish import ROOT, SYSTEM, Json, rich_tree

PATHS = sorted(rich_tree())
GONE = "<gone>"
OFTEN: list[object] = [GONE, None, True, 7, 10**400, float("inf"), "x", "\x00", [7, None], {"x": [{}]}]
"""One of each kind; the rest is for the long run."""
RARELY: list[object] = [
    *(0, -1, 1e308, float("nan"), "", "N/A", [], {}, [[]], [{}], {"@odata.id": 7}, {"@odata.id": ""}),
    *([{"@odata.id": SYSTEM}], {"@odata.id": ROOT}, {"Members": {}}, [{"@odata.id": []}]),
    *("2026-13-45T99:99:99Z", "0001-01-01T00:00:00+23:59", "9" * 5000),
]
ODD: st.SearchStrategy[object] = st.sampled_from([*OFTEN[1:], *RARELY])
READS = (
    *("sensors", "power_draw", "event_log", "clear_event_log", "inventory", "bios", "security", "clock"),
    *("sessions", "identity", "capabilities", "sol", "enable_sol"),
)


class OddSession:
    """A BMC with that tree, which says yes to every write and changes nothing."""

    location = f"{ROOT}Sessions/1"
    behaviour = applying(Identity()).behaviour

    def __init__(self, tree: dict[str, Json]) -> None:
        self.tree = tree
        self.root = tree.get(ROOT, {})

    def connect(self) -> None:
        """Always there."""

    def get(self, path: str) -> Reply:
        """A resource; as in the real session, always an object."""
        body = self.tree.get(path)
        return Reply(200, body) if body else Reply(404)

    def write(self, method: str, path: str, body: Json, **_: object) -> Reply:
        """Accepted."""
        return Reply(200, self.tree.get("/task", {}))


class Reads(RedfishReads):
    """The reading half, which is no provider by itself."""

    def connect(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    def power(self) -> Power:
        """Not asked here."""
        return "on"

    def set_power(self, action: PowerAction, *, deadline_s: float = 60.0) -> Answer:
        """Not asked here."""
        raise Unsupported("power")


@st.composite
def broken_trees(draw: st.DrawFn) -> dict[str, Json]:
    """The rich tree with one to four of its members gone, or something else."""
    tree = rich_tree()
    for _ in range(draw(st.integers(1, 4))):
        place: Any = tree
        key: Any = draw(st.sampled_from(PATHS))
        # Further down, as long as there is something below and the dice say so.
        while isinstance(inner := place[key], (dict, list)) and inner and draw(st.integers(0, 4)):
            place = inner
            key = draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        odd = copy.deepcopy(draw(ODD))
        if place is tree:
            # A resource is an object, or the session has refused it.
            tree[key] = odd if isinstance(odd, dict) else {}
        elif isinstance(place, dict) and draw(st.booleans()):
            del place[key]
        else:
            place[key] = odd
    return tree


def asked(tree: dict[str, Json]) -> Iterator[str]:
    """Ask everything there is to ask; the names of what was answered."""
    session: Any = OddSession(tree)
    target = Target("s", "there")
    resources = RedfishTree(session, target)
    reads = Reads(target, session, resources)
    media = RedfishMedia(session, resources, target, "redfish")
    asks: dict[str, Any] = {
        **{name: getattr(reads, name) for name in READS},
        "set_bios": lambda: reads.set_bios({"Virt": "On", "Delay": 9, "Tag": "y"}),
        "boot plan": lambda: redfish_boot_plan.plan(resources, resources.system, BootDevice.CD, "uefi"),
        "boot override": lambda: redfish_boot_plan.override(resources.system),
        "slots": lambda: redfish_slots.find(resources),
        "facts": lambda: redfish_facts.probe(resources, list(redfish_slots.look(resources))),
        "media": media.inserted,
        "power": RedfishPower(session, resources, target).read,
        "resets": RedfishPower(session, resources, target).allowed,
        "task": lambda: redfish_task.follow(
            session, Reply(202, {}, {"location": "/task"}), Deadline.after(0, "it")
        ),
        "versions": lambda: redfish_update._Update(
            reads, Deadline.after(0, "it"), lambda *_: None
        ).versions(),
    }
    for name, ask in asks.items():
        try:
            ask()
        except (LabError, Unsupported):
            continue
        yield name


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here changes by waiting."""
    monkeypatch.setattr(redfish_bios, "READ_BACK_S", 0.0)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def test_the_whole_tree_answers_everything() -> None:
    names = list(asked(rich_tree()))
    # The log is not really emptied, and the attributes do not really change.
    assert set(READS) - set(names) == {"clear_event_log"}
    assert {"boot plan", "slots", "facts", "media", "power", "resets", "task", "versions"} <= set(names)


def names_of(value: object) -> Iterator[str]:
    """The names of all members below."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from names_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from names_of(inner)


def replaced(value: Any, name: str, odd: object) -> Any:  # noqa: ANN401  # any JSON
    """The same with `odd` wherever a member has that name; without the member where it is `GONE`."""
    if isinstance(value, dict):
        return {
            key: copy.deepcopy(odd) if key == name else replaced(inner, name, odd)
            for key, inner in value.items()
            if (key, odd) != (name, GONE)
        }
    return [replaced(inner, name, odd) for inner in value] if isinstance(value, list) else value


def each_member(odd: object) -> None:
    """Every member there is, one name after the other, everywhere in the tree."""
    tree = rich_tree()
    for name in sorted({name for body in tree.values() for name in names_of(body)}):
        list(asked({path: replaced(body, name, odd) for path, body in tree.items()}))


@pytest.mark.parametrize("odd", OFTEN, ids=lambda odd: f"{odd!r:.12}")
def test_every_member_of_every_wrong_type(odd: object) -> None:
    each_member(odd)


@pytest.mark.nightly
@pytest.mark.parametrize("odd", RARELY, ids=lambda odd: f"{odd!r:.24}")
def test_every_member_of_every_wrong_type_at_length(odd: object) -> None:
    each_member(odd)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(broken_trees())
def test_members_missing_or_of_the_wrong_type(tree: dict[str, Json]) -> None:
    list(asked(tree))


@pytest.mark.nightly
@settings(max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(broken_trees())
def test_members_missing_or_of_the_wrong_type_at_length(tree: dict[str, Json]) -> None:
    list(asked(tree))


@pytest.mark.parametrize("path", PATHS)
def test_each_resource_may_be_missing(path: str) -> None:
    tree = rich_tree()
    del tree[path]
    answered = list(asked(tree))
    # One that is missing costs what it holds, and no more.
    wanted = 0 if path in (f"{ROOT}Systems", SYSTEM) else len(READS) - 4
    assert len(answered) >= wanted


ERRORS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "@Message.ExtendedInfo", "Message", "MessageId"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


@given(st.integers(min_value=400, max_value=599), ERRORS, st.text(max_size=300))
def test_why_of_any_error(status: int, body: object, text: str) -> None:
    reply = Reply(status, body if isinstance(body, dict) else {}, {}, text)
    assert reply.why.startswith(f"HTTP {status}")
    assert len(reply.why) < 2000


@given(st.one_of(st.text(max_size=40), st.datetimes().map(str), st.none(), st.integers()))
def test_times_of_any_kind(told: object) -> None:
    at = moment(told)
    assert at is None or at.tzinfo is not None
