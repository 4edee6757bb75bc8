"""PXE tried on a wire of its own: run inside `unshare -Urnm`, prints what was seen as JSON.

Two network namespaces joined by two cables (lab0-srv0, lab1-srv1); the lab is on one side, machines on the
other. No root, and nothing of it touches a network of this machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from lab.media.pxe import pxe
from tests.serving.rack_on_loopback import MAC, bench

STRANGER = "52:54:00:ee:ee:ee"
OTHER_PORT = "52:54:00:aa:00:02"
LAB, SERVER_ADDRESS, STRANGER_ADDRESS = "10.77.0.1", "10.77.0.50", "10.77.0.66"


class Machines:
    """The far side of the cables."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["unshare", "-n", sys.executable, "-m", "tests.serving.pxe_client"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        for number in (0, 1):
            ip(f"link add lab{number} type veth peer name srv{number}")
            self._move(f"srv{number}")
            ip(f"link set lab{number} up")
        ip(f"addr add {LAB}/24 dev lab0")
        ip("addr add 10.78.0.1/24 dev lab1")
        self.become(MAC, SERVER_ADDRESS)
        self.ask(do="become", nic="srv1", mac="52:54:00:aa:99:01", address="10.78.0.50")

    def _move(self, nic: str) -> None:
        ours = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{self._process.pid}/ns/net").readlink() == ours:
            time.sleep(0.01)
        ip(f"link set {nic} netns {self._process.pid}")

    def ask(self, **order: object) -> Any:  # noqa: ANN401 - whatever the far side answers
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def become(self, mac: str, address: str) -> None:
        self.ask(do="become", nic="srv0", mac=mac, address=address)

    def discover(
        self, mac: str, arch: int = 0, *, ipxe: bool = False, nic: str = "srv0"
    ) -> dict[str, Any] | None:
        wait_s = 3.0 if mac == MAC and nic == "srv0" else 0.7
        return _answer(self.ask(do="discover", nic=nic, mac=mac, arch=arch, ipxe=ipxe, wait_s=wait_s))

    def silence(self, mac: str) -> dict[str, Any] | None:
        return _answer(self.ask(do="discover", nic="srv0", mac=mac, arch=0, ipxe=False, wait_s=0.7))

    def fetch(self, name: str) -> str | None:
        found = self.ask(do="fetch", server=LAB, name=name, wait_s=1.5)
        return found if isinstance(found, str) else None


def _answer(found: object) -> dict[str, Any] | None:
    return found if isinstance(found, dict) else None


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


def place(folder: Path) -> None:
    (folder / "boot.ipxe").write_text("#!ipxe\n")
    (folder / "netboot.efi").write_text("shim")
    (folder / "grub").mkdir()
    (folder / "grub" / "grub.cfg").write_text("set timeout=0")


def daemons() -> list[int]:
    """Every dnsmasq in our network namespace."""
    here = Path("/proc/self/ns/net").readlink()
    found = []
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(OSError):
            if process.info["name"] == "dnsmasq" and Path(f"/proc/{process.pid}/ns/net").readlink() == here:
                found.append(process.pid)
    return found


def answers(machines: Machines, scratch: Path, *, lease_range: bool) -> dict[str, Any]:
    controller = "{media_address: 10.77.0.1, pxe_interface: lab0"
    controller += ", pxe_range: 10.77.0.100-10.77.0.109}" if lease_range else "}"
    rack = bench(scratch, controller)
    seen: dict[str, Any] = {"said": []}
    with pxe(rack, rack.servers[0], place, seen["said"].append):
        seen["running"] = len(daemons())
        seen["bios"] = machines.discover(MAC)
        seen["ipxe"] = machines.discover(MAC, ipxe=True)
        seen["uefi"] = machines.discover(MAC, 7)
        seen["uefi 9"] = machines.discover(MAC, 9)
        seen["stranger"] = machines.discover(STRANGER)
        seen["second port"] = machines.discover(OTHER_PORT)
        seen["other interface"] = machines.discover(MAC, nic="srv1")
        seen["script"] = machines.fetch("boot.ipxe")
        seen["grub"] = machines.fetch("/grub/grub.cfg")
        seen["nothing"] = machines.fetch("nothing")
        machines.become(STRANGER, STRANGER_ADDRESS)
        seen["stranger's script"] = machines.fetch("boot.ipxe")
        machines.become(MAC, SERVER_ADDRESS)
    seen["after"] = machines.silence(MAC)
    seen["script after"] = machines.fetch("boot.ipxe")
    seen["running after"] = len(daemons())
    return seen


def two_at_once(machines: Machines, scratch: Path) -> dict[str, Any]:
    """Both servers of a rack install on one interface; each gets its own script."""
    rack = bench(
        scratch, "{media_address: 10.77.0.1, pxe_interface: lab0, pxe_range: 10.77.0.100-10.77.0.109}"
    )
    one, two = rack.servers
    seen: dict[str, Any] = {}

    def script(text: str) -> Callable[[Path], object]:
        return lambda folder: (folder / "boot.ipxe").write_text(text)

    with pxe(rack, one, script("one")), pxe(rack, two, script("two")):
        seen["addresses"] = [
            (machines.discover(MAC) or {})["address"],
            machines.ask(do="discover", nic="srv0", mac=two.boot_nic.mac, arch=0, ipxe=False, wait_s=3.0)[
                "address"
            ],
        ]
        seen["one"] = machines.fetch("boot.ipxe")
        machines.become(two.boot_nic.mac, STRANGER_ADDRESS)
        seen["two"] = machines.fetch("boot.ipxe")
    seen["running after"] = len(daemons())
    return seen


def killed(scratch: Path) -> dict[str, Any]:
    """The lab is killed in the middle: dnsmasq must not outlive it."""
    child = os.fork()
    if child == 0:
        rack = bench(scratch, "{media_address: 10.77.0.1, pxe_interface: lab0}")
        with pxe(rack, rack.servers[0], place):
            signal.pause()
    until = time.monotonic() + 10
    while not daemons() and time.monotonic() < until:
        time.sleep(0.05)
    seen = {"running": len(daemons())}
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    until = time.monotonic() + 5
    while daemons() and time.monotonic() < until:
        time.sleep(0.05)
    return seen | {"running after": len(daemons())}


@contextlib.contextmanager
def machines() -> Iterator[Machines]:
    ip("link set lo up")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    made = Machines()
    try:
        yield made
    finally:
        made._process.kill()


def main(scenario: str, scratch: Path) -> None:
    with machines() as wire:
        if scenario == "two":
            seen = two_at_once(wire, scratch)
        elif scenario == "killed":
            seen = killed(scratch)
        else:
            seen = answers(wire, scratch, lease_range=scenario == "range")
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
