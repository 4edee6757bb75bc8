"""The firmware settings of a server: what they are now, and what waits for the next power-on.

They lie in the server's folder and outlive the rack's daemon, as a board's settings outlive its power.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from lab.errors import LabFault

Value = str | int
_TEXT = re.compile(r"[ -~]*")


@dataclass(frozen=True)
class FirmwareAttribute:
    """One attribute of the registry (`bios_attributes.yaml`)."""

    name: str
    display: str
    help: str
    type: Literal["Enumeration", "Integer", "String"]
    default: Value
    values: tuple[str, ...] = ()
    lower: int = 0
    upper: int = 0
    longest: int = 0
    read_only: bool = False

    def complaint(self, value: object) -> Literal["type", "list", "range", ""]:
        """What is wrong with a value: its type, or that it is not among, or not within, what is allowed."""
        if self.type == "Integer":
            if isinstance(value, bool) or not isinstance(value, int):
                return "type"
            return "" if self.lower <= value <= self.upper else "range"
        if not isinstance(value, str):
            return "type"
        if self.type == "Enumeration":
            return "" if value in self.values else "list"
        return "" if len(value) <= self.longest and _TEXT.fullmatch(value) else "range"


@cache
def registry(firmware: str) -> dict[str, FirmwareAttribute]:
    """The attributes that this kind of firmware (`uefi`, `bios`) has, by name."""
    data = yaml.safe_load((resources.files("lab.virtual") / "bios_attributes.yaml").read_text())
    found = {}
    for entry in data["attributes"]:
        if firmware in entry.pop("firmware"):
            found[entry["name"]] = FirmwareAttribute(**{**entry, "values": tuple(entry.get("values", ()))})
    return found


class FirmwareSettings:
    """The settings of one server.

    Args:
        firmware: `uefi` or `bios`.
        file: where they are kept; None keeps them in memory only.
    """

    def __init__(self, firmware: str, file: Path | None = None) -> None:
        self.registry = registry(firmware)
        self._file = file
        self._set: dict[str, Value] = {}
        self._pending: dict[str, Value] = {}
        self._read = file is None

    @property
    def current(self) -> dict[str, Value]:
        """Every attribute as the server was last powered on with it."""
        self._load()
        return {name: self._set.get(name, attribute.default) for name, attribute in self.registry.items()}

    @property
    def pending(self) -> dict[str, Value]:
        """What becomes true at the next power-on."""
        self._load()
        return dict(self._pending)

    def ask(self, changes: Mapping[str, Value]) -> None:
        """Let these, checked by the caller, hold from the next power-on; what holds already does not wait."""
        now = self.current
        for name, value in changes.items():
            self._pending.pop(name, None)
            if now[name] != value:
                self._pending[name] = value
        self._save()

    def ask_defaults(self) -> None:
        """Let every attribute that can be written go back to its default at the next power-on."""
        self.ask({name: entry.default for name, entry in self.registry.items() if not entry.read_only})

    def take(self) -> None:
        """The power comes on: what waited is true now."""
        self._load()
        if self._pending:
            self._set |= self._pending
            self._pending = {}
            self._save()

    def _load(self) -> None:
        if self._read or self._file is None:
            return
        self._read = True
        if not self._file.exists():
            return
        try:
            kept: dict[str, Any] = json.loads(self._file.read_text())
            self._set, self._pending = (self._known(kept[part]) for part in ("set", "pending"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LabFault(
                f"the firmware settings in {self._file} cannot be read: {error}",
                next_step="remove the file; the settings then are the defaults",
            ) from error

    def _known(self, values: dict[str, Value]) -> dict[str, Value]:
        return {
            name: value
            for name, value in values.items()
            if name in self.registry and not self.registry[name].complaint(value)
        }

    def _save(self) -> None:
        if self._file is None:
            return
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps({"set": self._set, "pending": self._pending}))
        temporary.replace(self._file)
