"""A guest whose console is recorded on its host from the first byte, whoever is looking.

For hosts with systemd: a transient unit runs the program that has the guest's console on its standard input
and output (`xl console`, QEMU itself). Everything lies in a folder on memory, so that a guest adds nothing to
the footprint; stopping the unit ends whatever it started.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lab.deadline import Deadline
from lab.errors import ConfigError, HypervisorFailure
from lab.hypervisors.contract import GuestFiles, Host
from lab.measure.model import Evidence

_ENDED = "lab-console: ended"
_SLOW_COPY_S = 600.0
_REPLY_S = 60.0
_LAST_LINES = 15
_TIMED_OUT = 124  # timeout(1)

# grep ends at the first hit, but tail would only notice at its next write, so it is ended by hand; both are
# ended by timeout, which signals its whole process group.
_FOLLOW = (
    'exec 3< <(exec tail -n +1 -f "$1"); tail=$!; '
    'LC_ALL=C grep -a -m1 -P -e "$2" <&3; found=$?; kill $tail; exit $found'
)
_PLACE = PurePosixPath("/run/lab-guests")


@dataclass
class RecordedGuest:
    """A guest and the folder on its host that holds its files and its console's record.

    Attributes:
        destroy: ends the guest itself where ending the unit does not; called when it may be gone already.
        keyboard: what types on the guest's console, a file as a shell word; the unit's standard input
            where it is not named.
    """

    host: Host
    name: str
    kind: str
    destroy: Callable[[], None] = field(default=lambda: None, repr=False)
    keyboard: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", self.name):
            raise ConfigError(
                f"'{self.name}' cannot name a guest",
                next_step="use at most 41 small letters, digits and hyphens",
            )

    @property
    def folder(self) -> str:
        """Its folder on the host."""
        return str(_PLACE / self.name)

    @property
    def unit(self) -> str:
        """The systemd unit that holds its console."""
        return f"lab-guest-{self.name}.service"

    def place(self, files: GuestFiles) -> tuple[str, str]:
        """Copy kernel and initrd over, whatever a former guest of that name left being removed first.

        Returns:
            Their paths on the host.
        """
        self.prepare()
        kernel, initrd = f"{self.folder}/kernel", f"{self.folder}/initrd"
        self.host.shell.put(files.kernel, kernel, timeout_s=_SLOW_COPY_S)
        self.host.shell.put(files.initrd, initrd, timeout_s=_SLOW_COPY_S)
        return kernel, initrd

    def prepare(self) -> None:
        """An empty folder, with a pipe for what is typed, and nothing left of a former guest of that name."""
        self.stop()
        made = f"{self.folder}/input && : > {self.folder}/console && : > {self.folder}/errors"
        self.host.check(f"mkdir -p -m 0700 {self.folder} && mkfifo {made}")

    def record(self, program: str) -> None:
        """Start `program` with the guest's console on its standard input and output.

        Raises:
            HypervisorFailure: systemd refuses.
        """
        # The pipe is opened for reading and writing, so that it never ends while nobody types.
        script = (
            f"exec 3<>{self.folder}/input\n{program} <&3 >>{self.folder}/console 2>>{self.folder}/errors\n"
            f'printf "\\n{_ENDED} with exit status %s\\n" $? >>{self.folder}/console\n'
        )
        self.host.shell.put(script.encode(), f"{self.folder}/run")
        self.host.check(
            f"systemd-run --quiet --collect --unit={self.unit} --property=TimeoutStopSec=10 "
            f"/bin/sh {self.folder}/run"
        )

    def console_until(self, pattern: str, deadline: Deadline) -> str:
        """See `Guest.console_until`."""
        wanted = f"(?:{pattern})|^{_ENDED}"
        command = shlex.join(
            [
                "timeout",
                f"{deadline.left:.1f}",
                "bash",
                "-c",
                _FOLLOW,
                "follow",
                f"{self.folder}/console",
                wanted,
            ]
        )
        found = self.host.run(command, deadline.left + _REPLY_S)
        line = found.output.strip()
        if found.exit_status or line.startswith(_ENDED):
            raise self._silent(found, pattern, deadline)
        return line

    def console(self) -> str:
        """See `Guest.console`."""
        return self.host.check(f"cat {self.folder}/console").output

    def send(self, line: str) -> None:
        """See `Guest.send`."""
        keyboard = self.keyboard or f"{self.folder}/input"
        self.host.check(f"printf '%s\\n' {shlex.quote(line)} > {keyboard}")

    def stop(self) -> None:
        """See `Guest.stop`."""
        self.destroy()
        self.host.check(f"systemctl stop {self.unit} 2>/dev/null; rm -rf {self.folder}")

    def _silent(self, found: Evidence, pattern: str, deadline: Deadline) -> HypervisorFailure:
        ends = {
            0: found.output.strip().replace(_ENDED, "its console ended"),
            _TIMED_OUT: "the deadline passed",
        }
        last = self.host.run(f"tail -n {_LAST_LINES} {self.folder}/console {self.folder}/errors").output
        return HypervisorFailure(
            f"guest {self.name} ({self.kind}) did not print '{pattern}': "
            f"{ends.get(found.exit_status, found.errors.strip() or f'exit status {found.exit_status}')}",
            server=self.host.server.name,
            release=self.host.release.name,
            tried=f"waited for {deadline.why}",
            console=tuple(line.rstrip() for line in last.splitlines() if line.strip()),
            next_step="read the guest's console above; start the same guest by hand on the host",
        )
