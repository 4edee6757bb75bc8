"""What a rack file says about a server of the virtual rack: the hardware QEMU is to build."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lab.rack.values import Mac, Size, Strict


class VirtualDisk(Strict):
    """How the virtual rack builds one disk."""

    bus: Literal["nvme", "ahci", "megasas", "mptsas1068", "virtio-blk", "virtio-scsi"]
    size: Size = 64 * 2**30


class VirtualServer(Strict):
    """The hardware of a server of the virtual rack; `disks` by serial, `nics` (QEMU models) by MAC."""

    machine: Literal["q35", "pc"] = "q35"
    cpus: Annotated[int, Field(ge=1)] = 2
    memory: Size = 3 * 2**30
    cpu: str = "qemu64,+svm,+npt"
    disks: dict[str, VirtualDisk]
    nics: dict[Mac, Literal["e1000e", "vmxnet3", "virtio-net-pci"]]
