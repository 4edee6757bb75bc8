"""A real BMC to test against: OpenIPMI's ipmi_sim, configured like the virtual rack's."""

from __future__ import annotations

import selectors
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

USER, PASSWORD = "lab", "s3cret-lab-Pw"
SOL_USER, SOL_PASSWORD = "console", "s3cret-sol-Pw"

_LAN_CONF = """\
name "sim-1"
set_working_mc 0x20
startlan 1
  addr 127.0.0.1 {port}
  priv_limit admin
  allowed_auths_callback md2 md5 straight
  allowed_auths_user md2 md5 straight
  allowed_auths_operator md2 md5 straight
  allowed_auths_admin md2 md5 straight
  guid a123456789abcdefa123456789abcdef
endlan
chassis_control "./chassis"
serial 15 127.0.0.1 {in_band} codec VM
sol "tcp:127.0.0.1:{sol}" 115200
user 2 true "lab" "s3cret-lab-Pw" admin 10 md2 md5 straight
user 3 true "console" "s3cret-sol-Pw" admin 10 md2 md5 straight
"""
# Notes every set, so that a test can count what was really sent.
_CHASSIS = """\
#!/bin/sh
operation=$1; shift
case $operation in
get) for name in "$@"; do read -r value < "chassis-$name" && echo "$name:$value" || exit 1; done ;;
set) echo "$@" >> sets.log
     case $1 in
     power|boot) echo "$2" > "chassis-$1" ;;
     shutdown) echo 0 > chassis-power ;;
     esac ;;
*) exit 1 ;;
esac
"""


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class SerialPort:
    """The TCP end that ipmi_sim takes for the server's serial port: echoes on demand, keeps what came in."""

    listener: socket.socket
    received: bytearray = field(default_factory=bytearray)
    _peer: socket.socket | None = None

    @property
    def port(self) -> int:
        """TCP port."""
        port: int = self.listener.getsockname()[1]
        return port

    def serve(self) -> None:
        """Accept ipmi_sim again and again and keep what it sends."""
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self._peer = peer
            while chunk := _receive(peer):
                self.received += chunk

    def send(self, data: bytes) -> None:
        """The server prints `data`."""
        deadline = time.monotonic() + 15
        while self._peer is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self._peer is not None, "ipmi_sim never connected to the serial port"
        self._peer.sendall(data)

    def close(self) -> None:
        """Stop."""
        for end in (self.listener, self._peer):
            if end is not None:
                end.close()


def _receive(peer: socket.socket) -> bytes:
    try:
        return peer.recv(4096)
    except OSError:
        return b""


@dataclass
class Simulator:
    """One ipmi_sim process."""

    folder: Path
    port: int
    serial: SerialPort
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers an RMCP presence ping (ASF 2.0, 3.2.4.3)."""
        self.process = subprocess.Popen(
            ["ipmi_sim", "-c", "lan.conf", "-f", "server.emu", "-s", "state", "-n"],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "stderr.log").open("ab"),
        )
        ping = bytes.fromhex("0600ff06000011be80000000")
        deadline = time.monotonic() + 10
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, selectors.DefaultSelector() as ready:
            probe.connect(("127.0.0.1", self.port))
            probe.setblocking(False)
            ready.register(probe, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                try:
                    probe.send(ping)
                    if ready.select(0.1) and probe.recv(100):
                        return
                except ConnectionRefusedError:
                    time.sleep(0.05)
        raise AssertionError((self.folder / "stderr.log").read_text())

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End the process."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(10)
            self.serial._peer = None
            self.process = None

    def pause(self) -> None:
        """Stop answering without closing anything."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    @property
    def address(self) -> str:
        """`HOST:PORT` as a rack file writes it."""
        return f"127.0.0.1:{self.port}"

    @property
    def sets(self) -> list[str]:
        """What the chassis was told, oldest first."""
        log = self.folder / "sets.log"
        return log.read_text().splitlines() if log.exists() else []

    def set_power(self, on: bool) -> None:
        """Somebody presses the power button."""
        (self.folder / "chassis-power").write_text("1\n" if on else "0\n")


@contextmanager
def simulator(folder: Path) -> Iterator[Simulator]:
    """An ipmi_sim on a loopback port, with its serial port served."""
    folder.mkdir(parents=True)
    serial = SerialPort(socket.create_server(("127.0.0.1", 0)))
    threading.Thread(target=serial.serve, daemon=True).start()
    port = free_port()
    (folder / "lan.conf").write_text(
        _LAN_CONF.format(port=port, in_band=free_port(socket.SOCK_STREAM), sol=serial.port)
    )
    shutil.copy(Path(__file__).with_name("sim-1.emu"), folder / "server.emu")
    for sensor, raw in {"cpu-temp": 24, "inlet-temp": 22, "fan1": 12, "12v": 191}.items():
        (folder / f"{sensor}.val").write_text(str(raw))
    (folder / "chassis-power").write_text("0\n")
    (folder / "chassis-boot").write_text("none\n")
    (folder / "chassis").write_text(_CHASSIS)
    (folder / "chassis").chmod(0o700)
    (folder / "state").mkdir()
    sim = Simulator(folder, port, serial)
    sim.start()
    try:
        yield sim
    finally:
        sim.stop()
        serial.close()
