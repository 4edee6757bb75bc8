"""The secrets and the CA that a virtual rack's file names: made when missing, never overwritten."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import trustme

from lab import paths
from lab.errors import ConfigError, LabFault
from lab.rack.model import Rack, Tls
from lab.virtual.folder import RackFolder

_PASSWORD_BYTES = 12
"""16 characters: the longest that IPMI 1.5 takes (IPMI 2.0: 20)."""


def ensure(rack: Rack, folder: RackFolder) -> None:
    """Make every secret file and CA file that the rack names inside the state folder and that is missing.

    Raises:
        ConfigError: the rack names a missing file outside the state folder; the lab writes nothing there.
        LabFault: a CA file is there but the key of the service is not.
    """
    for server in rack.servers:
        for reference in (server.bmc.password, server.bmc.sol_password):
            if reference is not None and reference.startswith("file:"):
                file = rack.secret(reference).path(reference.removeprefix("file:"))
                if not file.exists():
                    _write_private(_inside_state(file), secrets.token_urlsafe(_PASSWORD_BYTES).encode())
    authorities = {
        ca_file(rack, server.bmc.tls) for server in rack.servers if isinstance(server.bmc.tls, Tls)
    }
    _ensure_authority(folder, sorted(file for file in authorities if file is not None))


def ca_file(rack: Rack, tls: Tls) -> Path | None:
    """The CA file that a `tls:` entry means, its `{state}` resolved."""
    return None if tls.ca is None else rack.secret(f"file:{tls.ca}").path(str(tls.ca))


def _ensure_authority(folder: RackFolder, authorities: list[Path]) -> None:
    missing = [file for file in authorities if not file.exists()]
    if folder.server_pem.exists() and not missing:
        return
    if len(missing) < len(authorities):
        parts = ", ".join(map(str, [*authorities, folder.server_pem]))
        raise LabFault(
            "the certificate authority of this virtual rack is there only in part",
            next_step=f"remove {parts}; they are made anew together",
        )
    for file in missing:
        _inside_state(file)
    authority = trustme.CA(organization_name="hypervisor-lab virtual rack")
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    # The authority goes last: a run cut short here leaves no CA that trusts a service without a key.
    _write_private(folder.server_pem, leaf.private_key_and_cert_chain_pem.bytes())
    for file in missing:
        _write_private(file, authority.cert_pem.bytes())


def _inside_state(file: Path) -> Path:
    if not file.resolve().is_relative_to(paths.state().resolve()):
        raise ConfigError(
            f"{file} is not there, and it is outside the state folder, where a virtual rack makes its own",
            next_step="create the file, or name it as {state}/racks/… in the rack file",
        )
    return file


def _write_private(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = file.with_name(f"{file.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    temporary.replace(file)
