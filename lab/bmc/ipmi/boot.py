"""The boot override by boot flags: written, read back, compared (IPMI 2.0, 28.12, 28.13 and table 28-14)."""

from __future__ import annotations

from dataclasses import dataclass

from lab.bmc.api import Answer, BootDevice, Outcome
from lab.bmc.bill import FirmwareMode
from lab.bmc.ipmi.session import CompletionCode, IpmiSession
from lab.bmc.quirk_model import Behaviour
from lab.bmc.target import Target, Unsupported

_CHASSIS, _SET, _GET = 0x00, 0x08, 0x09
_FLAGS, _VALID_BIT_CLEARING = 5, 3
_DO_NOT_LAPSE = 0x08
VALID, PERSISTENT, UEFI = 0x80, 0x40, 0x20
_SELECTORS = {
    BootDevice.NONE: 0x00,
    BootDevice.PXE: 0x04,
    BootDevice.DISK: 0x08,
    BootDevice.CD: 0x14,
    BootDevice.SETUP: 0x18,
}
_ALSO = {0x0C: BootDevice.DISK, 0x20: BootDevice.CD}
"""What else may read back: the disk in safe mode, the remote CD."""
_SELECTOR_BITS = 0x3C


@dataclass(frozen=True)
class Flags:
    """Parameter 5 as it reads; all zero where the BMC marks the parameter itself invalid or locked."""

    flags: int
    selector: int

    @property
    def valid(self) -> bool:
        """Whether the flags count."""
        return bool(self.flags & VALID)

    def __str__(self) -> str:
        return f"{self.flags:02x} {self.selector:02x}"


class BootFlags:
    """The override of one BMC."""

    def __init__(self, session: IpmiSession, target: Target, provider: str) -> None:
        self._session = session
        self._target = target
        self._provider = provider

    def set(
        self, device: BootDevice, mode: FirmwareMode, behaviour: Behaviour, *, lasting: bool = False
    ) -> Answer:
        """Name the device; a lasting one that reads so already is not written again.

        Raises:
            Unsupported: IPMI has no such device, or the BMC no boot flags.
            BmcRefused: it keeps another device, or a lasting override only for one boot.
            CompletionCode: the BMC said no.
        """
        if device not in _SELECTORS:
            raise Unsupported(
                f"boot from {device}: IPMI names no such device (network boot is another thing)"
            )
        wanted = Flags(0, 0)
        if device is not BootDevice.NONE:
            bits = VALID | (UEFI if mode == "uefi" else 0) | (PERSISTENT if lasting else 0)
            wanted = Flags(bits, _selector(device, mode, behaviour))
        if lasting or behaviour.boot_skip_same == "every":
            seen = self.read()
            if device is not BootDevice.NONE and seen == wanted:
                return self._answer(Outcome.VERIFIED, 0, f"boot flags read {seen} already; nothing sent")
        self._keep_beyond_a_minute()
        self._write(wanted)
        return self._compared(device, wanted, self.read())

    def read(self) -> Flags:
        """Get System Boot Options, parameter 5."""
        answer = self._session.ask(_CHASSIS, _GET, (_FLAGS, 0, 0))
        if len(answer) < 4 or answer[1] & 0x80:
            return Flags(0, 0)
        return Flags(answer[2] & (VALID | PERSISTENT | UEFI), answer[3] & _SELECTOR_BITS)

    def device(self, behaviour: Behaviour) -> BootDevice | None:
        """The device in force; None where the flags read as invalid, or name something else."""
        now = self.read()
        if not now.valid:
            return None
        mode: FirmwareMode = "uefi" if now.flags & UEFI else "bios"
        for device in _SELECTORS:
            if _selector(device, mode, behaviour) == now.selector:
                return device
        named = {value: device for device, value in _SELECTORS.items()} | _ALSO
        return named.get(now.selector)

    def _compared(self, device: BootDevice, wanted: Flags, seen: Flags) -> Answer:
        told = f"boot flags set to {wanted}, read as {seen}"
        if device is BootDevice.NONE:
            if seen.valid and seen.selector:
                raise self._target.refused("clearing the boot override", f"it keeps a device; {told}")
            return self._answer(Outcome.VERIFIED, 1, told)
        if not seen.valid:
            return self._answer(Outcome.UNVERIFIABLE, 1, told)
        if seen.selector != wanted.selector:
            raise self._target.refused(f"boot from {device}", f"it keeps another device; {told}")
        if wanted.flags & PERSISTENT and not seen.flags & PERSISTENT:
            self._write(Flags(0, 0))
            raise self._target.refused(
                f"boot always from {device}",
                f"it keeps an override for one boot alone; {told}; cleared again",
                "set the boot order in the server's firmware",
            )
        same = seen.flags == wanted.flags
        return self._answer(Outcome.VERIFIED if same else Outcome.UNVERIFIABLE, 1, told)

    def _write(self, flags: Flags) -> None:
        self._session.ask(_CHASSIS, _SET, (_FLAGS, flags.flags, flags.selector, 0, 0, 0))

    def _keep_beyond_a_minute(self) -> None:
        """Ask that the flags outlive the 60 s after which they lapse; OpenBMC does not know how (Q28)."""
        try:
            self._session.ask(_CHASSIS, _SET, (_VALID_BIT_CLEARING, _DO_NOT_LAPSE))
        except CompletionCode:
            return

    def _answer(self, outcome: Outcome, tries: int, told: str) -> Answer:
        return Answer(outcome, self._provider, tries, (told,))


def _selector(device: BootDevice, mode: FirmwareMode, behaviour: Behaviour) -> int:
    """The raw selector; some vendors have another one for UEFI (Q19)."""
    special = behaviour.boot_selectors if mode == "uefi" else {}
    return next((value for name, value in special.items() if name == device), _SELECTORS[device])
