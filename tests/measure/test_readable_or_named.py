"""Whatever a command prints, its parser returns something or names the command; never a bare ValueError."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import HypervisorFailure
from lab.hypervisors import kvm, xen
from lab.measure import disks, file_systems, packages, pci_devices, surface
from lab.measure.model import Evidence
from tests.measure.measuring import evidence, recorded

Parser = Callable[[Evidence], Any]

PARSERS: dict[str, tuple[Parser, str]] = {
    "findmnt": (file_systems.parse_findmnt, "findmnt.json"),
    "lsblk": (file_systems.parse_lsblk, "lsblk.json"),
    "swaps": (file_systems.parse_swaps, "swaps.txt"),
    "used": (file_systems.parse_used, "df-used.txt"),
    "sizes": (file_systems.parse_sizes, "boot-images.txt"),
    "packages": (packages.parse_packages, "dpkg-query.txt"),
    "sockets": (surface.parse_sockets, "ss.txt"),
    "services": (surface.parse_services, "services.json"),
    "modules": (surface.parse_modules, "modules.txt"),
    "modes": (surface.parse_modes, "modes.txt"),
    "lspci": (pci_devices.parse_lspci, "lspci.txt"),
    "disks": (disks.parse_disks, "lsblk-disks.json"),
    "xl info": (xen.parse_info, "xl-info.txt"),
    "xl list": (xen.parse_domains, "xl-list.txt"),
    "qmp": (kvm.parse_qmp, "qmp.txt"),
    "meminfo": (kvm.parse_meminfo, "meminfo.txt"),
    "iomem": (kvm.parse_iomem, "iomem.txt"),
}
NAMES = st.sampled_from(sorted(PARSERS))
LIKE_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["filesystems", "blockdevices", "unit", "target", "path", "id", "return", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def outcome(name: str, text: str) -> object:
    parse, _ = PARSERS[name]
    try:
        return parse(evidence(text))
    except HypervisorFailure as failure:
        assert "'the-command --with arguments'" in failure.message
        assert failure.next_step
        return failure


@pytest.mark.parametrize("name", PARSERS)
def test_recorded_output_is_read(name: str) -> None:
    parse, file = PARSERS[name]
    assert parse(evidence(recorded(file))) or name == "swaps"  # a host without swap


@given(NAMES, st.text())
def test_garbage(name: str, text: str) -> None:
    outcome(name, text)


@given(NAMES, LIKE_JSON)
def test_json_of_another_form(name: str, content: object) -> None:
    outcome(name, json.dumps(content))


@given(NAMES, st.data())
def test_recorded_output_cut_off_or_damaged(name: str, data: st.DataObject) -> None:
    text = recorded(PARSERS[name][1])
    cut = data.draw(st.integers(0, len(text) - 1))
    outcome(name, text[:cut])
    outcome(name, text[:cut] + data.draw(st.text(min_size=1, max_size=3)) + text[cut + 1 :])


@pytest.mark.parametrize("name", ["findmnt", "lsblk", "services", "disks"])
def test_json_that_is_cut_off_is_never_taken_for_less(name: str) -> None:
    text = recorded(PARSERS[name][1]).rstrip()
    assert isinstance(outcome(name, text[:-1]), HypervisorFailure)


@pytest.mark.parametrize(
    "name", ["swaps", "packages", "lspci", "xl info", "xl list", "qmp", "meminfo", "iomem", "used"]
)
def test_nothing_at_all_is_no_answer(name: str) -> None:
    assert isinstance(outcome(name, ""), HypervisorFailure)
