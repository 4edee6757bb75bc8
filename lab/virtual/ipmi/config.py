"""What `ipmi_sim` reads: lan.conf (network, accounts, wiring) and the .emu file (sensors, SEL, FRU).

Source: ipmi_lan(5), ipmi_sim_cmd(5); facts/virtual-rack.md sections 1 and 6.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from lab.virtual.ipmi import fru, sdr, sensors

SEL_ENTRIES = 1000
_MANUFACTURER, _PRODUCT = 0x1234, 0x0001
_POLL_MS = 1000
_ALL_EVENTS = "000111111111111"
_TWO_STATES = "000000000000011"
_WATCHDOG_STATES = "000000000001111"

CHASSIS_SCRIPT = """\
#!/bin/sh
# ipmi_sim runs this for every chassis request, in its only thread: reads are answered from files that the
# rack's daemon keeps current, changes are handed to the daemon.
operation=$1; shift
case $operation in
get) for name in "$@"; do
    case $name in power|boot) read -r value < "chassis-$name" && echo "$name:$value" ;; *) exit 1 ;; esac
  done ;;
set) exec {python} -I -S chassis_set.py "$@" ;;
*) exit 1 ;;
esac
"""

CHASSIS_SET = """\
import json, os, socket, sys
changes = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with socket.socket(socket.AF_UNIX) as daemon:
    daemon.settimeout(30)
    os.chdir({rack!r})  # a unix socket's path may have no more than 107 characters
    daemon.connect("control.sock")
    request = {{"do": "ipmi-set", "server": {server!r}, "changes": changes}}
    daemon.sendall(json.dumps(request).encode() + b"\\n")
    sys.exit(0 if json.loads(daemon.makefile().readline()).get("ok") else 1)
"""


@dataclass(frozen=True)
class Account:
    """A user of the BMC; every account of a virtual rack is an administrator."""

    name: str
    password: str


@dataclass(frozen=True)
class Face:
    """Everything that makes one server's IPMI face.

    `inner_address` is where `ipmi_sim` itself listens, with the same port number: it names that number to
    clients that open SOL, and they insist on the one they know.
    """

    server: str
    address: str
    port: int
    inner_address: str
    guid: str
    accounts: tuple[Account, ...]
    in_band_port: int
    sol_port: int
    unit: fru.Fru


def write(face: Face, folder: Path, rack: Path) -> None:
    """Write lan.conf, server.emu, the chassis script and first sensor values into `folder`."""
    for sensor in sensors.ANALOG:
        (folder / sensor.file).write_text(str(sensor.off))
    for name in ("power", "boot"):
        (folder / f"chassis-{name}").write_text({"power": "0\n", "boot": "none\n"}[name])
    (folder / "chassis").write_text(CHASSIS_SCRIPT.format(python=sys.executable))
    (folder / "chassis").chmod(0o700)
    (folder / "chassis_set.py").write_text(CHASSIS_SET.format(rack=str(rack), server=face.server))
    lan = folder / "lan.conf"
    lan.touch(mode=0o600)
    lan.write_text(lan_conf(face))
    (folder / "server.emu").write_text(emulator(face))


def lan_conf(face: Face) -> str:
    """lan.conf: no `none` authentication and no anonymous user; cipher suite 0 is stopped by the gate."""
    lines = [
        f'name "{face.server}"',
        "set_working_mc 0x20",
        "startlan 1",
        f"  addr {face.inner_address} {face.port}",
        "  priv_limit admin",
    ]
    lines += [
        f"  allowed_auths_{level} md2 md5 straight" for level in ("callback", "user", "operator", "admin")
    ]
    lines += [f"  guid {face.guid}", "endlan", 'chassis_control "./chassis"']
    lines += [
        f"serial 15 127.0.0.1 {face.in_band_port} codec VM",
        f'sol "tcp:127.0.0.1:{face.sol_port}" 115200',
    ]
    for number, account in enumerate(face.accounts, start=2):
        lines.append(f'user {number} true "{account.name}" "{account.password}" admin 10 md2 md5 straight')
    return "\n".join(lines) + "\n"


def emulator(face: Face) -> str:
    """The .emu file: the BMC, its SEL, sensors with their files, SDR repository and FRU."""
    mc = "0x20"
    lines = [f"mc_setbmc {mc}"]
    lines.append(
        f"mc_add {mc} {mc} no-device-sdrs 0x01 1 2 0x9f {_MANUFACTURER:#x} {_PRODUCT:#06x} persist_sdr"
    )
    lines.append(f"sel_enable {mc} {SEL_ENTRIES} 0x0a")
    number, kind = sensors.WATCHDOG_NUMBER, sensors.WATCHDOG
    lines.append(f"sensor_add {mc} 0 {number} {kind:#x} {sdr.SENSOR_SPECIFIC_EVENTS:#x} event-only")
    lines.append(_events(mc, number, _WATCHDOG_STATES, "000000000000000"))
    records = [
        sdr.controller_locator("BMC"),
        sdr.fru_locator("System"),
        sdr.event_only(number, kind, "Watchdog", sensors.SYSTEM_BOARD),
    ]
    for analog in sensors.ANALOG:
        limits = analog.thresholds
        lines.append(
            f'sensor_add {mc} 0 {analog.number} {analog.kind} 1 poll {_POLL_MS} file "{analog.file}"'
        )
        values = " ".join(map(str, limits.values))
        lines.append(f"sensor_set_threshold {mc} 0 {analog.number} settable {limits.mask} {values}")
        lines.append(_events(mc, analog.number, _ALL_EVENTS, _ALL_EVENTS))
        records.append(sdr.full(analog))
    for discrete in sensors.DISCRETE:
        lines.append(f"sensor_add {mc} 0 {discrete.number} {discrete.kind} {sdr.SENSOR_SPECIFIC_EVENTS:#x}")
        if discrete.asserted is not None:
            lines.append(f"sensor_set_bit_clr_rest {mc} 0 {discrete.number} {discrete.asserted} 1 0")
        lines.append(_events(mc, discrete.number, _TWO_STATES, _TWO_STATES))
        records.append(sdr.compact(discrete))
    unit = fru.encode(face.unit)
    lines.append(f"mc_add_fru_data {mc} 0 {len(unit)} data {_hex(unit)}")
    lines += [f"main_sdr_add {mc} {_hex(record)}" for record in records]
    return "\n".join([*lines, f"mc_enable {mc}"]) + "\n"


def _events(mc: str, number: int, assertion: str, deassertion: str) -> str:
    masks = f"{assertion} {deassertion} {assertion} {deassertion}"  # supported, then enabled
    return f"sensor_set_event_support {mc} 0 {number} enable scanning per-state {masks}"


def _hex(data: bytes) -> str:
    return " ".join(f"{byte:#04x}" for byte in data)
