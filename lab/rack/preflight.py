"""The read-only preflight of a rack: what would stop a run, found before anything is touched."""

from __future__ import annotations

import errno
import queue
import socket
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import psutil

from lab.deadline import Deadline
from lab.errors import BmcUnreachable, ConfigError, LabError, LabFault
from lab.progress import Progress, silent
from lab.rack.checks import CHECKS, Doors, Skipped, Subject
from lab.rack.model import Rack, Server
from lab.secret import redact

SERVER_DEADLINE_S = 90.0


@dataclass(frozen=True)
class Check:
    """How one check ended; `server` is None for the checks of the rack as a whole.

    `exit_code` is that of the error behind a failure, 0 otherwise.
    """

    server: str | None
    name: str
    outcome: Literal["ok", "failed", "skipped"]
    detail: str
    next_step: str = ""
    exit_code: int = 0

    @classmethod
    def failed(cls, server: str | None, name: str, error: LabError) -> Check:
        """The failed check that an error means."""
        return cls(server, name, "failed", redact(error.message), redact(error.next_step), error.exit_code)


@dataclass(frozen=True)
class Preflight:
    """Every check of a rack, those of the rack first, then server by server in the rack's order."""

    rack: str
    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        """The failed checks, in order."""
        return tuple(check for check in self.checks if check.outcome == "failed")

    @property
    def exit_code(self) -> int:
        """That of the first failure; 0 when there is none."""
        return self.failures[0].exit_code if self.failures else 0

    def as_json(self) -> dict[str, Any]:
        """What `lab check --json` prints."""
        return {
            "rack": self.rack,
            "ok": not self.failures,
            "exit_code": self.exit_code,
            "checks": [asdict(check) for check in self.checks],
        }


def preflight(
    rack: Rack,
    servers: Iterable[Server],
    doors: Doors,
    *,
    seconds: float = SERVER_DEADLINE_S,
    progress: Progress = silent,
) -> Preflight:
    """Check the rack and, side by side, the given servers of it; nothing is changed anywhere.

    A server that takes longer than `seconds` fails the check it hangs in.
    """
    servers = tuple(servers)
    listed = ", ".join(server.name for server in rack.servers)
    checks = [Check(None, "schema", "ok", f"{rack.file.name} lists {listed}"), *_of_rack(rack)]
    found: queue.Queue[tuple[str, Check | BaseException | None]] = queue.Queue()
    for server in servers:
        # A daemon, because a BMC that hangs must not keep the command from ending at its deadline.
        threading.Thread(target=_of_server, args=(rack, server, doors, found), daemon=True).start()
    done = _collect(
        found, {server.name for server in servers}, Deadline.after(seconds, "preflight"), progress
    )
    for server in servers:
        checks += done[server.name]
        checks += _not_reached(server, len(done[server.name]), seconds)
    return Preflight(rack.rack, tuple(checks))


def _collect(
    found: queue.Queue[tuple[str, Check | BaseException | None]],
    running: set[str],
    deadline: Deadline,
    progress: Progress,
) -> dict[str, list[Check]]:
    done: dict[str, list[Check]] = {name: [] for name in running}
    running = set(running)
    while running:
        try:
            name, check = found.get(timeout=deadline.left)
        except queue.Empty:
            break
        if isinstance(check, Check):
            done[name].append(check)
            progress(f"{name}: {check.name} {check.outcome}")
        elif check is None:
            running.discard(name)
        else:
            raise check
    return done


def _of_server(
    rack: Rack,
    server: Server,
    doors: Doors,
    found: queue.Queue[tuple[str, Check | BaseException | None]],
) -> None:
    subject = Subject(rack, server, doors)
    try:
        for name, check in CHECKS:
            try:
                found.put((server.name, Check(server.name, name, "ok", check(subject))))
            except Skipped as reason:
                found.put((server.name, Check(server.name, name, "skipped", str(reason))))
            except LabError as error:
                found.put((server.name, Check.failed(server.name, name, error)))
    except Exception as bug:  # noqa: BLE001 - handed to the caller's thread and raised there
        found.put((server.name, bug))
    finally:
        subject.close()
        found.put((server.name, None))


def _not_reached(server: Server, reached: int, seconds: float) -> list[Check]:
    names = [name for name, _ in CHECKS[reached:]]
    if not names:
        return []
    late = BmcUnreachable(
        f"no end within {seconds:.0f} s",
        next_step="check the BMC's and the console's network, then try again",
    )
    rest = [Check(server.name, name, "skipped", f"not reached: {names[0]} hangs") for name in names[1:]]
    return [Check.failed(server.name, names[0], late), *rest]


def _of_rack(rack: Rack) -> list[Check]:
    checks = []
    for name, check in (("media address", _media_address), ("pxe interface", _pxe_interface)):
        try:
            checks.append(Check(None, name, "ok", check(rack)))
        except Skipped as reason:
            checks.append(Check(None, name, "skipped", str(reason)))
        except LabError as error:
            checks.append(Check.failed(None, name, error))
    return checks


def _media_address(rack: Rack) -> str:
    """The address that BMCs fetch media from is one of this machine's, its port free."""
    address, port = rack.controller.media_address, rack.controller.media_port
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise ConfigError(
                    f"controller.media_address {address} is not an address of this machine",
                    next_step=f"choose the one that the BMCs reach: {', '.join(_own_addresses())}",
                ) from error
            raise LabFault(
                f"cannot listen on {address} port {port}: {error.strerror}",
                next_step="end what listens there, or name another controller.media_port (0: any free one)",
            ) from error
    return f"{address}, port {port or 'any'}"


def _pxe_interface(rack: Rack) -> str:
    """Where a server installs by PXE, the one interface that may answer is named and exists."""
    if rack.is_virtual:
        raise Skipped("the virtual rack serves its own")
    needing = [server.name for server in rack.servers if server.installs_by == "pxe"]
    interface = rack.controller.pxe_interface
    if interface is None:
        if not needing:
            raise Skipped("no server installs by PXE")
        raise ConfigError(
            f"{', '.join(needing)} can only install by PXE, but controller.pxe_interface is not named",
            next_step="name the interface on the install network; PXE starts on no other",
        )
    present = [name for _, name in socket.if_nameindex()]
    if interface not in present:
        raise ConfigError(
            f"controller.pxe_interface {interface} is not an interface of this machine",
            next_step=f"choose from {', '.join(present)}",
        )
    return interface


def _own_addresses() -> list[str]:
    wanted = (socket.AF_INET, socket.AF_INET6)
    return sorted(
        {one.address for found in psutil.net_if_addrs().values() for one in found if one.family in wanted}
    )
