"""Xen with a Debian control domain, driven by xl. Source: xen-kvm-debian.md §3, xl(1), xl.cfg(5)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from lab.console.api import Stage
from lab.errors import ConfigError, HypervisorFailure, LabError
from lab.hypervisors.contract import GuestFiles, Host, Proof
from lab.hypervisors.recorded_guest import RecordedGuest
from lab.measure.model import Evidence, Measured
from lab.measure.reading import fields, reading, unreadable
from lab.measure.taking import Taking

INFO = "xl info"
DOMAINS = "xl list"
_CAPABILITIES = "cat /proc/xen/capabilities"
_TYPE = "cat /sys/hypervisor/type"
_MIB = 2**20
_CREATE_S = 120.0
_SAMPLES = 3


@dataclass(frozen=True)
class Domain:
    """A line of `xl list`; memory in bytes."""

    id: int
    name: str
    memory: int


def parse_info(evidence: Evidence) -> dict[str, str]:
    """The keys and values of `xl info`; a value may be empty (`xen_changeset`).

    Raises:
        HypervisorFailure: it has another form, or lacks what every version prints.
    """
    info = fields(evidence, ":")
    for key in ("xen_version", "xen_caps", "total_memory", "free_memory"):
        if not info.get(key):
            raise unreadable(evidence, f"{key} is missing")
    return info


def memory_of(info: Mapping[str, str], key: str, evidence: Evidence) -> int:
    """Bytes of a memory value of `xl info`, which counts in MiB.

    Raises:
        HypervisorFailure: it is not a number.
    """
    value = info.get(key, "")
    if not value.isdecimal():
        raise unreadable(evidence, f"{key} is {value!r}, not a number of MiB")
    return int(value) * _MIB


def parse_domains(evidence: Evidence) -> list[Domain]:
    """The domains in the output of `xl list`: Name ID Mem VCPUs State Time(s), the name without blanks.

    Raises:
        HypervisorFailure: it has another form, or lists no control domain.
    """
    lines = [line.split() for line in evidence.output.splitlines() if line.strip()]
    if not lines or lines[0][:3] != ["Name", "ID", "Mem"]:
        raise unreadable(evidence, "its heading is missing")
    with reading(evidence):
        domains = [Domain(int(number), name, int(memory) * _MIB) for name, number, memory, *_ in lines[1:]]
    if not any(domain.id == 0 for domain in domains):
        raise unreadable(evidence, "it lists no control domain")
    return domains


class Xen:
    """The Xen family; its guests are PVH and PV."""

    name: Final = "xen"
    boot_milestones: Final = ("loader-grub", "xen-banner", "linux-banner", "systemd-welcome", "login-prompt")
    failure_stages: Final[tuple[Stage, ...]] = (
        "loader",
        "hypervisor",
        "control-domain",
        "kernel",
        "services",
    )
    guest_kinds: Final = ("pvh", "pv")

    def prove(self, host: Host) -> Proof:
        """Xen runs, this system is its control domain, and it answers its tools."""
        with host.named_in_errors():
            kind = host.run(_TYPE)
            if kind.output.strip() != "xen":
                raise _not_xen(f"{_TYPE} says {kind.output.strip() or kind.errors.strip()!r}, not xen", _TYPE)
            capabilities = host.run(_CAPABILITIES)
            if "control_d" not in capabilities.output:
                raise _not_xen("this system is not Xen's control domain (no control_d)", _CAPABILITIES)
            said = host.check(INFO)
            listed = host.check(DOMAINS)
            info = parse_info(said)
            domains = parse_domains(listed)
        facts: dict[str, str] = {
            key: info[key]
            for key in ("xen_version", "xen_caps", "virt_caps", "xen_commandline")
            if key in info
        }
        facts["domains"] = ", ".join(domain.name for domain in domains)
        return Proof((kind, capabilities, said, listed), facts)

    def memory(self, host: Host) -> Measured:
        """`taken-from-guests` = total - free while only the control domain runs; split into its two parts."""
        taking = Taking(host, "memory")
        taken, control, total = [], [], []
        with host.named_in_errors():
            for _ in range(_SAMPLES):
                said = taking.check(INFO)
                info = parse_info(said)
                domains = parse_domains(taking.check(DOMAINS))
                guests = [domain.name for domain in domains if domain.id]
                if guests:
                    raise HypervisorFailure(
                        f"the host is not idle: {', '.join(guests)} runs",
                        tried=DOMAINS,
                        next_step="stop the guests before memory is measured",
                    )
                total.append(memory_of(info, "total_memory", said))
                taken.append(total[-1] - memory_of(info, "free_memory", said))
                control.append(next(domain.memory for domain in domains if domain.id == 0))
        rest = [all_of_it - part for all_of_it, part in zip(taken, control, strict=True)]
        for metric, samples, method in (
            ("taken-from-guests", taken, "total_memory - free_memory of xl info, no guest running"),
            ("control-domain", control, "Mem of Domain-0 in xl list"),
            ("hypervisor", rest, "total_memory - free_memory - Mem of Domain-0"),
            ("total", total, "total_memory of xl info"),
        ):
            taking.add(metric, samples, "B", method=method, command=f"{INFO}; {DOMAINS}")
        return taking.measured()

    def start_guest(self, host: Host, files: GuestFiles, name: str, kind: str) -> RecordedGuest:
        """Create the domain paused, attach the recorder to its console, and let it run."""
        if kind not in self.guest_kinds:
            raise ConfigError(
                f"Xen has no guests of kind '{kind}'", next_step=f"use {', '.join(self.guest_kinds)}"
            )

        def destroy() -> None:
            host.run(f"xl destroy {shlex.quote(name)} 2>/dev/null", _CREATE_S)

        # Without a terminal of its own xl console only reads; xenconsoled's end takes what is typed.
        keyboard = f'"$(xenstore-read /local/domain/$(xl domid {name})/console/tty)"'
        guest = RecordedGuest(host, name, kind, destroy, keyboard)
        with host.named_in_errors():
            try:
                kernel, initrd = guest.place(files)
                settings = guest_settings(name, kind, kernel, initrd)
                host.shell.put(settings.encode(), f"{guest.folder}/settings")
                created = host.run(f"xl create -q -p {guest.folder}/settings", _CREATE_S)
                if created.exit_status:
                    said = (created.errors or created.output).strip()
                    raise HypervisorFailure(
                        f"Xen does not create the {kind} guest {name}: {said}",
                        tried=f"{created.command} with {settings!r}",
                        next_step="run it by hand with -vvv; read xl dmesg",
                    )
                guest.record(f"xl console {name}")
                host.check(f"xl unpause {name}", _CREATE_S)
            except BaseException:
                with suppress(LabError):  # the first error is the one to tell
                    guest.stop()
                raise
        return guest

    def shutdown(self, host: Host) -> None:
        """Power off by systemd; Xen powers the machine off when its control domain halts."""
        host.check("systemctl poweroff --no-block")


def guest_settings(name: str, kind: str, kernel: str, initrd: str) -> str:
    """The xl.cfg(5) of a guest; it is destroyed however it ends, so that its console ends with it."""
    return (
        f'name = "{name}"\ntype = "{kind}"\nmemory = 256\nvcpus = 1\n'
        f'kernel = "{kernel}"\nramdisk = "{initrd}"\n'
        f'extra = "console=hvc0 panic=5 lab.name={name}"\n'
        'on_poweroff = "destroy"\non_reboot = "destroy"\non_crash = "destroy"\n'
    )


def _not_xen(why: str, tried: str) -> HypervisorFailure:
    return HypervisorFailure(
        f"Xen does not run: {why}",
        tried=tried,
        next_step="look for the Xen banner in the serial log; without it GRUB started plain Linux",
    )


FAMILY = Xen()
