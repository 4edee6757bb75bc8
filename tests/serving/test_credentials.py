from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from lab import paths
from lab.machine import credentials as store
from lab.machine.credentials import Credentials, Phase, Stamp


def stamp(server: str = "s1", disk: str = "D1", *, rack: str = "r", age_h: int = 0) -> Stamp:
    return Stamp(
        rack=rack,
        server=server,
        release="kvm",
        release_digest="0" * 64,
        image_digest="1" * 128,
        disk=disk,
        installed_at=datetime.now(UTC).replace(microsecond=0) - timedelta(hours=age_h),
    )


def reached(of: Stamp, phase: Phase) -> Credentials:
    made = store.create(of)
    made.reached(phase)
    return made


def test_everything_is_owner_only() -> None:
    old = os.umask(0)
    try:
        made = store.create(stamp())
    finally:
        os.umask(old)
    assert (paths.state() / "installs").stat().st_mode & 0o077 == 0
    assert made.folder.stat().st_mode & 0o077 == 0
    for file in made.folder.iterdir():
        assert file.stat().st_mode & 0o177 == 0, file.name


def test_what_was_made_is_loaded_again() -> None:
    made = store.create(stamp())
    again = store.load(made.stamp.install_id)
    assert again is not None
    assert (again.stamp, again.phase) == (made.stamp, Phase.PREPARED)
    assert again.host_public_key == made.host_public_key


def test_each_install_has_keys_of_its_own() -> None:
    one, two = store.create(stamp("s1")), store.create(stamp("s2"))
    keys = [install.client_public_key.split()[1] for install in (one, two)]
    keys += [install.host_public_key.split()[1] for install in (one, two)]
    assert len(set(keys)) == 4


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not there to judge")
@pytest.mark.parametrize("name", ["client_key", "host_key"])
def test_openssh_reads_the_keys(name: str) -> None:
    made = store.create(stamp())
    derived = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(made.folder / name)], capture_output=True, text=True, check=True
    ).stdout
    assert derived.split()[:2] == (made.folder / f"{name}.pub").read_text().split()[:2]
    assert derived.startswith("ssh-ed25519 ")


def test_a_stamp_without_its_credentials_means_a_new_install() -> None:
    made = store.create(stamp())
    assert store.load(stamp().install_id) is None
    made.host_key.unlink()
    assert store.load(made.stamp.install_id) is None


@pytest.mark.parametrize("name", ["", "..", "../installs", "/etc", "not-an-id"])
def test_an_id_that_is_none_is_no_path(name: str) -> None:
    assert store.load(name) is None
    with pytest.raises(ValueError, match="UUID"):
        store.forget(name)


def test_latest_is_the_newest_that_touched_a_disk_of_that_very_server() -> None:
    assert store.latest("r", "s1") is None
    old = reached(stamp(disk="D1", age_h=2), Phase.INSTALLED)
    new = reached(stamp(disk="D2", age_h=1), Phase.INSTALLED)
    reached(stamp("s2"), Phase.INSTALLED)
    reached(stamp(rack="other"), Phase.INSTALLED)
    store.create(stamp(disk="D1"))
    assert store.latest("r", "s1") == new
    store.forget(new.stamp.install_id)
    assert store.latest("r", "s1") == old


def test_what_is_overwritten_is_forgotten_and_only_that() -> None:
    same_disk = reached(stamp(disk="D1", age_h=3), Phase.INSTALLED)
    other_disk = reached(stamp(disk="D2", age_h=2), Phase.INSTALLED)
    begun = store.create(stamp(disk="D1"))
    assert store.load(same_disk.stamp.install_id) is not None
    begun.reached(Phase.WRITING)
    assert store.load(same_disk.stamp.install_id) is None
    assert store.load(other_disk.stamp.install_id) is not None
    latest = store.latest("r", "s1")
    assert latest is not None
    assert latest.phase is Phase.WRITING


def test_what_was_prepared_and_never_begun_does_not_pile_up() -> None:
    first, second = store.create(stamp()), store.create(stamp())
    assert store.load(first.stamp.install_id) is None
    assert store.load(second.stamp.install_id) is not None


def test_a_stamp_is_read_back_from_its_json_and_nothing_else_is_one() -> None:
    original = stamp()
    assert Stamp.parse(original.model_dump_json(indent=2)) == original
    for text in ("", "{}", "null", "not json", original.model_dump_json()[:-5]):
        assert Stamp.parse(text) is None
