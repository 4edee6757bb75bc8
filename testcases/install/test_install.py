"""What an install must leave behind: the right disk written, reached only with this install's keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from lab.hypervisors.contract import Host
from lab.machine.credentials import STAMP_PATH, Stamp
from lab.machine.machine import Machine

CLOCK_TOLERANCE_S = 5.0


def test_root_disk_carries_this_installs_stamp(machine: Machine, host: Host) -> None:
    stamp = Stamp.parse(host.check(f"cat {STAMP_PATH}").output)
    assert machine.installed is not None
    assert stamp is not None
    assert stamp == machine.installed.stamp
    assert stamp.release == host.release.name
    assert stamp.server == host.server.name


def test_only_the_erasable_disk_was_written(machine: Machine, host: Host) -> None:
    assert machine.installed is not None
    listed = json.loads(host.check("lsblk -J -d -o SERIAL,PTUUID,TYPE").output)["blockdevices"]
    tables = {disk["serial"]: disk["ptuuid"] for disk in listed if disk["type"] == "disk"}
    written = [serial for serial, table in tables.items() if table == machine.installed.stamp.install_id]
    assert written == [machine.installed.stamp.disk]
    protected = {disk.serial for disk in host.server.disks if not disk.erase}
    assert protected <= set(tables)
    assert protected.isdisjoint(written)


def test_login_needs_this_installs_key(host: Host) -> None:
    effective = host.check("sshd -T").output.lower().splitlines()
    assert "passwordauthentication no" in effective
    assert "permitrootlogin without-password" in effective


def test_clock_was_set_by_the_install(host: Host) -> None:
    before = datetime.now(UTC).timestamp()
    theirs = float(host.check("date +%s.%N").output)
    after = datetime.now(UTC).timestamp()
    assert before - CLOCK_TOLERANCE_S <= theirs <= after + CLOCK_TOLERANCE_S


def test_address_came_by_dhcp(host: Host) -> None:
    leases = host.check("networkctl status --no-pager $(ls /sys/class/net | grep -v lo)").output
    assert "DHCP4" in leases
