"""Every PCI device with its driver, and the server's bill of firmware and driver versions.

Source: xen-kvm-debian.md §5; lspci(8) for the keys of -vmm; Linux Documentation/ABI for /sys/class/dmi/id.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.measure.model import Bill, Evidence, Measured
from lab.measure.reading import fields, reading, rows, unreadable
from lab.measure.taking import Taking

if TYPE_CHECKING:
    from lab.bmc.bill import Inventory
    from lab.hypervisors.contract import Host

LSPCI = "lspci -Dvmmnnk"
_NAMED = re.compile(r"^(?:(?P<name>.*?) )?\[(?P<id>[0-9a-f]{4})\]$")
_SLOT = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_FIRMWARE = """sh -c '
for file in /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_name /sys/class/dmi/id/product_serial \\
  /sys/class/dmi/id/bios_vendor /sys/class/dmi/id/bios_version /sys/class/dmi/id/bios_date \\
  /sys/class/nvme/*/firmware_rev; do
  if [ -r "$file" ]; then echo "$file: $(cat "$file")"; fi
done
if [ -d /sys/firmware/efi ]; then echo "mode: uefi"; else echo "mode: bios"; fi
echo "kernel: $(uname -r)"
'"""


@dataclass(frozen=True)
class PciDevice:
    """One PCI function. Names come from the host's pci.ids, ids are four hexadecimal digits.

    `class_code` is base class and subclass; `driver` is empty where none is bound; `modules` are the
    modules that claim to drive it.
    """

    slot: str
    class_name: str
    class_code: str
    vendor: str
    vendor_id: str
    device: str
    device_id: str
    subsystem: str = ""
    revision: str = ""
    driver: str = ""
    modules: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Vendor and device in words."""
        return f"{self.vendor} {self.device}".strip()


def parse_lspci(evidence: Evidence) -> tuple[PciDevice, ...]:
    """The devices in the output of `LSPCI`; unknown keys are passed over.

    Raises:
        HypervisorFailure: a record is incomplete, as when the output is cut off, or there is none.
    """
    records = [record for record in re.split(r"\n\s*\n", evidence.output.strip()) if record]
    if not records:
        raise unreadable(evidence, "it lists no PCI device")
    with reading(evidence):
        return tuple(_device(record) for record in records)


def _device(record: str) -> PciDevice:
    found: dict[str, list[str]] = {}
    for line in record.splitlines():
        key, there, value = line.partition(":")
        if not there:
            raise ValueError(f"no ':' in the line {line!r}")
        found.setdefault(key, []).append(value.strip())
    slot = found["Slot"][0]
    if not _SLOT.fullmatch(slot):
        raise ValueError(f"{slot!r} is no PCI address")
    (class_name, class_code), (vendor, vendor_id), (device, device_id) = (
        _named(found[key][0]) for key in ("Class", "Vendor", "Device")
    )
    subsystem = " ".join(value for key in ("SVendor", "SDevice") for value in found.get(key, []))
    return PciDevice(
        slot,
        class_name,
        class_code,
        vendor,
        vendor_id,
        device,
        device_id,
        subsystem,
        found.get("Rev", [""])[0],
        found.get("Driver", [""])[0],
        tuple(found.get("Module", [])),
    )


def _named(text: str) -> tuple[str, str]:
    match = _NAMED.match(text)
    if not match:
        raise ValueError(f"no [id] in {text!r}")
    return match["name"] or "", match["id"]


def devices(host: Host) -> tuple[tuple[PciDevice, ...], Measured]:
    """Every PCI device, and their counts: `pci-devices`, `pci-devices-driven`, `pci-devices-undriven`.

    Undriven are those that have no driver although a module on the host claims to drive them; a host
    bridge, say, needs none.

    Raises:
        HypervisorFailure: lspci failed or printed something unexpected.
    """
    taking = Taking(host, "devices")
    with host.named_in_errors():
        found = parse_lspci(taking.check(LSPCI))
    undriven = [device for device in found if device.modules and not device.driver]
    driven = [device for device in found if device.driver]
    for metric, which, method in (
        ("pci-devices", found, "PCI functions"),
        ("pci-devices-driven", driven, "PCI functions with a driver bound"),
        ("pci-devices-undriven", undriven, "PCI functions without a driver although a module claims them"),
    ):
        taking.add(metric, [len(which)], "count", method=method, command=LSPCI)
    return found, taking.measured()


def bill(host: Host, inventory: Inventory) -> tuple[Bill, tuple[Evidence, ...]]:
    """The server's bill: the BMC's inventory, completed by what the host itself reads.

    A driver's version is the one it states, else that of the kernel it is part of.

    Raises:
        HypervisorFailure: a command failed or printed something unexpected.
    """
    taking = Taking(host, "devices")
    with host.named_in_errors():
        read = fields(taking.check(_FIRMWARE), ":")
        names = sorted({device.driver for device in parse_lspci(taking.check(LSPCI)) if device.driver})
        versions = _driver_versions(taking, names)
    kernel = read.pop("kernel", "")
    mode = read.pop("mode", "")
    seen = {_thing(path): text for path, text in read.items()}
    return (
        Bill(
            server=host.server.name,
            vendor=inventory.vendor or seen.get("sys_vendor", ""),
            model=inventory.model or seen.get("product_name", ""),
            serial=inventory.serial or seen.get("product_serial", ""),
            firmware_mode=mode,
            firmware=inventory.firmware
            | {name: text for name, text in seen.items() if name.startswith(("bios_", "nvme"))},
            drivers={name: versions.get(name) or f"kernel {kernel}" for name in names},
        ),
        taking.measured().evidence,
    )


def _driver_versions(taking: Taking, names: list[str]) -> dict[str, str]:
    if not names:
        return {}
    listed = " ".join(shlex.quote(name) for name in names)
    command = f'for d in {listed}; do echo "$d=$(modinfo -F version "$d" 2>/dev/null)"; done'
    answers = rows(taking.check(command), 2, "=")
    return {answer[0]: answer[1] for answer in answers}


def _thing(path: str) -> str:
    """`bios_version` of /sys/class/dmi/id/bios_version, `nvme0 firmware_rev` of /sys/class/nvme/nvme0/…"""
    *_, folder, name = path.split("/")
    return name if folder == "id" else f"{folder} {name}"
