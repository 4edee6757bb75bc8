"""Which accelerator QEMU may use: KVM only where a guest has really run in it, else multi-threaded TCG.

A /dev/kvm that opens proves nothing: it may lack nested virtualization, without which no hypervisor runs
in its guests, or be a software stand-in that QEMU cannot drive with the processor it shows. So a boot
sector is started exactly as a server would be, looks for VMX or SVM, and says farewell through
isa-debug-exit; only that counts. The answer holds until the next boot of the controller and is cached
under that boot's id. Source: facts/virtual-rack.md, issue 2 item 2.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

from lab import paths

Accelerator = Literal["kvm", "tcg"]
QEMU = "qemu-system-x86_64"
PROBE_SECONDS = 6.0
"""A KVM guest is through SeaBIOS in under a second; a machine that needs longer is no gain over TCG."""

PROBE_CPU = "qemu64,+svm,+npt"
_FAREWELL = 0x2A
_BOOT_SECTOR = (
    bytes.fromhex(
        "66b801000000 0fa2 f6c120 7511"  # cpuid leaf 1: ECX bit 5 is VMX; jnz found
        "66b801000080 0fa2 f6c104 7504"  # cpuid leaf 80000001h: ECX bit 2 is SVM; jnz found
        "b015 eb02"  #                     mov al, 15h; jmp out
        "b02a e6f4 f4"  #                  found: mov al, 2ah; out: out 0f4h, al; hlt
    ).ljust(510, b"\0")
    + b"\x55\xaa"
)
"""isa-debug-exit ends QEMU with (value << 1) | 1."""


def choose() -> Accelerator:
    """The accelerator for this controller, from the cache where this boot has been probed already."""
    cached = paths.cache() / f"accelerator-{_boot_id()}"
    if cached.is_file() and cached.read_text() in ("kvm", "tcg"):
        return "kvm" if cached.read_text() == "kvm" else "tcg"
    found: Accelerator = "kvm" if probe("kvm") else "tcg"
    temporary = cached.with_name(f"{cached.name}.{os.getpid()}")
    temporary.write_text(found)
    temporary.replace(cached)
    return found


def probe(accelerator: Accelerator, seconds: float = PROBE_SECONDS) -> bool:
    """Whether a guest that could host a hypervisor really runs under that accelerator within `seconds`."""
    if accelerator == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with tempfile.TemporaryDirectory(prefix="lab-accelerator-") as folder:
        (Path(folder) / "sector").write_bytes(_BOOT_SECTOR)
        command = [
            QEMU,
            *arguments(accelerator, PROBE_CPU),
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
            "-m",
            "16",
        ]
        command += [
            "-drive",
            "if=ide,format=raw,file=sector",
            "-device",
            "isa-debug-exit,iobase=0xf4,iosize=4",
        ]
        try:
            ended = subprocess.run(command, cwd=folder, capture_output=True, timeout=seconds, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
    return ended.returncode == (_FAREWELL << 1) | 1


def arguments(accelerator: Accelerator, cpu: str) -> list[str]:
    """QEMU's arguments for it; `cpu` is the model that TCG plays, KVM shows the processor that is there."""
    if accelerator == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi", "-cpu", cpu]


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
