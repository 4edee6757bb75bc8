"""Fixtures of the virtual rack's tests: one rack per module, brought up once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.virtual.rackfile import Ipmitool, TinyRack, running_rack, server


@pytest.fixture(scope="module")
def shared_rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyRack]:
    """A rack of two: `r1` with Redfish and IPMI and two disks, `i1` with IPMI alone."""
    r1 = server(
        "r1", redfish=True, disks={"R1-D0": "ahci", "R1-D1": "virtio-blk"}, nics=("virtio-net-pci", "e1000e")
    )
    with running_rack(tmp_path_factory.mktemp("rack"), r1, server("i1", machine="q35")) as tiny:
        yield tiny


@pytest.fixture
def tiny(shared_rack: TinyRack, own_state: Path, monkeypatch: pytest.MonkeyPatch) -> TinyRack:
    """The module's rack, with this test's state folder set to the rack's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(shared_rack.state))
    return shared_rack


@pytest.fixture
def ipmitool(tiny: TinyRack) -> Ipmitool:
    """Run ipmitool against a server: `ipmitool("i1", "chassis", "status", cipher=3, password=…)`."""

    def run(
        name: str, *arguments: str, cipher: int = 3, user: str = "lab", password: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        place = next(entry.bmc.ipmi or "" for entry in tiny.rack.servers if entry.name == name)
        address, port = place.split(":")
        command = [
            "ipmitool",
            "-I",
            "lanplus",
            "-C",
            str(cipher),
            "-N",
            "2",
            "-R",
            "3",
            "-H",
            address,
            "-p",
            port,
        ]
        return subprocess.run(
            [*command, "-U", user, "-E", *arguments],
            env={**os.environ, "IPMI_PASSWORD": tiny.password if password is None else password},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
