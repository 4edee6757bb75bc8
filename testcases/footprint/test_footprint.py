"""How big is the hypervisor once installed, management OS included?"""

from __future__ import annotations

from lab import measure
from lab.hypervisors import family
from lab.hypervisors.contract import Host
from lab.measure.recorder import Recorder


def test_installed_disk_stays_small(host: Host, record: Recorder) -> None:
    footprint = measure.footprint(host)
    record(footprint)
    assert 0 < footprint.value("installed-disk") <= host.release.limits.installed_disk


def test_memory_that_guests_can_never_have(host: Host, record: Recorder) -> None:
    memory = family(host.release.family).memory(host)
    record(memory)
    assert all(measurement.value > 0 for measurement in memory.measurements)


def test_attack_surface(host: Host, record: Recorder) -> None:
    surface = measure.attack_surface(host)
    record(surface)
    assert surface.value("packages") > 0
    assert surface.value("listening-sockets") >= 1
