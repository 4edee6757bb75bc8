"""The BMC itself by IPMI: who it is, who is logged in, its clock, its restart (chapters 20, 22 and 31)."""

from __future__ import annotations

import functools
import struct
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib import resources
from ipaddress import IPv4Address

from lab.bmc.api import Answer, Outcome, SessionSeen
from lab.bmc.ipmi import sel as ipmi_sel
from lab.bmc.ipmi.sdr import Asks
from lab.bmc.ipmi.session import CompletionCode, IpmiSession, NoAnswer
from lab.bmc.target import Target
from lab.deadline import Deadline
from lab.errors import BmcBusy, BmcCredentials, BmcUnreachable, LabFault
from lab.rack.values import Strict
from lab.strict_yaml import load_model

_APP, _STORAGE = 0x06, 0x0A
_COLD_RESET = 0x02
_GONE_S = 20.0
"""Seconds within which a BMC that accepted a restart stops answering."""
_LOOK_EVERY_S = 1.0
_KINDS = {0: "IPMI 1.5", 1: "IPMI 2.0"}


class MakerFile(Strict):
    """`lab/bmc/makers.yaml`."""

    makers: dict[int, str]


@dataclass(frozen=True)
class Device:
    """The answer of Get Device ID (20.1)."""

    maker: int = 0
    product: int = 0
    firmware: str = ""
    has_sdr: bool = False
    has_sel: bool = False
    has_fru: bool = False

    @property
    def known(self) -> bool:
        """Whether the maker is in our table."""
        return self.maker in _makers()

    @property
    def vendor(self) -> str:
        """The maker's name; its number where it is not in our table."""
        return _makers().get(self.maker) or (f"manufacturer {self.maker}" if self.maker else "")

    @property
    def model(self) -> str:
        """The product id, which is all that a BMC tells of the model by itself."""
        return f"product 0x{self.product:04x}" if self.product else ""


@functools.cache
def _makers() -> dict[int, str]:
    with resources.as_file(resources.files("lab.bmc.ipmi") / "makers.yaml") as file:
        return load_model(file, MakerFile).makers


def read_device(session: Asks) -> Device:
    """Get Device ID."""
    return decode_device(session.ask(_APP, 0x01))


def decode_device(raw: bytes) -> Device:
    """Get Device ID's answer; what is missing of a short one stays empty."""
    padded = raw.ljust(11, b"\x00")
    return Device(
        maker=int.from_bytes(padded[6:9], "little") & 0x0FFFFF,
        product=int.from_bytes(padded[9:11], "little"),
        firmware=f"{padded[2] & 0x7F}.{padded[3]:02x}" if len(raw) > 3 else "",
        has_sdr=bool(padded[5] & 0x03),
        has_sel=bool(padded[5] & 0x04),
        has_fru=bool(padded[5] & 0x08),
    )


def read_sessions(session: Asks) -> list[SessionSeen]:
    """Who is logged in (Get Session Info, 22.20); ours is known by its handle.

    Raises:
        CompletionCode: the BMC does not know the command.
    """
    mine = session.ask(_APP, 0x3D, (0x00,))
    found = [_seen(session, mine, ours=True)]
    active = mine[2] & 0x3F if len(mine) > 2 else 0
    for number in range(1, active + 1):
        try:
            answer = session.ask(_APP, 0x3D, (number,))
        except CompletionCode:
            continue
        if len(answer) > 4 and answer[0] not in (0, mine[0]):
            found.append(_seen(session, answer, ours=False))
    return found


def _seen(session: Asks, answer: bytes, *, ours: bool) -> SessionSeen:
    number = answer[3] & 0x3F if len(answer) > 3 else 0
    peer = ""
    if len(answer) >= 18:
        peer = f"{IPv4Address(answer[6:10])}:{int.from_bytes(answer[16:18], 'little')}"
    kind = _KINDS.get(answer[5] >> 4, "") if len(answer) > 5 else ""
    return SessionSeen(_user(session, number), peer, kind, ours)


def _user(session: Asks, number: int) -> str:
    """Get User Name (22.29), or the number where it is not told."""
    try:
        name = session.ask(_APP, 0x46, (number,)) if number else b""
    except CompletionCode:
        name = b""
    return name.split(b"\x00")[0].decode("latin-1") or f"user {number}"


def read_clock(session: Asks) -> datetime | None:
    """Get SEL Time (31.10), with the UTC offset where the BMC knows it (31.11a), else as UTC."""
    moment = ipmi_sel.timestamp(int.from_bytes(session.ask(_STORAGE, 0x48)[:4], "little"))
    try:
        minutes = struct.unpack("<h", session.ask(_STORAGE, 0x5C)[:2])[0]
    except (CompletionCode, struct.error):
        return moment
    # 0x07ff is "unspecified"; SEL time is local time, ahead of UTC by the offset.
    if moment is None or not -1440 < minutes < 1440:
        return moment
    return moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))


def reset(session: IpmiSession, target: Target, provider: str, deadline: Deadline) -> Answer:
    """Cold Reset (20.2), one datagram; then the BMC is asked until it lets us in again.

    Raises:
        CompletionCode: it does not know the command.
        LabFault: it is not back before the deadline.
    """
    evidence = ["cold reset sent once"]
    try:
        session.ask_once(_APP, _COLD_RESET, (), wait=3.0)
        went = _went_away(session, deadline.within(_GONE_S, "the BMC to stop answering"))
    except NoAnswer:
        # Many restart before they answer.
        went = True
    session.close()
    evidence.append("it stopped answering" if went else f"it went on answering for {_GONE_S:.0f} s")
    began, last = time.monotonic(), ""
    while True:
        try:
            session.connect()
            break
        except BmcCredentials:
            raise
        except (BmcUnreachable, BmcBusy, LabFault) as problem:
            last = problem.message
        if deadline.passed:
            raise target.unreachable(
                "; ".join([*evidence, "then tried to log in until the deadline"]),
                f"it is not back after its restart: {last}",
                "wait longer, or cut the server's mains power for a minute",
            )
        # Nothing tells that a BMC is there again but trying.
        time.sleep(min(_LOOK_EVERY_S, deadline.left))
    if went:
        evidence.append(f"it lets us log in again after {time.monotonic() - began:.0f} s")
    return Answer(Outcome.VERIFIED if went else Outcome.UNVERIFIABLE, provider, 1, tuple(evidence))


def _went_away(session: IpmiSession, deadline: Deadline) -> bool:
    """Whether the session that was there before the restart is of no use any more."""
    while not deadline.passed:
        try:
            session.ask_once(_APP, 0x01, (), wait=1.0)
        except NoAnswer:
            return True
        except CompletionCode:
            pass
        time.sleep(min(_LOOK_EVERY_S, deadline.left))
    return False
