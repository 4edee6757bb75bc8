"""What a BMC can do: the words of the capability matrix that `lab bmc probe` prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Can = Literal["yes", "no", "unknown"]


class Area(StrEnum):
    """The rows of the matrix."""

    POWER = "power"
    BOOT = "boot"
    MEDIA = "media"
    CONSOLE = "console"
    LOGS = "logs"
    SENSORS = "sensors"
    INVENTORY = "inventory"
    BIOS = "bios"
    SECURE_BOOT = "secure_boot"
    UPDATE = "update"


@dataclass(frozen=True)
class Capability:
    """One provider's answer to one row.

    Attributes:
        can: "unknown" where finding out would have changed something, or the BMC contradicts itself.
        allowed: what exactly, in the BMC's own words, such as ResetType values or media types.
        learned: how this was found out: the resource and member, or the command and its answer.
    """

    area: Area
    provider: str
    can: Can
    allowed: tuple[str, ...] = ()
    learned: str = ""


@dataclass(frozen=True)
class Identity:
    """Who the BMC says it is; quirks are matched against it after what was probed."""

    vendor: str = ""
    model: str = ""
    generation: str = ""
    """The BMC's own name where it has one, such as `iDRAC9`, `iLO 5`, `XCC`, `OpenBMC`."""
    firmware: str = ""


@dataclass(frozen=True)
class Matrix:
    """What was learned of one BMC."""

    server: str
    identity: Identity = Identity()
    capabilities: tuple[Capability, ...] = ()
    quirks: tuple[str, ...] = ()
    """Identifiers of the quirks in force (`lab/bmc/quirks.yaml`)."""
    unreachable: dict[str, str] = field(default_factory=dict)
    """Providers that could not be asked, and why."""
