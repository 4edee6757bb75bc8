"""Group extension DCMI: what the server draws (DCMI v1.5, sections 6.1.1 and 6.6.1)."""

from __future__ import annotations

import struct

from lab.virtual.ipmi.bmc import Asked, Bmc, Refused
from lab.virtual.ipmi.commands.table import Command, Table

GROUP_EXTENSION = 0x2C
_DCMI = 0xDC
_WATTS = {"on": (180, 95, 260, 175), "off": (12, 12, 12, 12)}
"""Now, lowest, highest, average."""
_PERIOD_MS = 1000
_MEASURING = 0x40
_POWER_STATISTICS = 0x01


def _capabilities(bmc: Bmc, asked: Asked) -> bytes:
    """Power management is there; the other parameters of this command are not."""
    _require_dcmi(asked)
    if asked.byte(1) != 0x01:
        raise Refused(0xCC)
    return bytes([_DCMI, 1, 5, 2, 0x00, 0x01, 0x03])


def _power_reading(bmc: Bmc, asked: Asked) -> bytes:
    _require_dcmi(asked)
    if asked.byte(1) != _POWER_STATISTICS:
        raise Refused(0xCC)
    watts = _WATTS[bmc.board.power]
    return bytes([_DCMI]) + struct.pack("<HHHHIIB", *watts, bmc.clock.now, _PERIOD_MS, _MEASURING)


def _require_dcmi(asked: Asked) -> None:
    if asked.byte(0) != _DCMI:
        raise Refused(0xC1)


COMMANDS: Table = {
    (GROUP_EXTENSION, 0x01): Command(_capabilities),
    (GROUP_EXTENSION, 0x02): Command(_power_reading),
}
