"""A PDU to test against: snmpsim playing an APC of the second generation, with outlets 3 and 4."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.bmc.pdu.models import known
from lab.bmc.pdu.provider import PduOutlets
from lab.bmc.pdu.snmp import Credentials, SnmpAgent
from lab.bmc.target import Target
from lab.deadline import Deadline
from tests.bmc.ipmi_sim import free_port

COMMUNITY = "s3cret-community"
V3_USER, V3_AUTH, V3_PRIVACY = "lab", "s3cret-auth-key", "s3cret-privacy-key"
OUTLETS = ("3", "4")
_TREE = "1.3.6.1.4.1.318.1.1.26.9.2"


@dataclass
class SimulatedPdu:
    """A running snmpsim; what is on disk in `folder` is the outlets' truth."""

    folder: Path
    port: int

    @property
    def address(self) -> str:
        """`HOST:PORT` as a rack file writes it."""
        return f"127.0.0.1:{self.port}"

    @property
    def sets(self) -> list[str]:
        """`OUTLET VALUE` of every order that arrived, oldest first."""
        log = self.folder / "sets.log"
        return log.read_text().splitlines() if log.exists() else []

    def put(self, state: str) -> None:
        """Somebody switches all outlets at the PDU."""
        for outlet in OUTLETS:
            (self.folder / f"outlet-{outlet}").write_text(state)

    def reset(self) -> None:
        """All outlets on, nothing ordered yet, no misbehaviour."""
        for file in self.folder.glob("*-[0-9]"):
            file.unlink()
        (self.folder / "sets.log").unlink(missing_ok=True)
        self.put("on")

    def state(self) -> set[str]:
        """What the outlets are."""
        return {(self.folder / f"outlet-{outlet}").read_text().split()[0] for outlet in OUTLETS}

    def misbehave(self, how: str, outlet: str, much: float = 0.0) -> None:
        """See `snmp_variation/outlets.py`."""
        (self.folder / f"{how}-{outlet}").write_text(str(much))

    def provider(
        self, credentials: Credentials | None = None, outlets: tuple[str, ...] = OUTLETS
    ) -> PduOutlets:
        """The provider for it."""
        target = Target("s1", self.address, "PDU")
        agent = SnmpAgent(target, "127.0.0.1", self.port, credentials or by_community())
        return PduOutlets(target, agent, known()["apc-rpdu2"].objects, outlets, off_s=0.2)


def by_community(community: str = COMMUNITY, version: str = "2c") -> Credentials:
    """Credentials of version 1 or 2c."""
    return Credentials(version=version, community=lambda: community)


def by_user(auth: str = V3_AUTH, user: str = V3_USER) -> Credentials:
    """Credentials of version 3."""
    return Credentials("3", None, user, "sha256", lambda: auth, "aes", lambda: V3_PRIVACY, COMMUNITY)


@contextmanager
def simulated_pdu(folder: Path) -> Iterator[SimulatedPdu]:
    """An snmpsim of its own on a loopback port."""
    (folder / "data").mkdir(parents=True)
    records = [
        f"{_TREE}.{table}.1.5.{outlet}|2:outlets|{folder},{outlet}" for table in (3, 4) for outlet in OUTLETS
    ]
    # The file's name is the community, and for version 3 the context.
    (folder / "data" / f"{COMMUNITY}.snmprec").write_text("\n".join(records) + "\n")
    pdu = SimulatedPdu(folder, free_port())
    pdu.put("on")
    with (folder / "snmpsim.log").open("wb") as log:
        process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("snmpsim-command-responder")),
                *("--cache-dir", str(folder / "cache"), "--logging-method", "stderr"),
                *("--variation-modules-dir", str(Path(__file__).with_name("snmp_variation"))),
                *("--v3-user", V3_USER, "--v3-auth-key", V3_AUTH, "--v3-auth-proto", "SHA256"),
                *("--v3-priv-key", V3_PRIVACY, "--v3-priv-proto", "AES"),
                *("--data-dir", str(folder / "data"), "--agent-udpv4-endpoint", pdu.address),
            ],
            env=os.environ | {"SNMPSIM_ALLOW_ROOT": "true"},
            stdout=log,
            stderr=log,
        )
    try:
        _await_answers(pdu, Deadline.after(30, "snmpsim answers"))
        yield pdu
    finally:
        process.kill()
        process.wait(10)


def _await_answers(pdu: SimulatedPdu, deadline: Deadline) -> None:
    from lab.errors import LabError

    bmc = pdu.provider()
    try:
        while True:
            try:
                bmc.states()
            except LabError:
                if deadline.passed:
                    raise AssertionError((pdu.folder / "snmpsim.log").read_text()) from None
                time.sleep(0.1)
            else:
                return
    finally:
        bmc.close()
