"""Does it boot, is it really the hypervisor that runs, and does a guest run on it?"""

from __future__ import annotations

from lab import measure
from lab.deadline import Deadline
from lab.hypervisors import family
from lab.hypervisors.contract import Guest, Host
from lab.machine.machine import Machine
from lab.measure.recorder import Recorder


def test_hypervisor_really_runs(host: Host, record: Recorder) -> None:
    proof = family(host.release.family).prove(host)
    record.evidence("proof", proof.evidence)
    assert proof.facts


def test_every_milestone_was_passed_in_order(machine: Machine, host: Host) -> None:
    wanted = family(host.release.family).boot_milestones
    passed = [mark for mark in machine.boot.marks if mark.name in wanted]
    assert [mark.name for mark in passed] == list(wanted)
    assert passed == sorted(passed, key=lambda mark: mark.at)


def test_boot_times_are_recorded(machine: Machine, host: Host, record: Recorder) -> None:
    times = measure.boot(host, machine.boot.marks, machine.boot.at - machine.run.zero)
    record(times)
    assert all(measurement.value > 0 for measurement in times.measurements)


def test_no_service_failed(host: Host) -> None:
    failed = host.run("systemctl --failed --no-legend --plain").output.strip()
    assert failed == ""


def test_guest_boots_to_a_line_on_its_own_console(guest: Guest) -> None:
    line = guest.console_until(
        "lab-guest: ready", Deadline.after(240, "the guest's own console to say ready")
    )
    assert "kernel" in line
