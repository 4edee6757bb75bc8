"""A machine on the wire: asks for PXE with raw frames, fetches by TFTP. Orders and answers are JSON lines.

Source: RFC 2131 §2 (message), RFC 2132 (options), RFC 4578 (93, 94, 97), RFC 1350 (TFTP); 175 is iPXE's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

_COOKIE = b"\x63\x82\x53\x63"
_ETHERTYPE_IP = 0x0800


def discover(nic: str, mac: str, arch: int, ipxe: bool, wait_s: float) -> dict[str, Any] | None:
    """Send DHCPDISCOVER as `mac`; the first answer, or None."""
    us = bytes.fromhex(mac.replace(":", ""))
    xid = os.urandom(4)
    options = bytes([53, 1, 1]) + _option(60, f"PXEClient:Arch:{arch:05d}:UNDI:003016".encode())
    options += (
        _option(93, struct.pack("!H", arch)) + _option(94, b"\x01\x03\x10") + _option(97, b"\x00" + bytes(16))
    )
    options += _option(55, bytes([1, 3, 6, 43, 54, 60, 66, 67])) + (
        _option(175, b"\x01\x01\x01") if ipxe else b""
    )
    head = struct.pack("!BBBB4sHH16x", 1, 1, 6, 0, xid, 0, 0x8000)
    message = head + us + bytes(10 + 64 + 128) + _COOKIE + options + b"\xff"
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHERTYPE_IP)) as wire:
        wire.bind((nic, _ETHERTYPE_IP))
        wire.send(b"\xff" * 6 + us + struct.pack("!H", _ETHERTYPE_IP) + _udp(message))
        until = time.monotonic() + wait_s
        while (left := until - time.monotonic()) > 0:
            wire.settimeout(left)
            with contextlib.suppress(TimeoutError):
                answer = _reply(wire.recv(2048), xid)
                if answer is not None:
                    return answer
    return None


def _option(code: int, value: bytes) -> bytes:
    return bytes([code, len(value)]) + value


def _udp(message: bytes) -> bytes:
    length = 8 + len(message)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~total & 0xFFFF) + header[12:]
    return header + struct.pack("!HHHH", 68, 67, length, 0) + message


def _reply(frame: bytes, xid: bytes) -> dict[str, Any] | None:
    message = frame[14 + 20 + 8 :]
    if len(message) < 240 or message[0] != 2 or message[4:8] != xid:
        return None
    options: dict[int, bytes] = {}
    rest = message[240:]
    while rest and rest[0] != 255:
        if rest[0] == 0:
            rest = rest[1:]
            continue
        options[rest[0]] = rest[2 : 2 + rest[1]]
        rest = rest[2 + rest[1] :]
    name = options.get(67, b"").rstrip(b"\0") or message[108:236].split(b"\0")[0]
    return {
        "address": socket.inet_ntoa(message[16:20]),
        "server": socket.inet_ntoa(message[20:24]),
        "boot_file": name.decode(),
        "menu": options.get(43, b"").hex(),
        "options": sorted(options),
    }


def fetch(server: str, name: str, wait_s: float) -> str | None:
    """The first block of a file by TFTP, `error: …`, or None where nothing answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(wait_s)
        asker.sendto(b"\x00\x01" + name.encode() + b"\x00octet\x00", (server, 69))
        try:
            packet, sender = asker.recvfrom(2048)
        except OSError:
            return None
        asker.sendto(b"\x00\x04" + packet[2:4], sender)
    return packet[4:].decode() if packet[1] == 3 else f"error: {packet[4:-1].decode()}"


def become(nic: str, mac: str, address: str) -> None:
    """Take on a MAC and an address, as another machine on the same wire."""
    for command in (
        f"link set {nic} down",
        f"addr flush dev {nic}",
        f"link set {nic} address {mac}",
        f"link set {nic} up",
        f"addr add {address}/24 dev {nic}",
    ):
        subprocess.run(["ip", *command.split()], check=True)


ORDERS: dict[str, Callable[..., object]] = {"discover": discover, "fetch": fetch, "become": become}


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(ORDERS[order.pop("do")](**order)), flush=True)


if __name__ == "__main__":
    main()
