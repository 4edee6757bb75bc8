"""A client that sees every datagram of the responder; for what ipmitool hides. One socket, no retries."""

from __future__ import annotations

import os
import select
import socket
import struct
from dataclasses import dataclass
from types import TracebackType

from lab.virtual.ipmi import rmcp
from lab.virtual.ipmi.rakp import SUITES, Exchange, Keys
from lab.virtual.ipmi.rmcp import Packet, PayloadType
from tests.virtual.responder import GUID, PASSWORD, USER

WAIT_S = 5.0


@dataclass(frozen=True)
class Answer:
    """A completion code and the data behind it."""

    code: int
    data: bytes


class Client:
    """Talks to the BMC at a port of 127.0.0.1."""

    def __init__(
        self,
        port: int,
        suite: int = 17,
        user: str = USER,
        password: str = PASSWORD,
        guid: bytes | None = GUID,
    ) -> None:
        self.guid = guid
        self.suite = SUITES[suite]
        self.user, self.password = user.encode(), password.encode()
        self.keys: Keys | None = None
        self.id = 0
        self._sequence = 0
        self._request = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def put(self, datagram: bytes) -> None:
        self._socket.send(datagram)

    def get(self, seconds: float = WAIT_S) -> bytes | None:
        """The next datagram; None where none comes."""
        return self._socket.recv(4096) if select.select([self._socket], [], [], seconds)[0] else None

    def exchange(self, kind: PayloadType, payload: bytes, seconds: float = WAIT_S) -> list[bytes]:
        """Send outside of a session; the payloads that come, a first and what comes right behind it."""
        self.put(rmcp.outside_session(kind, payload))
        came = []
        while (datagram := self.get(seconds)) is not None:
            packet = rmcp.decode(datagram, 0)
            assert isinstance(packet, Packet)
            came.append(packet.payload)
            seconds = 0.1
        return came

    def open_session(self, suite: int | None = None) -> bytes:
        """The Open Session Response."""
        asked = self.suite if suite is None else SUITES[suite]
        algorithms = (asked.authentication, asked.integrity, asked.confidentiality)
        chosen = b"".join(bytes([kind, 0, 0, 8, name, 0, 0, 0]) for kind, name in enumerate(algorithms))
        self._console = os.urandom(4)
        answer = self.exchange(PayloadType.OPEN_SESSION_REQUEST, bytes([7, 4, 0, 0]) + self._console + chosen)
        return answer[0]

    def rakp1(self, opened: bytes) -> list[bytes]:
        """What comes to RAKP 1: one RAKP 2, or several."""
        self._login = Exchange(self.suite, self._console, opened[8:12], GUID, os.urandom(16), role=0x14)
        self._login.name = self.user
        self.id = int.from_bytes(opened[8:12], "little")
        head = bytes([8, 0, 0, 0]) + opened[8:12] + self._login.console_random
        return self.exchange(PayloadType.RAKP_1, head + bytes([0x14, 0, 0, len(self.user)]) + self.user)

    def rakp3(self, rakp2: bytes) -> list[bytes]:
        """What comes to RAKP 3."""
        self._login.managed_random = rakp2[8:24]
        self._login.guid = rakp2[24:40]
        assert self.guid in (None, rakp2[24:40])
        assert rakp2[40:] == self._login.rakp2_code(self.password)
        payload = bytes([9, 0, 0, 0]) + self._login.managed_id + self._login.rakp3_code(self.password)
        return self.exchange(PayloadType.RAKP_3, payload)

    def log_in(self) -> Client:
        """Log in, as administrator."""
        answer = self.rakp3(self.rakp1(self.open_session())[-1])[0]
        key = self._login.session_key(self.password)
        assert answer[1] == 0
        assert answer[8:] == self._login.rakp4_code(key)
        self.keys = Keys(self.suite, key)
        assert self.ask(0x06, 0x3B, b"\x04").code == 0
        return self

    def datagram(self, kind: PayloadType, payload: bytes) -> bytes:
        """The next datagram of the session."""
        assert self.keys is not None
        self._sequence += 1
        signed = rmcp.in_session(kind, self.id, self._sequence, self.keys.encrypt(payload))
        return rmcp.RMCP_HEADER + signed + self.keys.code(signed)

    def request(self, function: int, command: int, data: bytes = b"") -> bytes:
        """A command as a payload."""
        self._request = (self._request + 1) % 64
        head = bytes([0x20, function << 2])
        body = bytes([0x81, self._request << 2, command]) + data
        return head + bytes([-sum(head) & 0xFF]) + body + bytes([-sum(body) & 0xFF])

    def ask(self, function: int, command: int, data: bytes = b"", seconds: float = WAIT_S) -> Answer:
        """The answer to a command; it has to come."""
        self.put(self.datagram(PayloadType.IPMI, self.request(function, command, data)))
        while True:
            kind, payload = self.next(seconds)
            if kind == PayloadType.IPMI:
                return Answer(payload[6], payload[7:-1])

    def next(self, seconds: float = WAIT_S) -> tuple[int, bytes]:
        """The next datagram of the session, decrypted: payload type and payload."""
        assert self.keys is not None
        datagram = self.get(seconds)
        assert datagram is not None, "nothing came"
        packet = rmcp.decode(datagram, self.keys.code_bytes)
        assert isinstance(packet, Packet)
        assert self.keys.vouches(packet.signed, packet.code)
        payload = self.keys.decrypt(packet.payload)
        assert payload is not None
        return packet.type, payload

    def activate_sol(self) -> Answer:
        return self.ask(0x06, 0x48, b"\x01\x01\xc0\x00\x00\x00")

    def sol(self, sequence: int = 0, acknowledged: int = 0, count: int = 0, data: bytes = b"") -> None:
        """Send a SOL packet."""
        head = struct.pack("BBBB", sequence, acknowledged, count, 0)
        self.put(self.datagram(PayloadType.SOL, head + data))

    def output(self, *, acknowledge: bool = True, seconds: float = WAIT_S) -> tuple[int, int, bytes]:
        """The next SOL packet: its sequence number, status and data."""
        while True:
            kind, payload = self.next(seconds)
            if kind != PayloadType.SOL:
                continue
            if acknowledge and payload[0]:
                self.sol(acknowledged=payload[0], count=len(payload) - 4)
            return payload[0], payload[3], payload[4:]
