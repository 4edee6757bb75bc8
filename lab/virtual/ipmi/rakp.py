"""The cryptography of RMCP+: what log-in messages and datagrams are signed and encrypted with.

Source: IPMI v2.0 rev 1.1 sections 13.17 to 13.24 (Open Session, RAKP), 13.28 to 13.32 (suites, keys).
"""

from __future__ import annotations

import hmac
import os
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_BLOCK = 16
_AES_CBC_128 = 0x01


@dataclass(frozen=True)
class Suite:
    """A cipher suite with AES-CBC-128 (table 22-20).

    Attributes:
        id: its number.
        authentication: RAKP algorithm number.
        integrity: integrity algorithm number.
        digest: the hash both build on.
        code_bytes: how much of an HMAC a datagram and RAKP 4 carry.
    """

    id: int
    authentication: int
    integrity: int
    digest: str
    code_bytes: int
    confidentiality: int = _AES_CBC_128

    def hmac(self, key: bytes, data: bytes) -> bytes:
        """The whole HMAC of `data`."""
        return hmac.digest(key, data, self.digest)

    @property
    def record(self) -> bytes:
        """Its cipher suite record (table 22-19)."""
        return bytes([0xC0, self.id, self.authentication, 0x40 | self.integrity, 0x80 | self.confidentiality])


SUITES = {3: Suite(3, 0x01, 0x01, "sha1", 12), 17: Suite(17, 0x03, 0x04, "sha256", 16)}
SHA256_AUTHENTICATION = 0x03


@dataclass
class Exchange:
    """What both sides have told each other while logging in; ids as they travel."""

    suite: Suite
    console_id: bytes
    managed_id: bytes
    guid: bytes
    console_random: bytes = b""
    managed_random: bytes = b""
    role: int = 0
    name: bytes = b""

    @property
    def _who(self) -> bytes:
        return struct.pack("BB", self.role, len(self.name)) + self.name

    def rakp2_code(self, password: bytes) -> bytes:
        """The key exchange authentication code of RAKP 2 (13.31)."""
        told = self.console_id + self.managed_id + self.console_random + self.managed_random + self.guid
        return self.suite.hmac(password, told + self._who)

    def rakp3_code(self, password: bytes) -> bytes:
        """What RAKP 3 must carry (13.31)."""
        return self.suite.hmac(password, self.managed_random + self.console_id + self._who)

    def session_key(self, password: bytes) -> bytes:
        """The session integrity key; there is no BMC key, so the user's takes its place (13.31)."""
        return self.suite.hmac(password, self.console_random + self.managed_random + self._who)

    def rakp4_code(self, session_key: bytes) -> bytes:
        """The integrity check value of RAKP 4 (13.31)."""
        told = self.console_random + self.managed_id + self.guid
        return self.suite.hmac(session_key, told)[: self.suite.code_bytes]


class Keys:
    """Signs and encrypts the datagrams of one session (13.32: K1 and K2)."""

    def __init__(self, suite: Suite, session_key: bytes) -> None:
        self.code_bytes = suite.code_bytes
        self._sign = hmac.new(suite.hmac(session_key, b"\x01" * 20), digestmod=suite.digest)
        self._aes = algorithms.AES(suite.hmac(session_key, b"\x02" * 20)[:16])

    def code(self, signed: bytes) -> bytes:
        """The authentication code of a datagram."""
        signing = self._sign.copy()
        signing.update(signed)
        return signing.digest()[: self.code_bytes]

    def vouches(self, signed: bytes, code: bytes) -> bool:
        """Whether the code is the right one."""
        return bool(signed) and hmac.compare_digest(self.code(signed), code)

    def encrypt(self, payload: bytes) -> bytes:
        """Initialisation vector, then the payload padded with 1, 2, 3… and the number of those (13.29)."""
        padding = -(len(payload) + 1) % _BLOCK
        start = os.urandom(_BLOCK)
        work = Cipher(self._aes, modes.CBC(start)).encryptor()
        plain = payload + bytes(range(1, padding + 1)) + bytes([padding])
        return start + work.update(plain) + work.finalize()

    def decrypt(self, payload: bytes) -> bytes | None:
        """The payload; None where it is none."""
        if len(payload) < 2 * _BLOCK or len(payload) % _BLOCK:
            return None
        work = Cipher(self._aes, modes.CBC(payload[:_BLOCK])).decryptor()
        plain = work.update(payload[_BLOCK:]) + work.finalize()
        padding = plain[-1]
        return plain[: -1 - padding] if padding < _BLOCK else None
