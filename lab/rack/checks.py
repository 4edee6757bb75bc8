"""The single checks of the preflight of a server, in the order they run; all of them only read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from lab.bmc.api import Bmc, Opener
from lab.bmc.bill import Inventory
from lab.errors import ConfigError, DiskAmbiguous, DiskNotFound, LabError, LabFault, MissingSecret
from lab.rack.load import erasable_disk
from lab.rack.model import Disk, Rack, Server, SolConsole, Tls
from lab.rack.tls import trusted_certificate

CLOCK_TOLERANCE_S = 120.0
Protocol = Literal["redfish", "ipmi"]


class Skipped(Exception):
    """A check that does not apply here, with the reason."""


@dataclass(frozen=True)
class Doors:
    """The ways to a server that the checks use.

    `open_bmc` opens a session with whatever endpoints the server given lists; `open_console` gives the
    console's opener; `leased_to` names the run that holds the server's lease, if any.
    """

    open_bmc: Callable[[Rack, Server], Bmc]
    open_console: Callable[[Rack, Server], Opener]
    leased_to: Callable[[Server], str | None]


@dataclass
class Subject:
    """A server under preflight and what was learned of it so far."""

    rack: Rack
    server: Server
    doors: Doors
    bmcs: dict[Protocol, Bmc] = field(default_factory=dict)
    _inventories: list[Inventory] | None = None

    def inventories(self) -> list[Inventory]:
        """What each reachable BMC protocol says the server is made of; Skipped when there is none."""
        if not self.bmcs:
            raise Skipped("no BMC session")
        if self._inventories is None:
            self._inventories = []  # asked once: a failure is reported by the check that met it
            self._inventories = [bmc.inventory() for bmc in self.bmcs.values()]
        if not self._inventories:
            raise Skipped("the BMC did not give its inventory, see above")
        return self._inventories

    def close(self) -> None:
        """End every session."""
        for bmc in self.bmcs.values():
            bmc.close()


def secrets(subject: Subject) -> str:
    """Every secret that the server's entry names is there."""
    bmc = subject.server.bmc
    references = [reference for _, reference in bmc.secrets()]
    for reference in references:
        subject.rack.secret(reference).reveal()
    return ", ".join(references)


def erasable(subject: Subject) -> str:
    """At least one disk may be written."""
    return f"installs go to {erasable_disk(subject.server).name}"


def tls(subject: Subject) -> str:
    """The BMC's certificate is the one the rack file trusts."""
    url, trust = subject.server.bmc.redfish, subject.server.bmc.tls
    if url is None:
        raise Skipped("no Redfish endpoint")
    if trust == "none":
        raise Skipped("plain http, as `tls: none` says")
    if isinstance(trust, Tls):
        ca = subject.rack.resolve(trust.ca) if trust.ca else None
        return trusted_certificate(url, ca=ca, fingerprint=trust.fingerprint)
    return trusted_certificate(url)


def redfish(subject: Subject) -> str:
    """The BMC answers Redfish and accepts user and password."""
    return _open(subject, "redfish")


def ipmi(subject: Subject) -> str:
    """The BMC answers IPMI and accepts user and password."""
    return _open(subject, "ipmi")


def console(subject: Subject) -> str:
    """The console opens; it is closed again at once, nothing is written to it."""
    holder = subject.doors.leased_to(subject.server)
    if holder is not None:
        raise Skipped(f"in use by {holder}")
    if isinstance(subject.server.console, SolConsole) and "ipmi" not in subject.bmcs:
        raise Skipped("no IPMI session")
    subject.doors.open_console(subject.rack, subject.server)().close()
    return f"opens ({type(subject.server.console).__name__.removesuffix('Console').lower()})"


def firmware(subject: Subject) -> str:
    """The server boots in the firmware mode that the rack file says."""
    seen = {inventory.firmware_mode for inventory in subject.inventories()} - {None}
    if not seen:
        raise Skipped("the BMC does not say")
    if subject.server.firmware not in seen:
        raise ConfigError(
            f"{subject.server.where('firmware')}: the BMC says {' and '.join(sorted(map(str, seen)))}",
            next_step="correct `firmware:` in the rack file, or change the mode in the server's setup",
        )
    return subject.server.firmware


def macs(subject: Subject) -> str:
    """Every NIC of the rack file is one that the BMC reports."""
    seen = _seen_macs(subject)
    missing = [nic.mac for nic in subject.server.nics if nic.mac not in seen]
    if missing:
        raise ConfigError(
            f"{subject.server.where('nics')}: no NIC with MAC {', '.join(missing)}",
            next_step=f"correct `nics:` in the rack file; the BMC reports {', '.join(sorted(seen))}",
        )
    return f"{len(subject.server.nics)} of {len(seen)} reported"


def boot_nic(subject: Subject) -> str:
    """The NIC that installs use is one that the BMC reports."""
    boot = subject.server.boot_nic.mac
    if boot not in _seen_macs(subject):
        raise ConfigError(
            f"{subject.server.where('nics')}: the boot NIC {boot} is not among those the BMC reports",
            next_step="mark a NIC that the server has with `boot: true`",
        )
    return boot


def disks(subject: Subject) -> str:
    """Every disk of the rack file is exactly one that the BMC reports."""
    seen = [disk for inventory in subject.inventories() for disk in inventory.disks]
    if not seen:
        raise Skipped("the BMC lists no disks")
    names = ", ".join(sorted({disk.serial or disk.model for disk in seen}))
    for index, disk in enumerate(subject.server.disks):
        where = subject.server.where("disks", index)
        # Two protocols may report the same disk, so they are counted apart.
        matches = max(sum(_same(disk, one.serial, one.wwn) for one in i.disks) for i in subject.inventories())
        if matches == 0:
            raise DiskNotFound(
                f"{where}: no disk {disk.name}; the BMC reports {names}",
                next_step="correct `disks:` in the rack file",
            )
        if matches > 1:
            raise DiskAmbiguous(
                f"{where}: {matches} disks answer to {disk.name}",
                next_step="name this disk by its WWN, or take one of the two out of the server",
            )
    return f"{len(subject.server.disks)} of {len(seen)} reported"


def clock(subject: Subject) -> str:
    """The BMC's clock is near ours, so that its log can be laid beside the console's."""
    if not subject.bmcs:
        raise Skipped("no BMC session")
    for bmc in subject.bmcs.values():
        theirs = bmc.clock()
        if theirs is None:
            continue
        offset = (theirs - datetime.now(UTC)).total_seconds()
        if abs(offset) > CLOCK_TOLERANCE_S:
            raise LabFault(
                f"the BMC's clock is {offset:+.0f} s off ours",
                next_step="set the BMC's clock, best by NTP, so that its event log can be compared",
            )
        return f"{offset:+.1f} s off ours"
    raise Skipped("the BMC has no clock to read")


CHECKS: tuple[tuple[str, Callable[[Subject], str]], ...] = (
    ("secrets", secrets),
    ("erasable disk", erasable),
    ("tls", tls),
    ("redfish", redfish),
    ("ipmi", ipmi),
    ("console", console),
    ("firmware", firmware),
    ("macs", macs),
    ("boot nic", boot_nic),
    ("disks", disks),
    ("clock", clock),
)


def _open(subject: Subject, protocol: Protocol) -> str:
    endpoints = subject.server.bmc
    if getattr(endpoints, protocol) is None:
        raise Skipped(f"no {protocol} endpoint")
    try:
        subject.rack.secret(endpoints.password).reveal()
    except MissingSecret as error:
        raise Skipped("no password, see secrets") from error
    other: Protocol = "ipmi" if protocol == "redfish" else "redfish"
    alone = subject.server.model_copy(update={"bmc": endpoints.model_copy(update={other: None})})
    bmc = subject.doors.open_bmc(subject.rack, alone)
    try:
        power = bmc.power()
    except LabError:
        bmc.close()  # the checks that follow do not knock again where nobody answered
        raise
    subject.bmcs[protocol] = bmc
    return f"{getattr(endpoints, protocol)} answers, power is {power}"


def _seen_macs(subject: Subject) -> set[str]:
    seen = {mac.lower() for inventory in subject.inventories() for mac in inventory.macs}
    if not seen:
        raise Skipped("the BMC lists no NICs")
    return seen


def _same(disk: Disk, serial: str, wwn: str | None) -> bool:
    if disk.serial is not None:
        return disk.serial.strip().lower() == serial.strip().lower()
    return disk.wwn is not None and wwn is not None and _digits(disk.wwn) == _digits(wwn)


def _digits(wwn: str) -> str:
    return wwn.lower().removeprefix("0x").removeprefix("naa.").removeprefix("eui.").replace(":", "")
