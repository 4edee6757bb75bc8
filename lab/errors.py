"""The one list of errors: who must act, with which exit code, under which Allure category.

The first digit of an exit code names who must act (1 the inventory or release, 2 the media shelf, 3 the
lab, 4 the install, 5 the product under test); the second tells the cases apart, so that a script can
react to one of them. Source: design.md, "Errors say who must act".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar


class LabError(Exception):
    """An error that a person can act on.

    Args:
        message: what is wrong, one sentence, naming the thing.
        server: the server it happened on, where there is one.
        release: the release it happened with, where there is one.
        tried: what the lab did before giving up.
        console: the last console lines, oldest first.
        next_step: what the reader should do now, in the imperative.
    """

    exit_code: ClassVar[int] = 9
    category: ClassVar[str] = "Lab error"

    def __init__(
        self,
        message: str,
        *,
        next_step: str,
        server: str | None = None,
        release: str | None = None,
        tried: str | None = None,
        console: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.server = server
        self.release = release
        self.tried = tried
        self.console = console
        self.next_step = next_step

    def __str__(self) -> str:
        where = " ".join(part for part in (self.server, self.release) if part)
        lines = [f"{where}: {self.message}" if where else self.message]
        if self.tried:
            lines.append(f"  tried: {self.tried}")
        lines += [f"  console: {line}" for line in self.console]
        lines.append(f"  next: {self.next_step}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        """Keep every field when the error crosses a process (pytest-xdist)."""
        return (_rebuild, (type(self), self.message, self.__dict__))


def _rebuild(kind: type[LabError], message: str, fields: dict[str, object]) -> LabError:
    error = kind(message, next_step="")
    error.__dict__.update(fields)
    return error


class ConfigError(LabError):
    """The inventory, a release or the command line is wrong; its author must act."""

    exit_code = 10
    category = "Configuration: the inventory or release is wrong"


class UnknownName(ConfigError):
    """A release, server or rack of that name does not exist."""

    exit_code = 11


class MissingSecret(ConfigError):
    """A secret named by `env:` or `file:` is not there."""

    exit_code = 12


class NoErasableDisk(ConfigError):
    """The rack file lists no disk of this server that the lab may write."""

    exit_code = 13


class ServerBusy(ConfigError):
    """Another run holds the server's lease."""

    exit_code = 14


class MissingMedia(LabError):
    """Install media is not there; the lab engineer must supply or build it."""

    exit_code = 20
    category = "Media: something must be supplied"


class ChecksumMismatch(MissingMedia):
    """Media is there, but its content is not what the release names."""

    exit_code = 21


class LabFault(LabError):
    """BMC, network, console or power failed; the lab's keeper must act."""

    exit_code = 30
    category = "Lab fault: BMC, network, console or power"


class BmcRefused(LabFault):
    """The BMC understood and said no."""

    exit_code = 31


class BmcUnreachable(LabFault):
    """Nothing answers at the BMC's address within the deadline."""

    exit_code = 32


class BmcCredentials(LabFault):
    """The BMC answers but refuses user or password."""

    exit_code = 33


class ConsoleLost(LabFault):
    """The console cannot be opened, or closed for good."""

    exit_code = 34


class BmcCertificate(LabFault):
    """The BMC's certificate is expired, of an unknown authority, or not the pinned one."""

    exit_code = 35


class NotABmc(LabFault):
    """Something answers at the BMC's address, but it is no BMC of that protocol."""

    exit_code = 36


class BmcAccountLocked(BmcCredentials):
    """The BMC has locked the user out, for a time or for good."""

    exit_code = 37


class BmcBusy(LabFault):
    """The BMC is alive, but has no session or no time left for us."""

    exit_code = 38


class InstallFailure(LabError):
    """The install did not end well; see the console."""

    exit_code = 40
    category = "Install failure"


class DiskNotFound(InstallFailure):
    """No disk on the server has the listed serial or WWN."""

    exit_code = 41


class DiskAmbiguous(InstallFailure):
    """More than one disk on the server answers to the listed serial or WWN."""

    exit_code = 42


class BootFailure(InstallFailure):
    """What was installed does not boot."""

    exit_code = 43


class HypervisorFailure(LabError):
    """The product under test failed; its developer must act."""

    exit_code = 50
    category = "Hypervisor failure: the product under test"


def every_error() -> Iterator[type[LabError]]:
    """Every error class, base first; the source of Allure categories and documented exit codes."""
    pending: list[type[LabError]] = [LabError]
    while pending:
        kind = pending.pop(0)
        yield kind
        pending.extend(kind.__subclasses__())
