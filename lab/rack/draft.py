"""A first draft of a server's entry in a rack file, from what its BMC says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import yaml

from lab.bmc.bill import DiskSeen, Inventory
from lab.rack.endpoints import BmcEndpoints, TcpConsole, Tls
from lab.rack.model import Controller, Nic, Rack, Server

PASSWORD_VARIABLE = "LAB_BMC_PASSWORD"  # noqa: S105 - the variable's name


@dataclass(frozen=True)
class Trust:
    """How the BMC to import from is trusted; all None: by the system's authorities."""

    ca: Path | None = None
    fingerprint: str | None = None
    insecure_http: bool = False

    def as_tls(self) -> Tls | Literal["none"] | None:
        """The `bmc.tls` that means the same."""
        if self.insecure_http:
            return "none"
        if self.ca is None and self.fingerprint is None:
            return None
        return Tls(ca=self.ca.absolute() if self.ca else None, fingerprint=self.fingerprint)


def asking_rack(url: str | None, user: str, trust: Trust, *, ipmi: str | None = None) -> Rack:
    """A rack of one server of which only the BMC is known: enough to open a session with it.

    Raises:
        pydantic.ValidationError: `url`, `ipmi` or `trust` cannot be.
    """
    endpoints = BmcEndpoints(
        redfish=url, ipmi=ipmi, user=user, password=f"env:{PASSWORD_VARIABLE}", tls=trust.as_tls()
    )
    server = Server(
        name=_typed_name(url, ipmi),
        firmware="uefi",
        bmc=endpoints,
        console=TcpConsole(tcp="localhost:1"),
        nics=(Nic(mac="00:00:00:00:00:00", boot=True),),
    )
    return Rack(rack="typed", controller=Controller(media_address="127.0.0.1"), servers=(server,))


def draft(endpoints: BmcEndpoints, seen: Inventory) -> str:
    """The entry to put under `servers:`, with a remark on every line that a person must decide.

    No disk is erasable in it: which one the lab may overwrite is not for the lab to guess.
    """
    host = urlsplit(endpoints.redfish or "").hostname or ""
    ipmi = f"[{host}]" if ":" in host else host
    lines = [
        f"- name: {_name(seen, host)}",
        f"  model: {_scalar(' '.join(part for part in (seen.vendor, seen.model) if part) or 'unknown')}"
        + (f"  # serial {_remark(seen.serial)}" if seen.serial else ""),
        f"  firmware: {seen.firmware_mode or 'uefi'}"
        + ("" if seen.firmware_mode else "  # a guess, the BMC does not say: uefi or bios"),
        "  bmc:",
        f"    redfish: {_scalar(endpoints.redfish or '')}",
        f"    ipmi: {_scalar(ipmi)}  # a guess; remove it where IPMI over LAN is off",
        f"    user: {_scalar(endpoints.user)}",
        f"    password: {endpoints.password}  # env:NAME or file:PATH",
        *_tls(endpoints),
        "  console: {sol: {}}  # a guess; or serial, rfc2217, tcp",
        *_nics(seen.macs),
        *_disks(seen.disks),
    ]
    return "\n".join(f"  {line}" for line in lines) + "\n"


def _tls(endpoints: BmcEndpoints) -> list[str]:
    if isinstance(endpoints.tls, Tls):
        key = "ca" if endpoints.tls.ca else "fingerprint"
        return [
            f"    tls: {{{key}: {_scalar(str(endpoints.tls.ca or endpoints.tls.fingerprint), flow=True)}}}"
        ]
    return (
        [] if endpoints.tls is None else ["    tls: none  # plain http: passwords cross the network readable"]
    )


def _nics(macs: tuple[str, ...]) -> list[str]:
    if not macs:
        return [
            "  nics: []  # the BMC names none: list at least the one that installs use, with `boot: true`"
        ]
    first, *rest = dict.fromkeys(mac.lower() for mac in macs)
    return [
        "  nics:",
        f'    - {{mac: "{first}", boot: true}}  # a guess: the one that installs and PXE use',
        *(f'    - {{mac: "{mac}"}}' for mac in rest),
    ]


def _disks(disks: tuple[DiskSeen, ...]) -> list[str]:
    if not disks:
        return ["  disks: []  # the BMC names none: list them by serial or WWN"]
    lines = ["  disks:  # `erase: true` lets the lab overwrite a disk"]
    for disk in disks:
        what = _remark(" ".join(part for part in (disk.model, _size(disk.size)) if part))
        key, value = ("serial", disk.serial) if disk.serial.strip() else ("wwn", disk.wwn or "")
        entry = f"- {{{key}: {_scalar(value.strip(), flow=True)}, erase: false}}"
        if not value.strip():
            entry = "# no serial, no WWN: cannot be named"
        lines.append(f"    {entry}  # {what}" if what else f"    {entry}")
    return lines


def _typed_name(url: str | None, ipmi: str | None) -> str:
    """The BMC's address as a server's name."""
    host = (url or ipmi or "").split("//")[-1]
    return re.sub(r"[^a-z0-9._-]+", "-", host.lower()).strip("-._")[:63] or "bmc"


def _name(seen: Inventory, host: str) -> str:
    text = re.sub(r"[^a-z0-9._-]+", "-", f"{seen.serial or host}".lower()).strip("-._")
    return _scalar(text[:63] or "server")


def _size(size: int | None) -> str:
    return "" if size is None else f"{size / 10**9:.0f} GB"


def _remark(text: str) -> str:
    """Text of a BMC as it may stand in a comment: one printable line."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _scalar(text: str, *, flow: bool = False) -> str:
    """`text` as a YAML scalar, quoted where YAML would read it as something else."""
    wrapped = yaml.safe_dump([text] if flow else {"k": text}, default_flow_style=flow, width=10**6)
    return wrapped.strip()[1:-1] if flow else wrapped.strip().removeprefix("k: ")
