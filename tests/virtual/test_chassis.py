"""The chassis itself, without a BMC: what it does to QEMU, and what outlives it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.bmc.api import PowerAction
from lab.deadline import Deadline
from lab.errors import LabFault
from lab.virtual import hardware
from lab.virtual.chassis import Chassis
from lab.virtual.folder import ServerFolder
from lab.virtual.serial_hub import SerialHub
from tests.virtual.rackfile import server, write_rack
from tests.virtual.tiny_guest import boot_sector


@contextlib.asynccontextmanager
async def _open(folder: Path) -> AsyncIterator[tuple[Chassis, SerialHub]]:
    rack = write_rack(folder, server("c1"))
    files = ServerFolder(folder / "c1")
    files.make()
    hardware.prepare(rack.servers[0], files)
    with (files.disks / "disk0.raw").open("r+b") as image:
        image.write(boot_sector("disk greets").ljust(512, b"\0"))
    hub = SerialHub(files.serial_raw)
    await hub.open()
    chassis = Chassis(rack.servers[0], files, hub, {}, rack.rack)
    try:
        yield chassis, hub
    finally:
        await chassis.close()
        await hub.close()


async def _greets(chassis: Chassis, times: int) -> None:
    deadline = Deadline.after(30, f"{times} greetings")
    while not (
        chassis.folder.serial_raw.exists()
        and chassis.folder.serial_raw.read_bytes().count(b"disk greets\r\n") >= times
    ):
        assert not deadline.passed, deadline.why
        await asyncio.sleep(0.02)


async def _type(hub: SerialHub, text: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(text)
    await writer.drain()
    writer.close()


async def _power(chassis: Chassis, power: str) -> None:
    deadline = Deadline.after(20, f"power {power}")
    while chassis.power != power:
        assert not deadline.passed, deadline.why
        await asyncio.sleep(0.02)


def test_graceful_restart_comes_back_once_the_guest_has_gone(tmp_path: Path) -> None:
    async def life() -> None:
        async with _open(tmp_path) as (chassis, hub):
            with pytest.raises(LabFault, match="is off"):
                await chassis.graceful_restart()
            await chassis.act(PowerAction.ON)
            await _greets(chassis, 1)
            pid = chassis.pid
            await chassis.graceful_restart()
            assert chassis.pid == pid
            await _type(hub, b"O")  # the guest ignores the button; this is its way to power itself off
            await _greets(chassis, 2)
            assert chassis.pid not in (None, pid)
            await _type(hub, b"O")  # a restart is asked for once
            await _power(chassis, "off")
            assert chassis.acts == {"on": 1, "graceful-restart": 1}

    asyncio.run(life())


def test_power_off_calls_a_graceful_restart_off(tmp_path: Path) -> None:
    async def life() -> None:
        async with _open(tmp_path) as (chassis, hub):
            await chassis.act(PowerAction.ON)
            await chassis.graceful_restart()
            await chassis.act(PowerAction.OFF)
            await chassis.act(PowerAction.ON)
            await _greets(chassis, 1)
            await _type(hub, b"O")
            await _power(chassis, "off")

    asyncio.run(life())


def test_firmware_settings_outlive_the_daemon_and_wait_for_power(tmp_path: Path) -> None:
    async def first() -> None:
        async with _open(tmp_path) as (chassis, _):
            chassis.settings.ask({"AssetTag": "seven", "BootPromptSeconds": 2})
            assert chassis.settings.current["AssetTag"] == ""

    async def second() -> None:
        async with _open(tmp_path) as (chassis, _):
            assert chassis.settings.pending == {"AssetTag": "seven", "BootPromptSeconds": 2}
            await chassis.act(PowerAction.ON)
            assert chassis.settings.current["AssetTag"] == "seven"
            assert chassis.settings.pending == {}

    async def third() -> None:
        async with _open(tmp_path) as (chassis, _):
            assert chassis.settings.current["BootPromptSeconds"] == 2

    for life in (first, second, third):
        asyncio.run(life())


def test_damaged_settings_file_is_a_fault_that_says_what_to_do(tmp_path: Path) -> None:
    async def life() -> None:
        async with _open(tmp_path) as (chassis, _):
            (chassis.folder.path / "firmware-settings.json").write_text('{"set": []')
            with pytest.raises(LabFault, match="cannot be read"):
                await chassis.act(PowerAction.ON)
            assert chassis.power == "off"

    asyncio.run(life())
