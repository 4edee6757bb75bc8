"""Is every device of the server driven, and by what?"""

from __future__ import annotations

from lab import measure
from lab.hypervisors.contract import Host
from lab.measure.recorder import Recorder

STORAGE, NETWORK = "01", "02"


def test_every_pci_device_is_listed_with_its_driver(host: Host, record: Recorder) -> None:
    devices, measured = measure.devices(host)
    record(measured)
    undriven = [device for device in devices if device.modules and not device.driver]
    assert devices
    assert undriven == []


def test_every_disk_and_network_controller_is_driven(host: Host) -> None:
    devices, _ = measure.devices(host)
    controllers = [device for device in devices if device.class_code[:2] in (STORAGE, NETWORK)]
    assert controllers
    assert [device.slot for device in controllers if not device.driver] == []


def test_every_listed_disk_and_nic_is_seen(host: Host) -> None:
    seen = {disk.serial for disk in host.disks()}
    assert {disk.serial for disk in host.server.disks if disk.serial} <= seen
    macs = set(host.check("cat /sys/class/net/*/address").output.split())
    assert {nic.mac for nic in host.server.nics} <= macs
