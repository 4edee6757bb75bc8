"""Package sizes and what each group brings."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.hypervisors.contract import Host
from lab.measure.packages import DPKG_QUERY, Package, group_sizes, parse_packages
from tests.measure.measuring import evidence

NAMES = [f"p{number}" for number in range(12)]


def test_one_line() -> None:
    line = (
        "qemu-system-x86\t1:7.2+dfsg-7\t60000\tinstalled\tqemu-kvm, qemu-system (= 1:7.2)\t"
        "init-system-helpers (>= 1.54~), libc6:any (>= 2.34), libfoo | libbar (<< 3), seabios\n"
        "gone\t1\t5\tconfig-files\t\t, \n"
        "empty\t1\t\tinstalled\t\t, \n"
    )
    package, empty = parse_packages(evidence(line))
    assert (package.name, package.version, package.size) == ("qemu-system-x86", "1:7.2+dfsg-7", 60000 * 1024)
    assert package.provides == ("qemu-kvm", "qemu-system")
    assert package.needs == (("init-system-helpers",), ("libc6",), ("libfoo", "libbar"), ("seabios",))
    assert (empty.name, empty.size, empty.needs) == ("empty", 0, ())


def package(name: str, size: int, *needs: str, provides: tuple[str, ...] = ()) -> Package:
    return Package(name, "1", size, provides, tuple((need,) for need in needs))


def test_a_group_costs_what_groups_before_it_did_not_bring() -> None:
    installed = [
        package("libc6", 1000),
        package("bash", 100, "libc6"),
        package("ssh", 10, "libc6", "libssl"),
        package("libssl", 5, "libc6"),
        package("qemu", 700, "libssl", "bios"),
        package("seabios", 3, provides=("bios",)),
    ]
    sizes = group_sizes(installed, {"base": ("ssh",), "hypervisor": ("qemu",)})
    assert sizes == {"system": 1100, "base": 15, "hypervisor": 703}


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.lists(st.sampled_from(NAMES), max_size=3)),
        min_size=1,
        max_size=len(NAMES),
    ),
    st.dictionaries(st.sampled_from("abc"), st.lists(st.sampled_from(NAMES), max_size=3).map(tuple)),
)
def test_groups_add_up_to_everything(
    drawn: list[tuple[int, list[str]]], groups: dict[str, tuple[str, ...]]
) -> None:
    installed = [package(name, size, *needs) for name, (size, needs) in zip(NAMES, drawn, strict=False)]
    sizes = group_sizes(installed, groups)
    assert sum(sizes.values()) == sum(one.size for one in installed)
    assert list(sizes) == ["system", *groups]
    assert min(sizes.values()) >= 0


def test_this_machine_as_dpkg_lists_it(local_host: Host) -> None:
    """`dpkg -l` is the judge."""
    try:
        lines = subprocess.run(["dpkg", "-l"], capture_output=True, text=True, check=True).stdout.splitlines()
    except FileNotFoundError:
        pytest.skip("this machine has no dpkg")
    installed = [line for line in lines if line[:3] in ("ii ", "hi ")]
    assert len(parse_packages(local_host.check(DPKG_QUERY))) == len(installed)
