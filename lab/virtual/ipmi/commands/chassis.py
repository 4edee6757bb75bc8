"""NetFn Chassis: power, lamp, boot options (IPMI v2.0 rev 1.1, section 28)."""

from __future__ import annotations

from lab.bmc.api import PowerAction
from lab.virtual.ipmi.bmc import Asked, Bmc, Refused
from lab.virtual.ipmi.boot_options import FLAGS
from lab.virtual.ipmi.commands.table import OPERATOR, Command, Table
from lab.virtual.ipmi.rmcp import BMC_ADDRESS

CHASSIS = 0x00
_ACTIONS = {
    0: PowerAction.OFF,
    1: PowerAction.ON,
    2: PowerAction.CYCLE,
    3: PowerAction.RESET,
    4: PowerAction.NMI,
    5: PowerAction.GRACEFUL_OFF,
}
_BOOTS = (PowerAction.ON, PowerAction.CYCLE, PowerAction.RESET)
_NEEDS_ON = (PowerAction.RESET, PowerAction.CYCLE, PowerAction.NMI, PowerAction.GRACEFUL_OFF)
_WRONG_STATE = 0xD5
_NO_SUCH_PARAMETER = 0x80
_LAMP_SECONDS = 15
_POLICIES = 3


def _capabilities(bmc: Bmc, asked: Asked) -> bytes:
    return bytes([0x00, BMC_ADDRESS, BMC_ADDRESS, BMC_ADDRESS, BMC_ADDRESS])


def _status(bmc: Bmc, asked: Asked) -> bytes:
    """28.2: power, restart policy, lamp."""
    power = int(bmc.power_read() == "on") | bmc.restart_policy << 5
    lamp = 0x40 | (0x20 if bmc.board.identify else 0)
    return bytes([power, 0x00, lamp])


def _control(bmc: Bmc, asked: Asked) -> bytes:
    """28.3: answered when the action has begun."""
    action = _ACTIONS.get(asked.byte(0) & 0x0F)
    bmc.controls[str(action)] += 1
    if action is PowerAction.NMI and not bmc.faults.now.nmi:
        bmc.faults.played("nmi")
        raise Refused(0xCC)
    if action is None:
        raise Refused(0xCC)
    if action in _NEEDS_ON and bmc.board.power == "off":
        raise Refused(_WRONG_STATE)
    bmc.boot.power_controlled(boots=action in _BOOTS)
    bmc.power_action(action)
    return b""


def _identify(bmc: Bmc, asked: Asked) -> bytes:
    """28.5: for so many seconds, without end where the second byte says so."""
    forever = len(asked.data) > 1 and bool(asked.data[1] & 1)
    seconds = asked.data[0] if asked.data else _LAMP_SECONDS
    bmc.light(None if forever else float(seconds))
    return b""


def _restart_policy(bmc: Bmc, asked: Asked) -> bytes:
    if asked.byte(0) & 0x07 < _POLICIES:
        bmc.restart_policy = asked.byte(0) & 0x07
    return b"\x07"


def _restart_cause(bmc: Bmc, asked: Asked) -> bytes:
    return bytes([0x00, 0x00])


def _set_boot_option(bmc: Bmc, asked: Asked) -> bytes:
    """28.12."""
    parameter = asked.byte(0) & 0x7F
    if not bmc.boot.knows(parameter):
        raise Refused(_NO_SUCH_PARAMETER)
    if parameter == FLAGS and bmc.faults.now.boot_flags == "refused":
        bmc.faults.played("boot_flags", "refused")
        raise Refused(_NO_SUCH_PARAMETER)
    if len(asked.data) > 1:  # without data only the parameter's valid bit would change
        bmc.boot.write(parameter, asked.data[1:])
    return b""


def _boot_option(bmc: Bmc, asked: Asked) -> bytes:
    """28.13."""
    parameter = asked.byte(0) & 0x7F
    if not bmc.boot.knows(parameter):
        raise Refused(_NO_SUCH_PARAMETER)
    return bytes([0x01, parameter]) + bmc.boot.read(parameter)


COMMANDS: Table = {
    (CHASSIS, 0x00): Command(_capabilities),
    (CHASSIS, 0x01): Command(_status),
    (CHASSIS, 0x02): Command(_control, OPERATOR),
    (CHASSIS, 0x04): Command(_identify, OPERATOR),
    (CHASSIS, 0x06): Command(_restart_policy, OPERATOR),
    (CHASSIS, 0x07): Command(_restart_cause),
    (CHASSIS, 0x08): Command(_set_boot_option, OPERATOR),
    (CHASSIS, 0x09): Command(_boot_option, OPERATOR),
}
