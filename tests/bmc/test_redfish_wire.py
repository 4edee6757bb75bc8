"""The ETag ladder, tasks, sessions and connections; what arrived is counted at the service."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from lab import paths
from lab.bmc.api import BootDevice, Outcome, PowerAction
from lab.bmc.quirk_model import Behaviour
from lab.bmc.redfish import session_ledger
from lab.bmc.redfish.etag import IfMatch, ladder
from lab.bmc.redfish.reply import Reply
from lab.bmc.redfish.task import TaskEnd, follow
from lab.deadline import Deadline
from lab.errors import BmcAccountLocked, BmcBusy, BmcRefused, LabFault
from tests.bmc import scripted_redfish as scripted
from tests.bmc.scripted_redfish import RESET, ROOT, SYSTEM, Answer, Request, Service

SESSIONS = f"{ROOT}/SessionService/Sessions"
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


def refusals(count: int, answer: Answer, method: str, path: str) -> Callable[[Request], Answer | None]:
    """The first `count` such requests get `answer`."""
    left = [count]

    def script(request: Request) -> Answer | None:
        if (request.method, request.path) != (method, path) or not left[0]:
            return None
        left[0] -= 1
        return answer

    return script


def error(message: str, message_id: str = "") -> dict[str, object]:
    return {"error": {"@Message.ExtendedInfo": {"Message": message, "MessageId": message_id}}}


class TestSessions:
    """One for each BMC, always ended, also after a kill."""

    def test_a_session_left_by_a_killed_process_is_deleted_at_the_next_start(self, service: Service) -> None:
        code = (
            "import sys, os, signal\n"
            "from lab.bmc.redfish.provider import RedfishBmc\n"
            "from lab.bmc.target import Account, Target\n"
            "bmc = RedfishBmc(Target('s', sys.argv[1]), Account(sys.argv[2], lambda: sys.argv[3]), 'none')\n"
            "bmc.power(); os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        arguments = [sys.executable, "-c", code, service.url, scripted.USER, scripted.PASSWORD]
        assert subprocess.run(arguments, check=False, timeout=60).returncode == -signal.SIGKILL
        assert service.opened == 1
        assert service.count("DELETE", f"{SESSIONS}/1") == 0
        bmc = service.bmc()
        bmc.power()
        assert service.count("DELETE", f"{SESSIONS}/1") == 1
        bmc.close()
        assert list((paths.state() / "bmc-sessions").iterdir()) == []

    def test_what_is_kept_of_a_session_is_owner_readable_and_holds_no_secret(self, service: Service) -> None:
        bmc = service.bmc()
        bmc.power()
        (file,) = (paths.state() / "bmc-sessions").iterdir()
        assert file.stat().st_mode & 0o077 == 0
        assert scripted.TOKEN not in file.read_text()
        assert scripted.PASSWORD not in file.read_text()
        bmc.close()

    def test_a_session_of_a_living_process_is_left_alone(self, service: Service) -> None:
        first, second = service.bmc(), service.bmc()
        first.power()
        second.power()
        assert service.count("DELETE", f"{SESSIONS}/1") == 0
        first.close()
        second.close()

    def test_an_entry_cut_short_by_the_kill_does_no_harm(self, service: Service) -> None:
        bmc = service.bmc()
        bmc.power()
        bmc.close()
        folder = paths.state() / "bmc-sessions"
        host = service.url.split("//")[1].replace(":", "_")
        (folder / f"{host}-1-dead.json").write_text('{"address": "ht')
        bmc.power()
        bmc.close()
        assert list(folder.iterdir()) == []

    def test_a_full_table_is_told_as_such(self, service: Service) -> None:
        full = Answer(503, error("The maximum number of user sessions is reached.", "IDRAC.2.8.RAC0218"))
        service.script = lambda request: full if request.path == SESSIONS else None
        with pytest.raises(BmcBusy, match=r"session table is full.*maximum number"):
            service.bmc().power()

    def test_a_table_filled_by_ours_is_emptied_with_the_account(self, service: Service) -> None:
        note = session_ledger.note(service.url, scripted.USER, f"{SESSIONS}/77")
        entry = session_ledger.OpenSession.model_validate_json(note.read_text())
        gone = entry.model_copy(update={"process_started": entry.process_started - 1})
        note.write_text(gone.model_dump_json())

        def script(request: Request) -> Answer | None:
            if request.method == "DELETE" and request.path.endswith("/77"):
                return Answer(204 if request.headers.get("authorization", "").startswith("Basic ") else 401)
            return once(request)

        once = refusals(
            1, Answer(503, error("Session limit exceeded", "SessionLimitExceeded")), "POST", SESSIONS
        )
        service.script = script
        bmc = service.bmc()
        assert bmc.power() == "off"
        assert not note.exists()
        bmc.close()

    def test_a_locked_account_is_told_apart(self, service: Service) -> None:
        locked = Answer(401, error("The account is locked out for 300 seconds."))
        service.script = lambda request: locked if request.path == SESSIONS else None
        with pytest.raises(BmcAccountLocked, match="locked"):
            service.bmc().power()

    def test_a_session_that_is_never_taken_is_no_wrong_password(self, service: Service) -> None:
        service.script = lambda request: Answer(401) if request.path == SYSTEM else None
        with pytest.raises(LabFault, match="session that it has just opened"):
            service.bmc().power()
        assert service.opened == 2


class TestConnections:
    """What is sent again, what is not, and where to."""

    def test_406_is_asked_again_without_an_encoding(self, service: Service) -> None:
        def packed(request: Request) -> Answer | None:
            return Answer(406) if "accept-encoding" in request.headers and request.path == SYSTEM else None

        service.script = packed
        assert service.bmc().power() == "off"

    def test_a_redirect_on_its_own_host_is_followed_for_reads_alone(self, service: Service) -> None:
        moved = f"{SYSTEM}-moved"
        service.resources[moved] = service.resources[SYSTEM]
        service.script = lambda r: Answer(308, headers={"Location": moved}) if r.path == SYSTEM else None
        bmc = service.bmc()
        assert bmc.power() == "off"
        service.script = lambda r: Answer(308, headers={"Location": moved}) if r.path == RESET else None
        with pytest.raises(LabFault, match="redirects"):
            bmc.set_power(PowerAction.ON)

    def test_a_tag_that_changed_is_read_again(self, service: Service) -> None:
        service.resources[SYSTEM]["@odata.etag"] = '"1"'

        def race(request: Request) -> Answer | None:
            if request.method != "PATCH":
                return None
            if request.headers.get("if-match") == '"2"':
                return None
            service.resources[SYSTEM]["@odata.etag"] = '"2"'
            return Answer(412)

        service.script = race
        assert service.bmc().boot_once(BootDevice.PXE, "uefi").outcome is Outcome.VERIFIED
        assert service.count("PATCH", SYSTEM) == 2

    def test_an_action_gets_if_match_when_the_bmc_asks_for_it(self, service: Service) -> None:
        service.resources[SYSTEM]["@odata.etag"] = '"9"'

        def wants(request: Request) -> Answer | None:
            asked = request.path == RESET and request.headers.get("if-match") != '"9"'
            return Answer(428, error("", "PreconditionRequired")) if asked else None

        service.script = wants
        assert service.bmc().set_power(PowerAction.ON).outcome is Outcome.VERIFIED
        assert service.count("POST", RESET) == 2

    @pytest.mark.parametrize(("headers", "sent"), [({"Retry-After": "0"}, 2), ({}, 1)])
    def test_a_reset_that_was_refused_is_repeated_only_where_the_bmc_asks(
        self, service: Service, headers: dict[str, str], sent: int
    ) -> None:
        service.resources[SYSTEM]["PowerState"] = "On"
        service.script = refusals(1, Answer(503, headers=headers), "POST", RESET)
        if sent == 1:
            with pytest.raises(BmcRefused, match="503"):
                service.bmc().set_power(PowerAction.RESET)
        else:
            service.bmc().set_power(PowerAction.RESET)
        assert service.count("POST", RESET) == sent

    def test_a_reset_refused_because_the_server_is_off_after_all_is_a_power_on(
        self, service: Service
    ) -> None:
        service.resources[SYSTEM]["PowerState"] = "On"

        def off_by_now(request: Request) -> Answer | None:
            if request.body.get("ResetType") != "ForceRestart":
                return None
            service.resources[SYSTEM]["PowerState"] = "Off"
            return Answer(400, error("wrong state", "iLO.2.14.InvalidOperationForSystemState"))

        service.script = off_by_now
        service.bmc().set_power(PowerAction.RESET)
        assert service.bodies("POST", RESET) == [{"ResetType": "ForceRestart"}, {"ResetType": "On"}]


class TestTasks:
    """A 202 is followed to an end that can be believed."""

    TASK = f"{ROOT}/TaskService/Tasks/1"

    def end(self, service: Service, *states: Answer, limit_s: float = 10.0) -> TaskEnd:
        left = list(states)
        service.script = lambda r: (left.pop(0) if left else states[-1]) if r.path == self.TASK else None
        session = service.bmc()._session
        where = {"location": f"https://bmc.example{self.TASK}", "retry-after": "0"}
        found = follow(session, Reply(202, headers=where), Deadline.after(limit_s, "the task"))
        session.close()
        return found

    def running(self) -> Answer:
        return Answer(202, {"TaskState": "Running"}, {"Retry-After": "0"})

    def test_an_absolute_location_is_read_at_the_bmc_itself(self, service: Service) -> None:
        assert self.end(service, self.running(), Answer(200, {"TaskState": "Completed"})).how == "done"

    def test_one_that_vanishes_leaves_the_result_to_tell(self, service: Service) -> None:
        assert self.end(service, self.running(), Answer(404)).how == "vanished"

    def test_one_just_created_may_be_unknown_for_a_while(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lab.bmc.redfish.task._GRACE_EVERY_S", 0.1)
        ended = self.end(service, Answer(404), Answer(404), Answer(200, {"TaskState": "Completed"}))
        assert ended.how == "done"

    @pytest.mark.parametrize(
        "task",
        [
            {"TaskState": "Exception"},
            {"TaskState": "Completed", "Messages": [{"Message": "Job completed with errors."}]},
            {"TaskState": "Completed", "TaskStatus": "Critical"},
        ],
    )
    def test_one_that_ends_badly_has_failed(self, service: Service, task: dict[str, object]) -> None:
        assert self.end(service, Answer(200, task)).how == "failed"

    def test_one_that_does_not_end_is_running_at_the_deadline(self, service: Service) -> None:
        assert self.end(service, self.running(), limit_s=0.5).how == "running"
