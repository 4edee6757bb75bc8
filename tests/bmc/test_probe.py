"""A probe asks every way to a BMC, changes nothing, and one dead way does not matter."""

from __future__ import annotations

import json
from socket import SOCK_STREAM

import jsonschema
import pytest

from lab import paths
from lab.bmc.capability import Area, Capability, Identity, Matrix
from lab.bmc.ipmi.provider import IpmiBmc
from lab.bmc.probe import Probe, ProbeReport, probe
from lab.bmc.redfish.provider import RedfishBmc
from lab.bmc.target import Account, Target
from lab.errors import BmcCertificate, BmcCredentials, BmcUnreachable, MissingSecret
from lab.schemas import schema_of
from lab.secret import Secret, conceal
from tests.bmc import ipmi_sim
from tests.bmc.scripted_redfish import ROOT, SYSTEM, Service

SCHEMA = json.loads((paths.project() / "reports/probe.schema.json").read_text())


def dead(kind: str) -> RedfishBmc | IpmiBmc:
    """A way on which nobody answers."""
    account = Account("lab", lambda: "pw")
    if kind == "redfish":
        port = ipmi_sim.free_port(SOCK_STREAM)
        return RedfishBmc(Target("s1", f"http://127.0.0.1:{port}"), account, "none")
    port = ipmi_sim.free_port()
    return IpmiBmc(Target("s1", f"127.0.0.1:{port}"), "127.0.0.1", port, account)


def test_the_matrix_of_redfish_is_whole_and_nothing_is_changed(service: Service) -> None:
    bmc = service.bmc()
    found = probe("blade-7", [bmc])
    bmc.close()
    rows = {(one.area, one.provider): one for one in found.matrix.capabilities}
    assert {area for area, _ in rows} == set(Area)
    power = rows[Area.POWER, "redfish"]
    assert (power.can, power.allowed) == ("yes", ("On", "ForceOff", "ForceRestart", "GracefulShutdown"))
    assert "ResetInfo" in power.learned
    assert all(one.learned for one in rows.values())
    assert found.errors == {}
    changing = [(one.method, one.path) for one in service.requests if one.method not in ("GET", "HEAD")]
    assert changing == [
        ("POST", f"{ROOT}/SessionService/Sessions"),
        ("DELETE", f"{ROOT}/SessionService/Sessions/1"),
    ]
    assert service.sessions == set()


def test_identity_and_quirks_in_force(service: Service) -> None:
    service.resources[SYSTEM] |= {"Manufacturer": "Dell Inc.", "Model": "PowerEdge R660"}
    bmc = service.bmc()
    found = probe("blade-7", [bmc])
    bmc.close()
    assert (found.matrix.identity.vendor, found.matrix.identity.model) == ("Dell Inc.", "PowerEdge R660")
    assert found.matrix.quirks == bmc.quirks().ids != ()
    bmc.close()


@pytest.mark.parametrize("ill", ["redfish", "ipmi"])
def test_one_dead_way_is_told_and_the_other_asked(ill: str, service: Service, ipmi: IpmiBmc) -> None:
    well = ipmi if ill == "redfish" else service.bmc()
    found = probe("s1", [dead(ill), well])
    well.close()
    assert set(found.errors) == {ill}
    assert "does not answer" in found.matrix.unreachable[ill]
    assert {one.provider for one in found.matrix.capabilities} <= {well.name}
    report = found.report()
    jsonschema.validate(report.model_dump(mode="json"), SCHEMA)
    (absent,) = report.unreachable
    assert (absent.provider, absent.error, absent.exit_code) == (ill, "BmcUnreachable", 32)


def test_a_wrong_certificate_keeps_the_provider_from_being_asked(service: Service, ipmi: IpmiBmc) -> None:
    def look() -> None:
        raise BmcCertificate("expired", next_step="renew it")

    found = probe("s1", [service.bmc(), ipmi], first={"redfish": look})
    assert service.requests == []
    assert found.report().unreachable[0].error == "BmcCertificate"


def test_where_no_way_is_open_the_first_error_is_raised(service: Service) -> None:
    with pytest.raises(BmcCredentials):
        probe("s1", [service.bmc("wrong"), dead("ipmi")])
    with pytest.raises(BmcUnreachable):
        probe("s1", [dead("ipmi"), service.bmc("wrong")])


def test_a_missing_secret_is_no_dead_way(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    account = Account("lab", Secret("env:NOT_SET").reveal)
    with pytest.raises(MissingSecret):
        probe("s1", [RedfishBmc(Target("s1", service.url), account, "none"), dead("ipmi")])


def test_a_tree_that_breaks_in_the_middle_is_told_as_such(service: Service, ipmi: IpmiBmc) -> None:
    service.resources[SYSTEM] = {"@odata.id": SYSTEM, "PowerState": 7, "Boot": [], "Actions": "none"}
    bmc = service.bmc()
    found = probe("s1", [bmc, ipmi])
    bmc.close()
    cans = {one.area: one.can for one in found.matrix.capabilities if one.provider == "redfish"}
    assert "redfish" in found.errors or cans[Area.POWER] == cans[Area.BOOT] == "no"
    jsonschema.validate(found.report().model_dump(mode="json"), SCHEMA)


def test_the_report_carries_no_secret() -> None:
    conceal("s3cret-4711")
    told = Probe(
        Matrix("s1", Identity("v"), (Capability(Area.POWER, "ipmi", "yes", ("on",), "28.3"),), ("Q1",)),
        ("Q1: look",),
        {"redfish": BmcCredentials("no to s3cret-4711", tried="s3cret-4711", next_step="mend")},
    ).report()
    assert "s3cret" not in told.model_dump_json()
    assert ProbeReport.model_validate_json(told.model_dump_json()) == told


def test_the_schema_in_the_project_is_the_models() -> None:
    assert schema_of(ProbeReport) == SCHEMA
