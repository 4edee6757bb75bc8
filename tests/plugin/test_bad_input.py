"""Bad input ends a whole run with one message naming server, cause and next step, and its own exit code."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.bmc import ipmi_sim, scripted_redfish
from tests.plugin.whole_run import XEN, Ended, Project, leases_left

RACK = """
rack: bad
controller: {{media_address: 127.0.0.1}}
servers:
  - name: s1
    firmware: bios
    bmc: {bmc}
    console: {console}
    nics: [{{mac: "52:54:00:aa:00:01", boot: true}}]
    disks: [{{serial: D1, erase: {erase}}}]
"""
DEAD_IPMI = '{ipmi: "127.0.0.1:10", user: lab, password: "env:RACK_PASSWORD"}'
DEAD_REDFISH = '{redfish: "https://127.0.0.1:9", user: lab, password: "env:RACK_PASSWORD"}'
SOL, TCP = "{sol: {}}", '{tcp: "127.0.0.1:9"}'


def run(project: Project, bmc: str, console: str = SOL, erase: str = "true", **environment: str) -> Ended:
    rack = project.rack(RACK.format(bmc=bmc, console=console, erase=erase))
    arguments = ("--rack", str(rack), "--server", "s1", "--hypervisor", XEN)
    return project.run(*arguments, **{"RACK_PASSWORD": "wrong-Pw-4711", **environment})


def assert_first_cause_once(ended: Ended, code: int, kind: str, says: str) -> None:
    """The first test fails with the error, all others are skipped with its cause, nothing is left."""
    assert ended.code == code, ended.said
    (_, first, message), *others = ended.cases
    assert first == "error"
    assert f"{kind}: s1" in message
    assert says in message
    assert "next: " in message
    assert len(others) > 10
    assert {outcome for _, outcome, _ in others} == {"skipped"}
    assert all("s1 is broken since an earlier test" in message and says in message for *_, message in others)
    assert "Traceback" not in ended.said
    assert "wrong-Pw-4711" not in ended.said
    assert leases_left() == []
    assert ended.facts["exit_status"] == code
    assert len(ended.runs) == 1


@pytest.mark.parametrize(("bmc", "console"), [(DEAD_IPMI, SOL), (DEAD_REDFISH, TCP)], ids=["IPMI", "Redfish"])
def test_a_bmc_that_does_not_answer(project: Project, bmc: str, console: str) -> None:
    started = time.monotonic()
    ended = run(project, bmc, console)
    assert_first_cause_once(ended, 32, "BmcUnreachable", "does not answer")
    assert time.monotonic() - started < 45


def test_a_wrong_password_for_ipmi(project: Project, tmp_path: Path) -> None:
    with ipmi_sim.simulator(tmp_path / "sim") as sim:
        ended = run(project, f'{{ipmi: "127.0.0.1:{sim.port}", user: lab, password: "env:RACK_PASSWORD"}}')
    assert_first_cause_once(ended, 33, "BmcCredentials", "password")


def test_a_wrong_password_for_redfish(project: Project) -> None:
    with scripted_redfish.service() as service:
        tls = "" if service.url.startswith("https") else ", tls: none"
        bmc = f'{{redfish: "{service.url}", user: lab, password: "env:RACK_PASSWORD"{tls}}}'
        ended = run(project, bmc, TCP)
    assert_first_cause_once(ended, 33, "BmcCredentials", "password")


def test_a_secret_that_is_not_there(project: Project) -> None:
    ended = run(project, DEAD_IPMI.replace("RACK_PASSWORD", "NOBODY_SET_THIS"))
    assert_first_cause_once(ended, 12, "MissingSecret", "env:NOBODY_SET_THIS")
    assert "rack.yaml:" in ended.said


def refused_before_it_began(ended: Ended, code: int, kind: str, *says: str) -> None:
    assert ended.code == code, ended.said
    assert kind in ended.said
    assert all(text in ended.said for text in says), ended.said
    assert "next: " in ended.said
    assert "Traceback" not in ended.said
    assert ended.runs == []
    assert leases_left() == []


def test_a_server_without_an_erasable_disk(project: Project) -> None:
    ended = run(project, DEAD_IPMI, erase="false")
    refused_before_it_began(ended, 13, "NoErasableDisk", "s1", "erase: true")


def test_media_that_cannot_be_built(project: Project) -> None:
    ended = run(project, DEAD_IPMI, PATH=str(project.folder))
    refused_before_it_began(ended, 20, "MissingMedia", XEN, "mmdebstrap")


def test_an_unknown_key(project: Project) -> None:
    ended = run(project, DEAD_IPMI.replace("user:", "uzer:"))
    refused_before_it_began(ended, 10, "ConfigError", "rack.yaml:7", "uzer")


def test_two_disks_of_one_serial_in_the_rack_file(project: Project) -> None:
    twice = "true}, {serial: d1, erase: true"
    ended = run(project, DEAD_IPMI, erase=twice)
    refused_before_it_began(ended, 10, "ConfigError", "rack.yaml:", "twice")
