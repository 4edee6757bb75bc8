"""Faults by count and by probability at the Redfish face: plain HTTP meets them, and they are counted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import requests
from pydantic import ValidationError

from lab.bmc.api import PowerAction
from lab.deadline import Deadline
from lab.rack.virtual import DATAGRAM_KINDS, FaultEntry, FaultKind
from lab.virtual.faults import Faults
from tests.virtual.errant_bmc import (
    CD,
    INSERT,
    PASSWORD,
    RESET,
    ROOT,
    SYSTEM,
    USER,
    ErrantServer,
    errant_bmc,
    image_server,
    message_id,
)

SESSIONS = f"{ROOT}/SessionService/Sessions"
LAMP = {"LocationIndicatorActive": True}
Start = Callable[..., ErrantServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a BMC with faults; it ends with the test."""
    running: list[AbstractContextManager[ErrantServer]] = []

    def begin(*faults: dict[str, object]) -> ErrantServer:
        running.append(errant_bmc(tmp_path, None, *faults))
        return running[-1].__enter__()

    yield begin
    for each in running:
        each.__exit__(None, None, None)


def fate(send: Callable[[], requests.Response]) -> str:
    """What a client meets: a status, or the kind of its exception."""
    try:
        return str(send().status_code)
    except requests.RequestException as error:
        return type(error).__name__


def log_in(bmc: ErrantServer) -> requests.Response:
    return requests.post(bmc.url + SESSIONS, json={"UserName": USER, "Password": PASSWORD}, timeout=20)


def by_token(bmc: ErrantServer) -> Callable[[], requests.Response]:
    token = {"X-Auth-Token": log_in(bmc).headers["X-Auth-Token"]}
    return lambda: requests.get(bmc.url + SYSTEM, headers=token, timeout=20)


def wait_until(what: Callable[[], object], why: str, seconds: float = 20.0) -> None:
    deadline = Deadline.after(seconds, why)
    while not what():
        assert not deadline.passed, f"no {why} within {seconds} s"
        threading.Event().wait(0.05)


def test_a_fault_by_count_hits_those_events_and_no_other() -> None:
    faults = Faults("s", [FaultEntry(fault="refusal", after=2, times=3)])
    hits = [faults.take("refusal", "x") is not None for _ in range(8)]
    assert hits == [False, False, True, True, True, False, False, False]
    assert faults.entries == []
    assert faults.log.counts == {"refusal": 3}


def test_without_count_or_probability_it_hits_once() -> None:
    faults = Faults("s", [FaultEntry(fault="tcp-reset")])
    assert [faults.take("tcp-reset", "x") is not None for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("kind", ["loss", "tcp-reset", "bad-body"])
def test_a_fault_by_probability_hits_about_as_often_and_the_same_each_time(kind: FaultKind) -> None:
    def draws(seed: int, server: str = "s") -> list[bool]:
        faults = Faults(server, [FaultEntry(fault=kind, probability=0.2, seed=seed)])
        found = [faults.take(kind, "x") is not None for _ in range(2000)]
        assert faults.log.counts[kind] == sum(found)
        return found

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
    assert draws(1) != draws(1, "another")
    assert 300 < sum(draws(1)) < 500


def test_the_log_says_when_and_what(start: Start) -> None:
    bmc = start({"fault": "refusal", "status": 409})
    assert bmc.patch(SYSTEM, LAMP).status_code == 409
    (line,) = (bmc.chassis.folder.path / "faults").read_text().splitlines()
    entry = json.loads(line)
    assert (entry["fault"], entry["hit"]) == ("refusal", f"PATCH {SYSTEM}")
    assert bmc.errant.status()["played"] == {"refusal": 1}
    assert bmc.errant.status()["faults"] == []


@pytest.mark.parametrize("way", ["after", "before"])
def test_tcp_reset(start: Start, way: str) -> None:
    bmc = start({"fault": "tcp-reset", "way": way, "method": "POST", "path": "Reset$", "times": 2})
    assert bmc.get(SYSTEM).status_code == 200
    assert fate(lambda: bmc.reset("On")) == "ConnectionError"
    assert bmc.chassis.acts == ({"on": 1} if way == "after" else {})
    assert fate(lambda: bmc.reset("ForceOff")) == "ConnectionError"
    assert fate(lambda: bmc.reset("ForceOff")) == "204"
    assert bmc.played == {"tcp-reset": 2}


@pytest.mark.parametrize(
    ("status", "retry_after", "key"),
    [
        (409, None, "ResourceInUse"),
        (412, None, "PreconditionFailed"),
        (428, None, "PreconditionRequired"),
        (503, None, "ServiceTemporarilyUnavailable"),
        (503, 7, "ServiceTemporarilyUnavailable"),
    ],
)
def test_refusal(start: Start, status: int, retry_after: int | None, key: str) -> None:
    fault = {"fault": "refusal", "status": status, "after": 1, "times": 2}
    bmc = start(fault if retry_after is None else {**fault, "retry_after": retry_after})
    answers = [bmc.patch(SYSTEM, LAMP) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, status, status, 200]
    assert message_id(answers[1]).rsplit(".", 1)[-1] == key
    assert answers[1].headers.get("Retry-After") == (None if retry_after is None else str(retry_after))
    assert bmc.get(SYSTEM).status_code == 200
    assert bmc.played == {"refusal": 2}


def test_refusal_of_reads_where_asked_for(start: Start) -> None:
    bmc = start({"fault": "refusal", "method": "GET", "probability": 0.5, "seed": 3})
    statuses = [bmc.get(SYSTEM).status_code for _ in range(40)]
    assert statuses.count(503) == bmc.played["refusal"]
    assert 8 < statuses.count(503) < 32
    assert bmc.patch(SYSTEM, LAMP).status_code == 200


def test_session_expired(start: Start) -> None:
    bmc = start({"fault": "session-expired", "after": 1})
    send = by_token(bmc)
    assert [fate(send) for _ in range(3)] == ["200", "401", "401"]
    assert by_token(bmc)().status_code == 200
    assert bmc.face.sessions.status() | {"created": 2, "expired": 1} == bmc.face.sessions.status()
    assert bmc.played == {"session-expired": 1}


def test_session_table_full(start: Start) -> None:
    bmc = start({"fault": "session-table-full", "times": 2})
    answers = [log_in(bmc) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 201]
    assert message_id(answers[0]).rsplit(".", 1)[-1] == "SessionLimitExceeded"
    assert bmc.played == {"session-table-full": 2}


def test_session_faults_by_probability(start: Start) -> None:
    bmc = start(
        {"fault": "session-table-full", "probability": 0.3, "seed": 1},
        {"fault": "session-expired", "probability": 0.3, "seed": 2},
    )
    statuses, read = [], []
    for _ in range(24):
        opened = log_in(bmc)
        statuses.append(opened.status_code)
        if opened.status_code == 201:
            token = {"X-Auth-Token": opened.headers["X-Auth-Token"]}
            read.append(requests.get(bmc.url + SYSTEM, headers=token, timeout=20).status_code)
            requests.delete(bmc.url + opened.headers["Location"], headers=token, timeout=20)
    assert statuses.count(503) == bmc.played["session-table-full"] > 0
    assert read.count(401) == bmc.played["session-expired"] > 0
    assert bmc.face.sessions.status()["open"] == 0


def test_task_vanishes(start: Start) -> None:
    bmc = start({"fault": "task-vanishes", "after": 1})
    parts = {
        "UpdateParameters": (None, "{}", "application/json"),
        "UpdateFile": ("x.bin", b"lab-dummy-firmware 2.1", "application/octet-stream"),
    }
    begun = bmc.request("POST", f"{ROOT}/UpdateService/MultipartPush", files=parts)
    monitor = begun.headers["Location"]
    assert bmc.get(monitor).status_code in (200, 202)
    assert bmc.get(monitor).status_code == 404
    assert bmc.get(monitor.replace("TaskMonitors", "Tasks")).status_code == 404
    dummy = f"{ROOT}/UpdateService/FirmwareInventory/LabDummy"
    wait_until(lambda: bmc.get(dummy).json()["Version"] == "2.1", "update, though its task is gone")
    assert bmc.played == {"task-vanishes": 1}


@pytest.mark.parametrize("way", ["lags", "lies"])
def test_power_lags_or_lies(start: Start, way: str) -> None:
    bmc = start({"fault": "power-lags", "way": way, "seconds": 1.0})
    began = time.monotonic()
    assert bmc.reset("On").status_code == 204
    shown, really = ("Off", "on") if way == "lags" else ("On", "off")
    assert bmc.get(SYSTEM).json()["PowerState"] == shown
    assert bmc.chassis.power == really
    wait_until(lambda: bmc.get(SYSTEM).json()["PowerState"] == really.capitalize(), "truth")
    assert time.monotonic() - began >= 0.9
    assert bmc.played == {"power-lags": 1}
    assert bmc.reset("ForceOff").status_code == 204
    assert bmc.get(SYSTEM).json()["PowerState"] == "Off"


def test_power_lags_by_probability(start: Start) -> None:
    bmc = start({"fault": "power-lags", "probability": 0.5, "seed": 4, "seconds": 0.01})
    for kind in ("On", "ForceOff") * 10:
        bmc.reset(kind)
        wait_until(lambda: bmc.errant.board.power == bmc.chassis.power, "truth")
    assert 3 < bmc.played["power-lags"] < 17


def test_media_detaches(start: Start, tmp_path: Path) -> None:
    bmc = start({"fault": "media-detaches", "after": 1, "seconds": 0.3})
    (tmp_path / "served").mkdir()
    with image_server(tmp_path / "served") as image:
        for _ in range(2):
            assert bmc.post(INSERT, {"Image": image}).status_code == 204
            assert bmc.get(CD).json()["Inserted"] is True
            if not bmc.played:
                bmc.post(f"{CD}/Actions/VirtualMedia.EjectMedia", {})
        wait_until(lambda: bmc.get(CD).json()["Inserted"] is False, "detachment")
    assert bmc.played == {"media-detaches": 1}


@pytest.mark.parametrize("way", ["after", "before"])
def test_bmc_reboot(start: Start, way: str) -> None:
    bmc = start({"fault": "bmc-reboot", "way": way, "path": "Reset$", "seconds": 1.0})
    away: list[float] = []
    bmc.errant.away.append(away.append)
    send = by_token(bmc)
    assert fate(send) == "200"
    began = time.monotonic()
    assert fate(lambda: bmc.reset("On")) == "ConnectionError"
    assert fate(send) == "ConnectionError"
    wait_until(lambda: fate(lambda: bmc.get(SYSTEM)) == "200", "return of the BMC")
    assert time.monotonic() - began >= 0.9
    assert fate(send) == "401", "sessions do not outlive it"
    assert bmc.chassis.power == ("on" if way == "after" else "off"), "the server runs on"
    assert away == [1.0]
    assert bmc.played == {"bmc-reboot": 1}


def test_bad_body_html(start: Start) -> None:
    bmc = start({"fault": "bad-body", "after": 1})
    answers = [bmc.get(SYSTEM) for _ in range(3)]
    assert [answer.headers["Content-Type"].split(";")[0] for answer in answers] == [
        "application/json",
        "text/html",
        "application/json",
    ]
    assert bmc.played == {"bad-body": 1}


def test_bad_body_truncated_by_probability(start: Start) -> None:
    bmc = start({"fault": "bad-body", "way": "truncated", "probability": 0.4, "seed": 2})
    broken = 0
    for _ in range(25):
        answer = bmc.get(SYSTEM)
        try:
            answer.json()
        except ValueError:
            broken += 1
    assert broken == bmc.played["bad-body"]
    assert 3 < broken < 20


def test_bad_body_trickle(start: Start) -> None:
    bmc = start({"fault": "bad-body", "way": "trickle"})
    with bmc.request("GET", SYSTEM, stream=True) as answer:
        length = int(answer.headers["Content-Length"])
        began = time.monotonic()
        first = answer.raw.read(3)
        assert time.monotonic() - began >= 0.5
    assert len(first) == 3 < length
    assert bmc.get(SYSTEM).status_code == 200


def test_bad_body_huge(start: Start) -> None:
    bmc = start({"fault": "bad-body", "way": "huge"})
    with bmc.request("GET", SYSTEM, stream=True) as answer:
        size = sum(len(chunk) for chunk in answer.iter_content(2**20))
    assert size > 60 * 2**20
    assert bmc.played == {"bad-body": 1}


def test_two_faults_at_once_and_an_end_to_both(start: Start) -> None:
    bmc = start()
    bmc.add(fault="refusal", times=9, status=428)
    bmc.add(fault="bad-body", times=9)
    assert bmc.patch(SYSTEM, LAMP).status_code == 428
    assert "html" in bmc.get(SYSTEM).headers["Content-Type"]
    bmc.do(lambda: bmc.errant.change(clear=True))
    assert bmc.patch(SYSTEM, LAMP).status_code == 200
    assert bmc.played == {"refusal": 1, "bad-body": 1}


def test_datagram_faults_do_not_touch_http(start: Start) -> None:
    bmc = start(*({"fault": kind, "probability": 1.0} for kind in DATAGRAM_KINDS))
    assert bmc.post(RESET, {"ResetType": "On"}).status_code == 204
    assert bmc.chassis.acts == {PowerAction.ON: 1}
    assert bmc.played == {}


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"fault": "gremlins"}, "fault"),
        ({"fault": "loss", "probability": 1.5}, "probability"),
        ({"fault": "loss", "status": 409}, "status"),
        ({"fault": "refusal", "status": 404}, "status"),
        ({"fault": "refusal", "way": "lies"}, "way"),
        ({"fault": "bad-body", "way": "lies"}, "way"),
        ({"fault": "task-vanishes", "seconds": 3}, "seconds"),
        ({"fault": "tcp-reset", "path": "("}, "path"),
        ({"fault": "tcp-reset", "times": 0}, "times"),
        ({"fault": "tcp-reset", "stranger": 1}, "stranger"),
    ],
)
def test_what_is_no_fault_is_refused_at_its_key(entry: dict[str, object], key: str) -> None:
    with pytest.raises(ValidationError) as refused:
        FaultEntry.model_validate(entry)
    (detail,) = refused.value.errors()
    assert (*detail["loc"], *detail.get("ctx", {}).get("at", ()))[0] == key
