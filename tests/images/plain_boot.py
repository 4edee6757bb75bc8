"""Plain QEMU and a scripted install service: boots of images with nothing of the lab between."""

from __future__ import annotations

import io
import subprocess
import tarfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lab.media.image import Image

MAC = "52:54:00:00:00:01"
SERIAL = "PLAIN-1"


@dataclass
class Service:
    """Answers one deploy RAM OS; `said` gathers what it posts."""

    image: Image
    settings: dict[str, str]
    hostname: str
    said: list[tuple[str, str]] = field(default_factory=list)
    files: Path | None = None

    def __post_init__(self) -> None:
        self.user_key = Ed25519PrivateKey.generate()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.answer(self)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                service.said.append((self.path.rsplit("/", 1)[-1], body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """As a guest on QEMU's user network sees it."""
        return f"http://10.0.2.2:{self.server.server_port}/token"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name = request.path.rsplit("/", 1)[-1]
        if name == "image":
            size = self.image.path.stat().st_size
            request.send_response(200)
            request.send_header("Content-Length", str(size))
            request.end_headers()
            with self.image.path.open("rb") as stream:
                while piece := stream.read(1 << 20):
                    request.wfile.write(piece)
            return
        if name == "install.env":
            body = "".join(f"{key}='{value}'\n" for key, value in self.settings.items()).encode()
        elif name == "overlay.tar":
            body = self.overlay()
        elif self.files is not None and (self.files / name).is_file():
            body = (self.files / name).read_bytes()
        else:
            request.send_error(404)
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def overlay(self) -> bytes:
        host_key = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        user = self.user_key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, content, mode in (
                ("etc/hostname", f"{self.hostname}\n".encode(), 0o644),
                ("etc/ssh/ssh_host_ed25519_key", host_key, 0o600),
                ("etc/lab/stamp.json", b"{}\n", 0o644),
                ("root/.ssh/authorized_keys", user + b"\n", 0o600),
            ):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), mode
                tar.addfile(entry, io.BytesIO(content))
        return buffer.getvalue()

    def private_key(self, file: Path) -> Path:
        """The user's key, written for ssh(1)."""
        file.touch(mode=0o600)
        file.write_bytes(
            self.user_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            )
        )
        return file

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def settings_for(image: Image, serial: str = SERIAL, **changed: str) -> dict[str, str]:
    """install.env of one install."""
    return {
        "SERVER": "plain-1",
        "RELEASE": "some-release",
        "INSTALL_ID": "0001",
        "NOW": str(int(time.time())),
        "TARGET_SERIAL": serial,
        "TARGET_WWN": "",
        "ALLOWED": serial,
        "IMAGE_DIGEST": image.digest,
        "IMAGE_BYTES": str(image.compressed_size),
        "RAW_SIZE": str(image.raw_size),
        "ROOT_SIZE": str(6 * 2**30),
        "ROOT_PARTUUID": "11111111-2222-4333-8444-555555555555",
        "DISK_GUID": "11111111-2222-4333-8444-666666666666",
        **changed,
    }


DISKS = {
    "nvme": ["-device", "nvme,drive=d0,serial={serial},bootindex=1"],
    "ahci": [
        "-device",
        "ahci,id=ahci0",
        "-device",
        "ide-hd,drive=d0,bus=ahci0.0,serial={serial},bootindex=1",
    ],
    "megasas": [
        "-device",
        "megasas,id=s0",
        "-device",
        "scsi-hd,drive=d0,bus=s0.0,serial={serial},bootindex=1",
    ],
    "mptsas1068": [
        "-device",
        "mptsas1068,id=s0",
        "-device",
        "scsi-hd,drive=d0,bus=s0.0,serial={serial},wwn=0x3000c500a1b2c3d4,bootindex=1",
    ],
    "virtio-blk": ["-device", "virtio-blk-pci,drive=d0,serial={serial},bootindex=1"],
    "virtio-scsi": [
        "-device",
        "virtio-scsi-pci,id=s0",
        "-device",
        "scsi-hd,drive=d0,bus=s0.0,serial={serial},bootindex=1",
    ],
}


def qemu_command(
    folder: Path,
    firmware: str,
    disk: str,
    *,
    iso: Path | None = None,
    extra: tuple[str, ...] = (),
    nic: str = "virtio-net-pci",
    netdev: str = "",
) -> list[str]:
    """A server of 2 CPUs and 3 GB with one disk, its serial line on standard output."""
    target = folder / "disk.img"
    if not target.exists():
        with target.open("wb") as stream:
            stream.truncate(64 * 2**30)
    command = [
        "qemu-system-x86_64",
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        "qemu64,+svm,+npt",
        "-smp",
        "2",
        "-m",
        "3072",
    ]
    command += ["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"]
    if firmware == "uefi":
        variables = folder / "vars.fd"
        variables.write_bytes(Path("/usr/share/OVMF/OVMF_VARS_4M.fd").read_bytes())
        command += [
            "-machine",
            "q35,smm=off",
            "-drive",
            "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
        ]
        command += ["-drive", f"if=pflash,format=raw,file={variables}"]
    else:
        command += ["-machine", "pc"]
    command += ["-drive", f"if=none,id=d0,format=raw,cache=unsafe,file={target}"]
    command += [part.format(serial=SERIAL) for part in DISKS[disk]]
    if iso:
        bus = ["-device", "ide-cd,drive=cd,bootindex=0"]
        command += ["-drive", f"if=none,id=cd,media=cdrom,readonly=on,file={iso}", *bus]
    command += [
        "-netdev",
        f"user,id=n0{netdev}",
        "-device",
        f"{nic},netdev=n0,mac={MAC}{',bootindex=5' if not netdev else ''}",
    ]
    return [*command, *extra]


@dataclass
class Boot:
    """One run of a server: its console, line by line, with seconds since power-on."""

    command: list[str]
    log: Path
    lines: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.seen = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        pending = b""
        with self.log.open("wb") as log:
            while piece := stream.read1(4096):  # type: ignore[attr-defined]
                log.write(piece)
                log.flush()
                *whole, pending = (pending + piece).split(b"\n")
                with self.seen:
                    for line in whole:
                        self.lines.append(
                            (time.monotonic() - self.started, line.decode(errors="replace").strip())
                        )
                    if b"login:" in pending:
                        self.lines.append((time.monotonic() - self.started, pending.decode(errors="replace")))
                        pending = b""
                    self.seen.notify_all()
        with self.seen:
            self.lines.append((time.monotonic() - self.started, "<power off>"))
            self.seen.notify_all()

    def wait(self, text: str, seconds: float) -> float:
        """Seconds since power-on at which `text` was seen."""

        def found() -> float | None:
            return next((at for at, line in self.lines if text in line), None)

        with self.seen:
            self.seen.wait_for(lambda: found() is not None or self.is_off, seconds)
            at = found()
        assert at is not None, f"no '{text}'; last lines: {[line for _, line in self.lines[-15:]]}"
        return at

    @property
    def is_off(self) -> bool:
        return bool(self.lines) and self.lines[-1][1] == "<power off>"

    def type(self, text: str) -> None:
        """Send it to the serial line."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)
