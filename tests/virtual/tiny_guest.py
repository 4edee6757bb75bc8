"""A 512-byte guest: greets on COM1, echoes, and obeys single letters. No operating system, ready in a second.

`R` resets the server by the keyboard controller, `O` powers it off by ACPI; anything else is echoed.
"""

from __future__ import annotations

_SECTOR = 2048
_CODE = bytes.fromhex(
    # cld; sti; ds = cs; print the text behind the code
    "fcfb0e1fe800005e81c64900ac84c07416e80200ebf688c4bafd03eca82074fb"
    # put: wait for the transmitter, send; main loop: hlt until a byte is there, choose by letter
    "baf80388e0eec3bafd03eca8017503f4ebf8baf803ec3c5274093c4f740ae8d5"
    # R: out 64h, feh; O: out 604h, 2000h; else put
    "ffebe4b0fee664f4ba0406b80020eff4"
)


def boot_sector(greeting: str) -> bytes:
    """The guest as the first sector of a disk, or as a file for PXE."""
    text = f"{greeting}\r\n".encode() + b"\0"
    return (_CODE + text).ljust(510, b"\0") + b"\x55\xaa"


def boot_iso(greeting: str) -> bytes:
    """The guest as a bootable CD (El Torito 1.0, no emulation)."""
    record = b"\x00CD001\x01EL TORITO SPECIFICATION".ljust(71, b"\0") + (19).to_bytes(4, "little")
    validation = bytearray(b"\x01\0\0\0".ljust(30, b"\0") + b"\x55\xaa")
    words = sum(int.from_bytes(validation[at : at + 2], "little") for at in range(0, 32, 2))
    validation[28:30] = (-words & 0xFFFF).to_bytes(2, "little")
    entry = b"\x88\0\0\0\0\0" + (4).to_bytes(2, "little") + (20).to_bytes(4, "little")
    sectors = {17: record, 19: bytes(validation) + entry, 20: boot_sector(greeting)}
    return b"".join(sectors.get(number, b"").ljust(_SECTOR, b"\0") for number in range(24))
