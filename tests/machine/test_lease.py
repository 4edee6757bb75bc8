"""A server belongs to one run at a time; what is gone does not hold it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab import paths
from lab.errors import ServerBusy, UnknownName
from lab.machine import lease
from lab.rack.load import load_rack
from lab.rack.model import Rack, Server


@pytest.fixture
def rack() -> Rack:
    return load_rack("virtual")


@pytest.fixture
def server(rack: Rack) -> Server:
    return rack.servers[0]


def lease_file(server: Server) -> Path:
    return paths.state() / "leases" / f"{lease.server_key(server)}.json"


def change(server: Server, **fields: object) -> None:
    file = lease_file(server)
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_second_run_is_told_who_holds_the_server(rack: Rack, server: Server) -> None:
    lease.take(rack, server, "first")
    with pytest.raises(ServerBusy) as error:
        lease.take(rack, server, "second")
    assert f"process {os.getpid()}" in str(error.value)
    assert "run first" in str(error.value)
    assert server.name in str(error.value)


def test_lease_ends_with_give_up(rack: Rack, server: Server) -> None:
    held, _ = lease.take(rack, server, "first")
    lease.give_up(held)
    assert lease.leases() == []
    lease.take(rack, server, "second")


def test_lease_of_a_killed_process_is_taken_over_with_a_note(rack: Rack, server: Server) -> None:
    script = (
        "import os, signal; from lab.machine import lease; from lab.rack.load import load_rack;"
        "rack = load_rack('virtual'); lease.take(rack, rack.servers[0], 'victim');"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script], check=False, timeout=30)
    assert lease.leases()[0].run == "victim"
    mine, note = lease.take(rack, server, "heir")
    assert mine.run == "heir"
    assert note is not None
    assert "victim" in note
    assert "process is gone" in note


def test_a_reused_process_number_does_not_hold_the_server(rack: Rack, server: Server) -> None:
    lease.take(rack, server, "first")
    change(server, process_started=1.0)
    _, note = lease.take(rack, server, "second")
    assert note is not None


def test_lease_of_another_host_holds_until_it_runs_out(rack: Rack, server: Server) -> None:
    lease.take(rack, server, "first")
    change(server, host="elsewhere", pid=1)
    with pytest.raises(ServerBusy):
        lease.take(rack, server, "second")
    change(server, until=(datetime.now(UTC) - timedelta(seconds=1)).isoformat())
    _, note = lease.take(rack, server, "second")
    assert note is not None
    assert "ran out" in note


def test_a_lease_cut_off_by_a_power_failure_holds_nothing(rack: Rack, server: Server) -> None:
    lease.take(rack, server, "first")
    lease_file(server).write_text('{"rack": "virt')
    lease.take(rack, server, "second")


def test_two_rack_files_naming_one_bmc_meet(rack: Rack, server: Server) -> None:
    twin = rack.model_copy(update={"rack": "twin"})
    lease.take(rack, server, "first")
    with pytest.raises(ServerBusy):
        lease.take(twin, server.model_copy(update={"name": "other-name"}), "second")


def test_release_refuses_a_live_lease_unless_forced(rack: Rack, server: Server) -> None:
    lease.take(rack, server, "first")
    with pytest.raises(ServerBusy):
        lease.release(server.name)
    assert lease.release(server.name, force=True).run == "first"
    with pytest.raises(UnknownName):
        lease.release(server.name)


def test_giving_up_a_lease_that_was_taken_over_leaves_it_alone(rack: Rack, server: Server) -> None:
    mine, _ = lease.take(rack, server, "first")
    change(server, pid=1, process_started=1.0, host="elsewhere")
    lease.give_up(mine)
    assert lease.leases()[0].host == "elsewhere"


def test_lease_file_is_for_its_owner_only(rack: Rack, server: Server) -> None:
    lease.take(rack, server, "first")
    assert lease_file(server).parent.stat().st_mode & 0o077 == 0
