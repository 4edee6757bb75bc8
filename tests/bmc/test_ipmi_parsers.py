"""Whatever bytes a BMC sends by IPMI, the provider answers or raises our own errors."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.bmc.api import BootDevice
from lab.bmc.ipmi import fru as ipmi_fru
from lab.bmc.ipmi import manager as ipmi_manager
from lab.bmc.ipmi import sdr as ipmi_sdr
from lab.bmc.ipmi import sel as ipmi_sel
from lab.bmc.ipmi import sensors as ipmi_sensors
from lab.bmc.ipmi.provider import IpmiBmc
from lab.bmc.ipmi.sdr import FruLocator, Repository
from lab.bmc.target import Unsupported
from lab.deadline import Deadline
from lab.errors import LabError
from lab.virtual.ipmi import sdr as virtual_sdr
from lab.virtual.ipmi import sensors as virtual_sensors
from tests.bmc.ipmi_script import Reply, Scripted, scripted

NO_SENSORS = Repository({}, [])
REPLIES = st.lists(
    st.one_of(st.binary(max_size=40), st.sampled_from([0xC1, 0xC5, 0xC9, 0xCA, 0xCB, 0xCC, 0xD4, 0xFF])),
    min_size=1,
    max_size=12,
)
READS: list[Callable[[IpmiBmc], object]] = [
    lambda bmc: bmc.power(),
    lambda bmc: bmc.boot_override(),
    lambda bmc: bmc.boot_once(BootDevice.CD, "uefi"),
    lambda bmc: bmc.boot_always(BootDevice.DISK, "bios"),
    lambda bmc: bmc.sol(),
    lambda bmc: bmc.enable_sol(),
    lambda bmc: bmc.identify(True),
    lambda bmc: bmc.sensors(),
    lambda bmc: bmc.power_draw(),
    lambda bmc: bmc.event_log(),
    lambda bmc: bmc.inventory(),
    lambda bmc: bmc.clock(),
    lambda bmc: bmc.sessions(),
    lambda bmc: bmc.identity(),
    lambda bmc: bmc.capabilities(),
]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("read", READS)
@given(replies=REPLIES)
def test_every_call_survives_any_answers(read: Callable[[IpmiBmc], object], replies: list[Reply]) -> None:
    endless = itertools.cycle(replies)
    bmc, _ = scripted(lambda *_: next(endless))
    try:
        read(bmc)
    except (LabError, Unsupported):
        return


@given(st.binary(max_size=80), st.binary(max_size=10), st.binary(max_size=9))
def test_any_record_with_any_reading_and_thresholds(record: bytes, reading: bytes, limits: bytes) -> None:
    kind = bytes((0x51, 1 + len(record) % 3))
    repository = Repository({}, [])
    ipmi_sdr.take(repository, record[:2].ljust(2, b"\x00") + kind + record[2:])
    session = Scripted(lambda _, command, __: limits if command == 0x27 else reading)
    for entry in repository.sensors.values():
        seen = ipmi_sensors.decode_reading(entry, reading, session)
        assert seen is None or seen.health in ("ok", "warning", "critical", "unknown")


@given(st.binary(max_size=300))
def test_fru_of_any_bytes(raw: bytes) -> None:
    fields = ipmi_fru.decode_fields(raw)
    assert all(isinstance(value, str) and value for value in fields.values())
    unit = ipmi_fru.decode_unit(FruLocator(3, "PSU1", ipmi_fru.POWER_SUPPLY), raw)
    assert len(ipmi_fru.bill([unit], {}).supplies) == 1


@given(st.binary(max_size=300))
def test_fru_with_areas_of_any_bytes(raw: bytes) -> None:
    header = bytes((1, 0, 1, 2, 3, 4, 0, 0))
    assert isinstance(ipmi_fru.decode_fields(header + raw), dict)
    watts = ipmi_fru.decode_watts(header + raw)
    assert watts is None or watts > 0


@given(st.binary(max_size=600))
def test_spd_of_any_bytes(raw: bytes) -> None:
    module = ipmi_fru.decode_unit(FruLocator(5, "DIMM A1", 0x20, 0x0801), raw).module
    assert module is not None
    assert module.slot == "DIMM A1"


@given(st.integers(0, 2**32 - 1), st.binary(max_size=20))
def test_sel_record_of_any_bytes(now: int, record: bytes) -> None:
    entry = ipmi_sel.decode(record, NO_SENSORS, now)
    assert entry.message
    assert entry.severity in ("ok", "warning", "critical", "unknown")


@given(st.binary(max_size=24))
def test_device_id_and_power_reading_of_any_bytes(raw: bytes) -> None:
    assert isinstance(ipmi_manager.decode_device(raw).vendor, str)
    watts = ipmi_sensors.decode_power_draw(raw)
    assert watts is None or 0 <= watts < 65536


@given(st.integers(0, 2**32 - 1))
def test_ipmi_timestamps(seconds: int) -> None:
    at = ipmi_sel.timestamp(seconds)
    assert at is None or at == datetime.fromtimestamp(seconds, UTC)
    assert (at is None) == (seconds < 0x20000000 or seconds == 0xFFFFFFFF)


@given(st.integers(0, 255), st.binary(max_size=40))
def test_names_in_any_encoding(kind: int, data: bytes) -> None:
    assert isinstance(ipmi_sdr.name(kind, data), str)


def test_names_in_the_encodings_of_the_specification() -> None:
    assert ipmi_sdr.name(0xC0 | 3, b"12V") == "12V"
    assert ipmi_sdr.name(0x80 | 3, bytes((0x29, 0xDC, 0xA6))) == "IPMI"  # 43.15, its own example
    assert ipmi_sdr.name(0x40 | 2, bytes((0x12, 0xB3))) == "12-3"


def test_stray_bytes_after_a_sensor_record_are_cut_off() -> None:
    record = bytes((0x01, 0x00, 0x51, 0x11, 4)) + b"abcd"
    session = Scripted(lambda *_: b"\xff\xff" + record + b"\xe1\x00\xff")
    assert list(ipmi_sdr.walk(session, Deadline.after(5, "test"))) == [record]


def records_in_pieces(records: dict[int, bytes], largest: int, *, lose: int = 0) -> Scripted:
    """A repository that gives at most `largest` bytes at once and loses its reservation so often."""
    left = {"lose": lose}

    def answers(netfn: int, command: int, data: bytes) -> Reply:
        if command == 0x22:
            return b"\x01\x00"
        if (netfn, command) != (0x0A, 0x23):
            return b"\x51\x00\x00"
        record, offset, count = int.from_bytes(data[2:4], "little") or 1, data[4], data[5]
        if count > largest:
            return 0xCA
        if offset and left["lose"]:
            left["lose"] -= 1
            return 0xC5
        following = record + 1 if record + 1 in records else 0xFFFF
        return struct.pack("<H", following) + records[record][offset : offset + count]

    return Scripted(answers)


@pytest.mark.parametrize("largest", [6, 9, 16, 100])
def test_records_are_read_in_pieces_and_again_when_the_reservation_is_lost(largest: int) -> None:
    whole = [virtual_sdr.full(sensor) for sensor in virtual_sensors.ANALOG]
    session = records_in_pieces(dict(enumerate(whole, 1)), largest, lose=3)
    repository = ipmi_sdr.read_repository(session, Deadline.after(30, "test"))
    assert [entry.name for entry in repository.sensors.values()] == [
        sensor.name for sensor in virtual_sensors.ANALOG
    ]


def test_all_six_thresholds_and_the_reading_in_the_sensors_unit() -> None:
    sensor = virtual_sensors.ANALOG[3]
    repository = Repository({}, [])
    ipmi_sdr.take(repository, virtual_sdr.full(sensor))
    (entry,) = repository.sensors.values()
    raw = bytes((0x3F, 180, 175, 170, 205, 210, 220))
    session = Scripted(lambda _, command, __: raw if command == 0x27 else b"")
    seen = ipmi_sensors.decode_reading(entry, bytes((191, 0xC0, 0xC0)), session)
    assert seen is not None
    limits = seen.thresholds
    assert (seen.name, seen.unit, seen.value) == ("12V", "V", 12.033)
    assert (limits.lower_warning, limits.lower_critical, limits.lower_fatal) == (11.34, 11.025, 10.71)
    assert (limits.upper_warning, limits.upper_critical, limits.upper_fatal) == (12.915, 13.23, 13.86)


def test_thresholds_that_cannot_be_read_are_none() -> None:
    repository = Repository({}, [])
    ipmi_sdr.take(repository, virtual_sdr.full(virtual_sensors.ANALOG[0]))
    (entry,) = repository.sensors.values()
    limits = ipmi_sensors.decode_thresholds(entry, bytes((0x10, 1, 2, 3, 4, 90, 6)), None)
    assert (limits.upper_critical, limits.upper_fatal, limits.lower_warning) == (90.0, None, None)


def log_of(records: dict[int, bytes], *, gone: frozenset[int] = frozenset(), whole: bool = True) -> Scripted:
    """A log whose records in `gone` vanish when they are asked for."""

    def answers(netfn: int, command: int, data: bytes) -> Reply:
        if command == 0x42:
            return b"\x01\x00"
        if command == 0x23:
            return 0xCB
        if (netfn, command) != (0x0A, 0x43):
            return b"\x00" * 4
        number, offset, count = int.from_bytes(data[2:4], "little") or min(records), data[4], data[5]
        if number in gone:
            records.pop(number, None)
        if number not in records:
            return 0xCB
        if count == 0xFF and not whole:
            return 0xCA
        following = next((other for other in sorted(records) if other > number), 0xFFFF)
        return struct.pack("<H", following) + records[number][offset : offset + count]

    return Scripted(answers)


def record(number: int, kind: int = 0x02) -> bytes:
    """A record of that number: a temperature that was too high."""
    return struct.pack(
        "<HBIBBBBBB3s", number, kind, 0x60000000 + number, 0x20, 0, 4, 1, 1, 1, b"\x59\xff\xff"
    )


def test_a_record_that_is_deleted_meanwhile_hides_no_other() -> None:
    session = log_of({number: record(number) for number in range(1, 8)}, gone=frozenset({3, 6}))
    seen = ipmi_sel.read_records(session, Deadline.after(5, "test"))
    assert [int.from_bytes(one[:2], "little") for one in seen] == [1, 2, 4, 5, 7]


def test_a_log_is_read_in_pieces_where_the_bmc_wants_that() -> None:
    records = {number: record(number) for number in range(1, 4)}
    seen = ipmi_sel.read_records(log_of(dict(records), whole=False), Deadline.after(5, "test"))
    assert seen == list(records.values())


def test_records_of_odd_types_say_what_they_hold() -> None:
    odd = [record(1, kind) for kind in (0x03, 0xC1, 0xE5, 0xFF)]
    entries = [ipmi_sel.decode(one, NO_SENSORS) for one in odd]
    assert [entry.severity for entry in entries[1:]] == ["unknown"] * 3
    assert all(
        f"record type 0x{one[2]:02x}" in entry.message
        for one, entry in zip(odd[1:], entries[1:], strict=True)
    )


def test_a_mark_knows_the_entries_of_a_clock_that_was_never_set() -> None:
    """They are placed by their age, and must be the same entries when they are read again."""
    start = ipmi_sel.Start()
    young = struct.pack("<HBI", 1, 2, 100) + record(1)[7:]
    first = ipmi_sel.decode(young, NO_SENSORS, 160, start)
    assert first.at is not None
    assert abs(datetime.now(UTC) - first.at - timedelta(seconds=60)) < timedelta(seconds=2)
    assert ipmi_sel.decode(young, NO_SENSORS, 161, start) == first
    assert ipmi_sel.decode(young, NO_SENSORS, 50, start).at is None


def test_a_lost_reservation_is_taken_again_to_clear_the_log() -> None:
    sent: list[bytes] = []

    def answers(_: int, command: int, data: bytes) -> Reply:
        if command == 0x47:
            sent.append(data)
            return 0xC5 if len(sent) < 3 else b"\x01"
        return bytes((len(sent), 0))

    session: Any = Scripted(answers)
    ipmi_sel.clear(session, session)
    assert [data[:2] for data in sent] == [b"\x00\x00", b"\x01\x00", b"\x02\x00"]


def test_a_power_supply_is_rated_by_its_multirecord_area() -> None:
    body = struct.pack("<H", 750) + bytes(22)
    raw = bytes((1, 0, 0, 0, 0, 1, 0, 0)) + bytes((0, 0x82, len(body), 0, 0)) + body
    unit = ipmi_fru.decode_unit(FruLocator(4, "PSU 1", ipmi_fru.POWER_SUPPLY), raw)
    (supply,) = ipmi_fru.bill([unit], {}).supplies
    assert (supply.name, supply.watts) == ("PSU 1", 750.0)


def test_watts_of_dcmi() -> None:
    reading = bytes((0xDC,)) + struct.pack("<HHHHII", 231, 100, 400, 220, 0, 1000) + b"\x40"
    assert ipmi_sensors.decode_power_draw(reading) == 231.0
    assert ipmi_sensors.decode_power_draw(reading[:-1] + b"\x00") is None


def test_a_dimm_that_names_itself_by_board_area_is_in_the_bill() -> None:
    locator = FruLocator(9, "DIMM B2", ipmi_fru.MEMORY)
    unit = ipmi_fru.Unit(locator, {"Board serial number": "S1", "Board model": "M393A2K40"})
    (module,) = ipmi_fru.bill([unit], {}).memory
    assert (module.slot, module.serial, module.part) == ("DIMM B2", "S1", "M393A2K40")
