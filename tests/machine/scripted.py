"""A scripted server: a BMC in memory and a console over a real socket, read by the real recorder.

It plays what no test can afford to start: whole installs and boots, in milliseconds, failing where told.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lab.bmc.api import (
    Answer,
    BootDevice,
    FirmwareMode,
    Inventory,
    LogEntry,
    Outcome,
    Power,
    PowerAction,
    SensorReading,
)
from lab.errors import ConsoleLost

DEPLOY = ["lab-deploy: booted", "lab-deploy: done", "reboot: Power down"]
XEN_BOOT = [
    "GNU GRUB  version 2.06",
    "(XEN) Xen version 4.17.7 (Debian 4.17.7+13-1) (x86_64-linux-gnu-gcc) debug=n",
    "[    0.000000] Linux version 6.1.0-50-amd64 (debian-kernel)",
    "[  OK  ] Started ssh.service - OpenBSD Secure Shell server.",
    "Debian GNU/Linux 12 uefi-1 hvc0",
    "uefi-1 login: ",
]


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
class ScriptedServer:
    """A `Bmc` whose power-on plays lines on the console; every order is kept in `orders`.

    `interrupt` is called before each order and may raise, as Ctrl-C would.
    """

    installer: list[str] = field(default_factory=lambda: list(DEPLOY))
    boot: list[str] = field(default_factory=lambda: list(XEN_BOOT))
    state: Power = "off"
    orders: list[str] = field(default_factory=list)
    interrupt: Callable[[str], None] = lambda order: None
    name: str = "scripted"
    closed: bool = False

    def __post_init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._wire = ours
        self.stream = SocketStream(theirs)
        self._device = BootDevice.NONE
        self._media: str | None = None

    def _order(self, order: str) -> Answer:
        self.orders.append(order)
        self.interrupt(order)
        return Answer(Outcome.VERIFIED, self.name)

    def say(self, lines: list[str]) -> None:
        for line in lines:
            self._wire.sendall(line.encode() + (b"" if line.endswith(": ") else b"\r\n"))
            if "Power down" in line:
                self.state = "off"

    def power(self) -> Power:
        return self.state

    def set_power(self, action: PowerAction, *, deadline_s: float = 60.0) -> Answer:
        answer = self._order(f"power {action}")
        if action is PowerAction.ON:
            self.state = "on"
            device, self._device = self._device, BootDevice.NONE
            self.say(self.installer if device in (BootDevice.CD, BootDevice.PXE) else self.boot)
        elif action in (PowerAction.OFF, PowerAction.GRACEFUL_OFF):
            self.state = "off"
        return answer

    def boot_once(self, device: BootDevice, mode: FirmwareMode) -> Answer:
        answer = self._order(f"boot {device}")
        self._device = device
        return answer

    def boot_override(self) -> BootDevice | None:
        return self._device

    def insert_media(self, url: str) -> Answer:
        answer = self._order("insert")
        self._media = url
        return answer

    def eject_media(self) -> Answer:
        answer = self._order("eject")
        self._media = None
        return answer

    def media(self) -> str | None:
        return self._media

    def identify(self, on: bool) -> Answer:
        return self._order("identify")

    def sensors(self) -> list[SensorReading]:
        return []

    def event_log(self) -> list[LogEntry]:
        return []

    def clear_event_log(self) -> Answer:
        return self._order("clear log")

    def inventory(self) -> Inventory:
        return Inventory()

    def clock(self) -> datetime | None:
        return datetime.now(UTC)

    def close(self) -> None:
        self.closed = True
        self._wire.close()
