"""A real SSH server to talk to: paramiko's server side, on loopback, running real shell commands."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED


@dataclass
class Peer(paramiko.ServerInterface):
    """One system that answers SSH; `listen` when it shall come up, `drop` to cut every connection."""

    host_key: paramiko.PKey
    login_key: paramiko.PKey
    port: int = 0
    _listener: socket.socket = field(default_factory=socket.socket)
    _transports: list[paramiko.Transport] = field(default_factory=list)

    def bind(self) -> None:
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]

    def listen(self) -> None:
        self._listener.listen(20)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._speak, args=(connection,), daemon=True).start()

    def _speak(self, connection: socket.socket) -> None:
        transport = paramiko.Transport(connection)
        transport.add_server_key(self.host_key)
        self._transports.append(transport)
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            transport.start_server(server=self)

    def drop(self) -> None:
        for transport in self._transports:
            transport.close()
        self._transports.clear()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = username == "root" and key == self.login_key
        return AUTH_SUCCESSFUL if known else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_pty_request(self, *_: object) -> bool:
        return True

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=_execute, args=(channel, command.decode()), daemon=True).start()
        return True


def _execute(channel: paramiko.Channel, command: str) -> None:
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )
    assert process.stdin and process.stdout and process.stderr
    outputs = [
        threading.Thread(target=_pump, args=(process.stdout.read, channel.sendall), daemon=True),
        threading.Thread(target=_pump, args=(process.stderr.read, channel.sendall_stderr), daemon=True),
    ]
    for output in outputs:
        output.start()
    threading.Thread(target=_feed, args=(channel, process), daemon=True).start()
    for output in outputs:
        output.join()
    status = process.wait()
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        channel.send_exit_status(status & 0xFF)
        channel.close()


def _feed(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    with contextlib.suppress(OSError, ValueError):
        while data := channel.recv(65536):
            process.stdin.write(data)
    process.stdin.close()
    if channel.get_transport() is None or not channel.get_transport().is_active():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # as a real system does with what hung on the connection


def _pump(read: Callable[[int], bytes], send: Callable[[bytes], object]) -> None:
    with contextlib.suppress(OSError, ValueError):
        while data := read(65536):
            send(data)
