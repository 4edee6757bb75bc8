"""How the BMCs of a virtual rack that is up err, from any process: asked, added to and ended.

>>> control_faults.fault(rack, "server-1", FaultEntry(fault="loss", probability=0.05))
>>> control_faults.faults(rack, "server-1").played
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.errors import UnknownName
from lab.rack.model import Rack
from lab.rack.virtual import FaultEntry
from lab.virtual import control, profiles


@dataclass(frozen=True)
class BmcFaults:
    """How a virtual BMC errs; `played` counts by kind of fault and by quirk."""

    profile: str | None
    faults: tuple[FaultEntry, ...]
    played: dict[str, int]


def fault(rack: Rack, server: str, entry: FaultEntry) -> BmcFaults:
    """Put one more fault in force at a server of a rack that is up, counted from now.

    Raises:
        LabFault: the rack is not up.
    """
    add = entry.model_dump(exclude_defaults=True)
    return _bmc_faults(control.request(rack, {"do": "fault", "server": server, "add": add}))


def profile(rack: Rack, server: str, name: str | None) -> BmcFaults:
    """Let the BMC of a server of a rack that is up be that profile from now on; None is one without habits.

    Raises:
        UnknownName: there is no such profile.
        LabFault: the rack is not up, or the profile needs an IPMI responder that this server lacks.
    """
    if name is not None and name not in profiles.load():
        raise UnknownName(
            f"no BMC profile '{name}'", next_step=f"choose from {', '.join(sorted(profiles.load()))}"
        )
    return _bmc_faults(control.request(rack, {"do": "fault", "server": server, "profile": name}))


def clear_faults(rack: Rack, server: str) -> BmcFaults:
    """End every fault and profile at a server; what was played stays counted.

    Raises:
        LabFault: the rack is not up.
    """
    return _bmc_faults(control.request(rack, {"do": "fault", "server": server, "clear": True}))


def faults(rack: Rack, server: str) -> BmcFaults:
    """What is in force at a server, and what was played since the rack came up.

    Raises:
        LabFault: the rack is not up.
    """
    return _bmc_faults(control.request(rack, {"do": "fault", "server": server}))


def _bmc_faults(answer: dict[str, Any]) -> BmcFaults:
    entries = tuple(FaultEntry.model_validate(entry) for entry in answer["faults"])
    return BmcFaults(answer["profile"], entries, answer["played"])
