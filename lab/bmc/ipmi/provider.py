"""The IPMI provider: everything that IPMI 2.0 and DCMI have a command for, over RMCP+.

Commands are named after their sections in the IPMI 2.0 specification.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from lab.bmc import power, quirks
from lab.bmc.api import (
    Answer,
    BootDevice,
    LogEntry,
    Outcome,
    Power,
    PowerAction,
    SensorReading,
    SessionSeen,
    SolSettings,
)
from lab.bmc.bill import FirmwareMode, Inventory
from lab.bmc.capability import Capability, Identity
from lab.bmc.ipmi import fru as ipmi_fru
from lab.bmc.ipmi import manager as ipmi_manager
from lab.bmc.ipmi import probe as ipmi_probe
from lab.bmc.ipmi import sdr as ipmi_sdr
from lab.bmc.ipmi import sel as ipmi_sel
from lab.bmc.ipmi import sensors as ipmi_sensors
from lab.bmc.ipmi.boot import BootFlags
from lab.bmc.ipmi.session import CompletionCode, IpmiSession, NoAnswer, TooSlow
from lab.bmc.ipmi.sol import SolConfiguration
from lab.bmc.provider import Provider
from lab.bmc.target import ALIVE_S, Account, Target, Unsupported
from lab.deadline import Deadline

_CHASSIS, _APP, _STORAGE = 0x00, 0x06, 0x0A
_CONTROL = {
    PowerAction.OFF: 0,
    PowerAction.ON: 1,
    PowerAction.CYCLE: 2,
    PowerAction.RESET: 3,
    PowerAction.NMI: 4,
    PowerAction.GRACEFUL_OFF: 5,
}
_UNKNOWN_COMMAND = {0xC1, 0xC2, 0xCC, 0x80}
"""Completion codes by which a BMC says that it does not have a command, or not with this argument."""
_READ_S = 60.0
"""Seconds that reading all sensors, the whole event log or all FRUs may take."""
_READ_COMMANDS = 500
"""Commands that such a read may come to, for a BMC that needs time between them (Q33)."""
_CLEAR_S = 10.0


class IpmiBmc(Provider):
    """A server's BMC by IPMI 2.0 over LAN.

    Args:
        target: the server and its address.
        host: where the BMC is.
        port: its UDP port.
        account: who we are.
        catalogue: the quirks that are known; ours where none is given.
    """

    name = "ipmi"

    def __init__(
        self,
        target: Target,
        host: str,
        port: int,
        account: Account,
        catalogue: quirks.Catalogue | None = None,
    ) -> None:
        super().__init__(target)
        self._catalogue = catalogue or quirks.load()
        self._session = IpmiSession(
            target, host, port, account, self._catalogue.applying(Identity()).behaviour
        )
        self._boot = BootFlags(self._session, target, self.name)
        self._sol = SolConfiguration(self._session, target, self.name)
        self._started = ipmi_sel.Start()
        self._quirks: quirks.Quirks | None = None

    def connect(self) -> None:
        """Log in unless there is a session that is alive; raises `LabFault` or one of its kinds."""
        self._session.connect()
        if self._session.idle > ALIVE_S:
            with self._words("asking whether it is there"):
                self._session.ask(_APP, 0x01)

    def quirks(self) -> quirks.Quirks:
        """The quirks that apply to this BMC by who it says it is; this provider heeds them.

        Raises:
            LabFault: the BMC cannot be asked.
        """
        if self._quirks is None:
            self._heed(self._identified(by_fru=False))
        return self._quirks or quirks.Quirks()

    def power(self) -> Power:
        """Get Chassis Status (28.2)."""
        with self._words("reading the power state"):
            status = self._session.ask(_CHASSIS, 0x01)
            return "on" if status[0] & 1 else "off"

    def set_power(self, action: PowerAction, *, deadline_s: float = 60.0) -> Answer:
        """Chassis Control (28.3), one datagram at most; then the state is read until it shows."""
        return power.carry_out(self, action, self._control, Deadline.after(deadline_s, f"power {action}"))

    def boot_once(self, device: BootDevice, mode: FirmwareMode, *, uri: str | None = None) -> Answer:
        """Set System Boot Options, parameter 5 (28.12), and read it back (28.13)."""
        if uri is not None:
            raise Unsupported("a boot URI over IPMI")
        with self._words(f"boot once from {device}"):
            return self._boot.set(device, mode, self.quirks().behaviour)

    def boot_always(self, device: BootDevice, mode: FirmwareMode) -> Answer:
        """The same with the bit that keeps it; nothing is sent where it reads so already."""
        with self._words(f"boot always from {device}"):
            return self._boot.set(device, mode, self.quirks().behaviour, lasting=True)

    def boot_override(self) -> BootDevice | None:
        """The device in boot parameter 5; None where the flags read as invalid."""
        with self._words("reading the boot override"):
            return self._boot.device(self.quirks().behaviour)

    def sol(self) -> SolSettings:
        """Get SOL Configuration Parameters (26.3)."""
        with self._words("reading the SOL settings"):
            return self._sol.read()

    def enable_sol(self) -> Answer:
        """Set SOL Configuration Parameters (26.2), read back."""
        with self._words("enabling SOL"):
            return self._sol.enable(settable=self.quirks().behaviour.sol_settable)

    def identify(self, on: bool) -> Answer:
        """Chassis Identify (28.5), verified where the chassis status tells the lamp's state."""
        with self._words("identify"):
            self._session.ask(_CHASSIS, 0x04, (0, 1) if on else (0,))
            status = self._session.ask(_CHASSIS, 0x01)
        told = len(status) > 2 and bool(status[2] & 0x40)
        lit = len(status) > 2 and bool(status[2] & 0x30)
        if told and lit != on:
            raise self._target.refused("identify", f"the lamp stays {'on' if lit else 'off'}")
        outcome = Outcome.VERIFIED if told else Outcome.UNVERIFIABLE
        return Answer(outcome, self.name, 1, (f"chassis status {status.hex()}",))

    def sensors(self) -> list[SensorReading]:
        """Every sensor of the SDR repository that has a reading, with its thresholds (35.9, 35.14)."""
        deadline = self._limit("sensors are read")
        with self._words("reading sensors"):
            repository = ipmi_sdr.read_repository(self._session, deadline)
            return ipmi_sensors.read_sensors(self._session, repository, deadline)

    def power_draw(self) -> float | None:
        """Get Power Reading (DCMI 1.5, 6.6.1)."""
        with self._words("reading the power draw"):
            return ipmi_sensors.read_power_draw(self._session)

    def event_log(self) -> list[LogEntry]:
        """The SEL, oldest first, with the BMC's own times."""
        deadline = self._limit("the event log is read")
        with self._words("reading the event log"):
            records = ipmi_sel.read_records(self._session, deadline)
            if not records:
                return []
            repository = ipmi_sdr.read_repository(self._session, deadline)
            now = int.from_bytes(self._session.ask(_STORAGE, 0x48)[:4], "little")
            return [ipmi_sel.decode(record, repository, now, self._started) for record in records]

    def clear_event_log(self) -> Answer:
        """Reserve and clear the SEL (31.4, 31.9), then count what is left."""
        silence = ""
        with self._words("clearing the event log"):
            try:
                ipmi_sel.clear(self._session, _Once(self._session))
            except NoAnswer as no_answer:
                silence = f"; {no_answer}"
            # Many BMCs note in the cleared log that it was cleared.
            left = ipmi_sel.wait_for_at_most(self._session, 1, Deadline.after(_CLEAR_S, "the log is erased"))
        if left > 1:
            raise self._target.refused("clearing the event log", f"{left} entries are still there{silence}")
        return Answer(Outcome.VERIFIED, self.name, 1, (f"{left} entries left{silence}",))

    def inventory(self) -> Inventory:
        """What all FRUs tell (34.1, 34.2), and the firmware version of Get Device ID (20.1)."""
        deadline = self._limit("FRUs are read")
        with self._words("reading the inventory"):
            device = ipmi_manager.read_device(self._session)
            locators = ipmi_sdr.read_repository(self._session, deadline).frus
            units = ipmi_fru.read_units(self._session, locators, deadline)
        return ipmi_fru.bill(units, {"BMC": device.firmware} if device.firmware else {})

    def clock(self) -> datetime | None:
        """Get SEL Time (31.10), with the UTC offset where the BMC knows it (31.11a), else as UTC."""
        with self._words("reading the clock"):
            return ipmi_manager.read_clock(self._session)

    def reset_bmc(self, *, deadline_s: float = 300.0) -> Answer:
        """Cold Reset (20.2), one datagram; then it is asked until a log-in works again."""
        deadline = Deadline.after(deadline_s, "the BMC to be back")
        with self._words("restarting the BMC"):
            return ipmi_manager.reset(self._session, self._target, self.name, deadline)

    def sessions(self) -> list[SessionSeen]:
        """Get Session Info (22.20)."""
        with self._words("reading who is logged in"):
            return ipmi_manager.read_sessions(self._session)

    def identity(self) -> Identity:
        """Get Device ID (20.1) and the product area of FRU 0."""
        identity = self._identified(by_fru=True)
        self._heed(identity)
        return identity

    def capabilities(self) -> list[Capability]:
        """Which commands it answers, and how; nothing is changed."""
        return ipmi_probe.read_capabilities(self._session, self.name)

    def close(self) -> None:
        """Log out."""
        self._session.close()

    def _identified(self, *, by_fru: bool) -> Identity:
        """Who the BMC is; the FRU, which takes a while to read, names the server's maker and model."""
        with self._words("finding out who the BMC is"):
            device = ipmi_manager.read_device(self._session)
            board = Inventory()
            if by_fru:
                deadline = self._limit("FRU 0 is read")
                board = ipmi_fru.bill(ipmi_fru.read_units(self._session, (), deadline), {})
        maker, software = board.vendor, device.vendor
        if maker and not device.known:
            software = ""
        other = software and software.lower() not in maker.lower()
        return Identity(
            vendor=(f"{maker} ({software})" if maker else software) if other else maker,
            model=board.model or device.model,
            firmware=device.firmware,
        )

    def _limit(self, why: str) -> Deadline:
        spacing = self._session.behaviour.command_spacing_s
        return Deadline.after(_READ_S + _READ_COMMANDS * spacing, why)

    def _heed(self, identity: Identity) -> None:
        self._quirks = self._catalogue.applying(identity)
        self._session.behaviour = self._quirks.behaviour

    def _control(self, action: PowerAction) -> str | None:
        try:
            self._session.ask_once(_CHASSIS, 0x02, (_CONTROL[action],))
        except NoAnswer as silence:
            return str(silence)
        except CompletionCode as no:
            if no.code in _UNKNOWN_COMMAND:
                raise Unsupported(f"power {action}: {no}") from no
            raise self._target.refused(f"power {action}", str(no)) from no
        return None

    @contextmanager
    def _words(self, tried: str) -> Iterator[None]:
        """Turn completion codes and what pyghmi's decoders throw into our errors."""
        with self._session.stumbles(tried):
            try:
                yield
            except CompletionCode as no:
                if no.code in _UNKNOWN_COMMAND:
                    raise Unsupported(f"{tried}: {no}") from no
                raise self._target.refused(tried, str(no)) from no
            except TooSlow as late:
                step = "see whether others keep this BMC busy; restart it (`lab bmc reset`) if it stays slow"
                raise self._target.fault(tried, str(late), step) from late


class _Once:
    """Asks with one datagram alone."""

    def __init__(self, session: IpmiSession) -> None:
        self._session = session

    def ask(self, netfn: int, command: int, data: Sequence[int] = (), *, lun: int = 0) -> bytes:
        """The answer's data."""
        del lun
        return self._session.ask_once(netfn, command, data)
