"""Boot overrides that are taken and read back, and yet do not boot what they say (Q1, Q16, Q17, Q22)."""

from __future__ import annotations

import copy
import dataclasses

from lab.bmc.api import BootDevice
from lab.virtual.faults import FaultLog
from lab.virtual.faulty_board import FaultyBoard
from lab.virtual.profiles import BootHabit
from lab.virtual.redfish import messages
from lab.virtual.redfish.face import SYSTEM, Json, RedfishFace, Resource
from lab.virtual.redfish.faults.habit import edited, settled

TARGET, WHEN, MODE = "BootSourceOverrideTarget", "BootSourceOverrideEnabled", "BootSourceOverrideMode"
NOTHING = "nothing"
_STAND_IN = "Cd"
"""What a target that boots nothing is kept as in our own service, so that it reads back."""


class BootOverride:
    """Plays a `BootHabit` on Systems/1."""

    def __init__(self, habit: BootHabit, board: FaultyBoard, log: FaultLog) -> None:
        self._habit = habit
        self._board = board
        self._log = log
        self._named: tuple[str, object] | None = None
        self._legacy = False

    def wrap(self, path: str, base: Resource | None) -> Resource | None:
        """Systems/1 with the vendor's targets."""
        if path != SYSTEM or base is None or base.patch is None:
            return base
        shown = edited(base, self._show)
        return dataclasses.replace(shown, patch=lambda face, body: self._patch(face, body, base, shown))

    def _show(self, face: RedfishFace, body: Json) -> None:
        boot = body.get("Boot")
        if not isinstance(boot, dict):
            return
        key = f"{TARGET}@Redfish.AllowableValues"
        if self._habit.targets and isinstance(boot.get(key), list):
            boot[key] = list(dict.fromkeys([*boot[key], *self._habit.targets]))
        if self._named is not None and self._named[1] is face.chassis.override:
            boot[TARGET] = self._named[0]
        if self._habit.mode_reverts:
            boot[f"{MODE}@Redfish.AllowableValues"] = ["Legacy", "UEFI"]
            if self._legacy:
                boot[MODE] = "Legacy"

    async def _patch(self, face: RedfishFace, body: Json, base: Resource, shown: Resource) -> None:
        if base.patch is None or base.read is None or shown.read is None:
            raise messages.method_not_allowed("PATCH", base.methods)
        boot = body.get("Boot")
        if not isinstance(boot, dict):
            await base.patch(face, body)
            return
        stalls = self._habit.repeats_stall and _repeats(boot, (await settled(shown.read(face)))["Boot"])
        named = boot.get(TARGET)
        comes_to = self._habit.targets.get(named) if isinstance(named, str) else None
        passed = copy.deepcopy(body)
        if comes_to is not None:
            passed["Boot"][TARGET] = _STAND_IN if comes_to == NOTHING else comes_to
        await base.patch(face, passed)
        if self._habit.mode_reverts and (TARGET in boot or WHEN in boot):
            self._legacy = MODE not in boot
        await self._misboot(comes_to == NOTHING, stalls)
        if comes_to is not None and face.chassis.override.device is not BootDevice.NONE:
            self._named = (str(named), face.chassis.override)

    async def _misboot(self, dead: bool, stalls: bool) -> None:
        overridden = self._board.override.device is not BootDevice.NONE
        reverted = self._legacy and overridden and self._board.server.firmware == "uefi"
        for quirk, yes in (("dead-target", dead and overridden), ("Q17", reverted), ("Q22", stalls)):
            if yes:
                self._log.note(quirk, f"the next boot is not from {self._board.override.device}")
        if (dead and overridden) or reverted or stalls:
            await self._board.set_dead_override()


def _repeats(boot: Json, now: Json) -> bool:
    """Whether a write says only what holds already."""
    asked = {name: boot[name] for name in (TARGET, WHEN) if name in boot}
    if asked.get(WHEN) == "Disabled":
        return bool(now.get(WHEN) == "Disabled")
    return bool(asked) and all(now.get(name) == value for name, value in asked.items())
