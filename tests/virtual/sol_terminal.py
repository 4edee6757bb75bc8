"""A server's console as ipmitool shows it: the judge of SOL, and the tests' keyboard."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
import threading
from collections.abc import Callable

from lab.deadline import Deadline
from tests.virtual.rackfile import TinyRack

_LOCAL_FLAGS = 3


class Sol:
    """A SOL session by ipmitool, on a terminal of its own; `output` grows as it comes."""

    def __init__(self, tiny: TinyRack, name: str) -> None:
        place = next(entry.bmc.ipmi or "" for entry in tiny.rack.servers if entry.name == name)
        address, port = place.split(":")
        self._command = [
            "ipmitool",
            "-I",
            "lanplus",
            "-C",
            "3",
            "-H",
            address,
            "-p",
            port,
            "-U",
            "console",
            "-E",
            "sol",
        ]
        self.output = b""
        self._terminal, theirs = pty.openpty()
        self._environment = {**os.environ, "IPMI_PASSWORD": tiny.sol_password}
        command = [*self._command, "activate"]
        self._process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=self._environment
        )
        os.close(theirs)

    def __enter__(self) -> Sol:
        self.wait_for(b"for help]")
        deadline = Deadline.after(10, "ipmitool to make its terminal raw")
        while (
            termios.tcgetattr(self._terminal)[_LOCAL_FLAGS] & termios.ECHO
        ):  # it throws away what was typed before
            assert not deadline.passed, deadline.why
            threading.Event().wait(0.01)
        self._wait(lambda: self.output.endswith(b"\n"), "the greeting's line end", 5.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(timeout=10)
        os.close(self._terminal)
        subprocess.run(
            [*self._command, "deactivate"],
            env=self._environment,
            capture_output=True,
            timeout=20,
            check=False,
        )

    def type(self, text: bytes) -> None:
        os.write(self._terminal, text)

    def wait_for(self, text: bytes, seconds: float = 20.0) -> None:
        self._wait(lambda: text in self.output, repr(text), seconds)

    def _wait(self, done: Callable[[], bool], what: str, seconds: float) -> None:
        deadline = Deadline.after(seconds, f"{what} by SOL")
        while not done():
            assert select.select([self._terminal], [], [], deadline.left)[0], (
                f"no {deadline.why}: {self.output!r}"
            )
            self.output += os.read(self._terminal, 4096)
