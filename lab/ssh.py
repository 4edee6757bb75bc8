"""SSH to an installed system: the host key is known beforehand, the login is the install's own key.

The only module that imports paramiko. Standard error is kept apart from standard output, so that output can
be parsed. Files travel through `cat`, which every system with a shell has, SFTP or not.
"""

from __future__ import annotations

import base64
import contextlib
import re
import selectors
import shlex
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lab.banner import first_to_speak
from lab.deadline import Deadline
from lab.errors import HypervisorFailure, LabFault
from lab.machine.credentials import Credentials
from lab.measure.model import Evidence
from lab.ssh_stream import SshStream

if TYPE_CHECKING:
    import paramiko

_HANDSHAKE_S = 60.0
_KEEPALIVE_S = 10
_STILL_THERE_S = 10.0


class Ssh:
    """A connection to one installed system, as root.

    Args:
        address: where it answers.
        port: its SSH port.
        credentials: of the install that must be there.
        server: the server's name, for messages.
    """

    def __init__(
        self, address: str, port: int, credentials: Credentials, *, server: str | None = None
    ) -> None:
        self.address = address
        self.port = port
        self.credentials = credentials
        self.server = server or credentials.stamp.server
        self._transport: paramiko.Transport | None = None
        self._speaking: socket.socket | None = None
        self._closed = threading.Event()

    def __enter__(self) -> Ssh:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self, deadline: Deadline) -> None:
        """Wait until the system answers, and log in.

        A refused connection, silence instead of a banner, or a handshake that breaks off is tried again until
        the deadline: QEMU's user networking, and many a switch, take a connection before the guest listens.

        Another thread may call `close` meanwhile, which ends the wait within a second.

        Raises:
            LabFault: nothing answered in time; or at once: another host key, the login was refused, or it
                was closed.
        """
        last = "nothing answered"
        while not deadline.passed and not self._closed.is_set():
            try:
                speaking = first_to_speak(self.address, self.port, deadline, self._closed)
            except TimeoutError as error:
                raise self._fault(f"SSH does not answer: {error}", deadline) from error
            self._speaking = speaking
            broke_off = self._log_in(speaking)
            if broke_off is None:
                return
            last = broke_off
        raise self._fault(f"SSH does not come up: {last}", deadline)

    @property
    def connected(self) -> bool:
        """Whether the connection stands, as far as is known without asking."""
        return self._transport is not None and self._transport.is_active()

    def run(self, command: str, timeout_s: float = 60.0, *, stdin: bytes = b"") -> Evidence:
        """Run a shell command to its end, whatever its exit status.

        Raises:
            LabFault: the connection is lost.
            HypervisorFailure: the command does not end in time although the system answers.
        """
        output, errors, status = self._execute(command, timeout_s, stdin)
        return Evidence(
            command=command,
            output=output.decode("utf-8", "replace"),
            errors=errors.decode("utf-8", "replace"),
            exit_status=status,
        )

    def check(self, command: str, timeout_s: float = 60.0, *, stdin: bytes = b"") -> Evidence:
        """Like `run`, and the command must succeed.

        Raises:
            HypervisorFailure: it ended with a status other than 0, or did not end.
            LabFault: the connection is lost.
        """
        evidence = self.run(command, timeout_s, stdin=stdin)
        if evidence.exit_status:
            said = (evidence.errors or evidence.output).strip()[-400:]
            raise self._failure(f"'{command}' failed with exit status {evidence.exit_status}: {said}")
        return evidence

    def put(self, source: Path | bytes, remote: str, *, mode: int = 0o644, timeout_s: float = 300.0) -> None:
        """Write a file there; it appears whole or not at all.

        Raises:
            HypervisorFailure: it cannot be written.
            LabFault: the connection is lost.
        """
        data = source if isinstance(source, bytes) else source.read_bytes()
        name, part = shlex.quote(remote), shlex.quote(f"{remote}.part")
        self.check(f"cat > {part} && chmod {mode:o} {part} && mv -f {part} {name}", timeout_s, stdin=data)

    def get(self, remote: str, *, timeout_s: float = 300.0) -> bytes:
        """The content of a file there.

        Raises:
            HypervisorFailure: it cannot be read.
            LabFault: the connection is lost.
        """
        command = f"cat {shlex.quote(remote)}"
        output, errors, status = self._execute(command, timeout_s)
        if status:
            raise self._failure(f"'{command}' failed: {errors.decode('utf-8', 'replace').strip()}")
        return output

    def channel(self, command: str) -> SshStream:
        """A command that goes on, on a terminal of its own, as a byte stream: a guest's console, say.

        Raises:
            LabFault: the connection is lost.
        """
        with self._guarded():
            channel = self._session()
            channel.get_pty(term="dumb")
            channel.set_combine_stderr(True)
            channel.exec_command(command)
        return SshStream(channel, command)

    def close(self) -> None:
        """Disconnect, for good; also ends a `connect` under way in another thread. Never raises."""
        self._closed.set()
        speaking, self._speaking = self._speaking, None
        if speaking is not None:
            with contextlib.suppress(OSError):
                speaking.shutdown(socket.SHUT_RDWR)  # a handshake under way breaks off at once
        self._disconnect()

    def _disconnect(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            with contextlib.suppress(Exception):
                transport.close()

    def _log_in(self, speaking: socket.socket) -> str | None:
        """Handshake, host key and login on a connection that has begun to speak.

        Returns:
            Why it broke off; None when logged in.
        """
        import paramiko

        with contextlib.ExitStack() as undo:
            undo.callback(speaking.close)
            try:
                transport = paramiko.Transport(speaking)
                undo.callback(transport.close)
                transport.start_client(timeout=_HANDSHAKE_S)
                self._check_host_key(transport.get_remote_server_key())
                transport.auth_timeout = _HANDSHAKE_S
                key = paramiko.Ed25519Key.from_private_key_file(str(self.credentials.client_key))
                transport.auth_publickey("root", key)
            except paramiko.AuthenticationException as error:
                if re.search("EOF|timeout", str(error)):
                    return f"the login broke off: {error}"
                raise self._fault(
                    f"the login with this install's key was refused: {error}",
                    next_step="install afresh (--fresh); the installed system does not know the lab's key",
                ) from error
            except (paramiko.SSHException, EOFError, OSError) as error:
                return f"the handshake broke off: {error or type(error).__name__}"
            transport.set_keepalive(_KEEPALIVE_S)
            self._disconnect()
            self._transport = transport
            undo.pop_all()
        return None

    def _check_host_key(self, shown: paramiko.PKey) -> None:
        import paramiko

        kind, encoded, *_ = self.credentials.host_public_key.split()
        expected = paramiko.PKey.from_type_string(kind, base64.b64decode(encoded))
        if shown != expected:
            raise self._fault(
                f"another system answers: its host key is {shown.fingerprint}, "
                f"this install's is {expected.fingerprint}",
                next_step="find out which system has this address now, or install afresh (--fresh)",
            )

    def _session(self, timeout_s: float = 30.0) -> paramiko.Channel:
        if self._transport is None:
            raise self._fault("SSH is not connected", next_step="call connect() first")
        return self._transport.open_session(timeout=timeout_s)

    def _execute(self, command: str, timeout_s: float, stdin: bytes = b"") -> tuple[bytes, bytes, int]:
        deadline = Deadline.after(timeout_s, f"'{command}' to end")
        with self._guarded(), contextlib.closing(self._session()) as channel:
            channel.exec_command(command)
            outcome = _drive(channel, deadline, stdin)
        if outcome is None:
            if self._answers():
                raise self._failure(f"'{command}' did not end in time, though the system answers")
            raise self._fault(f"connection lost while '{command}' ran")
        output, errors, status = outcome
        if status < 0:
            raise self._fault(f"connection lost while '{command}' ran")
        return output, errors, status

    def _answers(self) -> bool:
        try:
            with self._guarded(), contextlib.closing(self._session(_STILL_THERE_S)):
                return True
        except LabFault:
            return False

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        import paramiko

        try:
            yield
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._fault(f"SSH connection lost: {error or type(error).__name__}") from error

    def _fault(
        self, message: str, deadline: Deadline | None = None, next_step: str | None = None
    ) -> LabFault:
        waited = f", waiting for {deadline.why}" if deadline else ""
        return LabFault(
            message,
            server=self.server,
            release=self.credentials.stamp.release,
            tried=f"SSH to {self.address} port {self.port}{waited}",
            next_step=next_step or "read the serial console of this server around this moment",
        )

    def _failure(self, message: str) -> HypervisorFailure:
        return HypervisorFailure(
            message,
            server=self.server,
            release=self.credentials.stamp.release,
            tried=f"SSH to {self.address} port {self.port}",
            next_step="log in and run that command by hand; read the serial console around this moment",
        )


def _drive(channel: paramiko.Channel, deadline: Deadline, stdin: bytes) -> tuple[bytes, bytes, int] | None:
    """Feed and drain a running command; None when the deadline passes first."""
    channel.settimeout(max(deadline.left, 0.001))
    with contextlib.suppress(OSError):  # it may end without reading all; a lost connection shows below
        channel.sendall(stdin)
        channel.shutdown_write()
    output, errors = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(channel.fileno(), selectors.EVENT_READ)
        while not (channel.eof_received or channel.closed):
            if not selector.select(deadline.left) and deadline.passed:
                return None
            _drain(channel, output, errors)
    _drain(channel, output, errors)
    if not channel.status_event.wait(deadline.left):
        return None
    return bytes(output), bytes(errors), channel.exit_status


def _drain(channel: paramiko.Channel, output: bytearray, errors: bytearray) -> None:
    while channel.recv_ready():
        output += channel.recv(1 << 20)
    while channel.recv_stderr_ready():
        errors += channel.recv_stderr(1 << 20)
