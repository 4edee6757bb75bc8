"""A rack's daemon: up, down, twice, killed, in the way of others; and what it listens on."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lab.errors import ConfigError, LabFault
from lab.progress import silent
from lab.virtual import control, leftovers
from lab.virtual.folder import RackFolder
from tests.virtual.rackfile import running_rack, server, write_rack

_LISTEN = "0A"


@pytest.fixture
def said() -> list[str]:
    return []


def test_up_starts_once_and_down_leaves_nothing(tmp_path: Path, own_state: Path) -> None:
    rack = write_rack(tmp_path, server("s1", redfish=True))
    assert not control.status(rack)[0].answering
    try:
        assert control.up(rack, silent) is True
        assert control.up(rack, silent) is False
        status = control.status(rack)[0]
        assert (status.answering, status.power, status.qemu_pid) == (True, "off", None)
        folder = RackFolder.of(rack.rack)
        for secret in ("bmc-password", "sol-password", "ca.pem", "server.pem"):
            assert stat.S_IMODE((folder.path / secret).stat().st_mode) == 0o600
        password = (folder.path / "bmc-password").read_text()
        assert leftovers.find(folder)
    finally:
        control.down(rack, silent)
    assert leftovers.find(folder) == []
    assert not control.status(rack)[0].answering
    control.down(rack, silent)
    try:
        control.up(rack, silent)
        assert (folder.path / "bmc-password").read_text() == password
    finally:
        control.down(rack, silent)


def test_disks_keep_what_was_written_and_are_sparse(tmp_path: Path) -> None:
    for expected in (b"", b"kept"):
        with running_rack(tmp_path, server("s1")) as tiny:
            image = tiny.folder.path / "s1" / "disks" / "disk0.raw"
            assert image.read_bytes().rstrip(b"\0") == expected
            assert image.stat().st_blocks * 512 < image.stat().st_size
            tiny.put_on_disk("s1", b"kept")


def test_what_a_killed_daemon_left_is_ended_and_told(
    tmp_path: Path, own_state: Path, said: list[str]
) -> None:
    with running_rack(tmp_path, server("s1")) as tiny:
        os.environ["XDG_STATE_HOME"] = str(tiny.state)
        control.request(tiny.rack, {"do": "ipmi-set", "server": "s1", "changes": {"power": "1"}})
        qemu = tiny.status("s1").qemu_pid
        assert qemu is not None
        daemon = psutil.Process(int(tiny.folder.daemon_lock.read_text()))
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(timeout=10)
        left = psutil.Process(qemu)
        assert left.is_running()
        assert control.up(tiny.rack, said.append) is True
        assert not psutil.pid_exists(qemu)
        assert any(f"ended qemu-system-x86_64 (process {qemu})" in line for line in said)
        assert tiny.status("s1").power == "off"


def test_everything_listens_on_loopback_alone(tmp_path: Path) -> None:
    with running_rack(tmp_path, server("s1", redfish=True, nics=("e1000e", "vmxnet3"))) as tiny:
        control.request(tiny.rack, {"do": "ipmi-set", "server": "s1", "changes": {"power": "1"}})
        daemon = psutil.Process(int(tiny.folder.daemon_lock.read_text()))
        ours = {
            inode for process in (daemon, *daemon.children(recursive=True)) for inode in _sockets(process)
        }
        bound = [*_bound("tcp", ours), *_bound("udp", ours)]
        assert len(bound) >= 4  # Redfish, IPMI outside and inside, SSH forward, serial hub
        assert {address for address in bound if not address.startswith("127.")} == set()
        assert [*_bound("tcp6", ours), *_bound("udp6", ours)] == []


def _sockets(process: psutil.Process) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        target = os.readlink(descriptor)  # noqa: PTH115 - a name, not a path
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def _bound(protocol: str, inodes: set[str]) -> list[str]:
    """Local addresses of these sockets: listening TCP, every UDP."""
    rows = [line.split() for line in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]]
    mine = [row for row in rows if row[9] in inodes and (row[3] == _LISTEN or protocol.startswith("udp"))]
    return [
        socket.inet_ntoa(bytes.fromhex(row[1].split(":")[0])[::-1]) if "6" not in protocol else row[1]
        for row in mine
    ]


@pytest.mark.parametrize("face", ["redfish", "ipmi", "ssh"])
def test_a_taken_port_is_named(tmp_path: Path, own_state: Path, face: str) -> None:
    entry = server("s1", redfish=True)
    where = {
        "redfish": entry["bmc"]["redfish"].removeprefix("https://"),
        "ipmi": entry["bmc"]["ipmi"],
        "ssh": f"127.0.0.1:{entry['host']['ssh_port']}",
    }[face]
    address, port = where.split(":")
    rack = write_rack(tmp_path, entry)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if face == "ipmi" else socket.SOCK_STREAM) as other:
        other.bind((address, int(port)))
        if face != "ipmi":
            other.listen()
        with pytest.raises(LabFault, match=port) as caught:
            control.up(rack, silent)
    assert caught.value.server == "s1"
    assert leftovers.find(RackFolder.of(rack.rack)) == []
    assert not control.status(rack)[0].answering


def test_two_faces_on_one_port_are_refused(tmp_path: Path, own_state: Path) -> None:
    first, second = server("s1"), server("s2")
    second["bmc"]["ipmi"] = first["bmc"]["ipmi"]
    with pytest.raises(ConfigError, match="also s1's IPMI port"):
        control.up(write_rack(tmp_path, first, second), silent)


def test_an_address_off_loopback_is_refused(tmp_path: Path, own_state: Path) -> None:
    entry = server("s1")
    entry["bmc"]["ipmi"] = "192.0.2.1:9623"
    with pytest.raises(ConfigError, match="not on loopback"):
        control.up(write_rack(tmp_path, entry), silent)


def test_a_secret_outside_the_state_folder_is_not_made(tmp_path: Path, own_state: Path) -> None:
    entry = server("s1")
    entry["bmc"]["password"] = f"file:{tmp_path}/elsewhere"
    with pytest.raises(ConfigError, match="outside the state folder"):
        control.up(write_rack(tmp_path, entry), silent)
    assert not (tmp_path / "elsewhere").exists()


def test_another_version_of_the_rack_file_is_noticed(tmp_path: Path) -> None:
    with running_rack(tmp_path, server("s1")):
        changed = write_rack(tmp_path, server("s1"))
        with pytest.raises(ConfigError, match="another version"):
            control.up(changed, silent)


def test_a_disk_of_another_size_is_not_touched(tmp_path: Path, own_state: Path) -> None:
    rack = write_rack(tmp_path, server("s1"))
    disks = RackFolder.of(rack.rack).server(rack.servers[0]).disks
    disks.mkdir(parents=True)
    (disks / "disk0.raw").write_bytes(b"somebody's")
    with pytest.raises(LabFault, match="disk S1-D0 is 10 bytes"):
        control.up(rack, silent)
    assert (disks / "disk0.raw").read_bytes() == b"somebody's"


def test_unknown_control_request_is_answered(tmp_path: Path) -> None:
    with running_rack(tmp_path, server("s1")) as tiny:
        for request, complaint in (
            ({"do": "explode"}, "no such request"),
            ({"do": "screendump", "server": "s1", "file": "/x"}, "is off"),
            ({"do": "sensor", "server": "s1"}, "missing or wrong"),
        ):
            with pytest.raises(LabFault, match=complaint):
                control.request(tiny.rack, request)


def test_runs_without_root(tmp_path: Path) -> None:
    """As `nobody`, by the system's Python with this environment's libraries."""
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    python = Path("/usr/bin/python3")
    version = f"import sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    if os.geteuid() != 0 or not python.exists() or shutil.which("setpriv") is None:
        pytest.skip("needs root to become somebody else, setpriv and a system Python")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(python)]
    project = Path(__file__).parents[2]
    place = Path(subprocess.check_output(["mktemp", "-d", "/tmp/lab-nobody-XXXXXX"], text=True).strip())
    try:
        rack = write_rack(place, server("s1", redfish=True))
        shutil.chown(place, 65534, 65534)
        shutil.chown(rack.file, 65534, 65534)
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(place),
            "PYTHONPATH": f"{libraries}:{project}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        usable = subprocess.run([*nobody, "-c", version], env=environment, cwd=place, check=False)
        reads = subprocess.run(
            [*nobody, "-c", "import lab.virtual.control"], env=environment, cwd=place, check=False
        )
        if usable.returncode or reads.returncode:
            pytest.skip("the system's Python is another version, or another user cannot read this checkout")
        script = (
            "from lab.rack.load import load_rack; from lab.virtual import control\n"
            f"rack = load_rack({str(rack.file)!r}); control.up(rack, print)\n"
            "control.request(rack, {'do': 'ipmi-set', 'server': 's1', 'changes': {'power': '1'}})\n"
            "print(control.status(rack)[0].power); control.down(rack, print)"
        )
        done = subprocess.run(
            [*nobody, "-c", script],
            env=environment,
            cwd=place,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "\non\n" in done.stdout
    finally:
        shutil.rmtree(place)


def test_an_interrupted_up_leaves_nothing(tmp_path: Path, own_state: Path) -> None:
    rack = write_rack(tmp_path, server("s1"))

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        control.up(rack, interrupt)
    assert not control.status(rack)[0].answering
    assert leftovers.find(RackFolder.of(rack.rack)) == []
