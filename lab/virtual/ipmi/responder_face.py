"""The IPMI face of one server, spoken by our own responder in the rack's daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from lab.errors import LabFault
from lab.virtual.board import Board
from lab.virtual.ipmi import sensors
from lab.virtual.ipmi.bmc import Bmc, Identity
from lab.virtual.ipmi.in_force import InForce
from lab.virtual.ipmi.responder import Responder
from lab.virtual.ipmi.sdr import AnalogSensor
from lab.virtual.ipmi.sel import Event


class ResponderFace:
    """An `IpmiService` by the responder.

    Args:
        board: the server.
        identity: who the BMC is, and who may log in.
        serial_port: TCP port on 127.0.0.1 where the server's serial hub takes SOL.
        faults: what can go wrong.

    Attributes:
        on_restart: told when a command makes the BMC restart.
    """

    def __init__(
        self,
        board: Board,
        identity: Identity,
        serial_port: int,
        faults: InForce,
    ) -> None:
        async def open_serial(protocol: Callable[[], asyncio.Protocol]) -> asyncio.Transport:
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_connection(protocol, "127.0.0.1", serial_port)
            return transport

        self._bmc = Bmc(board, identity, open_serial, faults)
        self._responder = Responder(self._bmc)
        self._bmc.restart = self.restart
        self.on_restart: Callable[[float], None] = lambda seconds: None

    @property
    def port(self) -> int:
        """The UDP port it answers at."""
        return self._bmc.identity.port

    @property
    def pid(self) -> int | None:
        """None: it runs in the daemon."""
        return None

    async def open(self) -> None:
        """Listen.

        Raises:
            LabFault: the port is taken.
        """
        identity = self._bmc.identity
        try:
            await self._responder.open()
        except OSError as error:
            raise LabFault(
                f"cannot listen at UDP {identity.address}:{identity.port}: {error.strerror}",
                server=identity.server,
                next_step="choose another port in the rack file",
            ) from error

    async def close(self) -> None:
        """Stop listening and forget every session."""
        await self._responder.close()

    def restart(self, seconds: float) -> None:
        """Go away for so long; every session is lost."""
        if not self._responder.restarting:
            self._responder.restart(seconds)
            self.on_restart(seconds)

    async def change(self, name: str, value: str) -> None:
        """Nobody asks for this: there is no chassis script.

        Raises:
            LabFault: always.
        """
        raise LabFault(
            f"cannot set {name} to {value}: its IPMI is the responder",
            server=self._bmc.identity.server,
            next_step="ask by IPMI or Redfish",
        )

    def reading(self, file: str) -> int:
        """The raw reading of the sensor with that file."""
        return self._bmc.sensors.raw[_sensor(file).number]

    def set_reading(self, file: str, raw: int) -> None:
        """Let a sensor read `raw` (0-255) until the power state changes."""
        self._bmc.sensors.set(_sensor(file), raw)

    async def events(self) -> list[Event]:
        """The system event log, oldest first."""
        return self._bmc.event_log.events()

    async def clear_events(self) -> None:
        """Empty the system event log."""
        self._bmc.event_log.clear()

    def status(self) -> dict[str, Any]:
        """Numbers for judges."""
        return self._responder.status()


def _sensor(file: str) -> AnalogSensor:
    return next(sensor for sensor in sensors.ANALOG if sensor.file == file)
