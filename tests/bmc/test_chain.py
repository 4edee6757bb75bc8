"""Which provider is asked, and what is never asked twice."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from lab.bmc.answered import as_text
from lab.bmc.api import Answer, BootDevice, MediaSource, Outcome, PowerAction
from lab.bmc.chain import BmcChain
from lab.bmc.ipmi.provider import IpmiBmc
from lab.bmc.open import host_and_port, open_bmc, open_sol
from lab.bmc.provider import Provider
from lab.bmc.redfish import connection as redfish_connection
from lab.bmc.redfish.provider import RedfishBmc
from lab.bmc.target import Target, Unsupported
from lab.errors import BmcCredentials, BmcRefused, BmcUnreachable, ConfigError, MissingSecret
from lab.rack.model import Rack
from lab.secret import conceal
from tests.bmc import ipmi_sim
from tests.bmc.scripted_redfish import CD, PASSWORD, RESET, USER, Service
from tests.bmc.scripted_redfish import Answer as HttpAnswer

HERE = Target("s1", "there")


class Scripted:
    """A provider whose calls do what the test says."""

    last_resort = False

    def __init__(
        self, name: str, call: Callable[[], Any], connect: Callable[[], None] = lambda: None
    ) -> None:
        self.name, self.calls, self._call, self._connect = name, 0, call, connect

    def connect(self) -> None:
        """As scripted."""
        self._connect()

    def evidence(self) -> tuple[str, ...]:
        """Nothing went over a wire."""
        return ()

    def __getattr__(self, _: str) -> Callable[..., Any]:
        def called(*_: object, **__: object) -> object:
            self.calls += 1
            return self._call()

        return called


def chain(*providers: Scripted) -> BmcChain:
    """A chain of scripted providers."""
    return BmcChain("s1", cast(list[Provider], providers))


def fail(error: Exception) -> Callable[[], Any]:
    """A call that raises."""

    def call() -> object:
        raise error

    return call


DONE = Answer(Outcome.VERIFIED, "second")
SILENCE = HERE.unreachable("it", "silence")


def test_the_first_able_provider_answers_and_is_named() -> None:
    first, second = Scripted("first", fail(Unsupported("no media"))), Scripted("second", lambda: DONE)
    both = chain(first, second)
    assert both.insert_media(MediaSource("http://x/")) is DONE
    assert both.answered == {"insert media": "second"}


def test_an_unreachable_provider_is_passed_over_before_anything_is_sent() -> None:
    first = Scripted("first", lambda: DONE, connect=fail(SILENCE))
    second = Scripted("second", lambda: DONE)
    both = chain(first, second)
    assert both.set_power(PowerAction.RESET) is DONE
    assert (first.calls, second.calls) == (0, 1)


@pytest.mark.parametrize("error", [SILENCE, HERE.refused("it", "no"), HERE.fault("it", "odd", "look")])
def test_a_change_that_was_sent_is_never_given_to_another_provider(error: Exception) -> None:
    first, second = Scripted("first", fail(error)), Scripted("second", lambda: DONE)
    with pytest.raises(type(error)):
        chain(first, second).set_power(PowerAction.RESET)
    assert (first.calls, second.calls) == (1, 0)


def test_a_read_may_be_answered_by_the_next() -> None:
    both = chain(Scripted("first", fail(SILENCE)), Scripted("second", lambda: "on"))
    assert both.power() == "on"
    assert both.answered["power"] == "second"


def test_a_wrong_password_is_not_hidden_by_the_next() -> None:
    wrong = fail(HERE.credentials("log-in", "401"))
    with pytest.raises(BmcCredentials):
        chain(Scripted("first", lambda: "on", connect=wrong), Scripted("second", lambda: "on")).power()


def test_what_nobody_can_do_is_refused_with_each_reason() -> None:
    both = chain(Scripted("a", fail(Unsupported("no slot"))), Scripted("b", fail(Unsupported("not IPMI"))))
    with pytest.raises(BmcRefused, match="eject media") as refusal:
        both.eject_media()
    assert refusal.value.tried == "a: no slot; b: not IPMI"


def test_unreachable_wins_over_unsupported() -> None:
    first = Scripted("first", lambda: DONE, connect=fail(SILENCE))
    with pytest.raises(BmcUnreachable):
        chain(first, Scripted("second", fail(Unsupported("no")))).insert_media(MediaSource("http://x/"))


def test_every_call_leaves_a_record() -> None:
    first = Scripted("first", fail(Unsupported("no media")))
    second = Scripted("second", lambda: Answer(Outcome.VERIFIED, "second", 3, ("seen",)))
    both = chain(first, second)
    both.insert_media(MediaSource("http://x/"))
    record = both.journal[-1]
    assert (record.what, record.provider, record.ended) == ("insert media", "second", "verified")
    assert record.tries == 4  # the first once, the second three times
    assert record.evidence == ("first cannot: no media", "seen")
    assert 0 <= record.seconds < 5
    assert str(record).splitlines()[0].startswith("insert media: verified (second, 0.")


def test_a_read_and_an_error_leave_one_too() -> None:
    reader = chain(Scripted("a", lambda: "on"))
    reader.power()
    assert reader.journal[-1].evidence == ("answer: on",)
    silent = chain(Scripted("a", lambda: "on", connect=fail(SILENCE)), Scripted("b", fail(SILENCE)))
    with pytest.raises(BmcUnreachable):
        silent.power()
    refusing = chain(Scripted("a", fail(HERE.refused("it", "no"))))
    with pytest.raises(BmcRefused):
        refusing.set_power(PowerAction.ON)
    nobody, refused = silent.journal[-1], refusing.journal[-1]
    assert (nobody.provider, nobody.tries, nobody.ended) == ("", 2, "BmcUnreachable")
    assert (refused.provider, refused.tries, refused.ended) == ("a", 1, "BmcRefused")
    assert refused.evidence == ("BMC there refused: no", "tried: it")


def test_no_secret_stays_in_a_record_and_records_are_bounded() -> None:
    secret = conceal("s3cret-in-an-answer")
    both = chain(Scripted("a", lambda: Answer(Outcome.VERIFIED, "a", 1, (f"PATCH {secret}", "x" * 9999))))
    for _ in range(1000):
        both.eject_media()
    assert len(both.journal) < 1000
    assert secret not in str(both.journal)
    assert len(str(both.journal[-1])) < 1000


def test_a_row_of_reads_is_told_once() -> None:
    reader = chain(Scripted("a", lambda: "on"))
    for _ in range(7):
        reader.power()
    reader.boot_override()
    told = as_text(reader.journal)
    assert told.count("power: answered 7 times (a), the last:") == 1
    assert told.count("boot override: answered") == 1
    assert as_text(reader.journal, since=time.monotonic()) == ""


@pytest.mark.parametrize("error", [HERE.busy("log-in", "no session left"), SILENCE], ids=["busy", "silent"])
def test_a_bmc_without_a_session_left_is_passed_over(error: Exception) -> None:
    both = chain(Scripted("first", lambda: DONE, connect=fail(error)), Scripted("second", lambda: DONE))
    assert both.set_power(PowerAction.ON) is DONE
    with pytest.raises(type(error)):
        chain(Scripted("first", lambda: DONE, connect=fail(error))).power()


def test_the_rack_files_slot_is_used_where_none_is_named() -> None:
    taken: list[MediaSource] = []

    class Drive(Scripted):
        def insert_media(self, source: MediaSource) -> Answer:
            taken.append(source)
            return DONE

    drive = cast(Provider, Drive("a", lambda: None))
    pinned = BmcChain("s1", [drive], media_slot="2")
    pinned.insert_media(MediaSource("http://x/"))
    pinned.insert_media(MediaSource("http://x/", slot="7"))
    assert [source.slot for source in taken] == ["2", "7"]


def rack_of(service: Service | None, sim: ipmi_sim.Simulator | None) -> Rack:
    """A rack file's model with one server that has these endpoints."""
    bmc: dict[str, Any] = {"user": USER, "password": "env:BMC_PW", "tls": "none" if service else None}
    bmc |= {"redfish": service.url} if service else {}
    bmc |= {"ipmi": sim.address, "sol_user": ipmi_sim.SOL_USER, "sol_password": "env:SOL_PW"} if sim else {}
    console: dict[str, Any] = {"sol": {}} if sim else {"tcp": "127.0.0.1:9"}
    server = {
        "name": "s1",
        "firmware": "uefi",
        "bmc": bmc,
        "console": console,
        "nics": [{"mac": "52:54:00:00:00:01", "boot": True}],
    }
    return Rack.model_validate(
        {"rack": "r", "controller": {"media_address": "127.0.0.1"}, "servers": [server]}
    )


def test_open_bmc_joins_both_faces(
    service: Service, sim: ipmi_sim.Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMC_PW", PASSWORD)
    rack = rack_of(service, sim)
    bmc = open_bmc(rack, rack.servers[0])
    try:
        assert bmc.name == "redfish+ipmi"
        assert bmc.set_power(PowerAction.ON).provider == "redfish"
        assert bmc.insert_media(MediaSource("http://127.0.0.1/a.iso")).provider == "redfish"
        assert service.resources[CD]["Inserted"] is True
    finally:
        bmc.close()
    assert service.sessions == set()


def test_ipmi_takes_over_what_redfish_cannot(
    service: Service, sim: ipmi_sim.Simulator, ipmi: IpmiBmc
) -> None:
    both = BmcChain("s1", [service.bmc(), ipmi])
    assert both.boot_once(BootDevice.SETUP, "bios").provider == "ipmi"
    assert sim.sets == ["boot bios"]
    service.script = lambda request: HttpAnswer(403) if request.path == RESET else None
    with pytest.raises(BmcRefused):
        both.set_power(PowerAction.ON)
    assert sim.sets == ["boot bios"]
    both.close()


def test_ipmi_takes_over_where_redfish_does_not_answer(sim: ipmi_sim.Simulator, ipmi: IpmiBmc) -> None:
    port = ipmi_sim.free_port()
    nobody = RedfishBmc(Target("s1", f"http://127.0.0.1:{port}"), ipmi._session._account, "none")
    assert BmcChain("s1", [nobody, ipmi]).set_power(PowerAction.ON).provider == "ipmi"


def test_ipmi_takes_over_where_redfish_fell_silent(
    service: Service, sim: ipmi_sim.Simulator, ipmi: IpmiBmc, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = BmcChain("s1", [service.bmc(), ipmi])
    both.power()
    monkeypatch.setattr(redfish_connection, "ALIVE_S", 0.0)
    monkeypatch.setattr(redfish_connection, "CONNECT_LIMIT_S", 0.3)
    service.script = lambda request: HttpAnswer(200, delay=0.6)
    assert both.set_power(PowerAction.ON).provider == "ipmi"
    assert (service.count("POST", RESET), sim.sets) == (0, ["power 1"])


def test_a_missing_secret_is_told(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BMC_PW", raising=False)
    rack = rack_of(service, None)
    bmc = open_bmc(rack, rack.servers[0])
    with pytest.raises(MissingSecret, match="BMC_PW"):
        bmc.power()


def test_sol_without_an_ipmi_endpoint_is_the_rack_files_fault(service: Service) -> None:
    rack = rack_of(service, None)
    with pytest.raises(ConfigError, match="no IPMI endpoint"):
        open_sol(rack, rack.servers[0])


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [("h", ("h", 623)), ("10.0.0.1:9", ("10.0.0.1", 9)), ("[::1]", ("::1", 623)), ("[::1]:7", ("::1", 7))],
)
def test_endpoints(endpoint: str, expected: tuple[str, int]) -> None:
    assert host_and_port(endpoint) == expected


def test_providers_fit_the_protocol(service: Service, ipmi: IpmiBmc) -> None:
    providers: list[Provider] = [service.bmc(), ipmi]
    assert [provider.name for provider in providers] == ["redfish", "ipmi"]


def test_importing_the_package_loads_no_provider() -> None:
    code = "import sys, lab.bmc, lab.bmc.api; print({'pyghmi', 'redfish', 'requests'} & set(sys.modules))"
    output = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=Path(__file__).parents[2])
    assert output.strip() == "set()"
