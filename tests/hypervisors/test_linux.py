"""The family without a hypervisor, against a shell that answers what a script says."""

from __future__ import annotations

import pytest

from lab.errors import ConfigError, HypervisorFailure
from lab.hypervisors.contract import Host
from lab.hypervisors.linux import FAMILY
from lab.measure.model import Evidence
from lab.rack.load import load_rack
from lab.release import hypervisor_names, load_release, release_names

GOOD = {
    "uname -srm": "Linux 6.1.0-56-amd64 x86_64\n",
    "grep ' /disk ' /proc/mounts": "/dev/nvme0n1p3 /disk ext4 rw,relatime 0 0\n",
    "cat /sys/hypervisor/type 2>/dev/null || echo none": "none\n",
    "poweroff -d 1 </dev/null >/dev/null 2>&1 &": "",
}


class Scripted:
    """A shell that knows some commands; an empty grep fails as grep does."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def run(self, command: str, timeout_s: float = 60.0, *, stdin: bytes = b"") -> Evidence:
        self.asked.append(command)
        said = self.answers[command]
        return Evidence(
            command=command, output=said, exit_status=int(command.startswith("grep") and not said)
        )

    check = run


def host(**changes: str) -> Host:
    named = dict(zip(("kernel", "disk", "type", "poweroff"), GOOD, strict=True))
    shell = Scripted(GOOD | {named[key]: value for key, value in changes.items()})
    return Host(load_rack("virtual").servers[0], load_release("tiny-linux"), shell, "emulated")  # type: ignore[arg-type]


def test_it_proves_that_nothing_stands_between() -> None:
    proof = FAMILY.prove(host())
    assert proof.facts == {"kernel": "Linux 6.1.0-56-amd64 x86_64", "disk": "/dev/nvme0n1p3"}


@pytest.mark.parametrize(
    ("changes", "why"), [({"disk": ""}, "nothing is mounted at /disk"), ({"type": "xen\n"}, "runs on xen")]
)
def test_it_is_not_proven_otherwise(changes: dict[str, str], why: str) -> None:
    with pytest.raises(HypervisorFailure, match=why) as caught:
        FAMILY.prove(host(**changes))
    assert (caught.value.server, caught.value.release) == ("uefi-1", "tiny-linux")


def test_it_has_neither_guests_nor_a_share_of_memory() -> None:
    with pytest.raises(ConfigError, match="no hypervisor"):
        FAMILY.memory(host())
    with pytest.raises(ConfigError, match="no hypervisor"):
        FAMILY.start_guest(host(), None, "g", "kvm")  # type: ignore[arg-type]


def test_it_is_chosen_only_by_name() -> None:
    assert "tiny-linux" in release_names()
    assert "tiny-linux" not in hypervisor_names()
