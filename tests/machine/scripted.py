"""A scripted server: a BMC in memory, a console over a real socket, a deploy RAM OS that speaks real HTTP.

It plays what no test can afford to start: whole installs and boots, in milliseconds, failing where told. The
lab's side is the real one: leases, console recorder, install with its media service, credentials, journal.
"""

from __future__ import annotations

import io
import signal
import socket
import tarfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lab.bmc.api import Answer, BootDevice, LogEntry, MediaSource, Outcome, Power, PowerAction
from lab.bmc.bill import FirmwareMode, Inventory
from lab.bmc.capability import Capability
from lab.bmc.provider import Provider
from lab.errors import BmcRefused, ConsoleLost
from lab.machine.credentials import STAMP_PATH

DEPLOY = (
    "[    0.000000] Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org)",
    "lab-deploy: booted Linux 6.1.0-56-amd64, up 4.21 s",
    "lab-deploy: disk sda serial=D1 wwn= size=68719476736 allowed",
    "lab-deploy: target sda",
    "lab-deploy: writing 0%",
    "lab-deploy: writing 100%",
    "lab-deploy: personalising",
    "lab-deploy: done",
    "[   93.518123] reboot: Power down",
)
XEN_BOOT = (
    "Booting from Hard Disk...",
    "Welcome to GRUB!",
    "Loading Xen 4.17-amd64 ...",
    "(XEN) Xen version 4.17.7 (Debian 4.17.7+13-1) (x86_64-linux-gnu-gcc) debug=n",
    "[    0.000000] Linux version 6.1.0-50-amd64 (debian-kernel@lists.debian.org)",
    "Welcome to Debian GNU/Linux 12 (bookworm)!",
    "s1 login: ",
)
XEN_ANSWERS = {
    "cat /sys/hypervisor/type": "xen\n",
    "cat /proc/xen/capabilities": "control_d\n",
    "xl info": "xen_version            : 4.17.7\nxen_caps               : xen-3.0-x86_64\n"
    "total_memory           : 3071\nfree_memory            : 1900\n",
    "xl list": "Name           ID   Mem VCPUs\tState\tTime(s)\nDomain-0  0  1024     2     r-----   30.1\n",
}


class SocketStream:
    """One end of a socket as a console stream."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        end.setblocking(False)

    def fileno(self) -> int:
        return self._end.fileno()

    def read(self) -> bytes:
        try:
            data = self._end.recv(65536)
        except BlockingIOError:
            return b""
        if not data:
            raise ConsoleLost("closed", next_step="none")
        return data

    def write(self, data: bytes) -> None:
        self._end.sendall(data)

    def close(self) -> None:
        self._end.close()


@dataclass
class InstalledDisk:
    """What the deploy RAM OS left on a disk, and what answers as SSH host when it is booted."""

    stamp: str
    host_key: str


@dataclass
class ScriptedServer(Provider):
    """One server; `orders` has every order to its BMC that is not a read, `sent` those that changed power.

    Attributes:
        installer: what the deploy RAM OS says; it fetches and reports over HTTP as the real one does at
            those lines. Ends where the list ends: then it is silent, and stays on.
        boot: what is heard when it boots from its disk.
        digest_said: the image digest it reports; that of the install, if None.
        before, after: called with each order before and after it is carried out, and may raise.
        has_media: whether the BMC can attach a CD; without, such an order is refused.
        netboot: the folder of boot files that is offered for PXE at the moment.
        answers_ssh: whether the booted system answers SSH.
        deaf: orders of power that are taken and not carried out.
        boots_cd: whether the name that the BMC has for the virtual CD boots it; another one then does.
    """

    installer: list[str] = field(default_factory=lambda: list(DEPLOY))
    boot: list[str] = field(default_factory=lambda: list(XEN_BOOT))
    answers: dict[str, str] = field(default_factory=lambda: dict(XEN_ANSWERS))
    digest_said: str | None = None
    before: Callable[[str], None] = lambda order: None
    after: Callable[[str], None] = lambda order: None
    has_media: bool = True
    boots_cd: bool = True
    state: Power = "off"
    disk: InstalledDisk | None = None
    netboot: Path | None = None
    answers_ssh: bool = True
    reads: Callable[[], None] = lambda: None
    orders: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    media_seen: str | None = None
    device: BootDevice = BootDevice.NONE
    opened: int = 0
    closed: int = 0
    name: str = "scripted"
    _wire: socket.socket | None = None

    # ---- what the lab opens ---------------------------------------------------------------------------

    def open_bmc(self) -> ScriptedServer:
        self.opened += 1
        return self

    def open_console(self) -> SocketStream:
        self._wire, theirs = socket.socketpair()
        return SocketStream(theirs)

    # ---- the BMC --------------------------------------------------------------------------------------

    def power(self) -> Power:
        self.reads()
        return self.state

    def set_power(self, action: PowerAction, *, deadline_s: float = 60.0) -> Answer:
        return self._order(f"power {action}", lambda: self._switch(action))

    def boot_once(self, device: BootDevice, mode: FirmwareMode, *, uri: str | None = None) -> Answer:
        return self._order(f"boot {device}", lambda: setattr(self, "device", device))

    def did_not_boot(self, device: BootDevice) -> bool:
        has_other, self.boots_cd = not self.boots_cd, True
        return has_other

    def boot_override(self) -> BootDevice | None:
        return self.device

    def insert_media(self, source: MediaSource) -> Answer:
        return self._order("insert", lambda: self._attach(source.url))

    def eject_media(self) -> Answer:
        return self._order("eject", lambda: self._attach(None))

    def media(self) -> str | None:
        return self.media_seen

    def identify(self, on: bool) -> Answer:
        return self._order("identify", lambda: None)

    def connect(self) -> None:
        """Always there."""

    def capabilities(self) -> list[Capability]:
        return []

    def event_log(self) -> list[LogEntry]:
        return []

    def clear_event_log(self) -> Answer:
        return self._order("clear log", lambda: None)

    def inventory(self) -> Inventory:
        return Inventory()

    def clock(self) -> datetime | None:
        return datetime.now(UTC)

    def close(self) -> None:
        self.closed += 1
        if self._wire is not None:
            self._wire.close()

    def _order(self, order: str, carry_out: Callable[[], object]) -> Answer:
        self.orders.append(order)
        self.before(order)
        carry_out()
        self.after(order)
        return Answer(Outcome.VERIFIED, self.name)

    def _attach(self, url: str | None) -> None:
        if not self.has_media:
            raise BmcRefused("this BMC has no virtual media", next_step="use PXE")
        self.media_seen = url

    def _switch(self, action: PowerAction) -> None:
        wanted: Power = "off" if action in (PowerAction.OFF, PowerAction.GRACEFUL_OFF) else "on"
        if self.state == wanted:
            return
        self.sent.append(str(action))
        self.state = wanted
        if wanted == "on":
            device, self.device = self.device, BootDevice.NONE
            if device is BootDevice.CD and not self.boots_cd:
                return
            if device is BootDevice.CD:
                self._install(_fetch(self.media_seen or "").decode())
            elif device is BootDevice.PXE:
                self._install((self.netboot / "arguments").read_text() if self.netboot else "")
            else:
                self.say(self.boot)

    # ---- what runs on it ------------------------------------------------------------------------------

    def say(self, lines: list[str]) -> None:
        assert self._wire is not None
        for line in lines:
            self._wire.sendall(line.encode() + (b"" if line.endswith((": ", "> ")) else b"\r\n"))
            if "Power down" in line:
                self.state = "off"

    def _install(self, arguments: str) -> None:
        """The deploy RAM OS: see firmware/deploy/main.sh for what it fetches and reports when."""
        url = dict(word.partition("=")[::2] for word in arguments.split())["lab.url"]
        told: dict[str, str] = {}
        for line in self.installer:
            what = line.removeprefix("lab-deploy: ")
            if what.startswith("disk "):
                lines = _fetch(f"{url}/install.env").decode().splitlines()
                told = {key: value.strip("'") for key, _, value in (each.partition("=") for each in lines)}
            elif what == "writing 0%":
                _fetch(f"{url}/image")
                self.disk = None
            elif what == "personalising":
                self.disk = _personalised(_fetch(f"{url}/overlay.tar"))
            elif what == "done":
                digest = self.digest_said or told["IMAGE_DIGEST"]
                _post(f"{url}/done", f"serial={told['TARGET_SERIAL']}\ndigest={digest}\n")
            elif what.startswith(("refused: ", "failed: ")):
                _post(f"{url}/failed", what)
            self.say([line])

    def command(self, command: str) -> str:
        """What the booted system answers to a shell command."""
        assert self.disk is not None
        if command == f"cat {STAMP_PATH}":
            return self.disk.stamp
        if command.startswith("systemctl poweroff"):
            self.say(["(XEN) Hardware Dom0 halted: halting machine", "[ 200.1] reboot: Power down"])
            return ""
        return self.answers[command]


def interrupt_at(order: str, nth: int) -> Callable[[str], None]:
    """A hook that is Ctrl-C at the `nth` (from 0) such order; only once."""
    left = [nth]

    def hook(now: str) -> None:
        if now == order:
            left[0] -= 1
            if left[0] == -1:
                signal.raise_signal(signal.SIGINT)
                time.sleep(1)  # the interpreter raises within these; never slept to the end

    return hook


def _personalised(overlay: bytes) -> InstalledDisk:
    with tarfile.open(fileobj=io.BytesIO(overlay)) as tar:

        def text(name: str) -> str:
            member = tar.extractfile(name)
            assert member is not None
            return member.read().decode()

        return InstalledDisk(text(STAMP_PATH.lstrip("/")), text("etc/ssh/ssh_host_ed25519_key.pub").strip())


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the lab's own service
        body: bytes = answer.read()
        return body


def _post(url: str, text: str) -> None:
    with urllib.request.urlopen(url, data=text.encode(), timeout=10) as answer:  # noqa: S310
        answer.read()
