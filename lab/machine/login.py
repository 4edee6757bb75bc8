"""The first login to an installed system, and the check that it is the install we think it is."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lab.console.api import NotSeen
from lab.console.catalogue import pattern, patterns
from lab.errors import BootFailure, LabFault
from lab.machine.boot import restarts
from lab.machine.credentials import STAMP_PATH, Credentials, Stamp
from lab.ssh import Ssh

_LOOK_EVERY_S = 0.25

if TYPE_CHECKING:
    from lab.console.api import Position
    from lab.deadline import Deadline
    from lab.hypervisors.contract import Host
    from lab.machine.machine import Machine


def log_in(machine: Machine, deadline: Deadline, since: Position) -> Host:
    """The host on this machine, reached by SSH with the install's own keys, its stamp checked.

    Meanwhile the console is watched, from `since` on, for what would make waiting pointless.

    Raises:
        LabFault: SSH does not answer, or answers with another host key.
        BootFailure: the system that booted does not carry this install's stamp.
    """
    from lab.hypervisors.contract import Host

    installed = machine.installed
    if installed is None or machine.release is None:
        raise LabFault(
            "nothing is known to be installed", server=machine.server.name, next_step="install it first"
        )
    where = machine.server.host
    if where is None:
        raise LabFault(
            "the rack file names no address for the installed system",
            server=machine.server.name,
            next_step="add `host: {address: …}` to this server in the rack file",
        )
    shell = Ssh(where.address, where.ssh_port, installed, server=machine.server.name)
    try:
        _connect_watching(machine, shell, deadline, since)
        found = shell.run(f"cat {STAMP_PATH}", timeout_s=60)
        machine.boot.mark(machine, "ssh", time.monotonic(), "first authenticated SSH command")
        _same(machine, installed, Stamp.parse(found.output))
    except BaseException:
        shell.close()
        raise
    return Host(machine.server, machine.release, shell, machine.rack.origin)


def _connect_watching(machine: Machine, shell: Ssh, deadline: Deadline, since: Position) -> None:
    """Connect, while the console is watched for what would make waiting pointless.

    SSH often answers before the login prompt is drawn, so the prompt is not waited for.
    """
    watched = [sign for sign in patterns("hypervisor", "kernel", "services") if sign.kind == "failure"]
    with ThreadPoolExecutor(1, thread_name_prefix=f"ssh {machine.server.name}") as pool:
        connected = pool.submit(shell.connect, deadline)
        try:
            while not connected.done():
                with contextlib.suppress(NotSeen):
                    machine.console.expect(
                        pattern("restarting"),
                        deadline.within(_LOOK_EVERY_S, deadline.why),
                        failures=watched,
                        since=since,
                    )
                    raise restarts(machine, deadline.why)
        except BaseException:
            shell.close()
            raise
        connected.result()


def _same(machine: Machine, installed: Credentials, found: Stamp | None) -> None:
    if found != installed.stamp:
        carries = f"install {found.install_id} of {found.release}" if found else "no stamp of this lab"
        raise BootFailure(
            f"the system that booted is not the one that was installed: it carries {carries}",
            server=machine.server.name,
            release=installed.stamp.release,
            tried=f"read {STAMP_PATH}, expected install {installed.stamp.install_id}",
            next_step="check which disk the firmware boots from; run with --fresh",
        )
