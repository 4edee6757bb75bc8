"""An install's credentials, and a system that has them."""

from __future__ import annotations

from collections.abc import Iterator

import paramiko
import pytest

from lab.machine import credentials as store
from lab.machine.credentials import Credentials, Stamp
from tests.ssh.ssh_peer import Peer


@pytest.fixture
def install() -> Credentials:
    return store.create(
        Stamp(rack="r", server="s1", release="kvm", release_digest="0", image_digest="0", disk="D1")
    )


@pytest.fixture
def peer(install: Credentials) -> Iterator[Peer]:
    """The installed system: it has the install's host key and knows its login key. Bound, not listening."""
    system = Peer(
        paramiko.Ed25519Key.from_private_key_file(str(install.host_key)),
        paramiko.Ed25519Key.from_private_key_file(str(install.client_key)),
    )
    system.bind()
    yield system
    system.stop()
