"""Where a virtual rack and each of its servers keep their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab import paths
from lab.rack.model import Server

BOOT_FILES = {"bios": "boot.ipxe", "uefi": "netboot.efi"}
"""What a PXE boot asks for: an iPXE script under BIOS, an EFI application under UEFI (one name per firmware,
because QEMU's user networking has one boot file per network port; facts/virtual-rack.md section 4)."""


@dataclass(frozen=True)
class ServerFolder:
    """The files of one server; its QEMU and `ipmi_sim` run inside it and name files relative to it."""

    path: Path

    @property
    def tftp(self) -> Path:
        """What QEMU's TFTP serves; PXE works exactly while its boot file is there."""
        return self.path / "tftp"

    @property
    def ipmi(self) -> Path:
        """Configuration, state and sensor values of `ipmi_sim`."""
        return self.path / "ipmi"

    @property
    def media(self) -> Path:
        """Images fetched by virtual media."""
        return self.path / "media"

    @property
    def disks(self) -> Path:
        """Disk images and UEFI variables, kept between runs."""
        return self.path / "disks"

    @property
    def serial_raw(self) -> Path:
        """Every byte the server wrote to its serial port since the rack came up."""
        return self.path / "serial.raw"

    @property
    def firmware_log(self) -> Path:
        """What SeaBIOS says of its own work since the last power-on."""
        return self.path / "firmware.log"

    @property
    def faults(self) -> Path:
        """Every fault and quirk that the BMC has played, one JSON object a line."""
        return self.path / "faults.jsonl"

    @property
    def qemu_log(self) -> Path:
        """What QEMU itself said."""
        return self.path / "qemu.log"

    def make(self) -> None:
        """Create all folders, owner-only."""
        for folder in (self.path, self.tftp, self.ipmi, self.media, self.disks):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)


@dataclass(frozen=True)
class RackFolder:
    """The files of one virtual rack, under the user's state folder."""

    path: Path

    @classmethod
    def of(cls, name: str) -> RackFolder:
        """The folder of the rack of that name."""
        return cls(paths.state() / "racks" / name)

    @property
    def control_socket(self) -> Path:
        """The daemon's unix socket."""
        return self.path / "control.sock"

    @property
    def daemon_lock(self) -> Path:
        """Locked by the daemon for as long as it lives; holds its process id."""
        return self.path / "daemon.lock"

    @property
    def up_lock(self) -> Path:
        """Held while somebody brings the rack up or down."""
        return self.path / "up.lock"

    @property
    def log(self) -> Path:
        """The daemon's log."""
        return self.path / "daemon.log"

    @property
    def server_pem(self) -> Path:
        """Key and certificate of the Redfish services, owner-only."""
        return self.path / "server.pem"

    def server(self, server: Server) -> ServerFolder:
        """The folder of one server."""
        return ServerFolder(self.path / server.name)
