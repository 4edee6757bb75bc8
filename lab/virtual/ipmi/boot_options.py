"""System boot options of the responder, over the same override that the other face sees.

Source: IPMI v2.0 rev 1.1 sections 28.12 and 28.13, table 28-14.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from lab.bmc.api import BootDevice
from lab.virtual.board import Board, Override
from lab.virtual.ipmi.in_force import InForce

FLAGS, VALID_BIT_CLEARING = 5, 3
VALID, PERSISTENT, UEFI = 0x80, 0x40, 0x20
_SELECTOR_MASK = 0x3C
_DO_NOT_LAPSE = 0x08
_SELECTORS = {
    0x00: BootDevice.NONE,
    0x04: BootDevice.PXE,
    0x08: BootDevice.DISK,
    0x0C: BootDevice.DISK,
    0x14: BootDevice.CD,
    0x18: BootDevice.SETUP,
    0x20: BootDevice.CD,
}
_VENDOR_UEFI_DISK = 0x24
_DEVICES = {
    BootDevice.PXE: 0x04,
    BootDevice.DISK: 0x08,
    BootDevice.CD: 0x14,
    BootDevice.SETUP: 0x18,
    BootDevice.HTTP: 0x04,
}
# What a fresh BMC says of each parameter it has.
_DEFAULTS = {0: b"\0", 1: b"\0", 2: b"\0", 3: b"\0", 4: b"\0\0", 6: bytes(10), 7: bytes(17)}


class BootOptions:
    """Parameters 0 to 7; parameter 5 is the chassis's override, whoever set it."""

    def __init__(
        self, board: Board, faults: InForce, spawn: Callable[[Callable[[], Awaitable[None]]], None]
    ) -> None:
        self._board = board
        self._faults = faults
        self._spawn = spawn
        self._parameters = dict(_DEFAULTS)
        self._flags = bytes(5)
        self._override = Override()
        self._on_its_way = False
        self._lapse: asyncio.TimerHandle | None = None

    def knows(self, parameter: int) -> bool:
        """Whether this BMC has the parameter."""
        if parameter == VALID_BIT_CLEARING and not self._faults.now.boot_parameter_3:
            self._faults.played("boot_parameter_3")
            return False
        return parameter == FLAGS or parameter in self._parameters

    def read(self, parameter: int) -> bytes:
        """The parameter's data."""
        return self._read_flags() if parameter == FLAGS else self._parameters[parameter]

    def write(self, parameter: int, data: bytes) -> None:
        """Set a parameter; one that is shorter than its data keeps its other bytes as zero."""
        if parameter == FLAGS:
            self._write_flags(data.ljust(5, b"\0")[:5])
        else:
            size = len(self._parameters[parameter])
            self._parameters[parameter] = data[:size].ljust(size, b"\0")

    def power_controlled(self, *, boots: bool) -> None:
        """A Chassis Control came in time: flags that are set stay until used, which a boot does."""
        self._keep()
        without_effect = self._override.device is BootDevice.NONE
        if boots and without_effect and not self._flags[0] & PERSISTENT:
            self._flags = bytes(5)

    def close(self) -> None:
        """Nothing lapses any more."""
        self._keep()

    def _keep(self) -> None:
        if self._lapse is not None:
            self._lapse.cancel()
            self._lapse = None

    def _write_flags(self, data: bytes) -> None:
        if self._faults.now.boot_flags == "ignored":
            self._faults.played("boot_flags", "ignored")
            return
        self._keep()
        self._flags = data
        self._set(Override(self._device(data), once=not data[0] & PERSISTENT))
        faults = self._faults.now
        lapses = faults.boot_parameter_3 and not self._parameters[VALID_BIT_CLEARING][0] & _DO_NOT_LAPSE
        if data[0] & VALID and lapses and faults.boot_flags_lapse_s:
            loop = asyncio.get_running_loop()
            self._lapse = loop.call_later(faults.boot_flags_lapse_s, self._lapsed)

    def _device(self, data: bytes) -> BootDevice:
        """What these flags make the server boot from; `NONE` where they mean nothing to it."""
        if not data[0] & VALID:
            return BootDevice.NONE
        selector = data[1] & _SELECTOR_MASK
        if data[0] & UEFI and self._faults.now.uefi_disk_selector == _VENDOR_UEFI_DISK:
            if selector == _VENDOR_UEFI_DISK:
                return BootDevice.DISK
            if _SELECTORS.get(selector) is BootDevice.DISK:
                self._faults.played("uefi_disk_selector")
                return BootDevice.NONE
        return _SELECTORS.get(selector, BootDevice.NONE)

    def _set(self, override: Override) -> None:
        self._override = override
        self._on_its_way = True
        self._spawn(partial(self._hand_over, override))

    async def _hand_over(self, override: Override) -> None:
        try:
            await self._board.set_override(override)
        finally:
            if override is self._override:
                self._on_its_way = False

    def _lapsed(self) -> None:
        if self._board.override is self._override:
            self._flags = bytes(5)
            self._set(Override())

    def _read_flags(self) -> bytes:
        now = self._board.override
        if self._on_its_way or now is self._override:
            flags = self._flags
        elif now.device is BootDevice.NONE:
            flags = bytes(5)
        else:  # the other face has set it
            first = VALID | (0 if now.once else PERSISTENT)
            first |= UEFI if self._board.server.firmware == "uefi" else 0
            flags = bytes([first, _DEVICES[now.device], 0, 0, 0])
        if self._faults.now.boot_flags == "wrong" and flags[0] & VALID:
            self._faults.played("boot_flags", "read back wrong")
            other = 0x04 if flags[1] & _SELECTOR_MASK != 0x04 else 0x08
            return flags[:1] + bytes([other]) + flags[2:]
        return flags
