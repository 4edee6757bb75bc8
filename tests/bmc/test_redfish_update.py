"""Firmware update by UpdateService: followed to an end to believe, and out of reach of test runs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.bmc.api import Bmc, Outcome
from lab.bmc.redfish import connection as redfish_connection
from lab.bmc.redfish import task as redfish_task
from lab.bmc.redfish import update as redfish_update
from lab.bmc.redfish.update import UpdateResult, update_firmware
from lab.errors import BmcRefused, ConfigError, LabFault
from tests.bmc.scripted_redfish import ROOT, Answer, Request, Service, ref

Json = dict[str, Any]
UPDATE, TASK = f"{ROOT}/UpdateService", f"{ROOT}/TaskService/Tasks/9"
SIMPLE, PUSH = f"{UPDATE}/Actions/SimpleUpdate", f"{UPDATE}/upload"
IMAGE = "http://10.0.7.2:8000/bmc.bin"
PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redfish_update, "_READ_EVERY_S", 0.05)
    monkeypatch.setattr(redfish_task, "GRACE_S", 0.5)
    monkeypatch.setattr(redfish_task, "_GRACE_EVERY_S", 0.1)


class Flash:
    """A BMC that updates itself: its task's states in turn, then the new version."""

    def __init__(
        self, service: Service, *states: Json | Answer, new: str = "2.0", reply: Answer | None = None
    ) -> None:
        self.service = service
        self.states = list(states)
        self.new = new
        self.reply = reply or Answer(202, {}, {"Location": f"{service.url}{TASK}", "Retry-After": "0"})
        self.pushed: list[Request] = []
        service.resources[ROOT] |= {"UpdateService": ref(UPDATE), "Tasks": ref(f"{ROOT}/TaskService")}
        service.resources[f"{ROOT}/TaskService"] = {"Tasks": ref(f"{ROOT}/TaskService/Tasks")}
        service.resources[f"{ROOT}/TaskService/Tasks"] = {"Members": []}
        service.resources[UPDATE] = {
            "@odata.id": UPDATE,
            "ServiceEnabled": True,
            "FirmwareInventory": ref(f"{UPDATE}/Firmware"),
            "MultipartHttpPushUri": PUSH,
            "Actions": {
                "#UpdateService.SimpleUpdate": {
                    "target": SIMPLE,
                    "TransferProtocol@Redfish.AllowableValues": ["HTTP", "HTTPS"],
                }
            },
        }
        service.resources[f"{UPDATE}/Firmware"] = {
            "Members": [{"@odata.id": f"{UPDATE}/Firmware/BMC", "Name": "BMC", "Version": "1.0"}]
        }
        service.script = self.play

    def play(self, request: Request) -> Answer | None:
        """Take the image; tell of the task."""
        if request.path in (SIMPLE, PUSH) and request.method == "POST":
            self.pushed.append(request)
            if not self.states:
                self.done()
            return self.reply
        if request.path != TASK:
            return None
        state = self.states.pop(0) if self.states else Answer(404)
        if not self.states:
            self.done()
        return (
            state
            if isinstance(state, Answer)
            else Answer(200, {"@odata.id": TASK, **state}, {"Retry-After": "0"})
        )

    def done(self) -> None:
        """The new version runs."""
        self.service.resources[f"{UPDATE}/Firmware"]["Members"][0]["Version"] = self.new


def running(percent: int) -> Json:
    """A task under way."""
    return {"TaskState": "Running", "PercentComplete": percent}


DONE: Json = {"TaskState": "Completed", "TaskStatus": "OK"}


def updated(service: Service, image: str | Path = IMAGE, **how: Any) -> UpdateResult:  # noqa: ANN401
    """The update, with little patience."""
    bmc = service.bmc()
    try:
        return update_firmware(bmc, image, **{"deadline_s": 20, "settle_s": 0.3, **how})
    finally:
        bmc.close()


def test_an_update_is_followed_until_the_version_shows(service: Service) -> None:
    flash = Flash(service, running(20), Answer(503, "starting", {"Retry-After": "0"}), running(80), DONE)
    seen: list[tuple[str, int | None]] = []
    result = updated(
        service,
        progress=lambda words, percent: seen.append((words, percent)),
        components=[f"{UPDATE}/Firmware/BMC"],
    )
    assert result.outcome is Outcome.VERIFIED
    assert result.changed == {"BMC": ("1.0", "2.0")}
    assert [request.body for request in flash.pushed] == [
        {"ImageURI": IMAGE, "TransferProtocol": "HTTP", "Targets": [f"{UPDATE}/Firmware/BMC"]}
    ]
    assert [percent for _, percent in seen if percent is not None] == [20, 80]
    assert service.sessions == set()


def test_a_file_is_pushed_as_a_form(service: Service, tmp_path: Path) -> None:
    flash = Flash(service, DONE)
    image = tmp_path / "bmc.bin"
    image.write_bytes(bytes(range(256)) * 20)
    assert updated(service, image, apply_time="Immediate").outcome is Outcome.VERIFIED
    [request] = flash.pushed
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'"@Redfish.OperationApplyTime": "Immediate"' in request.raw
    assert image.read_bytes() in request.raw


def test_done_without_a_new_version_waits_for_a_boot(service: Service) -> None:
    Flash(service, DONE, new="1.0")
    assert updated(service).outcome is Outcome.PENDING


def test_a_task_that_vanished_is_judged_by_the_version(service: Service) -> None:
    Flash(service, running(90), Answer(404))
    assert updated(service).outcome is Outcome.VERIFIED
    Flash(service, running(90), Answer(404), new="1.0")
    assert updated(service).outcome is Outcome.UNVERIFIABLE


@pytest.mark.parametrize(
    "end",
    [
        {"TaskState": "Exception", "Messages": [{"Message": "image is for another model"}]},
        {
            "TaskState": "Completed",
            "Messages": [{"Message": "Job completed with errors: image is for another model"}],
        },
        {
            "TaskState": "Completed",
            "TaskStatus": "Critical",
            "Messages": {"Message": "image is for another model"},
        },
    ],
)
def test_a_task_that_failed_is_a_refusal(service: Service, end: Json) -> None:
    Flash(service, running(10), end)
    with pytest.raises(BmcRefused, match="another model"):
        updated(service)


def test_a_task_that_never_ends_is_a_fault(service: Service) -> None:
    Flash(service, *[running(1)] * 500)
    with pytest.raises(LabFault, match="not ended in time"):
        updated(service, deadline_s=1.0)


def test_an_answer_that_does_not_come_is_settled_by_the_task_list(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redfish_connection, "WRITE_S", 0.3)
    flash = Flash(service, DONE, reply=Answer(202, delay=0.8))
    play = flash.play

    def take(request: Request) -> Answer | None:
        if request.path == SIMPLE:
            service.resources[f"{ROOT}/TaskService/Tasks"]["Members"] = [ref(TASK)]
        return play(request)

    service.script = take
    assert updated(service).outcome is Outcome.VERIFIED
    assert len(flash.pushed) == 1


def test_an_answer_that_does_not_come_and_no_task_is_never_sent_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redfish_connection, "WRITE_S", 0.3)
    flash = Flash(service, DONE, reply=Answer(202, delay=0.8))
    with pytest.raises(LabFault, match="0 new tasks"):
        updated(service)
    assert len(flash.pushed) == 1


def test_a_busy_bmc_is_sent_one_image(service: Service) -> None:
    flash = Flash(service, DONE, reply=Answer(503, {"error": {"message": "busy"}}, {"Retry-After": "0"}))
    with pytest.raises(BmcRefused, match="busy"):
        updated(service)
    assert len(flash.pushed) == 1


@pytest.mark.parametrize("image", ["nfs://10.0.7.2/bmc.bin", "ftp://10.0.7.2/bmc.bin"])
def test_a_protocol_that_it_does_not_take_is_not_sent(service: Service, image: str) -> None:
    flash = Flash(service, DONE)
    with pytest.raises(BmcRefused, match="HTTP, HTTPS; nothing was sent"):
        updated(service, image)
    assert flash.pushed == []


@pytest.mark.parametrize(
    ("members", "why"), [({"ServiceEnabled": False}, "switched off"), (None, "not there")]
)
def test_without_a_service_nothing_is_sent(service: Service, members: Json | None, why: str) -> None:
    flash = Flash(service, DONE)
    if members is None:
        del service.resources[UPDATE]
    else:
        service.resources[UPDATE] |= members
    with pytest.raises(BmcRefused, match=why):
        updated(service)
    assert flash.pushed == []


def test_a_file_that_is_not_there(service: Service, tmp_path: Path) -> None:
    Flash(service, DONE)
    with pytest.raises(ConfigError, match="cannot be read"):
        updated(service, tmp_path / "nothing.bin")


def test_an_account_in_the_url_is_in_no_evidence(service: Service) -> None:
    Flash(service, DONE)
    result = updated(service, "http://user:hunter2@10.0.7.2/bmc.bin")
    assert "hunter2" not in " ".join(result.evidence)


def imports_of(file: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def file_of(module: str) -> Path | None:
    """The project's file of a module, None where it is somebody else's or no module."""
    path = PROJECT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def test_no_test_run_can_reach_firmware_updates() -> None:
    """What testcases, fixtures and the plugin import, and what that imports, and so on."""
    rooms = [PROJECT / "testcases", PROJECT / "fixtures", PROJECT / "lab" / "pytest_plugin"]
    waiting = [PROJECT / "conftest.py", *(file for room in rooms for file in room.rglob("*.py"))]
    seen: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        waiting += [found for module in imports_of(file) if (found := file_of(module)) is not None]
    redfish = PROJECT / "lab" / "bmc" / "redfish"
    assert redfish / "provider.py" in seen, "the walk must find what is really imported"
    assert (redfish / "update.py").is_file()
    assert redfish / "update.py" not in seen


def test_the_provider_itself_does_not_load_it() -> None:
    loads = "import sys, lab.bmc.redfish.provider, lab.bmc.open, lab.pytest_plugin"
    code = f"{loads}; print('lab.bmc.redfish.update' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.strip() == "False"
    assert not [name for name in dir(Bmc) if "update" in name or "flash" in name]
