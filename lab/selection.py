"""Which server gets which release: the plan of a run, made without touching anything."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from lab.errors import ConfigError, MissingMedia, NoErasableDisk
from lab.rack.load import find_server
from lab.rack.model import Disk, Rack, Server
from lab.release import Release, hypervisor_names, load_release

RESETS_PER_INSTALL = 2  # one power-on for the deploy RAM OS, one for the installed disk


@dataclass(frozen=True)
class Target:
    """One release on one server; `skip` says why it cannot be, and then nothing is touched."""

    server: Server
    release: Release
    skip: str | None = None

    @property
    def id(self) -> str:
        """What test ids show."""
        return f"{self.server.name}-{self.release.name}"

    @property
    def disk(self) -> Disk:
        """The disk that an install would erase: the first erasable one of the rack file."""
        return target_disk(self.server)


def target_disk(server: Server) -> Disk:
    """The disk that an install on this server erases.

    Raises:
        NoErasableDisk: the rack file lets the lab write none.
    """
    if not server.erasable:
        raise NoErasableDisk(
            "no disk is marked `erase: true`, so nothing can be installed",
            server=server.name,
            next_step="mark the disk that the lab may erase in the rack file, by serial or WWN",
        )
    return server.erasable[0]


def unfit(server: Server, release: Release) -> str | None:
    """Why this release cannot go onto this server; None where it can."""
    if server.firmware not in release.firmware:
        return f"{release.name} does not boot on {server.firmware} firmware"
    return None


def missing_media(release: Release) -> str | None:
    """What must be supplied before this release can be installed; None where all is there."""
    if shutil.which("mmdebstrap") is None:
        return f"{release.name} is built here, which needs the Debian package mmdebstrap"
    return None


def select(rack: Rack, hypervisors: Sequence[str], servers: Sequence[str], *, pair: bool) -> list[Target]:
    """The targets of a run, in the order they are worked off on each server.

    On a virtual rack, no hypervisor named means every one whose media is there (the others are kept, marked
    to be skipped; a release of `kind: lab` must be named) and no server named means all. On real servers
    both must be named (`--server all` is a name), because a run erases disks.

    Raises:
        ConfigError: a real rack and nothing named, or too few fitting servers to pair.
        UnknownName: a release or server that does not exist.
        NoErasableDisk: a chosen server has no disk the lab may write.
        MissingMedia: a release named by the caller has no media.
    """
    if not rack.is_virtual and not (hypervisors and servers):
        raise ConfigError(
            f"rack {rack.rack} has real servers: nothing happens to them unless both are named",
            next_step="name releases with --hypervisor and servers with --server (or --server all); "
            "--plan shows what would happen",
        )
    chosen = [load_release(name) for name in dict.fromkeys(hypervisors or hypervisor_names())]
    if hypervisors:
        for release in chosen:
            if missing := missing_media(release):
                raise MissingMedia(missing, release=release.name, next_step="supply it and run again")
    everybody = not servers or "all" in servers
    machines = (
        list(rack.servers) if everybody else [find_server(rack, name) for name in dict.fromkeys(servers)]
    )
    targets = _paired(machines, chosen) if pair else _every(machines, chosen)
    for target in targets:
        if target.skip is None:
            target_disk(target.server)
    return targets


def _every(machines: Sequence[Server], releases: Sequence[Release]) -> list[Target]:
    return [
        Target(server, release, unfit(server, release) or missing_media(release))
        for server in machines
        for release in releases
    ]


def _paired(machines: Sequence[Server], releases: Sequence[Release]) -> list[Target]:
    assignment = _assign(list(releases), list(machines))
    if assignment is None:
        raise ConfigError(
            f"--pair needs a fitting server for each of {', '.join(release.name for release in releases)}",
            next_step="name fewer releases, more servers, or leave --pair out",
        )
    return [Target(server, release, missing_media(release)) for release, server in assignment]


def _assign(releases: list[Release], machines: list[Server]) -> list[tuple[Release, Server]] | None:
    if not releases:
        return []
    first, rest = releases[0], releases[1:]
    for machine in machines:
        if unfit(machine, first) is None:
            others = _assign(rest, [other for other in machines if other is not machine])
            if others is not None:
                return [(first, machine), *others]
    return None


def plan_text(rack: Rack, targets: Sequence[Target]) -> str:
    """What a run would do, for `--plan`: releases, disks erased, resets; one block per server."""
    lines = [f"Plan for rack {rack.rack} ({rack.origin}). Nothing has been touched."]
    for server in rack.servers:
        mine = [target for target in targets if target.server.name == server.name]
        if not mine:
            lines.append(f"{server.name}: not used")
            continue
        installs = [target for target in mine if target.skip is None]
        kept = ", ".join(disk.name for disk in server.disks if not disk.erase) or "none"
        lines.append(f"{server.name} ({server.model}, {server.firmware}, by {server.installs_by})")
        for target in mine:
            what = f"skipped: {target.skip}" if target.skip else f"erases disk {target.disk.name}"
            lines.append(f"  {target.release.name}: {what}")
        lines.append(f"  never written: {kept}")
        lines.append(
            f"  powered on at most {RESETS_PER_INSTALL * len(installs)} times, then left {server.power_after}"
        )
    return "\n".join(lines)
