"""Releases: data about one installable version of a hypervisor, a file each in `firmware/releases/`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from lab import paths
from lab.errors import UnknownName
from lab.rack.model import Size, Strict
from lab.strict_yaml import load_model


class DebianImage(Strict):
    """Media that the lab builds itself from Debian packages.

    `installed` packages make a Debian system; of `unpacked` ones only what `firmware/tiny` lists is taken,
    and runs from memory. `packages` are named groups, so that a footprint can say what each group costs;
    `kernel_arguments` and `hypervisor_arguments` go on the installed system's boot lines.
    """

    made: Literal["installed", "unpacked"] = "installed"
    suite: str
    packages: dict[str, tuple[str, ...]]
    root_size: Size = 6 * 2**30
    kernel_arguments: tuple[str, ...] = ()
    hypervisor_arguments: tuple[str, ...] = ()
    services_off: tuple[str, ...] = ()


class StageLimits(Strict):
    """Seconds that each stage may take on this release, on slow (emulated) servers too."""

    install: int = 900
    boot: int = 600
    ready: int = 300
    shutdown: int = 180


class Minimum(Strict):
    """The least hardware the product supports."""

    cpus: int = 1
    memory: Size = 2**30
    disk: Size = 8 * 2**30


class Limits(Strict):
    """What the footprint tests hold this release to."""

    installed_disk: Size


class Release(Strict):
    """One release file; its name is the file's stem.

    `kind: lab` marks what the lab installs for its own sake, such as the baseline without a hypervisor: it is
    never chosen unless named, and its figures stand in no comparison.
    """

    title: str
    family: Literal["xen", "kvm", "linux"]
    kind: Literal["hypervisor", "lab"] = "hypervisor"
    version: str
    image: DebianImage
    firmware: Annotated[tuple[Literal["uefi", "bios"], ...], Field(min_length=1)] = ("uefi", "bios")
    secure_boot: bool = False
    stages: StageLimits = StageLimits()
    minimum: Minimum = Minimum()
    limits: Limits
    source: str
    _name: str = PrivateAttr(default="")
    _digest: str = PrivateAttr(default="")

    @property
    def name(self) -> str:
        """What `--hypervisor` calls it."""
        return self._name

    @property
    def digest(self) -> str:
        """SHA-256 of the release file, hexadecimal."""
        return self._digest


class Published(Strict):
    """One row of somebody's published table; never a measurement of ours."""

    product: str
    installed_disk: Size
    shown: str
    year: int
    source: str


class PublishedTable(Strict):
    """`firmware/published/*.yaml`: figures to stand beside ours."""

    title: str
    rows: tuple[Published, ...]


def releases_folder() -> Path:
    """Where release files lie."""
    return paths.firmware() / "releases"


def release_names() -> list[str]:
    """Every release there is a file for, sorted."""
    return sorted(file.stem for file in releases_folder().glob("*.yaml"))


def hypervisor_names() -> list[str]:
    """The releases that a run means when it names none: hypervisors, sorted."""
    return [name for name in release_names() if load_release(name).kind == "hypervisor"]


def load_release(name: str) -> Release:
    """The release of that name.

    Raises:
        UnknownName: there is no such release file.
        ConfigError: the file is wrong; the message names file, line and key.
    """
    file = releases_folder() / f"{name}.yaml"
    if name not in release_names():
        raise UnknownName(f"no release '{name}'", next_step=f"choose from {', '.join(release_names())}")
    release = load_model(file, Release)
    release._name = name
    release._digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return release
