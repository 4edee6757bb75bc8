"""The guest appliance's agent, run by the shell that runs it there."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from lab.media import guest

AGENT = guest.recipe_folder() / "agent.sh"


def shell(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "/usr/bin:/bin", **variables}
    text = f". {shlex.quote(str(AGENT))}\n{script}"
    return subprocess.run(["busybox", "sh", "-c", text], capture_output=True, text=True, env=env, check=False)


def test_boot_arguments_have_defaults() -> None:
    assert shell("argument lab.name guest 'console=hvc0 lab.name=web-1'").stdout == "web-1"
    assert shell("argument lab.timeout 600 'console=hvc0'").stdout == "600"


@pytest.mark.parametrize(
    ("line", "code", "reply"), [("poweroff", 1, ""), ("ping 7", 0, "lab-guest: pong 7\n"), ("", 0, "")]
)
def test_lines_are_answered(line: str, code: int, reply: str) -> None:
    done = shell(f"answer {shlex.quote(line)}")
    assert (done.returncode, done.stdout) == (code, reply)


def test_an_unknown_line_is_named() -> None:
    assert shell("answer 'rm -rf /'").stdout == "lab-guest: unknown: rm -rf /\n"


def test_the_hypervisor_is_what_the_kernel_says(tmp_path: Path) -> None:
    (tmp_path / "hypervisor").mkdir()
    (tmp_path / "hypervisor/type").write_text("xen\n")
    assert shell("hypervisor", SYS=str(tmp_path)).stdout == "xen\n"
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu hypervisor lahf_lm\n")
    assert shell("hypervisor", SYS="/nowhere", PROC=str(tmp_path)).stdout == "unnamed\n"
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu lahf_lm\n")
    assert shell("hypervisor", SYS="/nowhere", PROC=str(tmp_path)).stdout == "none\n"


@pytest.mark.parametrize("part", [AGENT, AGENT.parent / "init"], ids=lambda part: part.name)
def test_every_part_parses(part: Path) -> None:
    assert subprocess.run(["busybox", "sh", "-n", str(part)], check=False).returncode == 0
