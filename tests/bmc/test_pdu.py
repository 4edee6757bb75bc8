"""Outlets by SNMP, judged by snmpsim: read, switched, told again only what was lost, and asked last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from lab.bmc.api import Outcome, PowerAction
from lab.bmc.capability import Area
from lab.bmc.chain import BmcChain
from lab.bmc.open import open_bmc
from lab.bmc.pdu import provider as pdu_module
from lab.bmc.pdu import snmp
from lab.bmc.pdu.models import known
from lab.bmc.pdu.provider import PduOutlets
from lab.bmc.pdu.snmp import Credentials
from lab.bmc.redfish.provider import RedfishBmc
from lab.bmc.target import Account, Target, Unsupported
from lab.errors import BmcBusy, BmcCredentials, BmcRefused, BmcUnreachable, LabFault
from lab.rack.model import Rack
from lab.rack.pdu import Pdu
from tests.bmc.ipmi_sim import free_port
from tests.bmc.scripted_redfish import RESET, Service
from tests.bmc.scripted_redfish import Answer as HttpAnswer
from tests.bmc.snmp_pdu import COMMUNITY, SimulatedPdu, by_community, by_user, simulated_pdu

OFF_BOTH, ON_BOTH = ["3 2", "4 2"], ["3 1", "4 1"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedPdu]:
    with simulated_pdu(tmp_path_factory.mktemp("pdu") / "sim") as pdu:
        yield pdu


@pytest.fixture
def pdu(running: SimulatedPdu) -> SimulatedPdu:
    """A PDU with outlets 3 and 4, both on."""
    running.reset()
    return running


@pytest.fixture
def outlets(pdu: SimulatedPdu) -> Iterator[PduOutlets]:
    """Its provider."""
    provider = pdu.provider()
    yield provider
    provider.close()


@pytest.mark.parametrize(
    "credentials", [by_community(), by_community(version="1"), by_user()], ids=["2c", "1", "3"]
)
def test_off_and_on_by_every_version(pdu: SimulatedPdu, credentials: Credentials) -> None:
    outlets = pdu.provider(credentials)
    off = outlets.set_power(PowerAction.OFF)
    assert (off.outcome, off.provider, pdu.state(), outlets.power()) == (
        Outcome.VERIFIED,
        "pdu",
        {"off"},
        "off",
    )
    on = outlets.set_power(PowerAction.ON)
    outlets.close()
    assert (on.outcome, pdu.state()) == (Outcome.UNVERIFIABLE, {"on"})
    assert pdu.sets == OFF_BOTH + ON_BOTH


def test_outlets_that_are_on_say_nothing_of_the_server(outlets: PduOutlets) -> None:
    with pytest.raises(Unsupported, match="3 on, 4 on"):
        outlets.power()


def test_one_supply_without_power_is_not_off(outlets: PduOutlets, pdu: SimulatedPdu) -> None:
    (pdu.folder / "outlet-3").write_text("off")
    with pytest.raises(Unsupported, match="3 off, 4 on"):
        outlets.power()
    outlets.set_power(PowerAction.OFF)
    assert pdu.sets == ["4 2"]


def test_off_when_off_sends_nothing(outlets: PduOutlets, pdu: SimulatedPdu) -> None:
    pdu.put("off")
    assert outlets.set_power(PowerAction.OFF).outcome is Outcome.VERIFIED
    assert pdu.sets == []


def test_on_when_on_is_not_claimed(outlets: PduOutlets, pdu: SimulatedPdu) -> None:
    with pytest.raises(Unsupported, match="only its BMC can start"):
        outlets.set_power(PowerAction.ON)
    assert pdu.sets == []


@pytest.mark.parametrize("action", [PowerAction.CYCLE, PowerAction.RESET])
def test_a_cycle_is_off_wait_on(outlets: PduOutlets, pdu: SimulatedPdu, action: PowerAction) -> None:
    answer = outlets.set_power(action)
    assert (pdu.sets, pdu.state()) == (OFF_BOTH + ON_BOTH, {"on"})
    assert "outlets read 3 off, 4 off" in answer.evidence
    assert "kept off for 0.2 s" in answer.evidence


@pytest.mark.parametrize("action", [PowerAction.GRACEFUL_OFF, PowerAction.NMI])
def test_what_a_pdu_cannot_do_is_said_before_anything_is_sent(
    outlets: PduOutlets, pdu: SimulatedPdu, action: PowerAction
) -> None:
    with pytest.raises(Unsupported):
        outlets.set_power(action)
    assert pdu.sets == []


def test_an_outlet_with_a_delay_of_its_own_is_waited_for(outlets: PduOutlets, pdu: SimulatedPdu) -> None:
    pdu.misbehave("lag", "4", 1.0)
    assert outlets.set_power(PowerAction.OFF).outcome is Outcome.VERIFIED
    assert pdu.sets == OFF_BOTH


def test_an_outlet_that_does_not_switch_is_named(outlets: PduOutlets, pdu: SimulatedPdu) -> None:
    pdu.misbehave("stuck", "4")
    with pytest.raises(LabFault, match="3 off, 4 on") as fault:
        outlets.set_power(PowerAction.OFF, deadline_s=1.0)
    assert "locked" in fault.value.next_step
    assert pdu.sets == OFF_BOTH


@pytest.mark.parametrize(("how", "orders"), [("mute", OFF_BOTH), ("lost", ["3 2", "4 2", "3 2"])])
def test_an_unanswered_order_is_sent_again_only_where_the_outlet_shows_that_it_was_lost(
    pdu: SimulatedPdu, monkeypatch: pytest.MonkeyPatch, how: str, orders: list[str]
) -> None:
    monkeypatch.setattr(snmp, "WRITE_S", 0.5)
    monkeypatch.setattr(pdu_module, "_SETTLE_S", 1.0)
    pdu.misbehave(how, "3", 0.9)
    outlets = pdu.provider()
    assert outlets.set_power(PowerAction.OFF).outcome is Outcome.VERIFIED
    outlets.close()
    assert pdu.sets == orders


def test_a_cycle_that_cannot_switch_on_says_that_the_server_is_dark(
    outlets: PduOutlets, pdu: SimulatedPdu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", _after_the_pause(lambda: pdu.misbehave("stuck", "3")))
    with pytest.raises(LabFault, match="not all on") as fault:
        outlets.set_power(PowerAction.CYCLE, deadline_s=1.0)
    assert "by hand" in fault.value.next_step


def _after_the_pause(happen: Callable[[], None]) -> Callable[[float], None]:
    sleep = time.sleep

    def slept(seconds: float) -> None:
        sleep(seconds)
        if seconds == 0.2:  # the pause of a cycle
            happen()

    return slept


def test_a_wrong_community_gets_no_answer_in_time(pdu: SimulatedPdu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snmp, "READ_S", 0.5)
    outlets, began = pdu.provider(by_community("wrong")), time.monotonic()
    with pytest.raises(BmcUnreachable) as silence:
        outlets.connect()
    outlets.close()
    assert time.monotonic() - began < 8
    assert "community" in silence.value.next_step
    assert "wrong" not in silence.value.message


@pytest.mark.parametrize(
    "credentials", [by_user(auth="another-key"), by_user(user="nobody")], ids=["key", "user"]
)
def test_version_3_tells_a_wrong_user_or_key(pdu: SimulatedPdu, credentials: Credentials) -> None:
    outlets = pdu.provider(credentials)
    with pytest.raises(BmcCredentials, match="PDU"):
        outlets.connect()
    outlets.close()


def test_an_outlet_that_is_not_there(pdu: SimulatedPdu) -> None:
    outlets = pdu.provider(outlets=("3", "9"))
    with pytest.raises(LabFault, match="no such outlet") as fault:
        outlets.connect()
    outlets.close()
    assert "outlets" in fault.value.next_step


def test_the_probe_row(outlets: PduOutlets) -> None:
    rows = {one.area: one for one in outlets.capabilities()}
    assert (rows[Area.POWER].can, rows[Area.POWER].allowed) == ("yes", ("on", "off", "cycle"))
    assert {one.can for area, one in rows.items() if area is not Area.POWER} == {"no"}


def dead_redfish() -> RedfishBmc:
    """A BMC that is not there."""
    return RedfishBmc(Target("s1", f"http://127.0.0.1:{free_port()}"), Account("lab", lambda: "pw"), "none")


def test_the_chain_comes_to_the_pdu_last(pdu: SimulatedPdu, outlets: PduOutlets, service: Service) -> None:
    both = BmcChain("blade-7", [outlets, service.bmc()])
    assert both.set_power(PowerAction.ON).provider == "redfish"
    both.close()
    assert pdu.sets == []


def test_the_chain_cycles_by_the_pdu_where_the_bmc_is_dead(pdu: SimulatedPdu, outlets: PduOutlets) -> None:
    chain = BmcChain("s1", [dead_redfish(), outlets])
    assert chain.set_power(PowerAction.RESET).provider == "pdu"
    assert pdu.sets == OFF_BOTH + ON_BOTH
    record = chain.journal[-1]
    assert (record.what, record.provider, record.tries) == ("power reset", "pdu", 2)
    assert any("does not answer" in line for line in record.evidence)
    with pytest.raises(BmcUnreachable, match="does not answer"):
        chain.power()  # the outlets are on: only the BMC could tell
    pdu.put("off")
    assert chain.power() == "off"


@pytest.mark.parametrize("status", [403, 500])
def test_a_bmc_that_says_no_is_not_overruled(
    pdu: SimulatedPdu, outlets: PduOutlets, service: Service, status: int
) -> None:
    service.script = lambda request: HttpAnswer(status) if request.path == RESET else None
    chain = BmcChain("s1", [service.bmc(), outlets])
    with pytest.raises(LabFault):
        chain.set_power(PowerAction.RESET)
    chain.close()
    assert pdu.sets == []


def test_a_bmc_that_is_alive_is_not_overruled(pdu: SimulatedPdu, outlets: PduOutlets) -> None:
    class Busy(PduOutlets):
        last_resort = False

        def connect(self) -> None:
            raise self._target.busy("log-in", "no session is left")

    agent = outlets._agent
    busy = Busy(Target("s1", "there"), agent, known()["apc-rpdu"].objects, ("1",), 1)
    with pytest.raises(BmcBusy):
        BmcChain("s1", [busy, outlets]).set_power(PowerAction.CYCLE)
    with pytest.raises(BmcRefused):
        BmcChain("s1", [outlets]).boot_override()
    assert pdu.sets == []


ENTRY: dict[str, Any] = {"snmp": "192.0.2.5", "model": "apc-rpdu2", "outlets": [3], "community": "env:PDU"}
OBJECTS = {
    "switch_on": {"oid": "1.3.6.1.{outlet}", "value": 1},
    "switch_off": {"oid": "1.3.6.1.{outlet}", "value": 2},
    "state": "1.3.6.1.{outlet}",
    "state_on": [1],
    "state_off": [2],
}


def test_from_the_rack_file_to_the_outlets(pdu: SimulatedPdu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDU", COMMUNITY)
    monkeypatch.setenv("BMC", "pw")
    server = {
        "name": "s1",
        "firmware": "uefi",
        "bmc": {
            "ipmi": f"127.0.0.1:{free_port()}",
            "user": "lab",
            "password": "env:BMC",
            "pdu": ENTRY | {"snmp": pdu.address, "outlets": [3, 4]},
        },
        "console": {"tcp": "127.0.0.1:9"},
        "nics": [{"mac": "52:54:00:00:00:01", "boot": True}],
    }
    rack = Rack.model_validate(
        {"rack": "r", "controller": {"media_address": "127.0.0.1"}, "servers": [server]}
    )
    bmc = open_bmc(rack, rack.servers[0])
    assert bmc.name == "ipmi+pdu"
    assert bmc.set_power(PowerAction.OFF).provider == "pdu"
    bmc.close()
    assert pdu.state() == {"off"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"model": "acme"}, "no PDU 'acme' is known: .*apc-rpdu2"),
        ({"model": None}, "exactly one of model and oid"),
        ({"oid": OBJECTS}, "exactly one of model and oid"),
        ({"outlets": []}, "at least 1 item"),
        ({"outlets": [3, 3]}, "listed twice"),
        ({"outlets": ["1.1.3"]}, "by number"),
        ({"model": "servertech-sentry3"}, "TOWER.INFEED.OUTLET"),
        ({"community": "public"}, "env:NAME or file:PATH"),
        ({"community": None}, "needs community"),
        ({"version": 3}, "needs user"),
        ({"user": "lab"}, "version: 3"),
        ({"version": 3, "user": "lab"}, "goes with versions 1 and 2c"),
        ({"version": 3, "user": "u", "community": None, "privacy": {"key": "env:K"}}, "needs auth"),
        ({"off_s": 0}, "greater than or equal to 1"),
        ({"model": None, "oid": OBJECTS | {"state": "1.3.6.1"}}, "match pattern"),
        ({"model": None, "oid": OBJECTS | {"state_off": [1]}}, "both on and off"),
    ],
)
def test_a_wrong_entry_is_refused_with_the_reason(change: dict[str, Any], complaint: str) -> None:
    entry = {key: value for key, value in (ENTRY | change).items() if value is not None}
    with pytest.raises(ValidationError, match=complaint):
        Pdu.model_validate(entry)


def test_every_known_model_is_whole() -> None:
    for name, model in known().items():
        assert model.source, name
        outlet = "1.1.3" if model.outlets.pattern != r"\d+" else "3"
        Pdu.model_validate(ENTRY | {"model": name, "outlets": [outlet]})


def test_a_pdu_of_another_make_and_secrets_by_place() -> None:
    entry = {**ENTRY, "oid": OBJECTS, "version": 3, "user": "lab", "auth": {"key": "env:A"}}
    entry |= {"privacy": {"key": "file:p"}, "outlets": ["1.7"]}
    found = Pdu.model_validate({key: entry[key] for key in entry if key not in ("model", "community")})
    assert list(found.secrets()) == [(("auth", "key"), "env:A"), (("privacy", "key"), "file:p")]
