"""The parts of the virtual rack that need no server: bytes in, bytes out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.bmc.api import BootDevice
from lab.errors import ConfigError
from lab.virtual import accel, hardware
from lab.virtual.folder import RackFolder
from lab.virtual.ipmi import config, fru, gate, sdr, sel, sensors
from lab.virtual.network import Network
from lab.virtual.redfish.messages import RedfishError
from lab.virtual.redfish.sessions import SESSION_LIMIT, SessionTable
from lab.virtual.serial_hub import SerialHub
from tests.virtual.rackfile import server, write_rack

_WIRES = hardware.Wires(3, 4, 5, {})
_START = hardware.PowerOn("tiny", "tcg", 9000, None)


def test_probe_guest_runs_and_is_believed_only_with_virtualization(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accel.probe("tcg", seconds=30)
    monkeypatch.setattr(accel, "PROBE_CPU", "qemu64,-svm")
    assert not accel.probe("tcg", seconds=30)


def test_accelerator_is_cached_for_this_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked: list[str] = []

    def probe(kind: str) -> bool:
        asked.append(kind)
        return False

    monkeypatch.setattr(accel, "probe", probe)
    assert (accel.choose(), accel.choose()) == ("tcg", "tcg")
    assert asked == ["kvm"]


def test_an_override_goes_first_and_set_up_leaves_nothing(tmp_path: Path) -> None:
    entry = write_rack(tmp_path, server("s1", disks={"D0": "nvme", "D1": "megasas"})).servers[0]

    def first_to_last(device: BootDevice) -> list[str]:
        order = hardware.boot_order(entry, device)
        return sorted(order, key=order.__getitem__)

    assert first_to_last(BootDevice.NONE) == ["disk0", "disk1", "cd0", "nic0"]
    assert first_to_last(BootDevice.CD) == ["cd0", "disk0", "disk1", "nic0"]
    assert first_to_last(BootDevice.PXE) == ["nic0", "disk0", "disk1", "cd0"]
    assert set(hardware.boot_order(entry, BootDevice.SETUP).values()) == {-1}


def test_every_bus_carries_its_serial(tmp_path: Path) -> None:
    buses = ("nvme", "ahci", "megasas", "mptsas1068", "virtio-blk", "virtio-scsi")
    content = server("s1", disks={f"DISK-{bus}": bus for bus in buses}, machine="q35")
    content["disks"][1]["wwn"] = "0x5000c50012345678"
    entry = write_rack(tmp_path, content).servers[0]
    line = hardware.command(entry, _START, _WIRES, hardware.boot_order(entry, BootDevice.NONE))
    for bus in buses:
        assert sum(f",serial=DISK-{bus}," in part for part in line) == 1
    assert any("ide-hd" in part and "wwn=0x5000c50012345678" in part for part in line)
    # Linux sees no disk of this controller that has no WWN.
    assert any("bus=mptsas1068.0" in part and ",wwn=0x3" in part for part in line)
    assert "q35,smm=off" in line


def test_a_serial_that_a_device_would_cut_is_refused(tmp_path: Path) -> None:
    entry = write_rack(tmp_path, server("s1", disks={"A" * 21: "nvme"})).servers[0]
    folder = RackFolder(tmp_path).server(entry)
    folder.make()
    with pytest.raises(ConfigError, match="at most 20 characters"):
        hardware.prepare(entry, folder)


@given(st.binary(max_size=80))
def test_gate_refuses_nothing_but_open_session_requests(datagram: bytes) -> None:
    answer = gate.refusal(datagram)
    assert answer is None or (datagram[4] == 6 and datagram[5] & 0x3F == 0x10)


@given(st.integers(0, 0x3F), st.integers(0, 255), st.binary(min_size=4, max_size=4))
def test_gate_refuses_exactly_no_authentication(algorithm: int, tag: int, console: bytes) -> None:
    header = bytes.fromhex("0600ff07") + bytes([6, 0x10]) + bytes(8) + b"\x20\0"
    request = bytes([tag, 0, 0, 0]) + console + bytes([0, 0, 0, 8, algorithm, 0, 0, 0]) + bytes(16)
    answer = gate.refusal(header + request)
    assert (answer is not None) == (algorithm == 0)
    if answer is not None:
        assert (answer[5], answer[16], answer[17], answer[20:24]) == (0x11, tag, 0x04, console)


_FIELD = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=63)


@given(_FIELD, _FIELD, _FIELD, _FIELD)
def test_fru_areas_add_up(manufacturer: str, product: str, part: str, serial: str) -> None:
    record = fru.encode(fru.Fru(manufacturer, product, part, serial))
    assert sum(record[:8]) % 256 == 0
    for offset in record[2:5]:
        area = record[offset * 8 :]
        area = area[: area[1] * 8]
        assert area[0] == 1
        assert sum(area) % 256 == 0
    assert fru.text(serial) in record


@given(st.text())
def test_event_log_parser_takes_anything(listing: str) -> None:
    assert len(sel.parse(listing)) <= len(listing.splitlines())


def test_event_log_parser_reads_ipmitool() -> None:
    line = "2,11/23/2026,08:03:07 UTC,Temperature Inlet Temp,Upper Critical going high,Asserted,Reading 47"
    (event,) = sel.parse(f"\n{line}\n")
    assert (event.id, event.sensor, event.direction) == ("2", "Temperature Inlet Temp", "Asserted")
    assert event.at is not None
    assert event.at.isoformat() == "2026-11-23T08:03:07+00:00"


def test_sensor_records_say_what_the_sensors_are() -> None:
    for sensor in sensors.ANALOG:
        record = sdr.full(sensor)
        assert record[4] == len(record) - 5
        assert record.endswith(sensor.name.encode())
        lowest, highest = sensor.thresholds.lower_non_critical, sensor.thresholds.upper_non_critical or 255
        assert lowest < sensor.off < highest
        assert lowest < sensor.on < highest


def test_session_ends_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("lab.virtual.redfish.sessions.time.monotonic", lambda: now[0])
    table = SessionTable([config.Account("lab", "secret")])
    session = table.open("lab", "secret")
    now[0] += table.timeout_s - 1
    assert table.admit({"X-Auth-Token": session.token}) == "lab"
    now[0] += table.timeout_s - 1
    assert table.admit({"X-Auth-Token": session.token}) == "lab"
    now[0] += table.timeout_s + 1
    with pytest.raises(RedfishError):
        table.admit({"X-Auth-Token": session.token})
    for _ in range(SESSION_LIMIT):
        table.open("lab", "secret")
    with pytest.raises(RedfishError) as full:
        table.open("lab", "secret")
    assert full.value.status == 503


def test_serial_hub_loses_nothing_to_a_slow_reader(tmp_path: Path) -> None:
    sent = bytes(range(256)) * 4096

    async def run() -> bytes:
        hub = SerialHub(tmp_path / "serial.raw")
        await hub.open()
        sol_reader, sol_writer = await asyncio.open_connection("127.0.0.1", hub.port)
        sol_writer.write(b"typed while off")  # to nobody
        await sol_writer.drain()
        cable = await hub.plug()
        reader, writer = await asyncio.open_connection(sock=cable)
        writer.write(sent)
        received = b""
        while len(received) < len(sent):
            received += await asyncio.wait_for(sol_reader.read(1000), 10)
        sol_writer.write(b"typed")
        assert (await asyncio.wait_for(reader.readexactly(5), 10)) == b"typed"
        writer.close()
        await asyncio.wait_for(hub.drained(), 10)
        await hub.close()
        return received

    assert asyncio.run(run()) == sent
    assert (tmp_path / "serial.raw").read_bytes() == sent


def test_network_carries_a_frame_to_every_other_port() -> None:
    async def run() -> None:
        network = Network()
        first, second, third = (network.plug() for _ in range(3))
        for port in (first, second, third):
            port.setblocking(False)
        loop = asyncio.get_running_loop()
        third.close()  # a server that has gone is no obstacle
        for number in range(3):
            first.send(b"frame %d" % number)
            assert await asyncio.wait_for(loop.sock_recv(second, 100), 5) == b"frame %d" % number
        with pytest.raises(BlockingIOError):
            first.recv(100)
        network.close()
        first.close()
        second.close()

    asyncio.run(run())
