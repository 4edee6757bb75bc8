"""A rack of scripted servers, put in the place of the real ones; everything above them is the lab's own."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pytest

from lab.bmc.api import Bmc, Opener
from lab.deadline import Deadline
from lab.errors import LabFault
from lab.machine.credentials import Credentials
from lab.machine.machine import Machine
from lab.measure.model import Evidence
from lab.media.deploy import DeployFiles
from lab.media.image import Image
from lab.media.install import Installation
from lab.progress import Progress
from lab.rack.load import load_rack
from lab.rack.model import Rack, Server
from lab.release import Release, load_release
from lab.run import Run
from tests.machine.scripted import ScriptedServer

XEN = "xen-4.17-debian12"
RACK = """
rack: bench
controller: {media_address: 127.0.0.1}
servers:
  - name: s1
    firmware: uefi
    bmc: {redfish: "https://127.0.0.1:9", user: lab, password: "env:NOT_USED"}
    console: {tcp: "127.0.0.1:9"}
    host: {address: 127.0.0.1, ssh_port: 9}
    nics: [{mac: "52:54:00:aa:00:01", boot: true}]
    disks: [{serial: D1, erase: true}, {serial: D2}]
  - name: s2
    firmware: bios
    bmc: {ipmi: "127.0.0.1:10", user: lab, password: "env:NOT_USED"}
    console: {sol: {}}
    host: {address: 127.0.0.1, ssh_port: 10}
    nics: [{mac: "52:54:00:aa:00:11", boot: true}]
    disks: [{serial: D3, erase: true}]
"""


@dataclass
class ScriptedShell:
    """In the place of `lab.ssh.Ssh`: a login to the scripted server that has this port."""

    server: ScriptedServer
    credentials: Credentials
    closed: threading.Event = field(default_factory=threading.Event)

    def connect(self, deadline: Deadline) -> None:
        while not deadline.passed and not self.closed.is_set():
            disk = self.server.disk
            if self.server.answers_ssh and self.server.state == "on" and disk is not None:
                if disk.host_key != self.credentials.host_public_key:
                    raise LabFault(
                        "another system answers: its host key is not this install's", next_step="-"
                    )
                return
            self.closed.wait(0.02)
        raise LabFault("SSH does not answer", next_step="-")

    def run(self, command: str, timeout_s: float = 60.0, *, stdin: bytes = b"") -> Evidence:
        return Evidence(command=command, output=self.server.command(command), errors="", exit_status=0)

    def check(self, command: str, timeout_s: float = 60.0, *, stdin: bytes = b"") -> Evidence:
        return self.run(command)

    def put(self, source: Path | bytes, remote: str, *, mode: int = 0o644, timeout_s: float = 300.0) -> None:
        raise AssertionError("nothing is copied onto a scripted server")

    def close(self) -> None:
        self.closed.set()


class Bench:
    """The rack, its scripted servers by name, and what of the lab is still open.

    Args:
        patch: undoes what is put in the place of real servers, images and SSH.
        folder: for the stand-in image and the runs.
    """

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.rack = _rack()
        self.servers = {"s1": ScriptedServer(), "s2": ScriptedServer(has_media=False)}
        self.open_installs: list[Installation] = []
        self.image = self.image_of(b"image")
        self._threads = set(threading.enumerate())
        self._shells: list[ScriptedShell] = []
        self._patch(patch)

    def _patch(self, patch: pytest.MonkeyPatch) -> None:
        def open_bmc(rack: Rack, server: Server) -> Bmc:
            return self.servers[server.name].open_bmc()

        def opener(rack: Rack, server: Server) -> Opener:
            return self.servers[server.name].open_console

        def ssh(address: str, port: int, credentials: Credentials, *, server: str) -> ScriptedShell:
            self._shells.append(ScriptedShell(self.servers[server], credentials))
            return self._shells[-1]

        def built(release: Release, progress: Progress) -> Image:
            return self.image

        def deploy(progress: Progress) -> DeployFiles:
            return DeployFiles(self.folder, self.image.path, self.image.path, "cd" * 64)

        def iso(files: DeployFiles, arguments: str, out: Path) -> None:
            out.write_text(arguments)

        def netboot(files: DeployFiles, arguments: str, folder: Path, url: str) -> None:
            (folder / "arguments").write_text(arguments)

        @contextlib.contextmanager
        def pxe(
            rack: Rack, server: Server, place: Callable[[Path], object], progress: Progress
        ) -> Iterator[None]:
            folder = self.folder / f"tftp-{server.name}"
            folder.mkdir(exist_ok=True)
            place(folder)
            self.servers[server.name].netboot = folder
            try:
                yield
            finally:
                self.servers[server.name].netboot = None

        really_open, really_close = Installation.open, Installation.close

        def noted_open(install: Installation) -> Installation:
            self.open_installs.append(install)
            return really_open(install)

        def noted_close(install: Installation) -> None:
            really_close(install)
            self.open_installs = [other for other in self.open_installs if other is not install]

        patch.setattr("lab.bmc.open.open_bmc", open_bmc)
        patch.setattr("lab.console.open.opener", opener)
        patch.setattr("lab.machine.login.Ssh", ssh)
        patch.setattr("lab.media.image.build_image", built)
        patch.setattr("lab.media.deploy.build_deploy", deploy)
        patch.setattr("lab.media.iso.deploy_iso", iso)
        patch.setattr("lab.media.iso.netboot_files", netboot)
        patch.setattr("lab.media.pxe.pxe", pxe)
        patch.setattr(Installation, "open", noted_open)
        patch.setattr(Installation, "close", noted_close)

    def image_of(self, content: bytes) -> Image:
        """A stand-in image with this content; what is built from now on, once it is put into `image`."""
        file = self.folder / "image"
        file.write_bytes(content)
        digest = hashlib.blake2b(content).hexdigest()
        return Image(file, digest, len(content), 2**20, self.folder / "packages")

    def run(self, name: str = "run-1") -> Run:
        """A run of the lab with this name."""
        return Run(id=name, folder=self.folder / name, zero=time.monotonic())

    def take(self, server: str = "s1", run: Run | None = None) -> Machine:
        """Lease a server to a run of its own."""
        number = len(list(self.folder.glob("run-*"))) + 1
        entry = next(each for each in self.rack.servers if each.name == server)
        return Machine.take(run or self.run(f"run-{number}"), self.rack, entry)

    def release(self, **stages: int) -> Release:
        """The Xen release, with other time limits."""
        found = _release(XEN)
        fresh = found.model_copy(update={"stages": found.stages.model_copy(update=stages)})
        fresh._name, fresh._digest = found.name, found.digest
        return fresh

    def left_over(self) -> list[str]:
        """What is still there of the lab: threads, open installs, sessions, shells."""
        deadline = time.monotonic() + 1
        while (alive := set(threading.enumerate()) - self._threads) and time.monotonic() < deadline:
            for thread in alive:
                thread.join(0.1)
        return [
            *(f"thread {thread.name}" for thread in alive),
            *(f"install {install.release.name}" for install in self.open_installs),
            *(f"BMC of {name}" for name, server in self.servers.items() if server.opened > server.closed),
            *("shell" for shell in self._shells if not shell.closed.is_set()),
        ]


@lru_cache  # reading YAML is most of what a whole scripted install would take
def _release(name: str) -> Release:
    return load_release(name)


@lru_cache
def _rack() -> Rack:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bench.yaml")
        file.write_text(RACK)
        return load_rack(str(file))


def notes(machine: Machine) -> list[str]:
    """What this run said of the machine."""
    return [mark.name for mark in machine.run.marks if mark.kind == "note"]
