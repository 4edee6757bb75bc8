"""Our chain of providers meets what a virtual BMC does against it: quirks provoked on purpose, every fault.

Each step succeeds or ends in one `LabFault`. What was really done is counted behind the BMC: no reset twice,
no session left open.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.bmc.api import BootDevice, MediaSource, PowerAction
from lab.bmc.chain import BmcChain
from lab.bmc.power import switch_off
from lab.bmc.redfish.provider import RedfishBmc
from lab.bmc.target import Account, Target
from lab.errors import LabFault
from tests.bmc.hurried import hurried
from tests.virtual.errant_bmc import PASSWORD, USER, ErrantServer, errant_bmc, image_server

PROVOKED = {
    "idrac-inserted-stays": "Q4",
    "idrac-eject-in-progress": "Q5",
    "idrac10-on-conflict": "Q6",
    "idrac-sys518": "Q7",
    "ilo5-post": "Q13",
    "irmc-no-agent": "Q27",
    "fragile-bmc": "Q33",
}
"""Profiles whose misbehaviour nobody can avoid, so that it has to have been met."""
AVOIDED = {
    "lenovo-boot-restoration": "Q22",
    "lenovo-xcc": "Q22",
    "supermicro-mode-reverts": "Q17",
    "idrac-session-limit": "Q8",
    "dell-idrac9": "dead-target",
}
"""Profiles whose misbehaviour is not met by who asks in the right way."""
Ends = tuple[str, str] | None
FAULTS: dict[str, tuple[dict[str, object], Ends]] = {
    "tcp-reset after the reset": ({"fault": "tcp-reset", "path": "Reset$"}, None),
    "tcp-reset before the reset": (
        {"fault": "tcp-reset", "path": "Reset$", "way": "before"},
        ("on", "power is off"),
    ),
    "tcp-reset after the insert": ({"fault": "tcp-reset", "path": "InsertMedia$"}, None),
    "tcp-reset of reads": ({"fault": "tcp-reset", "method": "GET", "probability": 0.1, "seed": 1}, None),
    "session-expired": ({"fault": "session-expired", "probability": 0.05, "seed": 2}, None),
    "409": ({"fault": "refusal", "status": 409}, None),
    "412": ({"fault": "refusal", "status": 412}, None),
    "428": ({"fault": "refusal", "status": 428}, None),
    "503": ({"fault": "refusal", "status": 503, "times": 2}, None),
    "503 with Retry-After": ({"fault": "refusal", "status": 503, "retry_after": 1}, None),
    "503 of reads": (
        {"fault": "refusal", "method": "GET", "path": "/1", "retry_after": 0, "probability": 0.2, "seed": 4},
        None,
    ),
    "power-lags": ({"fault": "power-lags", "seconds": 2, "times": 2}, None),
    "power-lies": ({"fault": "power-lags", "way": "lies", "seconds": 1}, ("reset", "is off")),
    "media-detaches": ({"fault": "media-detaches", "seconds": 0.2}, None),
    "bmc-reboot in the reset": ({"fault": "bmc-reboot", "path": "Reset$", "seconds": 3}, None),
    "bmc-reboot in a read": (
        {"fault": "bmc-reboot", "method": "GET", "path": "VirtualMedia/Cd$", "seconds": 3},
        ("insert", "does not answer"),
    ),
    "session-table-full": ({"fault": "session-table-full"}, ("insert", "session")),
    "html": ({"fault": "bad-body", "path": "/1", "times": 2}, None),
    "truncated": ({"fault": "bad-body", "way": "truncated", "path": "/1", "times": 2}, None),
    "huge": ({"fault": "bad-body", "way": "huge", "path": "VirtualMedia/Cd$"}, None),
}
"""Single faults, and the step and words with which they end an install. `task-vanishes` has its test with
the tasks; datagrams and slow bodies have theirs."""


def chain(server: ErrantServer) -> BmcChain:
    """As `open_bmc` makes it, with shorter pauses."""
    target, account = Target("light", server.url), Account(USER, lambda: PASSWORD)
    return BmcChain("light", [RedfishBmc(target, account, "none", catalogue=hurried())])


def install(bmc: BmcChain, image: str) -> tuple[str, LabFault] | None:
    """What an install asks of a BMC, until a step fails: that step and its one error."""
    steps: dict[str, Callable[[], object]] = {
        "insert": lambda: bmc.insert_media(MediaSource(image)),
        "boot": lambda: bmc.boot_once(BootDevice.CD, "uefi"),
        "boot again": lambda: bmc.boot_once(BootDevice.CD, "uefi"),
        "on": lambda: bmc.set_power(PowerAction.ON, deadline_s=5),
        "boot in POST": lambda: bmc.boot_once(BootDevice.DISK, "uefi"),
        "reset": lambda: bmc.set_power(PowerAction.RESET, deadline_s=5),
        "graceful off": lambda: switch_off(bmc, 2.0),
        "eject": bmc.eject_media,
        "on again": lambda: bmc.set_power(PowerAction.ON, deadline_s=5),
    }
    for name, step in steps.items():
        try:
            step()
        except LabFault as fault:
            return name, fault
    return None


def run(server: ErrantServer, folder: Path) -> tuple[str, LabFault] | None:
    """Install on a server whose drive holds somebody else's image."""
    (folder / "served").mkdir()
    with image_server(folder / "served") as image:
        server.load(image.replace("tiny", "old"))
        bmc = chain(server)
        try:
            return install(bmc, image)
        finally:
            bmc.close()


@pytest.mark.parametrize("profile", sorted({**PROVOKED, **AVOIDED}))
def test_a_quirk_is_met(profile: str, tmp_path: Path) -> None:
    with errant_bmc(tmp_path, profile) as server:
        assert run(server, tmp_path) is None
        assert server.chassis.boots == [BootDevice.CD, BootDevice.DISK, BootDevice.NONE]
        off = "off" if profile == "irmc-no-agent" else "graceful-off"
        assert server.chassis.acts == {"on": 2, "reset": 1, off: 1}
        assert server.face.sessions.status()["open"] == 0
        assert (PROVOKED.get(profile) in server.played) is (profile in PROVOKED)
        assert AVOIDED.get(profile) not in server.played


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_met(name: str, tmp_path: Path) -> None:
    entry, ends = FAULTS[name]
    with errant_bmc(tmp_path, None, entry) as server:
        failed = run(server, tmp_path)
        assert server.played.get(str(entry["fault"]), 0) >= 1, "the fault never happened"
        for action, most in (("on", 2), ("reset", 1), ("graceful-off", 1), ("off", 1)):
            assert server.chassis.acts[action] <= most
        assert server.face.sessions.status()["open"] == 0
        if ends is None:
            assert failed is None
            assert server.chassis.boots == [BootDevice.CD, BootDevice.DISK, BootDevice.NONE]
        else:
            assert failed is not None
            assert (failed[0], re.search(ends[1], str(failed[1])) is not None) == (ends[0], True), failed[1]
            assert failed[1].next_step
