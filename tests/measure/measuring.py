"""A host whose shell is this machine's own, and one that answers from recorded output."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from lab.errors import HypervisorFailure
from lab.hypervisors.contract import Host, Shell
from lab.measure.model import Evidence

RECORDED = Path(__file__).parent / "recorded"


class LocalShell:
    """Runs commands here, as the host's shell would there; `tools` is a folder to look for programs first."""

    def __init__(self, tools: Path | None = None) -> None:
        self._environment = dict(os.environ)
        if tools:
            self._environment["PATH"] = f"{tools}:{os.environ['PATH']}"

    def run(self, command: str, timeout_s: float = 60.0, *, stdin: bytes = b"") -> Evidence:
        done = subprocess.run(
            ["bash", "-c", command],
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
            env=self._environment,
        )
        return Evidence(
            command=command,
            output=done.stdout.decode(),
            errors=done.stderr.decode(),
            exit_status=done.returncode,
        )

    def check(self, command: str, timeout_s: float = 60.0, *, stdin: bytes = b"") -> Evidence:
        evidence = self.run(command, timeout_s, stdin=stdin)
        if evidence.exit_status:
            raise HypervisorFailure(f"{command}: {evidence.errors}", next_step="see above")
        return evidence

    def put(self, source: Path | bytes, remote: str, *, mode: int = 0o644, timeout_s: float = 300.0) -> None:
        Path(remote).write_bytes(source if isinstance(source, bytes) else source.read_bytes())
        Path(remote).chmod(mode)

    def close(self) -> None:
        """Nothing to end."""


class RecordedShell:
    """Answers commands by the first recorded one that begins alike; what was asked is kept in `asked`."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def run(self, command: str, timeout_s: float = 60.0, *, stdin: bytes = b"") -> Evidence:
        self.asked.append(command)
        for start, output in self.answers.items():
            if command.startswith(start):
                return Evidence(command=command, output=output)
        return Evidence(command=command, output="", errors="not recorded", exit_status=127)

    def check(self, command: str, timeout_s: float = 60.0, *, stdin: bytes = b"") -> Evidence:
        evidence = self.run(command, timeout_s)
        if evidence.exit_status:
            raise HypervisorFailure(f"{command}: {evidence.errors}", next_step="see above")
        return evidence

    def put(self, source: Path | bytes, remote: str, *, mode: int = 0o644, timeout_s: float = 300.0) -> None:
        raise AssertionError("measuring must not put files onto the host")

    def close(self) -> None:
        """Nothing to end."""


def host_with(shell: Shell, packages: dict[str, tuple[str, ...]] | None = None) -> Host:
    """A host as far as measuring looks at it."""
    release = SimpleNamespace(name="r-1", family="xen", image=SimpleNamespace(packages=packages or {}))
    return Host(cast(Any, SimpleNamespace(name="s-1")), cast(Any, release), shell, "emulated")


def evidence(output: str, command: str = "the-command --with arguments") -> Evidence:
    return Evidence(command=command, output=output)


def recorded(name: str) -> str:
    return (RECORDED / name).read_text()
