"""The disks that an installed system sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.measure.model import Evidence
from lab.measure.reading import bytes_of, json_rows, reading, text_of

if TYPE_CHECKING:
    from lab.hypervisors.contract import Host

LSBLK_DISKS = "lsblk -J -b -d -o PATH,TYPE,SIZE,SERIAL,WWN,MODEL,TRAN"


@dataclass(frozen=True)
class Disk:
    """A disk; `size` in bytes, `transport` as Linux names it (nvme, sata, sas, usb…); empty where unknown."""

    path: str
    size: int
    serial: str
    wwn: str
    model: str
    transport: str


def parse_disks(evidence: Evidence) -> tuple[Disk, ...]:
    """The disks in the output of `LSBLK_DISKS`, without CD drives, loop devices and empty devices.

    Raises:
        HypervisorFailure: the output has another form.
    """
    with reading(evidence):
        return tuple(
            Disk(
                text_of(row, "path"),
                bytes_of(row, "size"),
                text_of(row, "serial").strip(),
                text_of(row, "wwn").strip(),
                text_of(row, "model").strip(),
                text_of(row, "tran"),
            )
            for row in json_rows(evidence, "blockdevices")
            if text_of(row, "type") == "disk" and bytes_of(row, "size")
        )


def disks(host: Host) -> tuple[Disk, ...]:
    """The disks of the host.

    Raises:
        HypervisorFailure: lsblk failed or printed something unexpected.
    """
    with host.named_in_errors():
        return parse_disks(host.check(LSBLK_DISKS))
