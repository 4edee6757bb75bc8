"""No hypervisor: Linux and busybox alone, the bare-metal baseline. Source: firmware/tiny/README.md."""

from __future__ import annotations

from typing import Final, NoReturn

from lab.console.api import Stage
from lab.errors import ConfigError, HypervisorFailure
from lab.hypervisors.contract import GuestFiles, Host, Proof
from lab.measure.model import Measured

_KERNEL = "uname -srm"
_DISK = "grep ' /disk ' /proc/mounts"
_POWER_OFF = "poweroff -d 1 </dev/null >/dev/null 2>&1 &"
_TYPE = "cat /sys/hypervisor/type 2>/dev/null || echo none"


class Linux:
    """The family without a hypervisor: it boots, proves itself and powers off, and has no guests."""

    name: Final = "linux"
    boot_milestones: Final = ("loader-grub", "linux-banner", "login-prompt")
    failure_stages: Final[tuple[Stage, ...]] = ("loader", "kernel", "services")
    guest_kinds: Final[tuple[str, ...]] = ()

    def prove(self, host: Host) -> Proof:
        """Linux itself has the machine, and the disk it was booted from is mounted."""
        with host.named_in_errors():
            kernel, disk, kind = host.check(_KERNEL), host.run(_DISK), host.check(_TYPE)
            if disk.exit_status:
                raise HypervisorFailure(
                    "the system runs, but not with its disk: nothing is mounted at /disk",
                    tried=_DISK,
                    next_step="read the lines that begin with lab-linux on the serial console",
                )
            if kind.output.strip() != "none":
                raise HypervisorFailure(
                    f"this is no bare metal: Linux says it runs on {kind.output.strip()}",
                    tried=_TYPE,
                    next_step="check what the server booted",
                )
        facts = {"kernel": kernel.output.strip(), "disk": disk.output.split()[0]}
        return Proof((kernel, disk, kind), facts)

    def memory(self, host: Host) -> Measured:
        """Raises ConfigError: there is no hypervisor, so nothing is taken from guests."""
        raise _no_hypervisor(host, "what a hypervisor takes from guests")

    def start_guest(self, host: Host, files: GuestFiles, name: str, kind: str) -> NoReturn:
        """Raises ConfigError: there is no hypervisor."""
        raise _no_hypervisor(host, f"a guest of kind '{kind}'")

    def shutdown(self, host: Host) -> None:
        """Power off by busybox's init, in a second: by then this order has been answered."""
        host.check(_POWER_OFF)


def _no_hypervisor(host: Host, asked: str) -> ConfigError:
    return ConfigError(
        f"{host.release.name} has no hypervisor, so there is not {asked}",
        server=host.server.name,
        release=host.release.name,
        next_step="choose a release of `kind: hypervisor`",
    )


FAMILY = Linux()
