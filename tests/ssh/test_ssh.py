from __future__ import annotations

import secrets
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from paramiko.common import AUTH_SUCCESSFUL

from lab.deadline import Deadline
from lab.errors import ConsoleLost, HypervisorFailure, LabFault
from lab.machine.credentials import Credentials
from lab.ssh import Ssh
from tests.ssh.ssh_peer import Peer


def soon(seconds: float = 10.0) -> Deadline:
    return Deadline.after(seconds, "the test's system to answer")


@pytest.fixture
def ssh(peer: Peer, install: Credentials) -> Iterator[Ssh]:
    peer.listen()
    with Ssh("127.0.0.1", peer.port, install) as connection:
        connection.connect(soon())
        yield connection


def test_a_command_leaves_its_output_errors_and_status(ssh: Ssh) -> None:
    evidence = ssh.run("echo out; echo err >&2; exit 3")
    assert (evidence.output, evidence.errors, evidence.exit_status) == ("out\n", "err\n", 3)


def test_much_output_arrives_whole(ssh: Ssh) -> None:
    assert ssh.run("seq 1 200000").output == "".join(f"{n}\n" for n in range(1, 200001))


def test_check_names_command_and_what_it_said(ssh: Ssh) -> None:
    with pytest.raises(HypervisorFailure, match="exit status 2: no such toolstack") as failure:
        ssh.check("echo no such toolstack >&2; exit 2")
    assert failure.value.server == "s1"


def test_a_file_travels_there_and_back(ssh: Ssh, tmp_path: Path) -> None:
    data = secrets.token_bytes(300_000)
    remote = tmp_path / "a b'c"
    ssh.put(data, str(remote), mode=0o600)
    assert remote.read_bytes() == data
    assert remote.stat().st_mode & 0o777 == 0o600
    assert ssh.get(str(remote)) == data
    assert [entry.name for entry in tmp_path.iterdir()] == [remote.name]


def test_a_missing_file_is_a_failure(ssh: Ssh) -> None:
    with pytest.raises(HypervisorFailure, match="No such file"):
        ssh.get("/nonexistent/file")


def test_a_command_that_hangs_is_the_products_fault_while_the_system_answers(ssh: Ssh) -> None:
    started = time.monotonic()
    with pytest.raises(HypervisorFailure, match="did not end in time"):
        ssh.run("sleep 60", timeout_s=0.3)
    assert time.monotonic() - started < 5
    assert ssh.run("echo still here").output == "still here\n"


def test_a_lost_connection_is_the_labs_fault(ssh: Ssh, peer: Peer) -> None:
    threading.Timer(0.3, peer.drop).start()
    with pytest.raises(LabFault, match="connection lost"):
        ssh.run("sleep 60", timeout_s=30)
    with pytest.raises(LabFault):
        ssh.run("true")
    assert not ssh.connected


def test_a_channel_is_a_byte_stream(ssh: Ssh) -> None:
    stream = ssh.channel("read line; echo got $line")
    assert stream.read() == b""
    stream.write(b"hello\n")
    heard = b""
    while b"got hello" not in heard:
        assert select.select([stream.fileno()], [], [], 5)[0]
        heard += stream.read()
    with pytest.raises(ConsoleLost):
        for _ in range(20):
            select.select([stream.fileno()], [], [], 0.5)
            stream.read()
    stream.close()


def test_another_host_key_is_refused_and_no_login_tried(
    peer: Peer, install: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.host_key = paramiko.ECDSAKey.generate()
    asked: list[str] = []

    def let_everybody_in(user: str, key: paramiko.PKey) -> int:
        asked.append(user)
        return AUTH_SUCCESSFUL

    monkeypatch.setattr(peer, "check_auth_publickey", let_everybody_in)
    peer.listen()
    started = time.monotonic()
    with pytest.raises(LabFault, match="another system answers"):
        Ssh("127.0.0.1", peer.port, install).connect(soon(30))
    assert time.monotonic() - started < 10
    assert asked == []


def test_a_refused_login_is_said_at_once(peer: Peer, install: Credentials) -> None:
    peer.login_key = paramiko.ECDSAKey.generate()
    peer.listen()
    started = time.monotonic()
    with pytest.raises(LabFault, match="login with this install's key was refused"):
        Ssh("127.0.0.1", peer.port, install).connect(soon(30))
    assert time.monotonic() - started < 10


def test_a_system_that_comes_up_late_is_reached_within_a_poll(peer: Peer, install: Credentials) -> None:
    up: list[float] = []

    def come_up() -> None:
        up.append(time.monotonic())
        peer.listen()

    threading.Timer(1.5, come_up).start()
    with Ssh("127.0.0.1", peer.port, install) as ssh:
        ssh.connect(soon())
        ssh.check("true")
        assert time.monotonic() - up[0] < 1.5


def test_connections_taken_before_anybody_listens_do_not_hold_up(install: Credentials, peer: Peer) -> None:
    """As QEMU's user networking does: connections are taken at once, and the guest is silent for a while."""
    peer.listen()
    up_at = time.monotonic() + 2.5
    front = socket.create_server(("127.0.0.1", 0))
    silent: list[socket.socket] = []

    def forward() -> None:
        while True:
            try:
                near, _ = front.accept()
            except OSError:
                return
            if time.monotonic() < up_at:
                silent.append(near)  # swallowed: this one will never speak
                continue
            far = socket.create_connection(("127.0.0.1", peer.port))
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=_pipe, args=(a, b), daemon=True).start()

    threading.Thread(target=forward, daemon=True).start()
    try:
        with Ssh("127.0.0.1", front.getsockname()[1], install) as ssh:
            ssh.connect(soon())
            ssh.check("true")
            assert time.monotonic() - up_at < 2.5
        assert len(silent) >= 2
    finally:
        front.shutdown(socket.SHUT_RDWR)
        front.close()
        for taken in silent:
            taken.close()


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def test_nothing_listening_ends_at_the_deadline_with_the_reason(peer: Peer, install: Credentials) -> None:
    peer._listener.close()
    started = time.monotonic()
    with pytest.raises(LabFault, match="Connection refused") as fault:
        Ssh("127.0.0.1", peer.port, install).connect(soon(1.0))
    assert 0.9 < time.monotonic() - started < 2
    assert "waiting for the test's system to answer" in str(fault.value)


def test_a_handshake_that_breaks_off_is_tried_again(
    install: Credentials, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = 2
    real = peer._speak

    def moody(connection: socket.socket) -> None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            connection.sendall(b"SSH-2.0-booting\r\n")
            connection.close()
            return
        real(connection)

    monkeypatch.setattr(peer, "_speak", moody)
    peer.listen()
    with Ssh("127.0.0.1", peer.port, install) as ssh:
        ssh.connect(soon())
        assert ssh.check("echo up").output == "up\n"
    assert refusals == 0


def test_keys_are_not_shown(install: Credentials, peer: Peer) -> None:
    secret = install.client_key.read_text().splitlines()[1]
    for shown in (repr(install), str(install.stamp), repr(Ssh("127.0.0.1", peer.port, install).__dict__)):
        assert secret not in shown
