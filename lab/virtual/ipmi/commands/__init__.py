"""The commands that the responder knows, one module per network function, and how one is carried out."""

from __future__ import annotations

from lab.virtual.ipmi.bmc import Asked, Bmc, Refused
from lab.virtual.ipmi.commands import application, chassis, payload, power_reading, sensor, storage, transport
from lab.virtual.ipmi.commands.table import Table
from lab.virtual.ipmi.rmcp import Message
from lab.virtual.ipmi.session import Session

KNOWN: Table = {
    **application.COMMANDS,
    **payload.COMMANDS,
    **chassis.COMMANDS,
    **sensor.COMMANDS,
    **storage.COMMANDS,
    **transport.COMMANDS,
    **power_reading.COMMANDS,
}
_OK, _UNKNOWN, _NO_PRIVILEGE = 0x00, 0xC1, 0xD4


def carry_out(bmc: Bmc, request: Message, session: Session | None) -> tuple[int, bytes]:
    """The completion code and the data that answer a request (section 5.2)."""
    command = KNOWN.get((request.network_function, request.command))
    if session is None and (command is None or command.level is not None):
        return _NO_PRIVILEGE, b""
    if command is None:
        return _UNKNOWN, b""
    if session is not None and command.level is not None and session.privilege < command.level:
        return _NO_PRIVILEGE, b""
    try:
        return _OK, command.answer(bmc, Asked(request.data, session))
    except Refused as no:
        return no.code, b""
