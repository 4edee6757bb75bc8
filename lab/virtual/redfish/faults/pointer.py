"""JSON pointers (RFC 6901) without the leading slash, on bodies that are about to be shown."""

from __future__ import annotations

import copy

from lab.virtual.redfish.face import Json

ABSENT = object()
"""What `read` answers where nothing is."""


def read(body: Json, pointer: str) -> object:
    """What lies at `pointer`, or `ABSENT`."""
    found: object = body
    for key in _keys(pointer):
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return ABSENT
    return found


def write(body: Json, pointer: str, value: object) -> None:
    """Put `value` at `pointer`; objects on the way there are made."""
    *way, last = _keys(pointer)
    holder = body
    for key in way:
        inner = holder.get(key)
        if not isinstance(inner, dict):
            inner = holder[key] = {}
        holder = inner
    holder[last] = copy.deepcopy(value)


def remove(body: Json, pointer: str) -> None:
    """Take away what lies at `pointer`, if anything does."""
    *way, last = _keys(pointer)
    holder: object = body
    for key in way:
        holder = holder.get(key) if isinstance(holder, dict) else None
    if isinstance(holder, dict):
        holder.pop(last, None)


def _keys(pointer: str) -> list[str]:
    return [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")]
