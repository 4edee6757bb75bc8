"""Seeing the deploy RAM OS come up, and knowing soon when it will not: lost media, a boot from elsewhere."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from lab.console.api import Match, NotSeen, Pattern
from lab.console.catalogue import pattern, patterns
from lab.deadline import Deadline
from lab.errors import BootFailure, InstallFailure, LabError, LabFault
from lab.machine.watching import expect, failures_of

if TYPE_CHECKING:
    from lab.machine.machine import Machine

BOOT_S = 240.0
_LOOK_EVERY_S = 4.0
"""Seconds between looks at the drive; twice this, and lost media are known within 10 s."""
_ELSEWHERE = ("boot-from-disk", "login-prompt")


def watch(machine: Machine, url: str | None) -> Match:
    """Wait for the deploy RAM OS.

    Args:
        machine: the machine, just powered on.
        url: the image in its virtual CD drive; None where it boots from the network.

    Raises:
        LabFault: the BMC lost the media, or the server boots something else.
        InstallFailure: it is not seen in time, or fails to come up.
    """
    wanted = [pattern("deploy-booted")]
    watched = [*_elsewhere(url), *patterns("firmware", "loader", "kernel", "deploy")]
    deadline = Deadline.after(BOOT_S, "the deploy RAM OS to say that it has booted")
    empty = 0
    while url is not None and deadline.left > _LOOK_EVERY_S:
        piece = deadline.within(_LOOK_EVERY_S, deadline.why)
        with contextlib.suppress(NotSeen):
            return machine.console.expect(
                wanted, piece, failures=failures_of(watched), since=machine.boot.position
            )
        # Twice, since a drive may be between two states; who has loaded its kernel needs no drive any more.
        lost = None if _kernel_runs(machine) else media_lost(machine, url)
        empty = empty + 1 if lost else 0
        if lost and empty > 1:
            raise lost
    return expect(machine, wanted, deadline, watched, InstallFailure)


def booted_elsewhere(failure: LabError) -> bool:
    """Whether a failure of `watch` says that the server did not boot what it was told to."""
    silent = isinstance(failure.__cause__, NotSeen)
    return silent or isinstance(failure, BootFailure) or type(failure) is LabFault


def not_booted(failure: BootFailure, url: str | None) -> LabFault:
    """What a failure to boot means before any system was installed: the server tried something else."""
    return LabFault(
        f"the server did not boot {_what(url)}: {failure.message}",
        server=failure.server,
        tried=failure.tried,
        console=failure.console,
        next_step="see which devices the firmware tried, and whether the BMC's boot override reads as set",
    )


def media_lost(machine: Machine, url: str, console: tuple[str, ...] = ()) -> LabFault | None:
    """The error where the virtual CD drive reads empty now; None where it is loaded, or cannot be read."""
    if not _reads_empty(machine):
        return None
    return LabFault(
        "the BMC lost the install media: the virtual CD reads empty",
        server=machine.server.name,
        tried=f"insert {url}, boot once from it",
        console=console or machine.console.tail(12),
        next_step="see the BMC's own log: is its network or its virtual media service unstable?",
    )


def _elsewhere(url: str | None) -> list[Pattern]:
    """What is heard of a server that boots something else."""
    return [
        replace(
            pattern(name),
            kind="failure",
            blame="lab",
            means=f"the server booted from its disk, not {_what(url)}: its BMC's boot override had no effect",
            next_step="see whether the boot override reads as set, and which devices the firmware tried",
        )
        for name in _ELSEWHERE
    ]


def _what(url: str | None) -> str:
    return "from the install medium" if url else "from the network"


def _reads_empty(machine: Machine) -> bool:
    """Whether the virtual CD drive reads empty; one that cannot be read does not."""
    try:
        return machine.bmc.media() is None
    except LabError:
        return False


def _kernel_runs(machine: Machine) -> bool:
    return bool(machine.console.seen(patterns("kernel"), machine.boot.position))
