"""Debian packages from the controller's own apt sources: which versions, which files.

The lab keeps an apt state of its own per suite in the cache folder, so that resolving and downloading
need neither root nor the controller's package database, and work on any distribution that has apt.
Source: facts, xen-kvm-debian.md §2; apt.conf(5), apt-get(8) `indextargets`.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from lab import paths
from lab.errors import LabError, MissingMedia
from lab.media.image_tools import Heartbeat, run
from lab.progress import Progress, silent

ARCHITECTURE = "amd64"
MIRROR_VARIABLE = "LAB_DEBIAN_MIRROR"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_FRESH_SECONDS = 12 * 3600.0
_INSTALL = re.compile(r"^Inst (\S+) (?:\[[^\]]*\] )?\((\S+) .*\[(\S+)\]\)")
_PROXY = re.compile(r"^Acquire::https?::Proxy\S* .*", re.MULTILINE)


@dataclass(frozen=True, order=True)
class Package:
    """One version of one package."""

    name: str
    version: str
    architecture: str

    @property
    def file_name(self) -> str:
        """The name apt gives the downloaded file."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


class Archive:
    """One Debian suite as this controller reaches it.

    Attributes:
        sources: lines of sources.list.
        folder: the lab's own apt state for those sources.
    """

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self.sources = sources(suite)
        identity = hashlib.sha256("\n".join(self.sources).encode()).hexdigest()[:12]
        self.folder = paths.cache() / "apt" / f"{suite}-{identity}"

    @property
    def sources_file(self) -> Path:
        """A sources.list with `sources`."""
        return self.folder / "sources.list"

    def refresh(self, progress: Progress = silent) -> None:
        """Fetch the package lists, unless they are fresher than twelve hours.

        Without network the lists of last time are used, with a word about it.

        Raises:
            MissingMedia: the archive cannot be reached and there are no lists from before.
        """
        stamp = self.folder / "fetched"
        self._prepare()
        with FileLock(self.folder / "lock"):
            if stamp.is_file() and time.time() - stamp.stat().st_mtime < _FRESH_SECONDS:
                return
            try:
                with Heartbeat(progress, f"fetching Debian package lists ({self.suite})"):
                    self._apt("update", "--error-on=any")
            except MissingMedia as error:
                if not stamp.is_file():
                    raise MissingMedia(
                        f"the Debian archive for {self.suite} cannot be reached: {error.message}",
                        tried=error.tried,
                        next_step=f"check apt sources and network, or set {MIRROR_VARIABLE} to a mirror",
                    ) from error
                progress("the Debian archive cannot be reached; using the package lists of last time")
                return
            stamp.touch()

    def resolve(self, packages: tuple[str, ...]) -> tuple[Package, ...]:
        """Every package, with its version, that installing `packages` on nothing brings (no Recommends).

        Raises:
            MissingMedia: one of them does not exist or cannot be installed.
        """
        return parse_simulation(self._apt("--simulate", "install", *packages))

    def fetch(self, packages: tuple[str, ...], progress: Progress = silent) -> list[Path]:
        """The `.deb` files of `resolve(packages)`, downloaded and checked by apt.

        Raises:
            MissingMedia: a download failed.
        """
        wanted = self.resolve(packages)
        store = self.folder / "archives"
        with (
            FileLock(self.folder / "lock"),
            Heartbeat(progress, f"downloading {len(wanted)} Debian packages"),
        ):
            self._apt("--yes", "--download-only", "install", *packages)
        return [store / package.file_name for package in wanted]

    def unpack(self, packages: tuple[str, ...], tree: Path, progress: Progress = silent) -> None:
        """Unpack `packages` and all they depend on into `tree`, without running their scripts."""
        files = self.fetch(packages, progress)
        with Heartbeat(progress, f"unpacking {len(files)} Debian packages"):
            for file in files:
                run(["dpkg-deb", "--extract", str(file), str(tree)])

    def _prepare(self) -> None:
        for folder in ("lists/partial", "archives/partial", "etc"):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        # Another run may be reading these files: never a moment with half of one.
        for file, text in (
            (self.sources_file, "".join(f"{line}\n" for line in self.sources)),
            (self._config, self._configuration()),
        ):
            if not file.is_file() or file.read_text() != text:
                draft = file.with_name(f".{file.name}-{os.getpid()}")
                draft.write_text(text)
                draft.rename(file)

    @property
    def _config(self) -> Path:
        return self.folder / "apt.conf"

    def _configuration(self) -> str:
        here = self.folder
        settings = {
            # Only this file counts: clean-up hooks and pins of the controller must not reach the build.
            "Dir::Etc::main": here / "etc/none",
            "Dir::Etc::parts": here / "etc/none.d",
            "Dir::Etc::preferences": here / "etc/none",
            "Dir::Etc::preferencesparts": here / "etc/none.d",
            "Dir::Etc::sourcelist": self.sources_file,
            "Dir::Etc::sourceparts": here / "etc/none.d",
            "Dir::State": here,
            "Dir::State::lists": here / "lists",
            "Dir::State::status": here / "status",
            "Dir::Cache": here,
            "Dir::Cache::archives": here / "archives",
            "APT::Architecture": ARCHITECTURE,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": 3,
            "Debug::NoLocking": "true",
        }
        lines = [f'{name} "{value}";' for name, value in settings.items()]
        return "\n".join([*lines, f'APT::Architectures {{ "{ARCHITECTURE}"; }};', *proxy_settings(), ""])

    def _apt(self, *arguments: str) -> str:
        return run(["apt-get", "--quiet", *arguments], env={"APT_CONFIG": str(self._config)})


def sources(suite: str) -> tuple[str, ...]:
    """Lines of sources.list for one suite: from `LAB_DEBIAN_MIRROR`, else the controller's own.

    Raises:
        MissingMedia: neither is there.
    """
    signed = f" signed-by={KEYRING}" if KEYRING.is_file() else ""
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror:
        return (f"deb [arch={ARCHITECTURE}{signed}] {mirror} {suite} main",)
    found = [
        f"deb [arch={ARCHITECTURE}{signed}] {uri} {release} {component}"
        for uri, release, component in _controller_sources()
        if release in (suite, f"{suite}-updates", f"{suite}-security")
    ]
    if not found:
        raise MissingMedia(
            f"this controller has no apt source for Debian {suite}",
            next_step=f"set {MIRROR_VARIABLE} to a Debian mirror and install debian-archive-keyring",
        )
    return tuple(dict.fromkeys(found))


def parse_simulation(text: str) -> tuple[Package, ...]:
    """The packages that `apt-get --simulate install` says it would install, sorted."""
    return tuple(
        sorted(Package(*found.groups()) for line in text.splitlines() if (found := _INSTALL.match(line)))
    )


def proxy_settings() -> list[str]:
    """The controller's own apt proxy settings, as apt.conf lines."""
    try:
        return _PROXY.findall(run(["apt-config", "dump"]))
    except LabError:
        return []


def run_in_tree(tree: Path, program: str, *arguments: str, called: str | None = None) -> str:
    """Run a program of an unpacked tree with that tree's own libraries, so that the controller needs neither.

    `called` is the name the program sees itself under, for those that are several in one (kmod).
    """
    return run([*_loader(tree), "--argv0", called or program, str(tree / program), *arguments])


def libraries(tree: Path, program: Path) -> list[Path]:
    """The shared libraries inside `tree` that `program` (inside it) loads, the loader included.

    Raises:
        MissingMedia: one is not in the tree.
    """
    done = subprocess.run(
        [*_loader(tree), "--list", str(program)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:  # a static program has none
        return []
    names = re.findall(r"(?:=> )?(/\S+) \(0x", done.stdout)
    outside = [name for name in names if not name.startswith(str(tree))]
    if outside or "not found" in done.stdout:
        raise MissingMedia(
            f"{program.name} needs libraries that were not unpacked: {done.stdout.strip()}",
            next_step="add the package that holds them to firmware/deploy/packages.txt",
        )
    return [Path(name) for name in names]


def _loader(tree: Path) -> list[str]:
    folders = [tree / part for part in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib", "usr/lib")]
    return [
        str(tree / "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
        "--library-path",
        ":".join(map(str, folders)),
    ]


def _controller_sources() -> list[tuple[str, str, str]]:
    form = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)"
    lines = run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"]).splitlines()
    rows = [line.split("|") for line in lines]
    return [
        (uri, release, component)
        for uri, release, component, origin in rows
        if origin in ("Debian", "", "$(ORIGIN)")
    ]
