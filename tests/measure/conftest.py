"""Fixtures of the measuring tests; see measuring.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab.hypervisors.contract import Host
from tests.measure.measuring import LocalShell, RecordedShell, host_with


@pytest.fixture
def local_host() -> Host:
    """A host whose shell is this machine's own."""
    return host_with(LocalShell())


@pytest.fixture
def recorded_host() -> Callable[..., Host]:
    """Makes a host that answers from recorded output."""

    def make(answers: dict[str, str], packages: dict[str, tuple[str, ...]] | None = None) -> Host:
        return host_with(RecordedShell(answers), packages)

    return make
