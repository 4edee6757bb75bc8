"""What the rest of the rack knows of a server's IPMI, whoever speaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from lab.virtual.ipmi.sel import Event


class IpmiService(Protocol):
    """The IPMI face of one server: `ipmi_sim` (`IpmiFace`) or our own (`ResponderFace`)."""

    on_restart: Callable[[float], None]
    """Told for how many seconds the BMC is away, when a command makes it restart."""

    @property
    def port(self) -> int:
        """The UDP port it answers at."""

    @property
    def pid(self) -> int | None:
        """The process of its own that it runs in; None without one."""

    async def open(self) -> None:
        """Start, and return when it answers; `LabFault` where it does not."""

    async def close(self) -> None:
        """End it."""

    def restart(self, seconds: float) -> None:
        """Answer nothing for so long, as while the BMC restarts; nothing new where it does so already."""

    async def change(self, name: str, value: str) -> None:
        """Carry out one change that the emulator's chassis script asks for."""

    def reading(self, file: str) -> int:
        """The raw reading of the sensor with that file."""

    def set_reading(self, file: str, raw: int) -> None:
        """Let a sensor read `raw` (0-255) until the power state changes."""

    async def events(self) -> list[Event]:
        """The system event log, oldest first."""

    async def clear_events(self) -> None:
        """Empty the system event log."""

    def status(self) -> dict[str, Any]:
        """Numbers for judges: sessions, requests, what the network did to datagrams."""
