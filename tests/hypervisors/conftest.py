"""A host that is this machine, with systemd's two commands played by small scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from lab.hypervisors import recorded_guest
from lab.hypervisors.contract import Host
from tests.measure.measuring import LocalShell, host_with

SYSTEMD_RUN = """#!/bin/sh
for argument; do case $argument in --unit=*) unit=${argument#--unit=};; esac; last=$argument; done
setsid /bin/sh "$last" </dev/null >/dev/null 2>&1 &
echo $! > "%(units)s/$unit"
"""
SYSTEMCTL = """#!/bin/sh
[ "$1" = stop ] && [ -e "%(units)s/$2" ] && kill -- "-$(cat "%(units)s/$2")" && rm "%(units)s/$2"
"""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder of programs that the host's shell finds first."""
    folder = tmp_path / "tools"
    folder.mkdir()
    units = tmp_path / "units"
    units.mkdir()
    for name, script in (("systemd-run", SYSTEMD_RUN), ("systemctl", SYSTEMCTL)):
        (folder / name).write_text(script % {"units": units})
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def host(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """This machine as a host; whatever unit is left is ended."""
    monkeypatch.setattr(recorded_guest, "_PLACE", PurePosixPath(tmp_path / "guests"))
    host = host_with(LocalShell(tools))
    yield host
    for unit in (tmp_path / "units").iterdir():
        host.run(f"systemctl stop {unit.name}")
