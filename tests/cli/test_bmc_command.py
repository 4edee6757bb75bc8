"""`lab bmc`: the matrix of any BMC, small commands beside it; what acts asks first and holds the lease."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest
import typer
import yaml
from typer.main import get_command

from lab import paths
from lab.bmc.capability import Area
from lab.bmc.ipmi import sweep
from lab.cli import complete
from lab.cli.app import app
from lab.errors import BmcUnreachable
from lab.machine import lease as leases
from lab.rack.load import load_rack
from tests.bmc import ipmi_sim, scripted_redfish
from tests.bmc.ipmi_sim import free_port
from tests.bmc.scripted_redfish import Answer, Service
from tests.lab_command import LabCommand
from tests.virtual.bare_bmc import PASSWORD, BareBmc, bare_bmc

PROJECT = paths.project()


@dataclass
class Floor:
    """A rack file with one server, whose BMC is a virtual one."""

    file: Path
    bmc: BareBmc

    def ask(self, lab: LabCommand, command: str, *options: str) -> list[str]:
        """The words of a call that succeeds, printed."""
        ran = lab("bmc", command, "s1", "--rack", str(self.file), *options)
        assert ran.code == 0, ran.err
        return ran.out.splitlines()


def rack_file(folder: Path, url: str, **bmc: object) -> Path:
    """A rack of real servers, one of them, at `url`."""
    entry = {"redfish": url, "user": "lab", "password": "env:FLOOR_BMC", "tls": "none", **bmc}
    server = {
        "name": "s1",
        "firmware": "bios",
        "bmc": entry,
        "console": {"tcp": "127.0.0.1:9"},
        "nics": [{"mac": "52:54:00:00:00:01", "boot": True}],
    }
    file = folder / "floor.yaml"
    content = {"rack": "floor", "controller": {"media_address": "127.0.0.1"}, "servers": [server]}
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.fixture
def floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Floor]:
    monkeypatch.setenv("FLOOR_BMC", PASSWORD)
    with bare_bmc(tmp_path) as bmc:
        yield Floor(rack_file(tmp_path, bmc.url), bmc)


@pytest.fixture
def nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())


@pytest.fixture
def service() -> Iterator[Service]:
    with scripted_redfish.service() as running:
        yield running


def test_the_matrix_of_a_server_of_a_rack(floor: Floor, lab: LabCommand) -> None:
    lines = floor.ask(lab, "probe")
    assert lines[0].startswith("s1: ")
    table = {line.split()[0]: line.split()[1] for line in lines if len(line.split()) == 2}
    assert {str(area) for area in Area} <= set(table)
    assert table["power"] == "yes"
    assert any("ForceOff" in line and "/redfish/v1/Systems" in line for line in lines)


def test_its_json_fits_the_schema_in_the_project(floor: Floor, lab: LabCommand) -> None:
    report = json.loads("\n".join(floor.ask(lab, "probe", "--json")))
    schema = json.loads((PROJECT / "reports/probe.schema.json").read_text())
    jsonschema.validate(report, schema)
    assert {row["area"] for row in report["capabilities"]} == {str(area) for area in Area}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report | {"capabilities": [{"area": "tea"}]}, schema)


def test_a_dead_face_is_told_and_the_rest_is_shown(
    service: Service, tmp_path: Path, lab: LabCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOOR_BMC", scripted_redfish.PASSWORD)
    file = rack_file(tmp_path, service.url, ipmi=f"127.0.0.1:{free_port()}")
    ran = lab("bmc", "probe", "s1", "--rack", str(file))
    assert ran.code == 0
    assert "not asked" in ran.out
    assert "ipmi could not be asked: BMC" in ran.err and "next: " in ran.err
    assert service.sessions == set()


def test_in_a_pipe_there_is_no_colour_and_no_spinner(floor: Floor) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "lab.cli", "bmc", "probe", "--redfish", floor.bmc.url, "--user", "lab"],
        capture_output=True, text=True, timeout=60, cwd=PROJECT, check=False,
        env=os.environ | {"LAB_BMC_PASSWORD": PASSWORD, "TERM": "xterm-256color"},
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "\x1b" not in ran.stdout
    assert "power" in ran.stdout


def test_ctrl_c_ends_it_cleanly_and_leaves_no_session(service: Service) -> None:
    asked: list[float] = []

    def slow(request: scripted_redfish.Request) -> Answer | None:
        if request.path != scripted_redfish.SYSTEM or request.method != "GET":
            return None
        asked.append(time.monotonic())
        return Answer(200, {}, delay=2.0)

    service.script = slow
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.cli", "bmc", "probe", "--redfish", service.url, "--user", "lab"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT,
        env=os.environ | {"LAB_BMC_PASSWORD": scripted_redfish.PASSWORD},
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not asked and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "interrupted\n")
    assert service.opened == 1 and service.sessions == set()


def test_power_is_read_and_switched(floor: Floor, lab: LabCommand) -> None:
    assert floor.ask(lab, "power") == ["s1: off (by redfish)"]
    assert floor.ask(lab, "power", "on", "--yes")[0] == "s1: verified (by redfish)"
    assert floor.bmc.chassis.power == "on"
    assert floor.ask(lab, "power") == ["s1: on (by redfish)"]
    assert leases.leases() == []


def test_the_power_of_a_whole_rack(
    floor: Floor, tmp_path: Path, lab: LabCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "LOGIN_S", 1.5)
    monkeypatch.setenv("IPMI_BMC", ipmi_sim.PASSWORD)
    content = yaml.safe_load(floor.file.read_text())
    (one,) = content["servers"]

    def another(number: int, bmc: dict[str, str]) -> dict[str, object]:
        nics = [{"mac": f"52:54:00:00:00:{number:02}", "boot": True}]
        return {**one, "name": f"s{number}", "nics": nics, "bmc": bmc}

    nobody = {"ipmi": f"127.0.0.1:{free_port()}", "user": "lab", "password": "env:IPMI_BMC"}
    with ipmi_sim.simulator(tmp_path / "sim") as sim:
        sim.set_power(True)
        s2 = another(2, nobody | {"ipmi": sim.address, "user": ipmi_sim.USER})
        s3 = another(3, nobody | one["bmc"])
        floor.file.write_text(yaml.safe_dump(content | {"servers": [one, s2, s3, another(4, nobody)]}))
        ran = lab("bmc", "power", "--rack", str(floor.file))
        as_json = lab("bmc", "power", "--rack", str(floor.file), "--json")
    assert ran.out.splitlines() == [
        "s1: off (by redfish)",
        "s2: on (by ipmi)",
        "s3: off (by redfish)",
        "s4: unknown",
    ]
    assert (ran.code, "s4" in ran.err) == (BmcUnreachable.exit_code, True)
    rows = json.loads(as_json.out)
    assert [(row["server"], row["power"], row["by"]) for row in rows][1:3] == [
        ("s2", "on", "ipmi"),
        ("s3", "off", "redfish"),
    ]
    assert "does not answer" in rows[3]["error"]
    assert floor.bmc.face.sessions.status()["open"] == 0


@pytest.mark.usefixtures("nobody_to_ask")
@pytest.mark.parametrize("command", [["power", "off"], ["reset"], ["log", "--clear"]], ids=" ".join)
def test_what_acts_does_not_without_being_told(floor: Floor, lab: LabCommand, command: list[str]) -> None:
    name, *rest = command
    ran = lab("bmc", name, "s1", *rest, "--rack", str(floor.file))
    assert ran.code == 10
    assert "--yes" in ran.err


def test_no_is_no(floor: Floor, lab: LabCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", type("Tty", (io.StringIO,), {"isatty": lambda _: True})())
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    ran = lab("bmc", "power", "s1", "on", "--rack", str(floor.file))
    assert (ran.code, floor.bmc.chassis.power) == (1, "off")
    assert "nothing was done" in ran.err


def test_a_server_that_a_run_has_is_not_touched(floor: Floor, lab: LabCommand) -> None:
    rack = load_rack(str(floor.file))
    lease, _ = leases.take(rack, rack.servers[0], "another run")
    ran = lab("bmc", "power", "s1", "on", "--rack", str(floor.file), "--yes")
    assert (ran.code, floor.bmc.chassis.power) == (14, "off")
    assert "another run" in ran.err
    assert floor.ask(lab, "power") == ["s1: off (by redfish)"]
    leases.give_up(lease)


def test_sensors_over_ipmi(tmp_path: Path, lab: LabCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOOR_BMC", ipmi_sim.PASSWORD)
    with ipmi_sim.simulator(tmp_path / "sim") as sim:
        file = rack_file(tmp_path, "", redfish=None, tls=None, ipmi=sim.address)
        shown = lab("bmc", "sensors", "s1", "--rack", str(file)).out
        found = json.loads(lab("bmc", "sensors", "s1", "--rack", str(file), "--json").out)
    assert len(found["sensors"]) >= 4
    assert all(sensor["name"] in shown for sensor in found["sensors"])


def test_inventory_log_and_sessions(floor: Floor, lab: LabCommand) -> None:
    floor.ask(lab, "power", "on", "--yes")
    bill = json.loads("\n".join(floor.ask(lab, "inventory", "--json")))
    assert all(port["mac"] in "\n".join(floor.ask(lab, "inventory")) for port in bill["ports"])
    entries = json.loads("\n".join(floor.ask(lab, "log", "--json")))
    assert len(json.loads("\n".join(floor.ask(lab, "log", "--json", "--last", "1")))) == min(1, len(entries))
    floor.ask(lab, "log", "--clear", "--yes")
    assert len(json.loads("\n".join(floor.ask(lab, "log", "--json")))) <= 1
    who = json.loads("\n".join(floor.ask(lab, "sessions", "--json")))
    assert [one["user"] for one in who if one["ours"]] == ["lab"]


def test_bios_attributes_and_a_profile(floor: Floor, lab: LabCommand) -> None:
    attributes = json.loads("\n".join(floor.ask(lab, "bios", "--json")))["attributes"]
    assert attributes
    planned = json.loads("\n".join(floor.ask(lab, "bios", "--profile", "virtualization", "--plan", "--json")))
    assert {**planned["changes"], **planned["holds"]}, "the virtual BIOS knows nothing of the profile"
    floor.ask(lab, "bios", "--profile", "virtualization", "--yes")
    after = json.loads("\n".join(floor.ask(lab, "bios", "--json")))
    coming = after["attributes"] | after["pending"]
    assert {name: coming[name] for name in planned["changes"]} == planned["changes"]


def test_an_unknown_profile_is_told(floor: Floor, lab: LabCommand) -> None:
    ran = lab("bmc", "bios", "s1", "--rack", str(floor.file), "--profile", "tea")
    assert ran.code == 11
    assert "virtualization" in ran.err


def test_the_bmc_is_restarted_once(floor: Floor, lab: LabCommand) -> None:
    lines = floor.ask(lab, "reset", "--yes")
    assert lines[0].startswith("s1: verified")


@pytest.mark.usefixtures("nobody_to_ask")
@pytest.mark.parametrize("typed", [[], ["--confirm", "s2"]], ids=["nobody", "another name"])
def test_firmware_is_not_updated_without_its_servers_name(
    floor: Floor, lab: LabCommand, typed: list[str]
) -> None:
    ran = lab("bmc", "update", "s1", "--rack", str(floor.file), "--image", "x.bin", *typed)
    assert ran.code == 10
    assert "confirm" in ran.err or "nothing was done" in ran.err
    assert leases.leases() == []


def test_firmware_needs_redfish(lab: LabCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOOR_BMC", "pw")
    file = rack_file(tmp_path, "", redfish=None, tls=None, ipmi=f"127.0.0.1:{free_port()}")
    ran = lab("bmc", "update", "s1", "--rack", str(file), "--image", "x.bin", "--confirm", "s1")
    assert ran.code == 10
    assert "by Redfish" in ran.err


def test_an_unknown_server_is_told(floor: Floor, lab: LabCommand) -> None:
    ran = lab("bmc", "probe", "s9", "--rack", str(floor.file))
    assert ran.code == 11
    assert "s1" in ran.err


def test_servers_and_profiles_are_completed(tmp_path: Path) -> None:
    file = rack_file(tmp_path, "http://127.0.0.1:1")
    context = typer.Context(get_command(app))
    context.params = {"rack": str(file)}
    assert complete.servers(context, "s") == ["s1"]
    assert complete.bios_profiles("virt") == ["virtualization"]
    assert complete.bios_profiles("x") == []
    ran = subprocess.run(
        [str(Path(sys.executable).with_name("lab"))],
        capture_output=True, text=True, timeout=30, cwd=PROJECT, check=False,
        env=os.environ | {
            "_LAB_COMPLETE": "complete_bash", "COMP_CWORD": "5",
            "COMP_WORDS": f"lab bmc probe --rack {file} ",
        },
    )  # fmt: skip
    assert "s1" in ran.stdout.split()
