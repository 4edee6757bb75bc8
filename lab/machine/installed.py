"""Whether what an earlier run installed can be used again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.machine.credentials import Credentials, Phase, latest
from lab.selection import target_disk

if TYPE_CHECKING:
    from lab.machine.machine import Machine
    from lab.release import Release


def reusable(machine: Machine, release: Release) -> Credentials | None:
    """The credentials of an install on this server that is exactly what a new one would make, or None.

    The same release file, the same image, the same disk; the stamp on the disk itself is checked after boot.
    """
    from lab.media.image import build_image

    found = latest(machine.rack.rack, machine.server.name)
    if found is None or found.phase is not Phase.INSTALLED:
        return None
    stamp = found.stamp
    if (stamp.release, stamp.release_digest) != (release.name, release.digest):
        return None
    if stamp.disk != target_disk(machine.server).name:
        return None
    image = build_image(release, lambda text: machine.run.progress(machine.server.name, text))
    return found if stamp.image_digest == image.digest else None
