"""A pytest plugin (`-p tests.plugin.scripted_rack`) that puts scripted servers under a whole pytest run.

`SCRIPTED` names a folder to work in; `SCRIPT` is JSON: for each server, attributes of its `ScriptedServer`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.machine.bench import Bench

pytest_plugins = ["fixtures.rack", "fixtures.machine", "fixtures.host", "fixtures.record"]


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    bench = Bench(pytest.MonkeyPatch(), Path(os.environ["SCRIPTED"]))
    for server, attributes in json.loads(os.environ.get("SCRIPT", "{}")).items():
        for name, value in attributes.items():
            setattr(bench.servers[server], name, value)
