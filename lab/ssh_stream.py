"""A command running over SSH as a byte stream, for a console that is reached that way."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lab.errors import ConsoleLost

if TYPE_CHECKING:
    import paramiko


class SshStream:
    """A running command as a byte stream (`lab.bmc.api.ByteStream`)."""

    def __init__(self, channel: paramiko.Channel, command: str) -> None:
        self._channel = channel
        self._command = command

    def fileno(self) -> int:
        """A descriptor that `select` finds readable when `read` has something."""
        return self._channel.fileno()

    def read(self) -> bytes:
        """What has arrived; empty when nothing has.

        Raises:
            ConsoleLost: the command has ended or the connection is lost.
        """
        if not self._channel.recv_ready() and not (self._channel.eof_received or self._channel.closed):
            return b""
        data = self._channel.recv(65536)
        if not data:
            raise ConsoleLost(f"'{self._command}' has ended", next_step="open it again if it should go on")
        return data

    def write(self, data: bytes) -> None:
        """Send bytes to the command.

        Raises:
            ConsoleLost: the command has ended or the connection is lost.
        """
        try:
            self._channel.sendall(data)
        except OSError as error:
            raise ConsoleLost(
                f"'{self._command}' takes no input: {error}", next_step="open it again"
            ) from error

    def close(self) -> None:
        """Close; never raises."""
        with contextlib.suppress(Exception):
            self._channel.close()
