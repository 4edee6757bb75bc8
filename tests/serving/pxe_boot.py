"""A real firmware boots by PXE on a wire of its own: run in `unshare -Urnm`, prints what was seen as JSON.

The deploy RAM OS is real, the server has no disk: so it must come up, fetch its settings, and refuse.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.deadline import Deadline
from lab.errors import LabError
from lab.media import image
from lab.media.install import Installation
from lab.release import load_release
from tests.serving.pxe_wire import ip
from tests.serving.rack_on_loopback import MAC, bench

_OVMF = Path("/usr/share/OVMF")
_BOOT_S = 300
_RANGE = "pxe_range: 10.77.0.100-10.77.0.109"


@contextlib.contextmanager
def server(firmware: str, serial: Path) -> Iterator[None]:
    """A server with nothing but a network port, switched on."""
    arguments = ["-machine", "pc,graphics=off"]  # SeaBIOS and iPXE then speak on the serial port
    if firmware == "uefi":
        variables = serial.with_name("vars.fd")
        shutil.copy(_OVMF / "OVMF_VARS_4M.fd", variables)
        arguments = ["-machine", "q35,smm=off"]
        for number, file in enumerate((f"{_OVMF}/OVMF_CODE_4M.fd,readonly=on", str(variables))):
            arguments += ["-drive", f"if=pflash,unit={number},format=raw,file={file}"]
    rom = ",romfile=" if firmware == "uefi" else ""
    arguments += ["-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no"]
    arguments += ["-device", f"virtio-net-pci,netdev=n0,mac={MAC},bootindex=0{rom}"]
    arguments += ["-accel", "tcg,thread=multi", "-m", "1024", "-smp", "2", "-display", "none", "-nodefaults"]
    with subprocess.Popen(["qemu-system-x86_64", *arguments, "-serial", f"file:{serial}"]) as process:
        try:
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def dhcp_that_is_there() -> Iterator[None]:
    """The network's own DHCP server, which knows nothing of PXE."""
    options = "-k --conf-file=/dev/null --port=0 --interface=tap0 --bind-interfaces --except-interface=lo"
    options += (
        " --user=root --group= --pid-file= --leasefile-ro --no-ping --dhcp-range=10.77.0.200,10.77.0.210"
    )
    with subprocess.Popen(
        ["dnsmasq", *options.split()],
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.kill()


def boot(firmware: str, lease_range: bool, scratch: Path) -> dict[str, Any]:
    ip("link set lo up")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    ip("tuntap add tap0 mode tap")
    ip("link set tap0 up")
    ip("addr add 10.77.0.1/24 dev tap0")
    controller = f"{{media_address: 10.77.0.1, pxe_interface: tap0{', ' + _RANGE if lease_range else ''}}}"
    rack = bench(scratch, controller, firmware)
    nothing = scratch / "image"
    nothing.write_bytes(b"")
    built = image.Image(nothing, hashlib.blake2b(b"").hexdigest(), 0, 1, scratch / "packages.tsv")
    setattr(image, "build_image", lambda release, progress: built)  # noqa: B010 - a stand-in, hence untyped
    seen: dict[str, Any] = {"said": [], "failure": None}
    with contextlib.ExitStack() as stack:
        if not lease_range:
            stack.enter_context(dhcp_that_is_there())
        release = load_release("kvm-debian12")
        installation = Installation(rack, rack.servers[0], release, progress=seen["said"].append)
        stack.enter_context(installation)
        installation.offer_pxe()
        serial = scratch / "serial"
        stack.enter_context(server(firmware, serial))
        try:
            installation.wait_done(Deadline.after(_BOOT_S, "the deploy RAM OS"))
        except LabError as error:
            seen["failure"] = [type(error).__name__, error.message]
        seen["fetched"] = list(installation.service.fetched)
        console = serial.read_text(errors="replace")
        seen["console"] = [line for line in console.splitlines() if "lab-deploy" in line] or console[-2000:]
        secret = installation.kernel_arguments.split()[0].rsplit("/", 1)[1]
        seen["secret on console"] = secret in console
    return seen


if __name__ == "__main__":
    print(json.dumps(boot(sys.argv[1], sys.argv[2] == "range", Path(sys.argv[3]))))
