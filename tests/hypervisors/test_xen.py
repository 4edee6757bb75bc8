"""Xen: what xl says taken apart; refused proofs say what is missing; a guest that fails leaves nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ConfigError, HypervisorFailure, UnknownName
from lab.hypervisors import FAMILIES, family
from lab.hypervisors.contract import Family, Host
from lab.hypervisors.xen import FAMILY, Domain, guest_settings, parse_domains, parse_info
from tests.measure.measuring import RecordedShell, evidence, host_with, recorded

MIB = 2**20
INFO, LIST = recorded("xl-info.txt"), recorded("xl-list.txt")
RUNNING = {
    "cat /sys/hypervisor/type": "xen\n",
    "cat /proc/xen/capabilities": "control_d\n",
    "xl info": INFO,
    "xl list": LIST,
}
KEYS = st.from_regex(r"[a-z][a-z_]{0,18}", fullmatch=True)
VALUES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 :.,=_-]{0,30}|", fullmatch=True).map(str.strip)


@given(st.dictionaries(KEYS, VALUES), st.integers(1, 10**7), st.integers(0, 10**7))
def test_info_round_trip(more: dict[str, str], total: int, free: int) -> None:
    info = more | {
        "xen_version": "4.17.7",
        "xen_caps": "x",
        "total_memory": f"{total}",
        "free_memory": f"{free}",
    }
    text = "".join(f"{key:<23}: {value}\n" for key, value in info.items())
    assert parse_info(evidence(text)) == info


@given(st.lists(st.tuples(st.from_regex(r"[A-Za-z0-9_.-]{1,40}", fullmatch=True), st.integers(1, 30000))))
def test_list_round_trip(guests: list[tuple[str, int]]) -> None:
    domains = [Domain(0, "Domain-0", 1024 * MIB)]
    domains += [Domain(number, name, memory * MIB) for number, (name, memory) in enumerate(guests, 1)]
    text = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n"
    for domain in domains:
        text += f"{domain.name:<40} {domain.id:5d} {domain.memory // MIB:5d}     1     r-----      14.6\n"
    assert parse_domains(evidence(text)) == domains


def test_proof() -> None:
    proof = FAMILY.prove(host_with(RecordedShell(RUNNING)))
    assert proof.facts["xen_version"].startswith("4.17")
    assert proof.facts["domains"] == "Domain-0"
    assert [one.command for one in proof.evidence] == list(RUNNING)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cat /sys/hypervisor/type": ""}, "not xen"),
        ({"cat /sys/hypervisor/type": "kvm\n"}, "'kvm', not xen"),
        ({"cat /proc/xen/capabilities": "\n"}, "no control_d"),
        ({"xl info": "xen_version : 4.17\n"}, "xen_caps is missing"),
        ({"xl list": LIST.splitlines()[0]}, "no control domain"),
    ],
)
def test_what_is_missing_is_said(changed: dict[str, str], message: str) -> None:
    with pytest.raises(HypervisorFailure, match=message) as caught:
        FAMILY.prove(host_with(RecordedShell(RUNNING | changed)))
    assert (caught.value.server, caught.value.release) == ("s-1", "r-1")


def test_memory_by_the_hypervisor_s_own_account() -> None:
    memory = FAMILY.memory(host_with(RecordedShell(RUNNING)))
    info = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in INFO.splitlines())
    }
    taken = (int(info["total_memory"]) - int(info["free_memory"])) * MIB
    assert memory.value("taken-from-guests") == taken
    assert memory.value("control-domain") + memory.value("hypervisor") == taken
    assert 1 * MIB < memory.value("hypervisor") < 128 * MIB
    assert len(memory.measurement("taken-from-guests").samples) == 3


def test_memory_of_a_busy_host_is_refused() -> None:
    busy = LIST + "lab-pvh                                      1   256     1     -b----       2.0\n"
    with pytest.raises(HypervisorFailure, match="not idle: lab-pvh"):
        FAMILY.memory(host_with(RecordedShell(RUNNING | {"xl list": busy})))


def test_settings_are_read_back_by_python_s_own_reader() -> None:
    """xl.cfg is close to Python assignments; the judge of names and quoting is Python."""
    values: dict[str, object] = {}
    exec(guest_settings("lab-pv", "pv", "/run/k", "/run/i"), {}, values)  # noqa: S102 - our own text
    assert (values["name"], values["type"], values["kernel"], values["ramdisk"]) == (
        "lab-pv",
        "pv",
        "/run/k",
        "/run/i",
    )
    assert values["memory"] == 256
    assert values["on_crash"] == values["on_poweroff"] == "destroy"


@pytest.fixture
def xl(tools: Path, tmp_path: Path) -> Path:
    """An `xl` that writes down how it was called, and refuses to create what is named `refused`."""
    said = tmp_path / "xl.log"
    (tools / "xl").write_text(
        f'#!/bin/sh\necho "$*" >> {said}\n'
        'case "$*" in create*refused*) echo "libxl: error: no memory" >&2; exit 3;; '
        "console*) echo hello;; esac\n"
    )
    (tools / "xl").chmod(0o755)
    return said


@pytest.fixture
def files(tmp_path: Path) -> SimpleNamespace:
    for name in ("kernel", "initrd"):
        (tmp_path / name).write_text(name)
    return SimpleNamespace(kernel=tmp_path / "kernel", initrd=tmp_path / "initrd")


def test_a_guest_is_recorded_before_it_runs(host: Host, xl: Path, files: SimpleNamespace) -> None:
    from lab.deadline import Deadline

    guest = FAMILY.start_guest(host, files, "lab-pvh", "pvh")
    assert guest.console_until("hello", Deadline.after(10, "hello")) == "hello"
    calls = [line.split()[0] for line in xl.read_text().splitlines()]
    assert calls[:2] == ["destroy", "create"]
    assert "-p" in xl.read_text().splitlines()[1]
    assert sorted(calls[2:]) == ["console", "unpause"]
    guest.stop()
    assert xl.read_text().splitlines()[-1] == "destroy lab-pvh"


def test_a_guest_that_xen_refuses_leaves_nothing(
    host: Host, xl: Path, files: SimpleNamespace, tmp_path: Path
) -> None:
    with pytest.raises(HypervisorFailure, match="libxl: error: no memory") as caught:
        FAMILY.start_guest(host, files, "refused", "pv")
    assert caught.value.server == "s-1"
    assert list((tmp_path / "guests").iterdir()) == []
    assert xl.read_text().splitlines()[-1] == "destroy refused"


def test_an_unknown_kind_is_the_caller_s_mistake(host: Host, files: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match="pvh, pv"):
        FAMILY.start_guest(host, files, "g", "kvm")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_keeps_the_contract(name: str) -> None:
    from lab.console.catalogue import pattern

    one: Family = family(name)
    assert one.name == name
    assert bool(one.guest_kinds) is (name != "linux")
    assert {pattern(milestone).kind for milestone in one.boot_milestones} == {"milestone"}
    assert pattern(one.boot_milestones[0]).stage == "loader"


def test_unknown_family() -> None:
    with pytest.raises(UnknownName, match="esxi"):
        family("esxi")


def test_families_do_not_import_each_other() -> None:
    import ast

    import lab.hypervisors

    folder = Path(str(lab.hypervisors.__file__)).parent
    for name in FAMILIES:
        tree = ast.parse((folder / f"{name}.py").read_text())
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not imported & {f"lab.hypervisors.{other}" for other in FAMILIES}
