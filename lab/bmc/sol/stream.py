"""A server's console by IPMI Serial over LAN, held by a process of its own, as a stream of bytes."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys

from lab.bmc.quirk_model import Behaviour
from lab.bmc.sol.frames import HEADER, Kind
from lab.bmc.target import Account, Target
from lab.deadline import Deadline
from lab.errors import ConsoleLost, LabError

OPEN_S = 15.0
"""Seconds for the process to start and the console to open; an unreachable BMC is known after eight."""
_END_S = 4.0
_CHILD = ("-m", "lab.bmc.sol.child")


class SolStream:
    """A `ByteStream` over SOL. The session is got back by itself when it breaks; `events` tells.

    Raises on construction:
        BmcUnreachable: nothing answers.
        BmcCredentials: wrong user or password.
        BmcBusy: no session, or no console, is free.
        LabFault: SOL is disabled, or the BMC does something odd.
    """

    def __init__(
        self, target: Target, host: str, port: int, account: Account, behaviour: Behaviour | None = None
    ) -> None:
        self._target = target
        quirks = behaviour or Behaviour()
        self._events: list[str] = []
        password = account.password()
        order = {
            "host": host,
            "port": port,
            "user": account.user,
            "password": password,
            "suites": quirks.cipher_suites,
            "login_retries": quirks.login_retries,
            "reattach": quirks.sol_reattach,
            "reattach_every_s": quirks.sol_reattach_every_s,
            "free_first": quirks.sol_deactivate_first,
        }
        self._process = subprocess.Popen(
            [sys.executable, *_CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if password not in value}
            | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        self._to_child, self._from_child = (
            pipe.fileno() for pipe in (self._process.stdin, self._process.stdout) if pipe is not None
        )
        os.write(self._to_child, json.dumps(order).encode() + b"\n")
        try:
            self._await_open(Deadline.after(OPEN_S, "the console opens"))
        except LabError:
            self.close()
            raise
        os.set_blocking(self._from_child, False)

    def fileno(self) -> int:
        """The pipe that the process writes to."""
        return self._from_child

    def read(self) -> bytes:
        """What has arrived up to the next event; empty when nothing has.

        Raises:
            ConsoleLost: the BMC stayed away, or the process ended.
        """
        output = bytearray()
        while (received := self._frame()) is not None:
            kind, payload = received
            if kind is Kind.OUTPUT:
                output += payload
                continue
            text = payload.decode(errors="replace")
            if kind is Kind.FAILED:
                raise self._failure(text)
            self._events.append(text)
            break
        return bytes(output)

    def events(self) -> list[str]:
        """What happened to the console right after what `read` last returned, and is not yet told.

        A text that starts with `gap:` means that output may be missing at this place.
        """
        told, self._events = self._events, []
        return told

    def write(self, data: bytes) -> None:
        """Send bytes to the server.

        Raises:
            ConsoleLost: the process ended.
        """
        try:
            while data:
                data = data[os.write(self._to_child, data) :]
        except OSError as problem:
            raise self._lost("it takes no input") from problem

    def close(self) -> None:
        """Free the console and end the process."""
        process = self._process
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _await_open(self, deadline: Deadline) -> None:
        while not deadline.passed:
            if not select.select([self._from_child], [], [], deadline.left)[0]:
                break
            received = self._frame()
            if received is None:
                continue
            kind, payload = received
            text = payload.decode(errors="replace")
            if kind is Kind.FAILED:
                raise self._failure(text)
            if kind is Kind.OPEN:
                return
            self._events.append(text)
        raise self._target.unreachable("opening the console over SOL", f"nothing in {OPEN_S:.0f} s")

    def _frame(self) -> tuple[Kind, bytes] | None:
        try:
            header = os.read(self._from_child, HEADER.size)
        except BlockingIOError:
            return None
        if len(header) < HEADER.size:
            raise self._lost(f"its process ended (status {self._process.poll()})")
        kind, length = HEADER.unpack(header)
        # Frames are written whole, so the payload is there when the header is.
        return Kind(kind), os.read(self._from_child, length) if length else b""

    def _failure(self, text: str) -> LabError:
        kind, _, why = text.partition(" ")
        tried = "opening the console over SOL"
        if kind == "credentials":
            return self._target.credentials(tried, why)
        if kind == "unreachable":
            return self._target.unreachable(tried, why)
        if kind == "busy":
            return self._target.busy(tried, why)
        return self._target.fault(tried, why, "see that SOL is enabled on the BMC and for this user")

    def _lost(self, why: str) -> ConsoleLost:
        return ConsoleLost(
            f"the SOL console of {self._target.address} is lost: {why}",
            server=self._target.server,
            tried="reading it through its own process",
            next_step="open the console again; if it is lost again, try `ipmitool sol activate`",
        )
