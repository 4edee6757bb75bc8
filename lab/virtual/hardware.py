"""A server of the rack file as QEMU's command line.

Files are named relative to the server's folder, in which QEMU runs; what connects QEMU to the daemon
(monitor, serial port, data networks) is passed as open sockets, so that nothing has to listen.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.bmc.api import BootDevice
from lab.errors import ConfigError, LabFault
from lab.rack.model import Disk, Nic, Server, VirtualServer
from lab.virtual import accel, uefi_variables
from lab.virtual.board import Override
from lab.virtual.folder import BOOT_FILES, ServerFolder

OVMF_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_VARS = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
CD = "cd0"
_VARIABLES = "disks/uefi-variables.fd"
_SERCON = "disks/sercon-port"
"""Holds the I/O port of COM1, which SeaBIOS then writes its screens to (its docs/Runtime_config)."""
_SERIAL_LIMIT = {"nvme": 20, "ahci": 20, "virtio-blk": 20}
"""Longest serial the device model reports in full; longer ones would be cut and then match nothing."""


@dataclass(frozen=True)
class Wires:
    """Open descriptors QEMU inherits: monitor, serial port, firmware log, and one per data NIC (by MAC)."""

    monitor: int
    serial: int
    firmware: int
    networks: Mapping[str, int]


@dataclass(frozen=True)
class PowerOn:
    """What one power-on starts with: the rack it belongs to, accelerator, in-band IPMI port (None without
    IPMI), image in the CD drive, firmware settings (`settings`).
    """

    rack: str
    accelerator: accel.Accelerator
    ipmi_port: int | None
    media: str | None
    settings: Mapping[str, str | int] = field(default_factory=dict)


def device_of(index: int, kind: str) -> str:
    """QEMU's id of the n-th disk or NIC of the rack file."""
    return f"{kind}{index}"


def boot_order(server: Server, override: BootDevice) -> dict[str, int]:
    """The bootindex of every bootable device; -1 means not to be booted from.

    Without an override: the disks in the order of the rack file, then the CD, then the boot NIC. An
    override goes first; one to the disk leaves the CD out, so that a disk that does not boot shows. `SETUP`
    leaves nothing to boot from: SeaBIOS, which has no set-up program, then halts; OVMF is brought into its
    set-up by a key (`chassis`). SeaBIOS tries the first hard disk only.
    """
    disks = [device_of(index, "disk") for index in range(len(server.disks))]
    nic = device_of(server.nics.index(server.boot_nic), "nic")
    order = [*disks, CD, nic]
    if override is BootDevice.SETUP:
        return dict.fromkeys(order, -1)
    if override is BootDevice.DISK:
        return {device: index for index, device in enumerate((*disks, nic), start=1)} | {CD: -1}
    first = {BootDevice.CD: CD, BootDevice.PXE: nic}.get(override)
    if first is not None:
        order.sort(key=lambda device: device != first)
    return {device: index for index, device in enumerate(order, start=1)}


def prepare(server: Server, folder: ServerFolder) -> None:
    """Make the disk images (sparse) and UEFI variables that are missing; what is there is kept.

    Raises:
        ConfigError: a disk cannot be built as the rack file describes it.
        LabFault: a disk image is there with another size, or the UEFI firmware is not installed.
    """
    for index, disk in enumerate(server.disks):
        _prepare_disk(server, folder, index, disk)
    (folder.path / _SERCON).write_bytes(0x3F8.to_bytes(2, "little"))
    variables = folder.path / _VARIABLES
    if server.firmware == "uefi" and not variables.exists():
        if not (OVMF_CODE.is_file() and OVMF_VARS.is_file()):
            raise LabFault(
                "UEFI firmware for QEMU is not installed",
                server=server.name,
                next_step="install the package ovmf",
            )
        variables.write_bytes(OVMF_VARS.read_bytes())


def set_http_boot(server: Server, folder: ServerFolder, override: Override) -> None:
    """Let a UEFI server that is off boot by HTTP next, where the override says so, and else not.

    Raises:
        LabFault: its UEFI variables are damaged or full.
    """
    if server.firmware != "uefi":
        return
    if override.device is BootDevice.HTTP and override.uri is not None:
        uefi_variables.boot_next_by_http(folder.path / _VARIABLES, override.uri)
    else:
        uefi_variables.forget_http(folder.path / _VARIABLES)


def command(server: Server, start: PowerOn, wires: Wires, order: Mapping[str, int]) -> list[str]:
    """QEMU's command line for one power-on; the guest waits for `cont` on the monitor."""
    built = _hardware(server)
    identity = uuid.uuid5(uuid.NAMESPACE_DNS, f"{server.name}.{start.rack}.virtual-rack.invalid")
    machine = f"{built.machine},smm=off" if built.machine == "q35" else built.machine
    line = [
        accel.QEMU,
        "-name",
        server.name,
        "-uuid",
        str(identity),
        "-S",
        "-nodefaults",
        "-display",
        "none",
        "-vga",
        "std",
    ]
    line += ["-machine", machine, *accel.arguments(start.accelerator, built.cpu)]
    if start.settings.get("ProcVirtualization") == "Disabled":
        line[-1] += ",-svm,-vmx"
    line += ["-smp", str(built.cpus), "-m", f"{built.memory // 2**20}M", "-rtc", "base=utc"]
    prompt = int(start.settings.get("BootPromptSeconds", 0))
    line += ["-boot", f"strict=on,menu=on,splash-time={prompt * 1000}" if prompt else "strict=on"]
    product = f"manufacturer=hypervisor-lab,product=Virtual {server.firmware} server"
    line += ["-smbios", f"type=1,{product},serial={serial_number(server)}"]
    if tag := str(start.settings.get("AssetTag", "")):
        line += ["-smbios", f"type=3,asset={tag.replace(',', ',,')}"]
    line += ["-chardev", f"socket,id=monitor,fd={wires.monitor}", "-mon", "chardev=monitor,mode=control"]
    line += ["-chardev", f"socket,id=serial,fd={wires.serial}", "-serial", "chardev:serial"]
    if server.firmware == "bios":
        line += ["-chardev", f"socket,id=firmware,fd={wires.firmware}"]
        line += ["-device", "isa-debugcon,iobase=0x402,chardev=firmware"]
        if start.settings.get("SerialRedirection") == "Enabled":
            line += ["-fw_cfg", f"name=etc/sercon-port,file={_SERCON}"]
    line += ["-object", "rng-builtin,id=rng", "-device", "virtio-rng-pci,rng=rng"]
    if server.firmware == "uefi":
        line += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF_CODE}"]
        line += ["-drive", f"if=pflash,unit=1,format=raw,file={_VARIABLES}"]
    if start.ipmi_port is not None:
        line += ["-chardev", f"socket,id=ipmi,host=127.0.0.1,port={start.ipmi_port},reconnect=2"]
        line += ["-device", "ipmi-bmc-extern,id=bmc,chardev=ipmi", "-device", "isa-ipmi-kcs,bmc=bmc"]
    line += _disks(server, built, start.media, order)
    for index, nic in enumerate(server.nics):
        line += _nic(server, built, index, nic, wires, order)
    return line


def serial_number(server: Server) -> str:
    """The chassis serial number, the same in SMBIOS, FRU and Redfish."""
    return f"VR-{server.name}".upper()


def _hardware(server: Server) -> VirtualServer:
    if server.virtual is None:
        raise ConfigError(
            "has no `virtual:` hardware", server=server.name, next_step="use a virtual rack's file"
        )
    return server.virtual


def _image(index: int) -> str:
    return f"disks/{device_of(index, 'disk')}.raw"


def _prepare_disk(server: Server, folder: ServerFolder, index: int, disk: Disk) -> None:
    serial = disk.serial or ""
    wanted = _hardware(server).disks[serial]
    limit = _SERIAL_LIMIT.get(wanted.bus, 36)
    if len(serial) > limit or "," in serial:
        raise ConfigError(
            f"disk serial '{serial}' cannot be built on {wanted.bus}: at most {limit} characters, no comma",
            server=server.name,
            next_step="choose another serial in the rack file",
        )
    image = folder.path / _image(index)
    if not image.exists():
        with image.open("wb") as stream:
            stream.truncate(wanted.size)
    elif image.stat().st_size != wanted.size:
        raise LabFault(
            f"disk {serial} is {image.stat().st_size} bytes, the rack file says {wanted.size}",
            server=server.name,
            next_step=f"put the size back, or remove {image} with all that is on it",
        )


def _disks(server: Server, built: VirtualServer, media: str | None, order: Mapping[str, int]) -> list[str]:
    line: list[str] = []
    buses = {serial: disk.bus for serial, disk in built.disks.items()}
    # q35 brings an AHCI controller of its own ("ide"); pc needs one. The CD drive is always on AHCI.
    ahci = "ide" if built.machine == "q35" else "ahci"
    if ahci == "ahci":
        line += ["-device", "ahci,id=ahci"]
    for bus, controller in (
        ("megasas", "megasas"),
        ("mptsas1068", "mptsas1068"),
        ("virtio-scsi", "virtio-scsi-pci"),
    ):
        if bus in buses.values():
            line += ["-device", f"{controller},id={bus}"]
    ports = 0
    for index, disk in enumerate(server.disks):
        bus = buses[disk.serial or ""]
        name = device_of(index, "disk")
        # A killed QEMU loses nothing of the page cache; flushing to the controller's disk buys nothing here.
        drive = f"if=none,id={name}-image,format=raw,discard=unmap,cache.no-flush=on,file={_image(index)}"
        shared = f"drive={name}-image,id={name},serial={disk.serial},bootindex={order[name]}"
        wwn = f",wwn=0x{_wwn(server, disk.wwn):016x}" if disk.wwn else ""
        if bus == "mptsas1068" and not wwn:
            wwn = f",wwn=0x{_local_wwn(disk.serial or ''):016x}"
        if bus == "ahci":
            device = f"ide-hd,bus={ahci}.{ports},{shared}{wwn}"
            ports += 1
        elif bus == "nvme":
            device = f"nvme,{shared}"
        elif bus == "virtio-blk":
            device = f"virtio-blk-pci,{shared}"
        else:
            device = f"scsi-hd,bus={bus}.0,scsi-id={index},{shared}{wwn}"
        line += ["-drive", drive, "-device", device]
    if ports > 5:
        raise ConfigError(
            "has more than five AHCI disks", server=server.name, next_step="put some on another bus"
        )
    if media is not None:
        line += ["-drive", f"if=none,id={CD}-image,media=cdrom,readonly=on,format=raw,file={media}"]
    drive = f",drive={CD}-image" if media is not None else ""
    return [*line, "-device", f"ide-cd,bus={ahci}.5,id={CD},bootindex={order[CD]}{drive}"]


def _nic(
    server: Server, built: VirtualServer, index: int, nic: Nic, wires: Wires, order: Mapping[str, int]
) -> list[str]:
    name = device_of(index, "nic")
    if nic.boot:
        backend = f"user,id={name}-net,tftp=tftp,bootfile={BOOT_FILES[server.firmware]}"
        if server.host is not None:
            backend += f",hostfwd=tcp:127.0.0.1:{server.host.ssh_port}-:22"
        # Ports that are not booted from carry no option ROM: firmware time is not spent on them.
        boot = f",bootindex={order[name]}"
    else:
        backend = f"dgram,id={name}-net,local.type=fd,local.str={wires.networks[nic.mac]}"
        boot = ",romfile="
    return [
        "-netdev",
        backend,
        "-device",
        f"{built.nics[nic.mac]},id={name},netdev={name}-net,mac={nic.mac}{boot}",
    ]


def _local_wwn(serial: str) -> int:
    """A locally assigned WWN (NAA 3): Linux's mptsas passes by a SAS disk that has none."""
    return 0x3 << 60 | uuid.uuid5(uuid.NAMESPACE_OID, serial).int >> 68


def _wwn(server: Server, text: str) -> int:
    digits = text.lower().removeprefix("naa.").removeprefix("0x").replace(":", "")
    try:
        number = int(digits, 16)
    except ValueError:
        number = 1 << 64
    if number >= 1 << 64:
        raise ConfigError(
            f"WWN '{text}' is not 64 bits of hex",
            server=server.name,
            next_step="write it like 0x5000c50012345678",
        )
    return number
