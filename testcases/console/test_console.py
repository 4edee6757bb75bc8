"""Is the serial console evidence one can rely on?"""

from __future__ import annotations

import re

from lab.console.catalogue import patterns
from lab.console.recorder import Console
from lab.hypervisors.contract import Host
from lab.machine.machine import Machine

STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z [+-]\d+\.\d{6} ")


def test_console_starts_at_firmware_or_loader(machine: Machine, host: Host, console: Console) -> None:
    early = [pattern for pattern in patterns("firmware", "loader") if pattern.kind == "milestone"]
    later = [pattern for pattern in patterns("hypervisor", "kernel") if pattern.kind == "milestone"]
    seen = [match.pattern for match in console.seen(early + later, machine.boot.position)]
    assert seen[0] in early


def test_every_line_is_stamped_in_order(host: Host, console: Console) -> None:
    lines = console.log.read_text().splitlines()
    assert lines
    unstamped = [line for line in lines if not STAMP.match(line)]
    assert unstamped == []
    offsets = [float(line.split()[1]) for line in lines]
    assert offsets == sorted(offsets)


def test_no_failure_was_seen(machine: Machine, host: Host, console: Console) -> None:
    failures = [pattern for pattern in patterns() if pattern.kind == "failure"]
    assert [match.line for match in console.seen(failures, machine.boot.position)] == []


def test_kernel_and_hypervisor_both_log_to_serial(machine: Machine, host: Host, console: Console) -> None:
    text = console.text(machine.boot.position)
    assert re.search(r"Linux version \d", text)
    assert ("(XEN) Xen version" in text) == (host.release.family == "xen")
