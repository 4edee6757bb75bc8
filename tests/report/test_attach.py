"""Steps and attachments, in a session that really ran and outside of any."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from lab.report import attach
from lab.report.rundir import RunFolder


def result(run: RunFolder, name: str) -> dict[str, Any]:
    results = [json.loads(file.read_text()) for file in run.allure_results.glob("*-result.json")]
    return next(entry for entry in results if entry["name"] == name)


def test_steps_labels_and_attachments_reach_the_results(tested: RunFolder) -> None:
    good = result(tested, "test_good")
    (step,) = good["steps"]
    assert step["name"] == "off -> booting"
    assert [attached["name"] for attached in step["attachments"]] == ["boot", "console"]
    assert {label["name"]: label["value"] for label in good["labels"]}["server"] == "sample-uefi"
    assert {"name": "release", "value": "'xen-4.17-debian12'"} in [
        {key: entry[key] for key in ("name", "value")} for entry in good["parameters"]
    ]


def test_secrets_do_not_reach_the_results(tested: RunFolder) -> None:
    (console,) = (
        entry
        for entry in result(tested, "test_good")["steps"][0]["attachments"]
        if entry["name"] == "console"
    )
    assert (tested.allure_results / console["source"]).read_text() == "password is ********"
    assert all(b"hunter2-secret" not in file.read_bytes() for file in tested.allure_results.iterdir())


def test_what_a_session_fixture_attaches_is_kept(tested: RunFolder) -> None:
    assert any(file.read_bytes() == b"clean" for file in tested.allure_results.glob("*-attachment.txt"))


def test_outside_an_allure_run_nothing_happens(tmp_path: Path) -> None:
    attach.attach_text("a", "b")
    attach.attach_json("a", object())
    attach.attach_file("a", tmp_path / "missing")
    attach.about("server", "release")
    with pytest.raises(KeyError), attach.step("fails"):
        raise KeyError


def test_a_thread_may_attach(tmp_path: Path) -> None:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            with attach.step("in a thread"):
                attach.attach_text("a", "b")
        except BaseException as error:  # noqa: BLE001 - any error at all fails this test
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert raised == []
