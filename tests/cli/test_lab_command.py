"""The `lab` command: fast, teaching, and every error a message with its exit code."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
import yaml
from typer.main import get_command

from lab.cli import complete
from lab.cli.app import app
from lab.errors import HypervisorFailure
from lab.machine import lease as leases
from lab.rack.load import load_rack
from tests.lab_command import LabCommand

PROJECT = Path(__file__).parents[2]
HEAVY = ("pydantic", "pyghmi", "redfish", "paramiko", "yaml", "aiohttp", "allure", "pytest", "jinja2")
COMMANDS = [
    ["check"], ["schema"], ["rack"], ["rack", "up"], ["rack", "status"], ["rack", "down"], ["rack", "import"],
    ["lease"], ["lease", "list"], ["lease", "release"], ["release"], ["release", "list"], ["report", "build"],
    ["bmc"], *(["bmc", name] for name in (
        "probe", "power", "sensors", "log", "inventory", "bios", "sessions", "reset", "update")),
]  # fmt: skip


def run_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab.cli", *arguments],
        capture_output=True, text=True, timeout=30, cwd=PROJECT, env=os.environ | environment, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: list[str], lab: LabCommand) -> None:
    ran = lab(*command, "--help")
    assert ran.code == 0
    assert "Usage:" in ran.out
    assert "\x1b" not in ran.out


def test_help_imports_nothing_heavy_and_is_quick() -> None:
    probe = f"import sys, lab.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
    times = []
    for _ in range(3):
        began = time.monotonic()
        assert run_process("--help").returncode == 0
        times.append(time.monotonic() - began)
    assert min(times) < 0.5 * (
        1 if os.cpu_count() == 1 or os.getloadavg()[0] < 2 else 4
    )  # a loaded machine is slow


def test_wrong_usage_is_2(lab: LabCommand) -> None:
    ran = lab("check")
    assert ran.code == 2
    assert "RACK" in ran.err
    assert lab("rack", "sideways").code == 2


def test_an_error_is_a_message_and_its_exit_code(lab: LabCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise HypervisorFailure(
            "does not answer", server="one", release="xen", console=("last line",), next_step="look at it"
        )

    monkeypatch.setattr("lab.release.release_names", fail)
    plain = lab("release", "list")
    assert plain.code == 50
    assert plain.err == "error: one xen: does not answer\n  console: last line\n  next: look at it\n"
    assert plain.out == ""
    debug = lab("--debug", "release", "list")
    assert debug.code == 50
    assert debug.err.startswith("Traceback (most recent call last):\n")
    assert debug.err.endswith(plain.err)


def test_a_revealed_secret_is_blanked_out_of_messages(
    lab: LabCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lab.secret import Secret

    monkeypatch.setenv("CLI_TEST_SECRET", "tell-nobody-81")
    value = Secret("env:CLI_TEST_SECRET").reveal()

    def fail() -> None:
        raise HypervisorFailure(f"said {value}", next_step="x")

    monkeypatch.setattr("lab.release.release_names", fail)
    assert "tell-nobody-81" not in lab("--debug", "release", "list").err


def test_ctrl_c_is_130_and_one_line(tmp_path: Path) -> None:
    """A real process is interrupted while a BMC (a listener that never answers) keeps it waiting."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        rack = tmp_path / "slow.yaml"
        rack.write_text(
            "rack: slow\ncontroller: {media_address: 127.0.0.1}\nservers:\n"
            "  - name: one\n    firmware: uefi\n    bmc:\n"
            f'      redfish: "https://127.0.0.1:{silent.getsockname()[1]}"\n'
            "      user: lab\n      password: env:SLOW\n"
            '    console: {tcp: "127.0.0.1:1"}\n    nics: [{mac: "02:00:00:00:00:01", boot: true}]\n'
            "    disks: [{serial: A, erase: true}]\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.cli", "check", str(rack)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT,
            env=os.environ | {"SLOW": "x"},
        )  # fmt: skip
        silent.settimeout(20)
        connection, _ = silent.accept()  # it is waiting for the handshake now
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        connection.close()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in out + err


def test_release_list(lab: LabCommand) -> None:
    names = sorted(file.stem for file in (PROJECT / "firmware/releases").glob("*.yaml"))
    table = lab("release", "list").out
    assert all(name in table for name in names)
    found = json.loads(lab("release", "list", "--json").out)
    assert [release["name"] for release in found] == names
    for release in found:
        written = yaml.safe_load((PROJECT / f"firmware/releases/{release['name']}.yaml").read_text())
        assert release["title"] == written["title"]


def test_a_table_in_a_pipe_is_whole_and_plain() -> None:
    shown = run_process("release", "list", COLUMNS="20", TERM="xterm-256color").stdout
    assert "\x1b" not in shown
    assert "xen-4.17-debian12" in shown


def test_leases_are_listed_and_released(lab: LabCommand) -> None:
    assert lab("lease", "list").out == "no server is leased\n"
    rack = load_rack("example-rack")
    leases.take(rack, rack.servers[0], "run-1")
    assert "r1u12" in lab("lease", "list").out
    (shown,) = json.loads(lab("lease", "list", "--json").out)
    assert (shown["server"], shown["run"], shown["lapsed"]) == ("r1u12", "run-1", None)
    held = lab("lease", "release", "r1u12")
    assert held.code == 14
    assert "--force" in held.err
    assert lab("lease", "release", "r1u12", "--force").out.startswith(
        "released r1u12, was leased to run run-1"
    )
    assert lab("lease", "list", "--json").out == "[]\n"
    assert lab("lease", "release", "r1u12").code == 11


def test_the_rack_of_real_servers_is_not_brought_up(lab: LabCommand) -> None:
    ran = lab("rack", "up", "--rack", "example-rack")
    assert ran.code == 10
    assert ran.err == (
        "error: rack example-rack is of real servers\n  next: see `lab check example-rack` for how they are\n"
    )


def test_a_report_needs_a_run(lab: LabCommand, tmp_path: Path) -> None:
    ran = lab("report", "build", str(tmp_path / "none"))
    assert ran.code == 11
    assert str(tmp_path / "none") in ran.err
    assert "  next: " in ran.err


def test_names_are_completed() -> None:
    assert complete.racks("virt") == ["virtual"]
    assert {"example-rack", "virtual"} <= set(complete.racks(""))
    assert complete.releases("kvm") == ["kvm-debian12"]
    assert complete.leased("") == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("lab check vir", "virtual"),
        ("lab check example-rack --server r1u2", "r1u20"),
        ("lab check virtual --server bios", "bios-1"),
        ("lab rack up --rack vir", "virtual"),
        ("lab le", "lease"),
    ],
)
def test_the_shell_completes(line: str, expected: str) -> None:
    words = line.split(" ")
    shown = subprocess.run(
        [Path(sys.executable).with_name("lab")],
        capture_output=True, text=True, cwd=PROJECT, timeout=30, check=False,
        env=os.environ
        | {"_LAB_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
    )  # fmt: skip
    assert shown.stdout.split() == [expected]


def test_completion_is_silent_when_the_rack_file_is_broken(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("servers: [")
    context = typer.Context(get_command(app))
    context.params["rack"] = str(broken)
    assert complete.servers(context, "") == []


def test_import_without_a_password_and_nobody_to_ask_is_12(
    lab: LabCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB_BMC_PASSWORD", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    ran = lab("rack", "import", "--redfish", "https://127.0.0.1:1")
    assert ran.code == 12
    assert ran.err.endswith("  next: set the environment variable LAB_BMC_PASSWORD\n")


def test_ctrl_c_at_the_password_prompt_is_130(lab: LabCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> str:
        raise typer.Abort

    monkeypatch.delenv("LAB_BMC_PASSWORD", raising=False)
    monkeypatch.setattr("lab.cli.address._ask_password", interrupted)
    ran = lab("rack", "import", "--redfish", "https://127.0.0.1:1")
    assert (ran.code, ran.err) == (130, "interrupted\n")
