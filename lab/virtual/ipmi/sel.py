"""The system event log of a server's `ipmi_sim`, for the Redfish face to mirror; asked by `ipmitool`."""

from __future__ import annotations

import asyncio
import csv
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from lab.errors import LabFault
from lab.virtual.ipmi.config import Face

_SECONDS = 20.0


@dataclass(frozen=True)
class Event:
    """One SEL entry: record id in hex, time (None: the BMC's clock was not set), sensor, what, direction."""

    id: str
    at: datetime | None
    sensor: str
    text: str
    direction: str


async def read(face: Face) -> list[Event]:
    """Every entry, oldest first."""
    return parse(await _ipmitool(face, "-c", "sel", "elist"))


async def clear(face: Face) -> None:
    """Empty the log."""
    await _ipmitool(face, "sel", "clear")


def parse(listing: str) -> list[Event]:
    """Entries of `ipmitool -c sel elist`; lines of another shape are passed over."""
    return [
        _event(row)
        for row in csv.reader(listing.splitlines())
        if len(row) >= 5 and re.fullmatch(r"\s*[0-9a-f]+", row[0])
    ]


def _event(row: list[str]) -> Event:
    try:
        at = datetime.strptime(f"{row[1]} {row[2].removesuffix(' UTC')}", "%m/%d/%Y %H:%M:%S").replace(
            tzinfo=UTC
        )
    except ValueError:
        at = None
    direction = row[5].strip() if len(row) > 5 else ""
    return Event(row[0].strip(), at, row[3].strip(), row[4].strip(), direction)


async def _ipmitool(face: Face, *arguments: str) -> str:
    account = face.accounts[0]
    # Behind the gate, where no datagram is lost.
    # The password goes through the environment (-E): a command line is readable by everybody.
    process = await asyncio.create_subprocess_exec(
        *(
            "ipmitool",
            "-I",
            "lanplus",
            "-C",
            "3",
            "-H",
            face.inner_address,
            "-p",
            str(face.port),
            "-U",
            account.name,
            "-E",
            *arguments,
        ),
        env={"IPMI_PASSWORD": account.password, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, complaint = await asyncio.wait_for(process.communicate(), _SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise LabFault(
            "ipmi_sim does not give its event log", server=face.server, next_step="see its ipmi_sim.log"
        ) from None
    if process.returncode != 0:
        said = complaint.decode(errors="replace").strip()
        raise LabFault(
            f"ipmitool failed on the event log: {said}", server=face.server, next_step="see ipmi_sim.log"
        )
    return output.decode(errors="replace")
