"""What every hypervisor family can do, and what it does it with; see design.md, "The words"."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lab.console.api import Stage
from lab.deadline import Deadline
from lab.errors import LabError
from lab.measure.model import Evidence, Measured, Origin

if TYPE_CHECKING:
    from lab.measure.disks import Disk
    from lab.rack.model import Server
    from lab.release import Release


class Shell(Protocol):
    """A root shell on an installed system; `lab.ssh.Ssh` is one.

    Raises (all of it): LabFault when the connection is lost, HypervisorFailure when a command does not end
    in time.
    """

    def run(self, command: str, timeout_s: float = 60.0, *, stdin: bytes = b"") -> Evidence:
        """Run a command to its end, whatever its exit status."""

    def check(self, command: str, timeout_s: float = 60.0, *, stdin: bytes = b"") -> Evidence:
        """Like `run`; HypervisorFailure on an exit status other than 0."""

    def put(self, source: Path | bytes, remote: str, *, mode: int = 0o644, timeout_s: float = 300.0) -> None:
        """Write a file there, whole or not at all."""

    def close(self) -> None:
        """End the connection; never raises."""


@dataclass
class Host:
    """A hypervisor that runs on a server, reached by its shell.

    Attributes:
        origin: of every measurement taken here.
    """

    server: Server
    release: Release
    shell: Shell
    origin: Origin

    def run(self, command: str, timeout_s: float = 60.0) -> Evidence:
        """Run a command to its end, whatever its exit status."""
        return self.shell.run(command, timeout_s)

    def check(self, command: str, timeout_s: float = 60.0) -> Evidence:
        """Run a command that must succeed.

        Raises:
            HypervisorFailure: it did not.
        """
        return self.shell.check(command, timeout_s)

    def disks(self) -> tuple[Disk, ...]:
        """The disks that the system sees, removable media left out."""
        from lab.measure.disks import disks

        return disks(self)

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Name this server and release in every error that passes through and names none."""
        try:
            yield
        except LabError as error:
            error.server = error.server or self.server.name
            error.release = error.release or self.release.name
            raise


@dataclass(frozen=True)
class Proof:
    """That the hypervisor really runs: what was asked and answered, and the facts in it, by name."""

    evidence: tuple[Evidence, ...]
    facts: dict[str, str] = field(default_factory=dict)


class GuestFiles(Protocol):
    """What a guest boots: files on the controller."""

    @property
    def kernel(self) -> Path:
        """A Linux kernel (bzImage)."""

    @property
    def initrd(self) -> Path:
        """Its initial RAM disk, holding the whole guest."""


class Guest(Protocol):
    """A running guest. Whoever starts one stops it."""

    @property
    def name(self) -> str:
        """What the hypervisor calls it."""

    @property
    def kind(self) -> str:
        """How it is virtualised, one of the family's `guest_kinds`."""

    def console_until(self, pattern: str, deadline: Deadline) -> str:
        """The first line of the guest's console, from its start on, in which `pattern` is found.

        Args:
            pattern: a regular expression (PCRE; what it shares with Python's `re`).

        Raises:
            HypervisorFailure: the guest ended before, or the deadline passed; with its last console lines.
        """

    def console(self) -> str:
        """The guest's whole console so far."""

    def send(self, line: str) -> None:
        """Type a line on the guest's console."""

    def stop(self) -> None:
        """End the guest at once and leave nothing of it on the host; stopping twice is harmless."""


class Family(Protocol):
    """One kind of hypervisor: how it boots, proves itself, counts its memory, runs guests.

    Attributes:
        name: what release files call it.
        boot_milestones: names of catalogue patterns that every boot passes, in this order; the first is the
            boot loader's, so that what lies before it is the firmware's time.
        failure_stages: stages of the catalogue whose failure patterns can be met on the way.
        guest_kinds: ways of virtualising that it offers.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def boot_milestones(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def failure_stages(self) -> tuple[Stage, ...]: ...  # noqa: D102
    @property
    def guest_kinds(self) -> tuple[str, ...]: ...  # noqa: D102

    def prove(self, host: Host) -> Proof:
        """Show that the hypervisor really runs on `host`.

        Raises:
            HypervisorFailure: it does not; the message says what is missing.
        """

    def memory(self, host: Host) -> Measured:
        """Bytes that a guest can never have, by the hypervisor's own account; the host must be idle.

        Raises:
            HypervisorFailure: the account cannot be read, or guests are running.
        """

    def start_guest(self, host: Host, files: GuestFiles, name: str, kind: str) -> Guest:
        """Start a guest; a left-over of that name is removed first, a failed start leaves nothing.

        Raises:
            HypervisorFailure: the hypervisor refuses to start it.
        """

    def shutdown(self, host: Host) -> None:
        """Ask the host to power off; returns when it has taken the order."""
