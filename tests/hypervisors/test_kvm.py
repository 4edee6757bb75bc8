"""KVM: QMP with a real QEMU, memory arithmetic, and proofs that are refused."""

from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import HypervisorFailure
from lab.hypervisors.contract import Host
from lab.hypervisors.kvm import FAMILY, ask, parse_iomem, parse_meminfo, parse_qmp
from lab.hypervisors.recorded_guest import RecordedGuest
from tests.measure.measuring import RecordedShell, evidence, host_with, recorded


@pytest.fixture
def qemu(host: Host) -> RecordedGuest:
    """A real QEMU of this machine that has no machine in it, on the pipes that a guest has."""
    if not shutil.which("qemu-system-x86_64"):
        pytest.fail("qemu-system-x86_64 is not installed; `make setup` brings it")
    guest = RecordedGuest(host, "g-1", "kvm")
    guest.prepare()
    host.check(f"mkfifo {guest.folder}/qmp.in {guest.folder}/qmp.out")
    guest.record(
        "qemu-system-x86_64 -nodefaults -machine none -display none "
        f"-chardev pipe,id=qmp,path={guest.folder}/qmp -mon chardev=qmp,mode=control"
    )
    return guest


def test_qmp_with_a_real_qemu(qemu: RecordedGuest) -> None:
    assert parse_qmp(ask(qemu, "query-kvm"))["enabled"] is False
    assert parse_qmp(ask(qemu, "query-status"))["running"] is True  # asked again on the same pipes
    qemu.stop()


def test_an_error_of_qemu_is_no_answer(qemu: RecordedGuest) -> None:
    with pytest.raises(HypervisorFailure, match="return is missing"):
        parse_qmp(ask(qemu, "no-such-command"))
    qemu.stop()


def test_qemu_that_does_not_start_tells_why(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.hypervisors.kvm._QMP_S", 0.5)
    guest = RecordedGuest(host, "g-2", "kvm")
    guest.prepare()
    host.check(f"mkfifo {guest.folder}/qmp.in {guest.folder}/qmp.out")
    guest.record("sh -c 'echo Could not access KVM kernel module >&2; exit 1'")
    with pytest.raises(HypervisorFailure, match="Could not access KVM kernel module"):
        ask(guest, "query-kvm")
    guest.stop()


@given(st.dictionaries(st.sampled_from(["enabled", "present"]), st.booleans()))
def test_events_and_errors_around_the_answer_are_passed_over(answer: dict[str, bool]) -> None:
    lines = [
        {"QMP": {"version": {}, "capabilities": []}},
        {"return": {}},
        {"event": "RESUME", "timestamp": {}},
        {"error": {"class": "CommandNotFound", "desc": "x"}},
        {"return": answer, "id": "lab-answer"},
    ]
    assert parse_qmp(evidence("\r\n".join(json.dumps(line) for line in lines))) == answer


@given(st.lists(st.tuples(st.integers(1, 2**40), st.integers(1, 2**30)), min_size=1))
def test_iomem_adds_up(ranges: list[tuple[int, int]]) -> None:
    text = "".join(f"{start:08x}-{start + size - 1:08x} : System RAM\n" for start, size in ranges)
    assert parse_iomem(evidence(text)) == sum(size for _, size in ranges)


def test_iomem_without_root_is_no_measurement() -> None:
    with pytest.raises(HypervisorFailure, match="only root"):
        parse_iomem(evidence("00000000-00000000 : System RAM\n" * 3))


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 100))
def test_meminfo(total: int, available: int, pages: int) -> None:
    text = f"MemTotal:        {total} kB\nMemAvailable:    {available} kB\nHugePages_Total:       {pages}\n"
    expected = {"MemTotal": total * 1024, "MemAvailable": available * 1024, "HugePages_Total": pages}
    assert parse_meminfo(evidence(text)) == expected


RUNNING = {
    "systemctl list-units": "",
    "grep '^[0-9a-f]": recorded("iomem.txt"),
    "cat /proc/meminfo": recorded("meminfo.txt"),
}


def test_memory_of_a_recorded_host() -> None:
    memory = FAMILY.memory(host_with(RecordedShell(RUNNING)))
    assert memory.value("control-domain") + memory.value("hypervisor") == memory.value("taken-from-guests")
    assert memory.value("total") == pytest.approx(3 * 2**30, rel=0.01)
    assert 50 * 2**20 < memory.value("taken-from-guests") < 500 * 2**20


def test_memory_of_a_busy_host_is_refused() -> None:
    busy = RUNNING | {"systemctl list-units": "lab-guest-g.service loaded active running x\n"}
    with pytest.raises(HypervisorFailure, match="not idle: lab-guest-g"):
        FAMILY.memory(host_with(RecordedShell(busy)))


@pytest.mark.parametrize(
    ("answers", "message"),
    [({}, "neither svm nor vmx"), ({"grep -m1": "svm\n"}, "no usable /dev/kvm")],
)
def test_what_is_missing_is_said(answers: dict[str, str], message: str) -> None:
    with pytest.raises(HypervisorFailure, match=message) as caught:
        FAMILY.prove(host_with(RecordedShell(answers)))
    assert caught.value.server == "s-1"
