"""The daemon's control socket: one JSON object per line in, one per line out.

`{"do": NAME, …}` is answered by `{"ok": true, …}` or `{"ok": false, "error": TEXT}`. This is how `control`,
the chassis script of `ipmi_sim`, and tests that need a fault or a look at the screen reach the chassis.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from lab.errors import LabError, LabFault
from lab.rack.virtual import FaultEntry
from lab.virtual import profiles
from lab.virtual.ipmi import sensors
from lab.virtual.ipmi.face import IpmiFace
from lab.virtual.ipmi.service import IpmiService
from lab.virtual.slot import Slot

Answer = dict[str, Any]
_log = logging.getLogger(__name__)


class Requests:
    """Carries out control requests on the slots of a rack."""

    def __init__(self, slots: Mapping[str, Slot], rack_digest: str) -> None:
        self._slots = slots
        self._digest = rack_digest
        self._known: dict[str, Callable[[dict[str, Any]], Awaitable[Answer]]] = {
            "status": self._status,
            "ipmi-set": self._ipmi_set,
            "screendump": self._screendump,
            "sensor": self._sensor,
            "fault": self._fault,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client until it hangs up."""
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self.answer(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError) as error:  # ValueError: a line beyond the stream's limit
            _log.warning("control client lost: %s", error)
        finally:
            writer.close()

    async def answer(self, line: bytes) -> Answer:
        """The answer to one request; never raises for a bad one."""
        try:
            request = json.loads(line)
            carry_out = self._known[request["do"]]
        except (ValueError, TypeError, KeyError):
            return {"ok": False, "error": f"no such request; known: {', '.join(self._known)}"}
        try:
            return {"ok": True, **await carry_out(request)}
        except LabError as error:
            _log.error("%s: %s", request["do"], error)
            return {"ok": False, "error": str(error)}
        except (KeyError, TypeError, ValueError) as error:
            return {"ok": False, "error": f"{request['do']}: missing or wrong: {error}"}

    async def _status(self, request: dict[str, Any]) -> Answer:
        return {"rack": self._digest, "servers": [slot.status() for slot in self._slots.values()]}

    async def _ipmi_set(self, request: dict[str, Any]) -> Answer:
        for name, value in request["changes"].items():
            await self._ipmi(request).change(name, value)
        return {}

    async def _screendump(self, request: dict[str, Any]) -> Answer:
        await self._slots[request["server"]].chassis.screendump(Path(request["file"]))
        return {}

    async def _sensor(self, request: dict[str, Any]) -> Answer:
        files = {sensor.name: sensor.file for sensor in sensors.ANALOG}
        raw = int(request["raw"])
        if not 0 <= raw <= 255:
            raise ValueError("raw is 0 to 255")
        self._ipmi(request).set_reading(files[request["sensor"]], raw)
        return {}

    async def _fault(self, request: dict[str, Any]) -> Answer:
        """`add` a fault (as a rack file says it), be a `profile` (null: none), or `clear` both."""
        slot = self._slots[request["server"]]
        errant, name = slot.errant, request.get("profile")
        if name is not None and profiles.load()[name].ipmi and isinstance(slot.ipmi, IpmiFace):
            raise LabFault(
                f"its IPMI is ipmi_sim, which cannot play {name}",
                server=request["server"],
                next_step="give the server `virtual.bmc.ipmi: responder` in the rack file",
            )
        errant.change(
            clear=bool(request.get("clear")),
            add=FaultEntry.model_validate(request["add"]) if "add" in request else None,
        )
        if "profile" in request:
            errant.use(name)
        return errant.status()

    def _ipmi(self, request: dict[str, Any]) -> IpmiService:
        ipmi = self._slots[request["server"]].ipmi
        if ipmi is None:
            raise LabFault(
                "has no IPMI", server=request["server"], next_step="give it `bmc.ipmi` in the rack file"
            )
        return ipmi
