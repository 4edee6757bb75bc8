"""A virtual rack errs as its file says, and its BMCs are changed while it runs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from lab.deadline import Deadline
from lab.errors import ConfigError, LabFault, UnknownName
from lab.rack.virtual import FaultEntry
from lab.virtual import control, control_faults
from tests.lab_command import LabCommand, lab
from tests.virtual.rackfile import TinyRack, running_rack, server, write_rack

__all__ = ["lab"]
SYSTEM = "/redfish/v1/Systems/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"


def errant(name: str, **bmc: object) -> dict[str, Any]:
    entry = server(name, redfish=True)
    return entry | {"virtual": entry["virtual"] | {"bmc": bmc}}


@pytest.fixture(scope="module")
def shared_rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyRack]:
    """`f1` as an iLO with a refusal to come, `f2` without faults; both with the responder, `f3` without."""
    refusal = {"fault": "refusal", "status": 409, "method": "POST"}
    f1 = errant("f1", profile="hpe-ilo5", ipmi="responder", faults=[refusal])
    with running_rack(
        tmp_path_factory.mktemp("rack"), f1, errant("f2", ipmi="responder"), errant("f3"), name="errant"
    ) as tiny:
        yield tiny


@pytest.fixture
def tiny(shared_rack: TinyRack, own_state: Path, monkeypatch: pytest.MonkeyPatch) -> TinyRack:
    monkeypatch.setenv("XDG_STATE_HOME", str(shared_rack.state))
    return shared_rack


def ask(
    tiny: TinyRack, name: str, method: str, path: str, body: dict[str, str] | None = None
) -> requests.Response:
    url = next(entry.bmc.redfish or "" for entry in tiny.rack.servers if entry.name == name)
    auth = ("lab", tiny.password)
    return requests.request(method, url + path, json=body, auth=auth, verify=tiny.ca, timeout=20)


def ipmi_answers(tiny: TinyRack, name: str) -> bool:
    place = next(entry.bmc.ipmi or "" for entry in tiny.rack.servers if entry.name == name)
    address, port = place.split(":")
    command = ["ipmitool", "-I", "lanplus", "-C", "3", "-N", "1", "-R", "1", "-H", address, "-p", port]
    done = subprocess.run(
        [*command, "-U", "lab", "-E", "chassis", "power", "status"],
        env={**os.environ, "IPMI_PASSWORD": tiny.password},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode == 0


def test_the_rack_file_says_how_a_bmc_errs(tiny: TinyRack) -> None:
    assert ask(tiny, "f1", "GET", SYSTEM).json()["Manufacturer"] == "HPE"
    assert ask(tiny, "f2", "GET", SYSTEM).json()["Manufacturer"] == "hypervisor-lab"
    assert ask(tiny, "f1", "POST", RESET, {"ResetType": "ForceOff"}).status_code == 409
    assert ask(tiny, "f1", "POST", RESET, {"ResetType": "ForceOff"}).status_code == 204
    found = control_faults.faults(tiny.rack, "f1")
    assert (found.profile, found.faults, found.played) == ("hpe-ilo5", (), {"refusal": 1})
    shown = control.request(tiny.rack, {"do": "status"})["servers"][0]["bmc"]
    assert shown["played"] == {"refusal": 1}
    (line,) = (tiny.folder.path / "f1" / "faults.jsonl").read_text().splitlines()
    assert json.loads(line)["hit"] == f"POST {RESET}"


def test_a_running_bmc_is_changed(tiny: TinyRack) -> None:
    assert control_faults.profile(tiny.rack, "f2", "dell-idrac10").profile == "dell-idrac10"
    assert ask(tiny, "f2", "GET", SYSTEM).json()["Model"] == "PowerEdge R670"
    control_faults.fault(
        tiny.rack, "f2", FaultEntry(fault="refusal", method="GET", status=503, retry_after=2)
    )
    assert ask(tiny, "f2", "GET", SYSTEM).headers["Retry-After"] == "2"
    found = control_faults.clear_faults(tiny.rack, "f2")
    assert (found.profile, found.faults, found.played["refusal"]) == (None, (), 1)
    assert ask(tiny, "f2", "GET", SYSTEM).json()["Model"] == "unknown"
    with pytest.raises(UnknownName, match="acme"):
        control_faults.profile(tiny.rack, "f2", "acme-9000")
    with pytest.raises(LabFault, match="ipmi_sim, which cannot play supermicro-ipmi"):
        control_faults.profile(tiny.rack, "f3", "supermicro-ipmi")


def test_a_bmc_that_reboots_is_gone_by_both_protocols(tiny: TinyRack) -> None:
    assert ipmi_answers(tiny, "f2")
    control_faults.fault(tiny.rack, "f2", FaultEntry(fault="bmc-reboot", seconds=4, path="Systems/1$"))
    with pytest.raises(requests.ConnectionError):
        ask(tiny, "f2", "GET", SYSTEM)
    assert not ipmi_answers(tiny, "f2")
    deadline = Deadline.after(30, "the BMC to come back by both protocols")
    while not ipmi_answers(tiny, "f2"):
        assert not deadline.passed
    while True:
        try:
            assert ask(tiny, "f2", "GET", SYSTEM).status_code == 200
            break
        except requests.ConnectionError:
            assert not deadline.passed


def test_lab_rack_fault(tiny: TinyRack, lab: LabCommand) -> None:
    rack = str(tiny.rack.file)
    shown = lab("rack", "fault", "f3", "bad-body", "--way", "html", "--times", "2", "--rack", rack, "--json")
    assert shown.code == 0, shown.err
    assert json.loads(shown.out)["faults"] == [{"fault": "bad-body", "way": "html", "times": 2}]
    assert "<html>" in ask(tiny, "f3", "GET", SYSTEM).text
    table = lab("rack", "fault", "f3", "--rack", rack).out
    assert "bad-body times=2 way=html" in table
    assert lab("rack", "fault", "f3", "--profile", "etag-empty", "--clear", "--rack", rack).code == 0
    assert ask(tiny, "f3", "GET", SYSTEM).headers["ETag"] == ""
    assert (
        "keeps to" not in lab("rack", "fault", "f3", "--clear", "--rack", rack).out
    )  # what was played stays
    for words, code, said in (
        (("f3", "gremlins"), 10, "gremlins"),
        (("f3", "refusal", "--status", "404"), 10, "409, 412, 428 or 503"),
        (("f3", "--times", "3"), 10, "--times without a fault"),
        (("f3", "--profile", "acme"), 11, "acme"),
        (("f9", "refusal"), 11, "f9"),
    ):
        refused = lab("rack", "fault", *words, "--rack", rack)
        assert (refused.code, said in refused.err) == (code, True), refused.err


@pytest.mark.parametrize(
    ("bmc", "complaint"),
    [
        ({"profile": "hpe-ilo"}, "bmc.profile: no profile 'hpe-ilo'; did you mean hpe-ilo5?"),
        ({"profile": "supermicro-ipmi", "ipmi": "ipmi_sim"}, "bmc.ipmi: profile supermicro-ipmi needs"),
        ({"faults": [{"fault": "loss"}, {"fault": "gremlin"}]}, "bmc.faults[1].fault: "),
        ({"faults": [{"fault": "loss", "status": 503}]}, "bmc.faults[0].status: has no meaning with loss"),
        (
            {"faults": [{"fault": "power-lags", "way": "html"}]},
            "bmc.faults[0].way: the ways of",
        ),
        ({"colour": "blue"}, "bmc.colour: unknown key"),
    ],
)
def test_what_a_rack_file_may_not_say(tmp_path: Path, bmc: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        write_rack(tmp_path, errant("x1", **bmc))
    assert f"servers[0].virtual.{complaint}" in refused.value.message
    assert f"{tmp_path}/tiny.yaml:" in refused.value.message


@pytest.mark.parametrize(("face", "kind"), [("redfish", "bad-body"), ("ipmi", "late")])
def test_a_fault_of_a_face_that_is_not_there(tmp_path: Path, face: str, kind: str) -> None:
    entry = errant("x1", faults=[{"fault": kind}])
    del entry["bmc"][face]
    entry["console"] = {"tcp": "127.0.0.1:9"}
    if face == "redfish":
        del entry["bmc"]["tls"]
    with pytest.raises(ConfigError, match=rf"bmc\.faults\[0\]\.fault: {kind} needs bmc\.{face}"):
        write_rack(tmp_path, entry)
