"""Booting by HTTP: the variables that a UEFI server's firmware is given, and a real boot."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from lab.errors import LabFault
from lab.virtual import hardware, uefi_variables
from tests.virtual.bare_bmc import RESET, SYSTEM, Untyped, bare_bmc
from tests.virtual.rackfile import running_rack, server


@pytest.fixture
def store(tmp_path: Path) -> Path:
    if not hardware.OVMF_VARS.is_file():
        pytest.skip("OVMF is not installed")
    return Path(shutil.copy(hardware.OVMF_VARS, tmp_path / "variables.fd"))


def test_variables_name_the_address_once_and_can_be_taken_back(store: Path) -> None:
    untouched = uefi_variables.names(store)
    for url in ("http://10.0.2.2:1/a.efi", "http://10.0.2.2:1/b.efi"):
        uefi_variables.boot_next_by_http(store, url)
        assert uefi_variables.names(store) == [*untouched, "Boot4C48", "BootNext"]
        assert url.encode() in store.read_bytes()
    assert store.stat().st_size == hardware.OVMF_VARS.stat().st_size
    uefi_variables.forget_http(store)
    assert uefi_variables.names(store) == untouched


def test_full_and_damaged_stores_are_faults(store: Path, tmp_path: Path) -> None:
    with pytest.raises(LabFault, match="full"):
        for _ in range(10000):
            uefi_variables.boot_next_by_http(store, "http://10.0.2.2/" + "x" * 230)
    assert "BootNext" in uefi_variables.names(store)
    for content in (b"", b"x" * 100, bytes(540672)):
        damaged = tmp_path / "damaged.fd"
        damaged.write_bytes(content)
        with pytest.raises(LabFault, match="is not a store"):
            uefi_variables.boot_next_by_http(damaged, "http://10.0.2.2/a.efi")
        uefi_variables.forget_http(damaged)
        assert damaged.read_bytes() == content


@pytest.mark.parametrize(
    ("boot", "message"),
    [
        ({"BootSourceOverrideTarget": "UefiHttp"}, "PropertyMissing"),
        ({"HttpBootUri": "https://10.0.2.2/a.efi"}, "PropertyValueFormatError"),
        ({"HttpBootUri": "http://10.0.2.2/a b"}, "PropertyValueFormatError"),
        ({"HttpBootUri": 7}, "PropertyValueTypeError"),
    ],
)
def test_what_cannot_be_booted_is_refused(tmp_path: Path, boot: Untyped, message: str) -> None:
    with bare_bmc(tmp_path, firmware="uefi") as bmc:
        answer = bmc.call("PATCH", SYSTEM, {"Boot": boot})
        assert answer.status_code == 400
        assert answer.json()["error"]["@Message.ExtendedInfo"][0]["MessageId"].endswith(message)
        assert bmc.call("GET", SYSTEM).json()["Boot"]["HttpBootUri"] is None


def test_bios_servers_do_not_offer_it(tmp_path: Path) -> None:
    with bare_bmc(tmp_path) as bmc:
        boot = bmc.call("GET", SYSTEM).json()["Boot"]
        assert "UefiHttp" not in boot["BootSourceOverrideTarget@Redfish.AllowableValues"]
        assert "HttpBootUri" not in boot
        for wanted in ({"BootSourceOverrideTarget": "UefiHttp"}, {"HttpBootUri": "http://10.0.2.2/a"}):
            assert bmc.call("PATCH", SYSTEM, {"Boot": wanted}).status_code == 400


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def greeting(tmp_path: Path) -> Iterator[str]:
    """An EFI application that greets on the serial port and stays, as the server sees its address."""
    if shutil.which("grub-mkimage") is None:
        pytest.skip("grub-mkimage is not installed")
    served = tmp_path / "served"
    served.mkdir()
    # OVMF's console is the serial port too; GRUB's own serial driver would print every letter twice.
    lines = ["echo http greets", "sleep 2", "reboot"]
    (tmp_path / "grub.cfg").write_text("\n".join(lines))
    modules = ("echo", "sleep", "reboot")
    command = ["grub-mkimage", "-O", "x86_64-efi", "-o", str(served / "hello.efi"), "-p", "/"]
    subprocess.run([*command, "-c", str(tmp_path / "grub.cfg"), *modules], check=True)
    handler = functools.partial(_Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://10.0.2.2:{service.server_address[1]}/hello.efi"
        service.shutdown()
        thread.join()


@pytest.mark.nightly
def test_server_boots_by_http_once_whoever_resets_it(tmp_path: Path, greeting: str) -> None:
    entry = server("u1", redfish=True, ipmi=False, machine="q35")
    entry |= {"firmware": "uefi", "console": {"tcp": "127.0.0.1:9"}}
    entry["virtual"]["memory"] = "256 MiB"
    with running_rack(tmp_path, entry) as tiny:
        url = tiny.rack.servers[0].bmc.redfish

        def call(method: str, path: str, body: Untyped = None) -> Untyped:
            answer = requests.request(
                method, f"{url}{path}", json=body, auth=("lab", tiny.password), verify=tiny.ca, timeout=30
            )
            assert answer.status_code in (200, 204), answer.text
            return answer.json() if answer.content else None

        def ask() -> None:
            boot = {"BootSourceOverrideTarget": "UefiHttp", "BootSourceOverrideEnabled": "Once"}
            call("PATCH", SYSTEM, {"Boot": {**boot, "HttpBootUri": greeting}})
            assert call("GET", SYSTEM)["Boot"]["HttpBootUri"] == greeting

        ask()
        call("POST", RESET, {"ResetType": "On"})
        at = tiny.wait_for_serial("u1", "http greets", seconds=120)
        assert call("GET", SYSTEM)["Boot"]["BootSourceOverrideEnabled"] == "Disabled"
        ask()  # while it runs: its own reset is the next boot
        at = tiny.wait_for_serial("u1", "http greets", since=at, seconds=120)
        assert call("GET", SYSTEM)["Boot"]["BootSourceOverrideEnabled"] == "Disabled"
        ask()
        call("POST", RESET, {"ResetType": "ForceRestart"})
        tiny.wait_for_serial("u1", "http greets", since=at, seconds=120)
        call("POST", RESET, {"ResetType": "ForceOff"})
