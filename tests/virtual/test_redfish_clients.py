"""The whole Redfish surface, judged by DMTF's `redfish` and OpenStack's `sushy` as they come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redfish
import sushy
from sushy.resources.taskservice.constants import TaskState

from lab.deadline import Deadline
from tests.virtual.bare_bmc import MANAGER, PASSWORD, RESET, SYSTEM, BareBmc, Untyped, bare_bmc


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[BareBmc]:
    with bare_bmc(tmp_path, firmware="uefi") as served:
        yield served


@pytest.fixture
def root(bmc: BareBmc) -> Iterator[Untyped]:
    """OpenStack's client, with a session that it ends."""
    auth = sushy.auth.SessionAuth("lab", PASSWORD)
    yield sushy.Sushy(bmc.url, auth=auth)
    auth.close()
    assert bmc.face.status()["sessions"]["open"] == 0


@pytest.fixture
def dmtf(bmc: BareBmc) -> Iterator[Untyped]:
    """DMTF's client, with a session that it ends."""
    client = redfish.redfish_client(bmc.url, "lab", PASSWORD, timeout=20, max_retry=0)
    client.login(auth="session")
    yield client
    client.logout()
    assert bmc.face.status()["sessions"]["open"] == 0


def test_sushy_drives_power_and_boot(root: Untyped, bmc: BareBmc) -> None:
    system = root.get_system(SYSTEM)
    assert sushy.ResetType.GRACEFUL_RESTART in system.get_allowed_reset_system_values()
    system.set_system_boot_options(
        target=sushy.BootSource.PXE,
        enabled=sushy.BootSourceOverrideEnabled.CONTINUOUS,
        mode=sushy.BootSourceOverrideMode.UEFI,
    )
    system.reset_system(sushy.ResetType.POWER_CYCLE)
    system.refresh(force=True)
    assert system.power_state == sushy.PowerState.ON
    assert system.boot.target == sushy.BootSource.PXE
    assert system.boot.enabled == sushy.BootSourceOverrideEnabled.CONTINUOUS
    assert bmc.chassis.acts == {"cycle": 1}


def test_sushy_sets_bios_attributes(root: Untyped, bmc: BareBmc) -> None:
    bios = root.get_system(SYSTEM).bios
    assert bios.supported_apply_times == [sushy.ApplyTime.ON_RESET]
    bios.set_attributes({"ProcVirtualization": "Disabled"}, apply_time=sushy.ApplyTime.ON_RESET)
    bios.refresh(force=True)
    assert bios.pending_attributes == {"ProcVirtualization": "Disabled"}
    assert bios.attributes["ProcVirtualization"] == "Enabled"
    root.get_system(SYSTEM).reset_system(sushy.ResetType.ON)
    bios.refresh(force=True)
    assert bios.attributes["ProcVirtualization"] == "Disabled"
    registry = bios.get_attribute_registry()
    names = {entry.name for entry in registry.registry_entries.attributes}
    assert names == set(bios.attributes)


def test_sushy_reads_inventory_and_secure_boot(root: Untyped) -> None:
    system = root.get_system(SYSTEM)
    assert system.secure_boot.enabled is False
    drives = {drive.serial_number for unit in system.storage.get_members() for drive in unit.drives}
    assert drives == {"L1-NVME", "L1-SATA", "L1-SAS"}
    for unit in system.storage.get_members():
        assert unit.storage_controllers
        assert unit.volumes.get_members() == []
    chassis = root.get_chassis("/redfish/v1/Chassis/1")
    adapters = chassis.network_adapters.get_members()
    macs = {
        function.ethernet.mac_address
        for adapter in adapters
        for function in adapter.network_device_functions.get_members()
    }
    assert macs == {nic.mac_address for nic in system.ethernet_interfaces.get_members()}
    assert system.memory_summary.size_gib == 0  # 64 MiB, which sushy cuts to whole GiB
    assert system.processors.summary.count == 1


def test_sushy_follows_an_update(root: Untyped) -> None:
    service = root.get_update_service()
    names = {component.name for component in service.firmware_inventory.get_members()}
    assert "Dummy component (nothing runs it)" in names
    monitor = service.simple_update(
        image_uri="http://127.0.0.1:9/none.bin", transfer_protocol=sushy.UPDATE_PROTOCOL_HTTP
    )
    deadline = Deadline.after(20, "the update to end")
    task = monitor.get_task()
    while task.task_state in (TaskState.NEW, TaskState.RUNNING):
        assert not deadline.passed
        task.refresh(force=True)
    assert task.task_state == TaskState.EXCEPTION
    assert "127.0.0.1" in task.messages[0].message
    assert task.task_monitor.endswith("/TaskMonitors/1")


def test_sushy_handles_sessions_and_manager(root: Untyped, bmc: BareBmc) -> None:
    service = root.get_session_service()
    assert service.session_timeout == 600
    assert len(service.sessions.get_members()) == bmc.face.status()["sessions"]["open"] == 1
    manager = root.get_manager(MANAGER)
    assert abs(datetime.fromisoformat(manager.datetime) - datetime.now(UTC)) < timedelta(seconds=60)
    assert manager.get_allowed_reset_manager_values() == {
        sushy.ResetType.FORCE_RESTART,
        sushy.ResetType.GRACEFUL_RESTART,
    }
    media = manager.virtual_media.get_members()[0]
    assert media.media_types == [sushy.VirtualMediaType.CD, sushy.VirtualMediaType.DVD]
    with pytest.raises(sushy.exceptions.BadRequestError, match="HTTP and HTTPS only"):
        media.insert_media("nfs://127.0.0.1/a.iso")


def test_dmtf_client_follows_a_task_by_its_monitor(dmtf: Untyped, bmc: BareBmc) -> None:
    service = dmtf.get("/redfish/v1/UpdateService").dict
    parts = [
        ("UpdateParameters", ("", '{"Targets": []}', "application/json")),
        ("UpdateFile", ("dummy.bin", b"lab-dummy-firmware 4.2", "application/octet-stream")),
    ]
    headers = {"Content-Type": "multipart/form-data"}
    answer = dmtf.post(service["MultipartHttpPushUri"], body=parts, headers=headers)
    assert answer.status == 202
    assert answer.task_location
    deadline = Deadline.after(20, "the task to end")
    monitor = answer.monitor(dmtf)
    while monitor.is_processing:
        assert not deadline.passed
        assert monitor.retry_after
        monitor = answer.monitor(dmtf)
    assert monitor.dict["TaskState"] == "Completed"
    assert bmc.face.dummy_version == "4.2"


def test_dmtf_client_meets_preconditions_and_actions(dmtf: Untyped, bmc: BareBmc) -> None:
    system = dmtf.get(SYSTEM)
    target = system.dict["Actions"]["#ComputerSystem.Reset"]["target"]
    assert target == RESET
    headers = {"If-Match": system.getheader("ETag")}
    assert dmtf.post(target, body={"ResetType": "PushPowerButton"}, headers=headers).status == 204
    assert dmtf.post(target, body={"ResetType": "PushPowerButton"}, headers=headers).status == 412
    assert bmc.chassis.power == "on"
    settings = f"{SYSTEM}/Bios/Settings"
    tag = dmtf.get(settings).getheader("ETag")
    body = {"Attributes": {"AssetTag": "seven"}}
    assert dmtf.patch(settings, body=body, headers={"If-Match": tag}).status == 200
    assert dmtf.patch(settings, body=body, headers={"If-Match": tag}).status == 412
