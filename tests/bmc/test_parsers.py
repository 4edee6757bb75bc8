"""Whatever bytes a BMC sends, the parsers answer or raise our own errors."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.bmc import redfish_boot, redfish_inventory, redfish_logs, redfish_media, redfish_sensors
from lab.bmc.api import BootDevice
from lab.bmc.redfish_json import Json
from lab.bmc.redfish_reply import Reply
from lab.bmc.redfish_tree import RedfishTree
from lab.bmc.target import Target, Unsupported
from lab.errors import LabError

ROOT = "/redfish/v1/"
NAMES = [
    *(
        "Boot",
        "Members",
        "@odata.id",
        "@odata.etag",
        "Links",
        "ManagedBy",
        "Chassis",
        "Thermal",
        "Power",
        "Status",
    ),
    *(
        "Temperatures",
        "Fans",
        "ReadingCelsius",
        "Reading",
        "Name",
        "Systems",
        "Managers",
        "VirtualMedia",
        "Inserted",
    ),
    *(
        "MediaTypes",
        "Actions",
        "#VirtualMedia.InsertMedia",
        "target",
        "LogServices",
        "Entries",
        "Created",
        "Storage",
    ),
    *(
        "Drives",
        "SerialNumber",
        "EthernetInterfaces",
        "MACAddress",
        "BootSourceOverrideTarget",
        "Identifiers",
    ),
    *(
        "BootSourceOverrideEnabled",
        "BootSourceOverrideTarget@Redfish.AllowableValues",
        "UpdateService",
        "DateTime",
    ),
]
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just(ROOT + "x")
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=25,
)
RESOURCES = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=10)


class OddSession:
    """A BMC that answers every path with something, and with the same something."""

    def __init__(self, first: Json, rest: Json) -> None:
        self.root: Json = {"Systems": {"@odata.id": f"{ROOT}Systems"}, **rest}
        self._first, self._rest = first, rest

    def connect(self) -> None:
        """Always there."""

    def get(self, path: str) -> Reply:
        """The system collection is sound, so that the rest is reached."""
        if path == f"{ROOT}Systems":
            return Reply(200, {"Members": [{"@odata.id": f"{ROOT}Systems/1"}]})
        return Reply(200, self._first if path == f"{ROOT}Systems/1" else self._rest)


@settings(max_examples=60, deadline=None)
@given(RESOURCES, RESOURCES)
def test_redfish_json_of_any_shape(first: Json, rest: Json) -> None:
    session: Any = OddSession(first, {**rest, "Members": []} if "Members" in rest else rest)
    tree = RedfishTree(session, Target("s", "there"))
    media = redfish_media.RedfishMedia(session, tree, Target("s", "there"), "redfish")
    reads = [
        lambda: redfish_inventory.read_inventory(tree),
        lambda: redfish_sensors.read_sensors(tree),
        lambda: redfish_logs.read_log(tree, redfish_logs.log_service(tree)),
        lambda: redfish_boot.override(tree.system),
        lambda: redfish_boot.plan(tree, tree.system, BootDevice.CD, "uefi"),
        media.inserted,
    ]
    for read in reads:
        try:
            read()
        except (LabError, Unsupported):
            continue


@given(st.integers(min_value=400, max_value=599), JSON, st.text(max_size=300))
def test_why_of_any_error(status: int, body: object, text: str) -> None:
    reply = Reply(status, body if isinstance(body, dict) else {}, {}, text)
    assert reply.why.startswith(f"HTTP {status}")
    assert len(reply.why) < 2000
