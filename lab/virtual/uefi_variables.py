"""Boot variables in the variable store of a UEFI server that is off: what its next boot fetches by HTTP.

QEMU's boot order names devices, not addresses, and its DHCP server knows no HTTP boot; so the address goes
where the firmware itself keeps it: a load option whose device path is a URI (UEFI specification 2.10,
sections 3.1.3 and 10.3.4.23), named by `BootNext`, which the firmware forgets once it has read it.
Layout of the store: EDK II, MdeModulePkg/Include/Guid/VariableFormat.h (authenticated variables).
"""

from __future__ import annotations

import contextlib
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path

from lab.errors import LabFault

_OPTION_NUMBER = 0x4C48
"""`LH`: high enough to be in nobody's way, and never in BootOrder."""
_OPTION, _NEXT = f"Boot{_OPTION_NUMBER:04X}", "BootNext"
_GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c").bytes_le
_STORE = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
_VOLUME = struct.Struct("<16s16sQ4sIH")
_STORE_HEADER = struct.Struct("<16sIBBHI")
_VARIABLE = struct.Struct("<HBBIQ16sIII16s")
_START_ID, _IN_USE, _DELETED = 0x55AA, 0x3F, 0xFD
_ATTRIBUTES = 0x7
"""Non-volatile, seen at boot time and at run time."""
_END_OF_PATH = bytes.fromhex("7fff0400")


def boot_next_by_http(store: Path, url: str) -> None:
    """Let the next boot fetch and start `url`; the server has to be off.

    Raises:
        LabFault: the file is no variable store of OVMF, or it is full.
    """
    path = struct.pack("<BBH", 3, 24, 4 + len(url)) + url.encode("ascii") + _END_OF_PATH
    active = 1
    option = struct.pack("<IH", active, len(path)) + "HTTP by BMC".encode("utf-16-le") + b"\0\0" + path
    data = bytearray(store.read_bytes())
    end, limit = _delete(store, data, {_OPTION, _NEXT})
    added = _variable(_OPTION, option) + _variable(_NEXT, struct.pack("<H", _OPTION_NUMBER))
    if end + len(added) > limit:
        raise LabFault(
            f"the UEFI variables in {store} are full",
            next_step="let the server boot once, so that its firmware tidies them, or remove the file",
        )
    data[end : end + len(added)] = added
    store.write_bytes(data)


def forget_http(store: Path) -> None:
    """Take back what `boot_next_by_http` set and the firmware has not read; a damaged store holds nothing."""
    before = store.read_bytes()
    data = bytearray(before)
    with contextlib.suppress(LabFault):
        _delete(store, data, {_OPTION, _NEXT})
    if data != before:
        store.write_bytes(data)


def names(store: Path) -> list[str]:
    """The variables that are in force, in the order of the store.

    Raises:
        LabFault: the file is no variable store of OVMF.
    """
    data = store.read_bytes()
    return [name for _, name, state, _ in _walk(store, data) if state == _IN_USE]


def _delete(store: Path, data: bytearray, unwanted: set[str]) -> tuple[int, int]:
    """Mark variables as deleted; the end of the last variable, and the end of the store."""
    end, limit = _bounds(store, data)
    for at, name, state, after in _walk(store, bytes(data)):
        if name in unwanted and state == _IN_USE:
            data[at + 2] = state & _DELETED
        end = after
    return end, limit


def _walk(store: Path, data: bytes) -> Iterator[tuple[int, str, int, int]]:
    """Every variable: where it begins, its name, its state, and where the next one begins."""
    at, limit = _bounds(store, data)
    while at + _VARIABLE.size <= limit:
        start, state, _, _, _, _, _, name_size, data_size, _ = _VARIABLE.unpack_from(data, at)
        after = (at + _VARIABLE.size + name_size + data_size + 3) & ~3
        if start != _START_ID or after > limit:
            return
        name = data[at + _VARIABLE.size : at + _VARIABLE.size + name_size].decode("utf-16-le", "replace")
        yield at, name.rstrip("\0"), state, after
        at = after


def _bounds(store: Path, data: bytes | bytearray) -> tuple[int, int]:
    """Where the first variable begins, and where the store ends."""
    try:
        _, _, _, signature, _, header = _VOLUME.unpack_from(data)
        kind, size, _, _, _, _ = _STORE_HEADER.unpack_from(data, header)
    except struct.error:
        signature, kind, size, header = b"", b"", 0, 0
    if signature != b"_FVH" or kind != _STORE or header + size > len(data):
        raise LabFault(
            f"{store} is not a store of UEFI variables as OVMF keeps them",
            next_step="remove the file; it is made anew, and boot entries are lost",
        )
    return header + _STORE_HEADER.size, header + size


def _variable(name: str, value: bytes) -> bytes:
    text = name.encode("utf-16-le") + b"\0\0"
    head = _VARIABLE.pack(_START_ID, _IN_USE, 0, _ATTRIBUTES, 0, bytes(16), 0, len(text), len(value), _GLOBAL)
    whole = head + text + value
    return whole + b"\xff" * (-len(whole) % 4)
