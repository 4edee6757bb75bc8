"""The steps along the edges: each takes the machine, does one thing, returns its evidence in a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lab.bmc.api import Answer, BootDevice, MediaSource, PowerAction
from lab.deadline import Deadline
from lab.errors import BootFailure, ConfigError, HypervisorFailure, InstallFailure, LabError, LabFault
from lab.machine import deploy_boot
from lab.machine.boot import Boot, restarts
from lab.machine.watching import expect

if TYPE_CHECKING:
    from lab.machine.machine import Machine
    from lab.release import Release

Step = Callable[["Machine"], str]

_POWER_S = 90.0
_DONE_BY_HTTP_S = 15.0


def cut_power(machine: Machine) -> str:
    """Switch the server off, whatever it is doing."""
    machine.adopt(None)
    return _said(machine, "power off", machine.power.act(PowerAction.OFF))


def power_on(machine: Machine) -> str:
    """Switch the server on, to boot from its disk; boot order is never trusted, so the device is named."""
    named = machine.bmc.boot_once(BootDevice.DISK, machine.server.firmware)
    machine.boot = Boot.begin(machine)
    on = machine.power.act(PowerAction.ON)
    return f"{_said(machine, 'boot once from disk', named)}; {_said(machine, 'power on', on)}"


def start_installer(machine: Machine) -> str:
    """Serve this install, boot the server once from it, and see the deploy RAM OS come up on the console."""
    from lab.media.install import Installation
    from lab.selection import target_disk

    release = _release(machine)
    disk = target_disk(machine.server)
    machine.installation = Installation(
        machine.rack,
        machine.server,
        release,
        disk,
        progress=lambda text: machine.run.progress(machine.server.name, text),
    )
    installation = machine.installation.open()
    url = installation.iso_url if machine.server.installs_by == "virtual-media" else None
    if url is not None:
        attached = machine.bmc.insert_media(MediaSource(url))
        named = machine.bmc.boot_once(BootDevice.CD, machine.server.firmware)
        evidence = f"{_said(machine, 'insert media', attached)}; {_said(machine, 'boot once from CD', named)}"
    else:
        installation.offer_pxe()
        named = machine.bmc.boot_once(BootDevice.PXE, machine.server.firmware)
        evidence = f"PXE offered; {_said(machine, 'boot once from network', named)}"
    _switch_on(machine)
    try:
        match = deploy_boot.watch(machine, url)
    except LabError as failure:
        if not deploy_boot.booted_elsewhere(failure):
            raise
        if url is not None and (lost := deploy_boot.media_lost(machine, url, failure.console)):
            raise lost from failure
        if url is None or not machine.bmc.did_not_boot(BootDevice.CD):
            if isinstance(failure, BootFailure):
                raise deploy_boot.not_booted(failure, url) from failure
            raise
        # Two names of the virtual CD read back alike; the console alone tells which one boots (Q16).
        machine.note("the deploy RAM OS did not boot; naming the virtual CD in the BMC's other way")
        _said(machine, "power off", machine.power.act(PowerAction.OFF))
        named = machine.bmc.boot_once(BootDevice.CD, machine.server.firmware)
        evidence += f"; not booted; {_said(machine, 'boot once from CD, the other way', named)}"
        _switch_on(machine)
        match = deploy_boot.watch(machine, url)
    return f"{evidence}; console said: {match.line.strip()}"


def _switch_on(machine: Machine) -> None:
    machine.boot = Boot.begin(machine)
    _said(machine, "power on", machine.power.act(PowerAction.ON))


def finish_install(machine: Machine) -> str:
    """Follow the install to its end on console and by HTTP, until the server is off; detach the media."""
    from lab.console.catalogue import pattern, patterns

    installation = machine.installation
    if installation is None:
        raise LabFault(
            "no install is under way", server=machine.server.name, next_step="start from the state off"
        )
    release = _release(machine)
    limit = Deadline.after(release.stages.install, f"the install of {release.name} to end")
    try:
        match = expect(machine, [pattern("deploy-done")], limit, patterns("kernel", "deploy"), InstallFailure)
        installation.wait_done(
            limit.within(_DONE_BY_HTTP_S, "the authenticated report that the install is done")
        )
        machine.power.await_state("off", Deadline.after(_POWER_S, "the deploy RAM OS to power off"))
        machine.boot.cut_into_spans(machine, "install")
        if machine.server.installs_by == "virtual-media":
            _said(machine, "eject media", machine.bmc.eject_media())
    finally:
        installation.close()
        machine.installation = None
    machine.installed = installation.credentials
    return f"console said: {match.line.strip()}; done by authenticated HTTP; powered off; media detached"


def watch_loader(machine: Machine) -> str:
    """See firmware hand over: the first loader, hypervisor or kernel line on the console."""
    from lab.console.catalogue import patterns

    release = _release(machine)
    signs = [sign for sign in patterns("loader", "hypervisor", "kernel") if sign.kind == "milestone"]
    match = expect(
        machine,
        signs,
        Deadline.after(release.stages.boot, "firmware to hand over to the boot loader of the disk"),
        patterns("firmware", "loader"),
        BootFailure,
    )
    return f"console said: {match.line.strip()}"


def watch_boot(machine: Machine) -> str:
    """Follow the release's milestones to the end, log in, and check stamp and proof."""
    from lab.console.catalogue import pattern, patterns
    from lab.hypervisors import family
    from lab.machine.login import log_in

    release = _release(machine)
    kind = family(release.family)
    limit = Deadline.after(release.stages.boot, f"{release.name} to boot")
    failures = patterns("loader", "hypervisor", "kernel", "services", "control-domain")
    position = machine.boot.position

    def pass_by(names: Sequence[str]) -> None:
        nonlocal position
        for name in names:
            match = expect(machine, [pattern(name)], limit, failures, BootFailure, since=position)
            position = match.end
            machine.boot.passed(machine, match)

    # SSH often answers before the last milestone, the login prompt, is drawn. Knocking earlier would cost
    # time: QEMU's user networking keeps each attempt and delivers them all once the guest listens.
    pass_by(kind.boot_milestones[:-1])
    signs = [pattern(name) for name in ("ssh-started", kind.boot_milestones[-1], "restarting")]
    if expect(machine, signs, limit, failures, BootFailure, since=position).pattern.name == "restarting":
        raise restarts(machine, limit.why)
    ready = Deadline.after(release.stages.ready, "the first authenticated SSH command")
    host = log_in(machine, ready, position)
    machine.adopt(host)
    pass_by(kind.boot_milestones[-1:])
    machine.boot.cut_into_spans(machine, "boot")
    kind.prove(host)
    return f"logged in; this install's stamp is on the root disk; {release.family} proven to run"


def shut_down(machine: Machine) -> str:
    """Ask the hypervisor to power off; after its deadline, cut the power and say so."""
    from lab.hypervisors import family

    release = _release(machine)
    kind = family(release.family)
    try:
        kind.shutdown(machine.host())
        machine.adopt(None)
        machine.power.await_state(
            "off", Deadline.after(release.stages.shutdown, f"{release.name} to power off")
        )
    except (LabFault, HypervisorFailure) as error:
        machine.note(f"no graceful power-off: {error.message}")
        return f"forced off {cut_power(machine)}, because: {error.message}"
    return "powered off by the operating system"


STEPS: dict[str, Step] = {
    step.__name__: step
    for step in (cut_power, power_on, start_installer, finish_install, watch_loader, watch_boot, shut_down)
}


def _release(machine: Machine) -> Release:
    if machine.release is None:
        raise ConfigError(
            "no release was named", server=machine.server.name, next_step="pass one to goto('ready', release)"
        )
    return machine.release


def _said(machine: Machine, order: str, answer: Answer) -> str:
    """Keep what a BMC answered as evidence for the report; returns it in a few words."""
    said = f"{order}: {answer.outcome} ({answer.provider}, tries {answer.tries})"
    machine.answers.append("\n  ".join((said, *answer.evidence)))
    return said
