"""KVM on Debian: plain QEMU under systemd, spoken to by QMP. Source: xen-kvm-debian.md §4, QEMU qmp-spec."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import suppress
from typing import Final

from lab.console.api import Stage
from lab.deadline import Deadline
from lab.errors import ConfigError, HypervisorFailure, LabError
from lab.hypervisors.contract import GuestFiles, Host, Proof
from lab.hypervisors.recorded_guest import RecordedGuest
from lab.measure.model import Evidence, Measured
from lab.measure.reading import Json, fields, reading, rows, unreadable
from lab.measure.taking import Taking

MEMINFO = "cat /proc/meminfo"
IOMEM = "grep '^[0-9a-f].*: System RAM$' /proc/iomem"
_DEVICE = "test -c /dev/kvm && test -r /dev/kvm && test -w /dev/kvm"
_FLAGS = "grep -m1 -o -w -E 'svm|vmx' /proc/cpuinfo"
_SAMPLES = 3
_QMP_S = 120.0
_FIRMWARE_S = 180.0
_PROBE = "lab-probe"
_DMESG = "read what dmesg of the host says about kvm"

# QMP needs its capabilities negotiated once; asking again is answered with an error that harms nothing.
_ASK = (
    'exec 3<>"$1.in" 4<>"$1.out"; printf "%s\\n" "$2" "$3" >&3; '
    "while IFS= read -r line <&4; do printf '%s\\n' \"$line\"; "
    "case $line in *'\"lab-answer\"'*) exit 0;; esac; done"
)


def parse_qmp(evidence: Evidence) -> dict[str, Json]:
    """What QEMU returned to the command that carried the id `lab-answer`.

    Raises:
        HypervisorFailure: there is no such answer, or it is an error.
    """
    with reading(evidence):
        for line in evidence.output.splitlines():
            message = json.loads(line)
            if isinstance(message, dict) and message.get("id") == "lab-answer":
                answer = message["return"]
                if not isinstance(answer, dict):
                    raise ValueError(f"it returned {answer!r}")
                return answer
    raise unreadable(evidence, "QEMU did not answer")


def parse_meminfo(evidence: Evidence) -> dict[str, int]:
    """Bytes by name from /proc/meminfo, where `kB` means KiB (proc(5)).

    Raises:
        HypervisorFailure: it has another form, or lacks MemTotal or MemAvailable.
    """
    found = {}
    for key, value in fields(evidence, ":").items():
        number = re.fullmatch(r"(\d+)(?: kB)?", value)
        if not number:
            raise unreadable(evidence, f"{key} is {value!r}")
        found[key] = int(number[1]) * (1024 if value.endswith("kB") else 1)
    for key in ("MemTotal", "MemAvailable"):
        if key not in found:
            raise unreadable(evidence, f"{key} is missing")
    return found


def parse_iomem(evidence: Evidence) -> int:
    """Bytes of memory that firmware handed to Linux: the `System RAM` ranges of /proc/iomem.

    Raises:
        HypervisorFailure: a range has another form, or all are zero (as anyone but root sees them).
    """
    total = 0
    with reading(evidence):
        for span, _ in rows(evidence, 2, " : "):
            first, last = (int(end, 16) for end in span.split("-"))
            total += last - first + 1 if last else 0
    if not total:
        raise unreadable(evidence, "it shows no memory; only root sees the addresses")
    return total


class Kvm:
    """The KVM family: QEMU guests accelerated by the kernel."""

    name: Final = "kvm"
    boot_milestones: Final = ("loader-grub", "linux-banner", "systemd-welcome", "login-prompt")
    failure_stages: Final[tuple[Stage, ...]] = ("loader", "kernel", "services")
    guest_kinds: Final = ("kvm",)

    def prove(self, host: Host) -> Proof:
        """/dev/kvm is there, and QEMU says that KVM is enabled for a guest whose firmware really runs."""
        with host.named_in_errors():
            flags = host.run(_FLAGS)
            if flags.exit_status:
                raise _no_kvm(
                    "the CPU has neither svm nor vmx",
                    _FLAGS,
                    "switch on virtualisation in the firmware setup",
                )
            device = host.run(_DEVICE)
            if device.exit_status:
                raise _no_kvm("there is no usable /dev/kvm", _DEVICE, _DMESG)
            probe = RecordedGuest(host, _PROBE, "kvm")
            try:
                probe.prepare()
                _make_pipes(probe)
                probe.record(
                    f"{_qemu(probe, memory=64)} -chardev stdio,id=console,signal=off "
                    "-device isa-debugcon,iobase=0x402,chardev=console"
                )
                answer = ask(probe, "query-kvm")
                said = parse_qmp(answer)
                deadline = Deadline.after(
                    _FIRMWARE_S, "the firmware of a guest to speak, as proof that guests execute"
                )
                firmware = probe.console_until("SeaBIOS", deadline)
            finally:
                probe.stop()
        if said != {"enabled": True, "present": True}:
            raise _no_kvm(f"QEMU runs without it: {json.dumps(said)}", "query-kvm", _DMESG)
        facts = {"extension": flags.output.strip(), "query-kvm": json.dumps(said), "guest-firmware": firmware}
        return Proof((flags, device, answer), facts)

    def memory(self, host: Host) -> Measured:
        """`taken-from-guests` = memory from firmware - MemAvailable: kernel image and tables, and what runs.

        MemAvailable is the kernel's own estimate of what new work can have without swapping (proc(5)).
        """
        taking = Taking(host, "memory")
        with host.named_in_errors():
            guests = host.run("systemctl list-units --no-legend --plain 'lab-guest-*'")
            if guests.output.strip():
                raise HypervisorFailure(
                    f"the host is not idle: {guests.output.split()[0]} runs",
                    tried=guests.command,
                    next_step="stop the guests before memory is measured",
                )
            total = parse_iomem(taking.check(IOMEM))
            readings = [parse_meminfo(taking.check(MEMINFO)) for _ in range(_SAMPLES)]
        for metric, samples, method in (
            (
                "taken-from-guests",
                [total - seen["MemAvailable"] for seen in readings],
                "System RAM in /proc/iomem - MemAvailable, no guest running",
            ),
            (
                "control-domain",
                [seen["MemTotal"] - seen["MemAvailable"] for seen in readings],
                "MemTotal - MemAvailable: what the running host uses",
            ),
            (
                "hypervisor",
                [total - seen["MemTotal"] for seen in readings],
                "System RAM in /proc/iomem - MemTotal: kernel image, page tables and reserved memory",
            ),
            ("total", [total], "System RAM in /proc/iomem"),
        ):
            taking.add(metric, samples, "B", method=method, command=f"{IOMEM}; {MEMINFO}")
        return taking.measured()

    def start_guest(self, host: Host, files: GuestFiles, name: str, kind: str) -> RecordedGuest:
        """Start QEMU with KVM and nothing else, its serial port recorded; QEMU without KVM does not start."""
        if kind not in self.guest_kinds:
            raise ConfigError(
                f"KVM has no guests of kind '{kind}'", next_step=f"use {', '.join(self.guest_kinds)}"
            )
        guest = RecordedGuest(host, name, kind)
        with host.named_in_errors():
            try:
                kernel, initrd = guest.place(files)
                _make_pipes(guest)
                guest.record(
                    f"{_qemu(guest, memory=256)} -kernel {kernel} -initrd {initrd} "
                    f"-append 'console=ttyS0 loglevel=4 panic=5 lab.name={name}' "
                    "-chardev stdio,id=console,signal=off -serial chardev:console"
                )
                status = parse_qmp(ask(guest, "query-status"))
                if not status.get("running"):
                    raise HypervisorFailure(
                        f"the guest {name} does not run: {json.dumps(status)}",
                        tried="query-status",
                        next_step="read the guest's console; read dmesg of the host",
                    )
            except BaseException:
                with suppress(LabError):  # the first error is the one to tell
                    guest.stop()
                raise
        return guest

    def shutdown(self, host: Host) -> None:
        """Power off by systemd."""
        host.check("systemctl poweroff --no-block")


def ask(guest: RecordedGuest, command: str) -> Evidence:
    """What QEMU says to a QMP command, raw; see `parse_qmp`.

    Raises:
        HypervisorFailure: QEMU ended, or does not answer in time.
    """
    host = guest.host
    request = json.dumps({"execute": command, "id": "lab-answer"})
    pipe = f"{guest.folder}/qmp"
    line = shlex.join(
        ["timeout", str(_QMP_S), "bash", "-c", _ASK, "ask", pipe, '{"execute":"qmp_capabilities"}', request]
    )
    answer = host.run(line, _QMP_S + 60)
    if answer.exit_status:
        said = host.run(f"cat {guest.folder}/errors").output.strip()
        raise HypervisorFailure(
            f"QEMU does not answer {command}: {said or answer.errors.strip() or 'no word from it'}",
            server=host.server.name,
            release=host.release.name,
            tried=f"QMP {request}",
            console=tuple(guest.console().splitlines()[-15:]),
            next_step="start the same QEMU by hand on the host; read dmesg | grep -i kvm",
        )
    return answer


def _make_pipes(guest: RecordedGuest) -> None:
    guest.host.check(f"mkfifo {guest.folder}/qmp.in {guest.folder}/qmp.out")


def _qemu(guest: RecordedGuest, *, memory: int) -> str:
    return (
        f"qemu-system-x86_64 -name {guest.name} -nodefaults -no-user-config -no-reboot -display none "
        f"-machine pc,accel=kvm -cpu host -m {memory} "
        f"-chardev pipe,id=qmp,path={guest.folder}/qmp -mon chardev=qmp,mode=control"
    )


def _no_kvm(why: str, tried: str, next_step: str) -> HypervisorFailure:
    return HypervisorFailure(f"KVM does not run: {why}", tried=tried, next_step=next_step)


FAMILY = Kvm()
