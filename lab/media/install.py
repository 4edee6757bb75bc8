"""One install of one release onto one disk of one server: media, credentials and service, tied together."""

from __future__ import annotations

import contextlib
import io
import tarfile
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import ConfigError, InstallFailure, LabFault
from lab.machine import credentials as store
from lab.machine.credentials import STAMP_PATH, Credentials, Phase, Stamp
from lab.media.service import MediaService
from lab.progress import Progress, silent
from lab.rack.model import Disk, Rack, Server
from lab.release import Release
from lab.selection import target_disk

if TYPE_CHECKING:
    from lab.deadline import Deadline
    from lab.media.deploy import DeployFiles
    from lab.media.image import Image


_NEEDS_SHELL = frozenset("'\"`$\\\n")


class Installation:
    """Everything one install needs, from `open` to `close`; a context manager.

    The image and the deploy RAM OS come from the cache or are built. Keys and stamp are new each time. When
    it closes, nothing is served any more and no thread, process or temporary file is left; credentials stay
    if the server began to write, and are forgotten if it never did.

    Args:
        rack: the rack, for its controller's addresses.
        server: what is installed onto.
        release: what is installed.
        disk: which disk is erased; the first the rack lets the lab erase, if not given.
        progress: told what happens, from several threads.
    """

    def __init__(
        self,
        rack: Rack,
        server: Server,
        release: Release,
        disk: Disk | None = None,
        progress: Progress = silent,
    ) -> None:
        self.rack = rack
        self.server = server
        self.release = release
        self.disk = disk if disk is not None else target_disk(server)
        if self.disk not in server.erasable:
            raise ConfigError(
                f"disk {self.disk.name} is not one the lab may erase",
                server=server.name,
                release=release.name,
                next_step=f"choose from {', '.join(other.name for other in server.erasable) or 'none'}, "
                "or mark it `erase: true` in the rack file",
            )
        self._progress = progress
        self._cleanup = contextlib.ExitStack()
        self._credentials: Credentials | None = None
        self._service: MediaService | None = None
        self._files: DeployFiles | None = None
        self._iso_url: str | None = None

    def __enter__(self) -> Installation:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> Installation:
        """Fetch or build the media, make credentials, and serve; returns itself.

        Raises:
            MissingMedia: media cannot be built.
            ChecksumMismatch: the cached image is damaged.
            ConfigError: the rack's addresses cannot be served on.
        """
        from lab.media.deploy import build_deploy
        from lab.media.image import build_image

        image = build_image(self.release, self._progress)
        image.verify()
        self._files = build_deploy(self._progress)
        stamp = Stamp(
            rack=self.rack.rack,
            server=self.server.name,
            release=self.release.name,
            release_digest=self.release.digest,
            image_digest=image.digest,
            disk=self.disk.name,
        )
        try:
            self._cleanup.callback(_forget_unless_begun, stamp)
            self._credentials = store.create(stamp)
            self._service = self._cleanup.enter_context(self._new_service())
            self._offer(self._service, image, self._files)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End it: nothing is served any more. May be called twice."""
        self._cleanup.close()

    @property
    def credentials(self) -> Credentials:
        """The keys of this install; they outlive it once the server has begun to write."""
        if self._credentials is None:
            raise self._not_open()
        return self._credentials

    @property
    def stamp(self) -> Stamp:
        """What the disk will carry."""
        return self.credentials.stamp

    @property
    def service(self) -> MediaService:
        """What serves it; `service.fetched` tells when each thing was first asked for."""
        if self._service is None:
            raise self._not_open()
        return self._service

    @property
    def kernel_arguments(self) -> str:
        """What the deploy RAM OS is booted with; `lab.url` is a secret."""
        return (
            f"lab.url={self._url} lab.mac={self.server.boot_nic.mac} "
            "console=tty0 console=ttyS0,115200n8 panic=10"
        )

    @property
    def iso_url(self) -> str:
        """Where the server's BMC fetches the deploy ISO, which is made when this is first asked for."""
        from lab.media.iso import deploy_iso

        if self._iso_url is None:
            folder = self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="lab-install-"))
            iso = Path(folder, "lab.iso")
            deploy_iso(self._deploy_files, self.kernel_arguments, iso)
            self._iso_url = self.service.offer_iso(iso, self.rack.controller.media_address)
        return self._iso_url

    def offer_pxe(self) -> None:
        """Answer the PXE boot of this server, until the install is closed.

        Raises:
            ConfigError: the rack names no interface for PXE.
            LabFault: dnsmasq is missing or does not start.
        """
        from lab.media.iso import netboot_files
        from lab.media.pxe import pxe

        files, arguments = self._deploy_files, self.kernel_arguments
        url = self.service.url_for_loader(self.rack.controller.address_for_servers)

        def place(folder: Path) -> None:
            netboot_files(files, arguments, folder, url)

        self._cleanup.enter_context(pxe(self.rack, self.server, place, self._progress))

    def wait_done(self, deadline: Deadline, watch: Callable[[], None] | None = None) -> None:
        """Wait until the server reports, authenticated, that it is done; see `MediaService.wait_done`.

        Raises:
            InstallFailure: it failed, refused its disk, did not report in time, or reports another disk or
                image than it was told.
        """
        self.service.wait_done(deadline, watch)
        said = dict(line.partition("=")[::2] for line in self.service.report.splitlines())
        told = {"serial": self.disk.serial or said.get("serial"), "digest": self.stamp.image_digest}
        for key, value in told.items():
            if said.get(key) != value:
                raise InstallFailure(
                    f"the server says done, but with {key} {said.get(key)} where {value} was asked for",
                    server=self.server.name,
                    release=self.release.name,
                    next_step="read the serial log of the deploy RAM OS; do not use what is on this disk",
                )
        self.credentials.reached(Phase.INSTALLED)

    @property
    def _url(self) -> str:
        return self.service.url_for_server(self.rack.controller.address_for_servers)

    @property
    def _deploy_files(self) -> DeployFiles:
        if self._files is None:
            raise self._not_open()
        return self._files

    def _new_service(self) -> MediaService:
        controller = self.rack.controller
        # On a virtual rack install_address is QEMU's name for this machine, not an address of it.
        beside = () if self.rack.is_virtual else (controller.address_for_servers,)
        names = [server.name for server in self.rack.servers]
        return MediaService(
            (controller.media_address, *beside),
            controller.media_port and controller.media_port + names.index(self.server.name),
            server=self.server.name,
            release=self.release.name,
            progress=self._progress,
            on_fetch=self._on_fetch,
        )

    def _on_fetch(self, name: str) -> None:
        if name == "image":
            self.credentials.reached(Phase.WRITING)

    def _offer(self, service: MediaService, image: Image, files: DeployFiles) -> None:
        facts = settings(self.stamp, self.server, self.disk, self.release) | {
            "IMAGE_DIGEST": image.digest,
            "IMAGE_BYTES": str(image.compressed_size),
            "RAW_SIZE": str(image.raw_size),
        }
        service.offer("install.env", lambda: as_shell(facts | {"NOW": str(int(time.time()))}))
        service.offer("image", image.path)
        service.offer("overlay.tar", overlay(self.credentials))
        service.offer("kernel", files.kernel)
        service.offer("initrd", files.initrd)

    def _not_open(self) -> LabFault:
        return LabFault("the install is not open", server=self.server.name, next_step="call open() first")


def settings(stamp: Stamp, server: Server, disk: Disk, release: Release) -> dict[str, str]:
    """What the deploy RAM OS is told: sizes in bytes. The disk's GUID is the install's id."""
    return {
        "SERVER": server.name,
        "RELEASE": release.name,
        "INSTALL_ID": stamp.install_id,
        "TARGET_SERIAL": disk.serial or "",
        "TARGET_WWN": disk.wwn or "",
        "ALLOWED": " ".join(
            value for other in server.erasable for value in (other.serial, other.wwn) if value
        ),
        "ROOT_SIZE": str(release.image.root_size),
        "ROOT_PARTUUID": str(uuid.uuid4()),
        "DISK_GUID": stamp.install_id,
    }


def as_shell(values: dict[str, str]) -> bytes:
    """`KEY='value'` lines as the deploy RAM OS reads them (firmware/deploy/arguments.sh).

    Raises:
        ConfigError: a value has a character that would need a shell to understand.
    """
    for key, value in values.items():
        if set(value) & _NEEDS_SHELL:
            raise ConfigError(
                f"{key} '{value}' cannot be told to a server: it has a quote, a dollar sign or the like",
                next_step="name this disk by its WWN instead of its serial",
            )
    return "".join(f"{key}='{value}'\n" for key, value in sorted(values.items())).encode()


def overlay(credentials: Credentials) -> bytes:
    """The tar laid over the installed root: login key, host key, host name, stamp; always the same bytes."""
    stamp = credentials.stamp
    files = {
        "etc/hostname": (0o644, f"{stamp.server}\n"),
        STAMP_PATH.lstrip("/"): (0o644, stamp.model_dump_json(indent=2) + "\n"),
        "etc/ssh/ssh_host_ed25519_key": (0o600, credentials.host_key.read_text()),
        "etc/ssh/ssh_host_ed25519_key.pub": (0o644, f"{credentials.host_public_key}\n"),
        "root/.ssh/authorized_keys": (0o600, f"{credentials.client_public_key}\n"),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, mode in (("etc/lab", 0o755), ("root/.ssh", 0o700)):
            tar.addfile(_entry(name, mode, stamp, tarfile.DIRTYPE))
        for name, (mode, text) in sorted(files.items()):
            entry = _entry(name, mode, stamp, tarfile.REGTYPE)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def _entry(name: str, mode: int, stamp: Stamp, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.uname, entry.gname = kind, mode, "root", "root"
    entry.mtime = int(stamp.installed_at.timestamp())
    return entry


def _forget_unless_begun(stamp: Stamp) -> None:
    kept = store.load(stamp.install_id)
    if kept is not None and kept.phase is Phase.PREPARED:
        store.forget(stamp.install_id)
