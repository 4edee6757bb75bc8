"""A leased server in our hands: its BMC, its console, its state, and the way to another state."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from lab.errors import BmcRefused, ConfigError, LabError, LabFault
from lab.machine import lease as leases
from lab.machine.boot import Boot
from lab.machine.credentials import Credentials, Phase, latest
from lab.machine.edges import Edge, State, route
from lab.machine.installed import reusable
from lab.machine.journal import Journal
from lab.machine.power import PowerControl
from lab.machine.steps import STEPS
from lab.measure.model import Mark, Span
from lab.report.attach import step

if TYPE_CHECKING:
    from lab.bmc.api import Bmc
    from lab.bmc.bill import Inventory
    from lab.console.recorder import Console
    from lab.hypervisors.contract import Host
    from lab.media.install import Installation
    from lab.rack.model import Rack, Server
    from lab.release import Release
    from lab.run import Run


class Machine:
    """One leased server.

    `goto` is the whole interface: it finds out where the machine is, does only what is missing, and leaves
    a span with times and evidence for each edge. A machine that breaks keeps its first cause in `broken`
    and refuses every further order with that same error.
    """

    def __init__(self, run: Run, rack: Rack, server: Server, *, bmc: Bmc, console: Console) -> None:
        self.run = run
        self.rack = rack
        self.server = server
        self.bmc = bmc
        self.console = console
        self.power = PowerControl(self)
        self.journal = Journal(server)
        self.state = State.UNKNOWN
        self.broken: LabError | None = None
        self.release: Release | None = None
        self.installed: Credentials | None = None
        self.installation: Installation | None = None
        self.boot = Boot.begin(self)
        self.answers: list[str] = []
        self._host: Host | None = None
        self._lease: leases.Lease | None = None

    @classmethod
    def take(cls, run: Run, rack: Rack, server: Server, term: timedelta = leases.DEFAULT_TERM) -> Machine:
        """Lease the server, open its BMC, and record its console from now on.

        Raises:
            ServerBusy: another run holds it.
            LabFault: BMC or console cannot be reached; the lease is given up again.
        """
        from lab.bmc import open_bmc
        from lab.console.open import opener
        from lab.console.recorder import Console
        from lab.deadline import Deadline

        lease, note = leases.take(rack, server, run.id, term)
        with contextlib.ExitStack() as undo:
            undo.callback(leases.give_up, lease)
            bmc = open_bmc(rack, server)
            undo.callback(bmc.close)
            bmc.power()  # a BMC that is silent or refuses us is told as that, not as a lost console

            def on_mark(kind: str, text: str, at: float) -> None:
                if kind == "gap":
                    run.marks.append(Mark(server=server.name, kind="gap", name=text, at=at - run.zero))

            console = Console(
                server.name, opener(rack, server), run.folder / "serial", zero=run.zero, on_mark=on_mark
            )
            undo.callback(console.close)
            console.open(Deadline.after(30, f"the console of {server.name} to open"))
            machine = cls(run, rack, server, bmc=bmc, console=console)
            machine._lease = lease
            machine._tell_what_was_found(note)
            undo.pop_all()
        return machine

    def _tell_what_was_found(self, takeover: str | None) -> None:
        if takeover:
            self.note(takeover)
        if dirt := self.journal.read():
            self.note(f"was given back dirty at {dirt.at:%Y-%m-%d %H:%M} UTC: {dirt.why}")
        before = latest(self.rack.rack, self.server.name)
        if before is not None and before.phase is Phase.WRITING:
            stamp = before.stamp
            self.note(
                f"disk {stamp.disk} is half written: the install of {stamp.release} begun at "
                f"{stamp.installed_at:%Y-%m-%d %H:%M} UTC never ended"
            )

    def note(self, text: str) -> None:
        """Say something of this machine: to whoever watches, into the serial log and the timeline."""
        self.run.progress(self.server.name, text)
        self.console.note(text)
        self.run.marks.append(
            Mark(server=self.server.name, release=self._release_name, kind="note", name=text, at=self.run.now)
        )

    @property
    def _release_name(self) -> str | None:
        return self.release.name if self.release else None

    def goto(self, wanted: State | str, release: Release | None = None, *, fresh: bool = False) -> None:
        """Bring the machine to `wanted`.

        Args:
            wanted: a state; `ready` needs a release the first time.
            release: what shall be installed; installed only if it is not there already.
            fresh: install even if it is there.

        Raises:
            LabError: the first thing that went wrong; the machine is broken from then on.
        """
        if self.broken is not None:
            raise self.broken
        target = State(wanted)
        try:
            if self.state is State.UNKNOWN:
                self._detect()
            if target is State.READY:
                self._install_if_needed(release or self._must_know_release(), fresh=fresh)
            self._walk(target)
        except LabError as error:
            self._end_installation()
            self._break(error)
            raise
        except BaseException:
            self.state = State.UNKNOWN  # interrupted in the middle of an edge: nothing is sure any more
            self._end_installation()
            raise

    def host(self) -> Host:
        """The hypervisor running on this machine.

        Raises:
            LabFault: the machine is not ready.
        """
        if self._host is None or self.state is not State.READY:
            raise LabFault("not ready", server=self.server.name, next_step="call goto('ready') first")
        return self._host

    def inventory(self) -> Inventory:
        """What the server is made of, by its BMC; an empty inventory where the BMC cannot say."""
        from lab.bmc.bill import Inventory

        try:
            return self.bmc.inventory()
        except LabError as error:
            self.note(f"the BMC gives no inventory: {error.message}")
            return Inventory()

    def adopt(self, host: Host | None) -> None:
        """Keep, or with None forget and disconnect, the host that runs on this machine."""
        if self._host is not None and host is not self._host:
            self._host.shell.close()
        self._host = host

    def give_back(self, *, keep: bool = False) -> str | None:
        """End the lease: media ejected, override cleared, power as the rack wants, console and BMC closed.

        Args:
            keep: leave the machine running as it is.

        Returns:
            Why the machine is dirty; None when it was given back clean.
        """
        complaints: list[str] = []
        with contextlib.ExitStack() as closing:  # what must happen however the rest ends, last first
            closing.callback(self._end_lease)
            closing.callback(self._tell_next_run, complaints)
            closing.callback(self.bmc.close)
            closing.callback(self.console.close)
            closing.callback(self.adopt, None)
            closing.callback(self._end_installation)
            for what, action in self._farewell(keep):
                try:
                    action()
                except LabError as error:
                    complaints.append(f"{what}: {error.message}")
                except BaseException as error:
                    complaints.append(f"{what}: broken off by {type(error).__name__}, as was all after it")
                    raise
        return "; ".join(complaints) or None

    def _end_lease(self) -> None:
        if self._lease is not None:
            leases.give_up(self._lease)

    def _tell_next_run(self, complaints: Sequence[str]) -> None:
        if complaints:
            self.journal.dirty("; ".join(complaints))
        else:
            self.journal.clean()

    def _end_installation(self) -> None:
        if self.installation is not None:
            self.installation.close()
            self.installation = None

    def _farewell(self, keep: bool) -> list[tuple[str, Callable[[], object]]]:
        from lab.bmc.api import BootDevice, PowerAction

        def power_as_rack_wants() -> None:
            wish = self.server.power_after
            if keep or wish == "as-found":
                return
            if wish == "on":
                self.power.act(PowerAction.ON)
            elif self.state is State.READY:
                self._walk(State.OFF)
            else:
                self.power.act(PowerAction.OFF)

        def eject() -> None:
            if self.server.bmc.redfish:
                self.bmc.eject_media()

        def clear_override() -> None:
            with contextlib.suppress(BmcRefused):
                self.bmc.boot_once(BootDevice.NONE, self.server.firmware)

        return [
            ("power", power_as_rack_wants),
            ("media", eject),
            ("boot override", clear_override),
        ]

    def _must_know_release(self) -> Release:
        if self.release is None:
            raise ConfigError(
                "no release was named",
                server=self.server.name,
                next_step="pass one to goto('ready', release)",
            )
        return self.release

    def _detect(self) -> None:
        """Find out where the machine is: by power first, then by an authenticated login."""
        if self.bmc.power() == "off":
            self.state = State.OFF
            return
        self.note("found powered on; what runs there is not known, so it will be powered off")

    def _install_if_needed(self, release: Release, *, fresh: bool) -> None:
        if self.installed is not None and self.release == release and not fresh:
            return
        if self.state is State.READY:
            self._walk(State.OFF)  # what runs is shut down under its own release's name and limits
        self.release = release
        self.installed = None if fresh else reusable(self, release)
        if self.installed is not None:
            self.note(
                f"{release.name} is installed already ({self.installed.stamp.install_id[:8]}); reusing it"
            )
            try:
                self._walk(State.READY)
            except LabError as error:
                self.note(f"the installed {release.name} cannot be reused: {error.message}")
                self.installed = None
                self.state = State.UNKNOWN
            else:
                return
        self._walk(State.OFF)
        self._walk(State.INSTALLER)
        self._walk(State.OFF)

    def _walk(self, target: State) -> None:
        for edge in route(self.state, target):
            self._go(edge)

    def _go(self, edge: Edge) -> None:
        started = self.run.now
        name = f"{edge.start} → {edge.end}"
        self.run.progress(self.server.name, f"{name}: {edge.step.replace('_', ' ')}")
        evidence = "broken off"
        try:
            with step(f"{self.server.name}: {name}"):
                evidence = STEPS[edge.step](self)
            self.state = edge.end
        except LabError as error:
            evidence = f"failed: {error.message}"
            raise
        finally:
            self.run.spans.append(
                Span(
                    server=self.server.name,
                    release=self._release_name,
                    lane="install" if State.INSTALLER in (edge.start, edge.end) else "edge",
                    name=name,
                    start=started,
                    end=self.run.now,
                    evidence=evidence,
                )
            )

    def _break(self, error: LabError) -> None:
        error.server = error.server or self.server.name
        error.release = error.release or self._release_name
        if not error.console:
            error.console = self.console.tail(12)
        self.broken = error
        self.state = State.BROKEN
        self.note(f"broken: {error.message}")
