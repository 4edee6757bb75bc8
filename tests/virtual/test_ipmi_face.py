"""The IPMI face, judged by ipmitool."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from lab.bmc.api import BootDevice
from lab.deadline import Deadline
from lab.virtual import control
from tests.virtual.rackfile import Ipmitool, TinyRack
from tests.virtual.sol_terminal import Sol
from tests.virtual.tiny_guest import boot_sector


def test_power_on_and_off_are_a_process_there_and_gone(tiny: TinyRack, ipmitool: Ipmitool) -> None:
    assert "is off" in ipmitool("i1", "power", "status").stdout
    assert ipmitool("i1", "power", "on").returncode == 0
    pid = tiny.status("i1").qemu_pid
    assert pid is not None
    assert os.path.exists(f"/proc/{pid}")  # noqa: PTH110 - a process, not a file
    assert "is on" in ipmitool("i1", "power", "status").stdout
    assert ipmitool("i1", "power", "off").returncode == 0
    assert not os.path.exists(f"/proc/{pid}")  # noqa: PTH110
    assert "is off" in ipmitool("i1", "power", "status").stdout


def test_guest_that_powers_itself_off_is_off(tiny: TinyRack, ipmitool: Ipmitool) -> None:
    tiny.put_on_disk("i1", boot_sector("disk greets"))
    start = len(tiny.serial("i1"))
    ipmitool("i1", "power", "on")
    tiny.wait_for_serial("i1", "disk greets", since=start)
    with Sol(tiny, "i1") as sol:
        sol.type(b"O")
        tiny.wait_for_power("i1", "off")
    assert "is off" in ipmitool("i1", "power", "status").stdout


@pytest.mark.parametrize(
    ("word", "device"),
    [
        ("pxe", BootDevice.PXE),
        ("cdrom", BootDevice.CD),
        ("disk", BootDevice.DISK),
        ("bios", BootDevice.SETUP),
        ("none", BootDevice.NONE),
    ],
)
def test_boot_device_reaches_the_chassis(
    tiny: TinyRack, ipmitool: Ipmitool, word: str, device: BootDevice
) -> None:
    assert ipmitool("i1", "chassis", "bootdev", word).returncode == 0
    assert tiny.status("i1").boot_override is device


def said_in_time(ask: Callable[[], str], words: str) -> str:
    """What `ask` answers once `words` are in it; ipmi_sim takes in its readings only once a second."""
    deadline = Deadline.after(10, f"ipmi_sim to say {words}")
    answer = ask()
    while words not in answer and not deadline.passed:
        time.sleep(0.2)
        answer = ask()
    return answer


def test_sensors_and_fru_are_readable(tiny: TinyRack, ipmitool: Ipmitool) -> None:
    sensors = said_in_time(lambda: ipmitool("i1", "sensor").stdout, "1200.000")
    assert "FAN1             | 1200.000   | RPM" in sensors
    assert "12.033     | Volts" in sensors
    fru = ipmitool("i1", "fru", "print").stdout
    assert "Product Serial        : VR-I1" in fru
    assert "hecksum" not in fru


def test_a_sensor_that_crosses_its_limit_is_in_the_event_log(tiny: TinyRack, ipmitool: Ipmitool) -> None:
    assert ipmitool("i1", "sel", "clear").returncode == 0
    control.request(tiny.rack, {"do": "sensor", "server": "i1", "sensor": "Inlet Temp", "raw": 47})
    entries = said_in_time(lambda: ipmitool("i1", "sel", "elist").stdout, "Upper Critical going high")
    assert "Upper Critical going high" in entries
    control.request(tiny.rack, {"do": "sensor", "server": "i1", "sensor": "Inlet Temp", "raw": 22})


def test_identify_lights_the_lamp(tiny: TinyRack, ipmitool: Ipmitool) -> None:
    assert ipmitool("i1", "chassis", "identify", "15").returncode == 0
    lamps = {
        entry["server"]: entry["identify"]
        for entry in control.request(tiny.rack, {"do": "status"})["servers"]
    }
    assert lamps["i1"] is True


def test_wrong_password_is_refused(ipmitool: Ipmitool) -> None:
    refused = ipmitool("i1", "mc", "info", password="wrong")
    assert refused.returncode != 0
    assert "Device ID" not in refused.stdout


@pytest.mark.parametrize("user", ["lab", ""])
def test_cipher_suite_0_lets_nobody_in(ipmitool: Ipmitool, user: str) -> None:
    refused = ipmitool("i1", "mc", "info", cipher=0, user=user, password="")
    assert refused.returncode != 0
    assert "invalid authentication algorithm" in refused.stderr
    assert "Device ID" not in refused.stdout


def test_reset_of_a_server_that_is_off_is_an_error(ipmitool: Ipmitool) -> None:
    ipmitool("i1", "power", "off")
    assert ipmitool("i1", "power", "reset").returncode != 0


def test_ipmi_sim_that_dies_comes_back(tiny: TinyRack, ipmitool: Ipmitool) -> None:
    servers = control.request(tiny.rack, {"do": "status"})["servers"]
    pid = next(entry["ipmi_pid"] for entry in servers if entry["server"] == "i1")
    os.kill(pid, 9)
    assert ipmitool("i1", "mc", "guid").returncode == 0  # its own retries bridge the restart
    assert "ended with -9" in tiny.folder.log.read_text()


def test_sol_is_complete_from_power_on_and_takes_input(tiny: TinyRack, ipmitool: Ipmitool) -> None:
    tiny.put_on_disk("i1", boot_sector("first words"))
    ipmitool("i1", "power", "off")
    ipmitool("i1", "chassis", "bootdev", "none")
    start = len(tiny.serial("i1"))
    with Sol(tiny, "i1") as sol:
        ipmitool("i1", "power", "on")
        sol.wait_for(b"first words")
        sol.type(b"echo me")
        sol.wait_for(b"echo me")
        seen = sol.output.replace(b"\r", b"")
    written = tiny.serial("i1")[start:].replace(b"\r", b"")
    assert written == b"first words\necho me"
    assert written in seen
