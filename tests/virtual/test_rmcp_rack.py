"""The responder inside the virtual rack: over a real QEMU, beside Redfish, chosen by the rack file."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from lab.bmc.api import BootDevice
from lab.deadline import Deadline
from lab.rack.virtual import FaultEntry
from lab.virtual import control, control_faults
from lab.virtual.ipmi.rmcp import PayloadType
from tests.virtual.rackfile import Ipmitool, TinyRack, running_rack, server
from tests.virtual.rmcp_client import Client
from tests.virtual.sol_terminal import Sol
from tests.virtual.tiny_guest import boot_sector


@pytest.fixture(scope="module")
def shared_rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyRack]:
    """A rack of two: `r1` with both faces and the responder, `q1` by a profile that needs it."""
    r1, q1 = server("r1", redfish=True), server("q1")
    r1["virtual"]["bmc"] = {"ipmi": "responder"}
    q1["virtual"]["bmc"] = {"profile": "openbmc-suite-17"}
    with running_rack(tmp_path_factory.mktemp("rack"), r1, q1) as tiny:
        yield tiny


def counts(tiny: TinyRack, name: str) -> dict[str, Any]:
    entries = control.request(tiny.rack, {"do": "status"})["servers"]
    found: dict[str, Any] = next(entry["counts"] for entry in entries if entry["server"] == name)
    return found


def test_power_boot_once_and_console(tiny: TinyRack, ipmitool: Ipmitool) -> None:
    tiny.put_on_disk("r1", boot_sector("disk greets"))
    start = len(tiny.serial("r1"))
    assert ipmitool("r1", "chassis", "bootdev", "disk", cipher=17).returncode == 0
    assert tiny.status("r1").boot_override is BootDevice.DISK
    with Sol(tiny, "r1") as sol:
        assert ipmitool("r1", "power", "on", cipher=17).returncode == 0
        tiny.wait_for_power("r1", "on")
        sol.wait_for(b"disk greets")
        sol.type(b"hello")
        sol.wait_for(b"hello")
        assert "Boot Flag Invalid" in ipmitool("r1", "chassis", "bootparam", "get", "5").stdout
        assert ipmitool("r1", "power", "diag").returncode == 0
        before = len(tiny.serial("r1"))
        assert ipmitool("r1", "power", "reset").returncode == 0
        tiny.wait_for_serial("r1", "disk greets", since=before)
        sol.type(b"O")
        tiny.wait_for_power("r1", "off")
    assert tiny.serial("r1")[start:].count(b"disk greets") == 2
    seen = counts(tiny, "r1")
    assert seen["server"]["reset"] == 1
    assert seen["ipmi"]["chassis_control"] == {"on": 1, "nmi": 1, "reset": 1}
    assert seen["ipmi"]["sessions"]["open"] == 1  # that of the ipmitool which was killed


def test_a_profile_that_needs_it_gets_the_responder(tiny: TinyRack, ipmitool: Ipmitool) -> None:
    assert ipmitool("q1", "mc", "info", cipher=3).returncode != 0
    assert ipmitool("q1", "chassis", "bootparam", "get", "3", cipher=17).returncode != 0
    assert control_faults.faults(tiny.rack, "q1").played["Q28"] >= 1


def test_a_restart_takes_both_faces_away(tiny: TinyRack, ipmitool: Ipmitool) -> None:
    bmc = tiny.rack.servers[0].bmc
    redfish = str(bmc.redfish).removeprefix("https://").split(":")
    with Client(int(str(bmc.ipmi).split(":")[1]), password=tiny.password, guid=None) as client:
        client.log_in()
        control_faults.fault(tiny.rack, "r1", FaultEntry(fault="bmc-reboot", seconds=3.0))
        client.put(client.datagram(PayloadType.IPMI, client.request(0x00, 0x01)))
        deadline = Deadline.after(10, "the BMC to go")
        while control_faults.faults(tiny.rack, "r1").played.get("bmc-reboot") != 1:
            assert not deadline.passed, deadline.why
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((redfish[0], int(redfish[1])), 5).close()
        assert client.get(0.3) is None
    assert counts(tiny, "r1")["ipmi"]["reboots"] == 1
    assert ipmitool("r1", "power", "status").returncode == 0  # it asks until the BMC is back
    socket.create_connection((redfish[0], int(redfish[1])), 5).close()
