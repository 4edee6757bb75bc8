"""The lab's own tests: an own state folder for each, so that nothing of the user's is seen or touched."""

from __future__ import annotations

import signal
from pathlib import Path

import hypothesis
import pytest

# How long one example takes depends on what else the machine does; it says nothing about a parser.
hypothesis.settings.register_profile("loaded", deadline=None)
hypothesis.settings.load_profile("loaded")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "nightly: a longer proof, run by `make nightly` only")
    config.addinivalue_line("markers", "recorded: needs the recorded vendor trees beside the checkout")
    # Started in the background of a script, pytest ignores Ctrl-C, and so would every run that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder that belongs to this test alone (the cache of built images is shared)."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder
