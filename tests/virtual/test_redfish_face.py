"""The Redfish face, judged by DMTF's `redfish`, OpenStack's `sushy`, and by what the guest really does."""

from __future__ import annotations

import functools
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redfish
import requests
import sushy

from lab.bmc.api import BootDevice
from lab.deadline import Deadline
from lab.virtual import control
from lab.virtual.redfish.sessions import SESSION_LIMIT
from tests.virtual.rackfile import Ipmitool, TinyRack
from tests.virtual.sol_terminal import Sol
from tests.virtual.tiny_guest import boot_iso, boot_sector

Untyped = Any
"""An object of a library without type hints, or JSON."""
SYSTEM = "/redfish/v1/Systems/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
CD = "/redfish/v1/Managers/1/VirtualMedia/Cd"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def media(tmp_path: Path) -> Iterator[str]:
    """URL of a folder with two bootable CDs, `a.iso` and `b.iso`, and an empty file."""
    (tmp_path / "a.iso").write_bytes(boot_iso("cd greets"))
    (tmp_path / "b.iso").write_bytes(boot_iso("other cd greets"))
    (tmp_path / "empty.iso").touch()
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as service:
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{service.server_address[1]}"
        service.shutdown()
        thread.join()


@pytest.fixture
def url(tiny: TinyRack) -> str:
    return tiny.rack.servers[0].bmc.redfish or ""


@pytest.fixture
def client(tiny: TinyRack, url: str) -> Iterator[Untyped]:
    """DMTF's client with a session; server off, drive empty and no override set, before and after."""
    made = redfish.redfish_client(url, "lab", tiny.password, cafile=tiny.ca, timeout=20, max_retry=0)
    made.login(auth="session")
    _clean(made)
    yield made
    _clean(made)
    made.logout()


@pytest.fixture
def system(tiny: TinyRack, url: str) -> Untyped:
    """OpenStack's client on the same server."""
    auth = sushy.auth.SessionOrBasicAuth("lab", tiny.password)
    return sushy.Sushy(url, auth=auth, verify=tiny.ca).get_system(SYSTEM)


def _clean(client: Untyped) -> None:
    client.post(RESET, body={"ResetType": "ForceOff"})
    client.post(f"{CD}/Actions/VirtualMedia.EjectMedia", body={})
    client.patch(SYSTEM, body={"Boot": {"BootSourceOverrideEnabled": "Disabled"}})


def _once(client: Untyped, target: str, enabled: str = "Once") -> None:
    body = {"Boot": {"BootSourceOverrideTarget": target, "BootSourceOverrideEnabled": enabled}}
    assert client.patch(SYSTEM, body=body).status == 200


def _reset(client: Untyped, kind: str) -> None:
    assert client.post(RESET, body={"ResetType": kind}).status == 204


def _insert(client: Untyped, image: str) -> None:
    answer = client.post(f"{CD}/Actions/VirtualMedia.InsertMedia", body={"Image": image})
    assert answer.status == 204, answer.text


def _code(answer: Untyped) -> str:
    return str(answer.dict["error"]["@Message.ExtendedInfo"][0]["MessageId"].rsplit(".", 1)[-1])


def test_every_link_leads_somewhere(client: Untyped) -> None:
    pending, seen = ["/redfish/v1"], set()
    while pending:
        path = pending.pop().rstrip("/").split("#")[0]
        if path in seen:
            continue
        seen.add(path)
        answer = client.get(path)
        assert answer.status == 200, path
        pending += _links(answer.dict)
    assert len(seen) > 30


def _links(body: Untyped) -> list[str]:
    if isinstance(body, list):
        return [found for item in body for found in _links(item)]
    if not isinstance(body, dict):
        return []
    here = [value for key, value in body.items() if key == "@odata.id"]
    return here + [found for key, value in body.items() if key != "@odata.id" for found in _links(value)]


def test_sushy_sees_the_server_as_the_rack_file_says(system: Untyped) -> None:
    assert system.power_state == sushy.PowerState.OFF
    drives = {drive.serial_number for unit in system.storage.get_members() for drive in unit.drives}
    assert drives == {"R1-D0", "R1-D1"}
    macs = {nic.mac_address for nic in system.ethernet_interfaces.get_members()}
    assert len(macs) == 2
    assert system.boot.allowed_values


def test_boot_once_is_once_when_the_guest_resets_itself(client: Untyped, tiny: TinyRack, media: str) -> None:
    tiny.put_on_disk("r1", boot_sector("disk greets"))
    _insert(client, f"{media}/a.iso")
    _once(client, "Cd")
    start = len(tiny.serial("r1"))
    _reset(client, "On")
    at = tiny.wait_for_serial("r1", "greets", since=start)
    assert tiny.serial("r1")[start:at].endswith(b"cd greets")
    assert client.get(SYSTEM).dict["Boot"]["BootSourceOverrideEnabled"] == "Disabled"
    with Sol(tiny, "r1") as sol:
        sol.type(b"R")
        end = tiny.wait_for_serial("r1", "greets", since=at)
    assert tiny.serial("r1")[at:end].endswith(b"disk greets")


def test_boot_once_while_running_and_two_resets(
    client: Untyped, system: Untyped, tiny: TinyRack, media: str
) -> None:
    tiny.put_on_disk("r1", boot_sector("disk greets"))
    _insert(client, f"{media}/a.iso")
    start = len(tiny.serial("r1"))
    system.reset_system(sushy.ResetType.ON)
    at = tiny.wait_for_serial("r1", "disk greets", since=start)
    system.set_system_boot_options(target=sushy.BootSource.CD, enabled=sushy.BootSourceOverrideEnabled.ONCE)
    system.reset_system(sushy.ResetType.FORCE_RESTART)
    at = tiny.wait_for_serial("r1", "cd greets", since=at)
    system.reset_system(sushy.ResetType.FORCE_RESTART)
    tiny.wait_for_serial("r1", "disk greets", since=at)


def test_continuous_override_stays(client: Untyped, tiny: TinyRack, media: str) -> None:
    tiny.put_on_disk("r1", boot_sector("disk greets"))
    _insert(client, f"{media}/a.iso")
    _once(client, "Cd", "Continuous")
    start = len(tiny.serial("r1"))
    _reset(client, "On")
    at = tiny.wait_for_serial("r1", "cd greets", since=start)
    _reset(client, "PowerCycle")
    tiny.wait_for_serial("r1", "cd greets", since=at)


def test_pxe_boots_what_lies_in_the_pxe_folder(client: Untyped, tiny: TinyRack) -> None:
    server = tiny.rack.servers[0]
    (control.pxe_folder(tiny.rack, server) / "boot.ipxe").write_bytes(boot_sector("network greets"))
    tiny.put_on_disk("r1", boot_sector("disk greets"))
    _once(client, "Pxe")
    start = len(tiny.serial("r1"))
    _reset(client, "On")
    tiny.wait_for_serial("r1", "network greets", since=start, seconds=60)
    assert b"disk greets" not in tiny.serial("r1")[start:]


def test_media_changes_while_the_server_runs(client: Untyped, tiny: TinyRack, media: str) -> None:
    tiny.put_on_disk("r1", boot_sector("disk greets"))
    at = len(tiny.serial("r1"))
    _reset(client, "On")
    at = tiny.wait_for_serial("r1", "disk greets", since=at)
    pid = tiny.status("r1").qemu_pid
    for image, greeting in (("a.iso", "\ncd greets"), ("b.iso", "other cd greets"), (None, "disk greets")):
        assert client.post(f"{CD}/Actions/VirtualMedia.EjectMedia", body={}).status == 204
        if image is not None:
            _insert(client, f"{media}/{image}")
        assert client.get(CD).dict["Inserted"] is (image is not None)
        _once(client, "Cd")
        _reset(client, "ForceRestart")
        at = tiny.wait_for_serial("r1", greeting, since=at)
    assert tiny.status("r1").qemu_pid == pid


def test_image_that_cannot_be_fetched_is_refused(client: Untyped, media: str) -> None:
    action = f"{CD}/Actions/VirtualMedia.InsertMedia"
    for image in (
        f"{media}/none.iso",
        f"{media}/empty.iso",
        "http://127.0.0.1:9/x.iso",
        "nfs://127.0.0.1/x.iso",
    ):
        assert client.post(action, body={"Image": image}).status == 400
    assert client.post(action, body={}).status == 400
    assert client.get(CD).dict["Inserted"] is False
    _insert(client, f"{media}/a.iso")
    assert client.post(action, body={"Image": f"{media}/b.iso"}).status == 409


def test_both_faces_show_the_same_override_and_power(
    client: Untyped, tiny: TinyRack, ipmitool: Ipmitool
) -> None:
    _once(client, "Pxe")
    assert "Force PXE" in ipmitool("r1", "chassis", "bootparam", "get", "5").stdout
    ipmitool("r1", "chassis", "bootdev", "cdrom")
    boot = client.get(SYSTEM).dict["Boot"]
    assert (boot["BootSourceOverrideTarget"], boot["BootSourceOverrideEnabled"]) == ("Cd", "Once")
    ipmitool("r1", "power", "on")
    assert client.get(SYSTEM).dict["PowerState"] == "On"
    assert tiny.status("r1").boot_override is BootDevice.NONE


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"Boot": {"BootSourceOverrideTarget": "Tape"}}, "PropertyValueNotInList"),
        ({"Boot": {"BootSourceOverrideMode": "UEFI"}}, "PropertyValueNotInList"),
        ({"Boot": {"BootSourceOverrideEnabled": "Once"}}, "PropertyMissing"),
        ({"Boot": {"Nonsense": 1}}, "PropertyUnknown"),
        ({"Boot": 7}, "PropertyValueTypeError"),
        ({"PowerState": "On"}, "PropertyNotWritable"),
        ({"Nonsense": 1}, "PropertyUnknown"),
    ],
)
def test_patch_outside_what_is_allowed_is_refused_whole(
    client: Untyped, body: dict[str, Any], message: str
) -> None:
    answer = client.patch(SYSTEM, body={"LocationIndicatorActive": True, **body})
    assert (answer.status, _code(answer)) == (400, message)
    assert client.get(SYSTEM).dict["LocationIndicatorActive"] is False


def test_reset_outside_what_is_allowed_is_refused(client: Untyped) -> None:
    refused = client.post(RESET, body={"ResetType": "Explode"})
    assert (refused.status, _code(refused)) == (400, "ActionParameterValueNotInList")
    assert client.post(RESET, body={}).status == 400
    off = client.post(RESET, body={"ResetType": "ForceRestart"})
    assert (off.status, _code(off)) == (409, "ActionParameterValueConflict")
    _reset(client, "On")
    _reset(client, "Nmi")


def test_etags_guard_against_lost_updates(client: Untyped) -> None:
    tag = client.get(SYSTEM).getheader("ETag")
    assert client.get(SYSTEM, headers={"If-None-Match": tag}).status == 304
    lamp = {"LocationIndicatorActive": True}
    assert client.patch(SYSTEM, body=lamp, headers={"If-Match": '"old"'}).status == 412
    assert client.patch(SYSTEM, body=lamp, headers={"If-Match": tag}).status == 200
    assert (
        client.patch(SYSTEM, body={"LocationIndicatorActive": False}, headers={"If-Match": tag}).status == 412
    )
    assert client.patch(SYSTEM, body={"LocationIndicatorActive": False}).status == 200


def test_wrong_path_method_and_body(client: Untyped, url: str, tiny: TinyRack) -> None:
    assert client.get("/redfish/v1/Systems/2").status == 404
    refused = client.put(SYSTEM, body={})
    assert refused.status == 405
    assert "PATCH" in refused.getheader("Allow")
    broken = requests.patch(
        f"{url}{SYSTEM}", data="{", auth=("lab", tiny.password), verify=tiny.ca, timeout=10
    )
    assert broken.status_code == 400
    assert broken.headers["OData-Version"] == "4.0"


def test_nothing_but_the_root_is_open(url: str, tiny: TinyRack) -> None:
    def get(path: str, **more: Untyped) -> int:
        return requests.get(f"{url}{path}", verify=tiny.ca, timeout=10, **more).status_code

    for path in ("/redfish", "/redfish/v1/", "/redfish/v1/odata", "/redfish/v1/$metadata"):
        assert get(path) == 200
    assert get(SYSTEM) == 401
    assert get(SYSTEM, auth=("lab", "wrong")) == 401
    assert get(SYSTEM, auth=("nobody", tiny.password)) == 401
    assert get(SYSTEM, auth=("lab", tiny.password)) == 200
    assert get(SYSTEM, headers={"X-Auth-Token": "0" * 32}) == 401


def test_sessions_end_by_delete_and_are_limited(client: Untyped, url: str, tiny: TinyRack) -> None:
    def login() -> requests.Response:
        body = {"UserName": "lab", "Password": tiny.password}
        return requests.post(
            f"{url}/redfish/v1/SessionService/Sessions", json=body, verify=tiny.ca, timeout=10
        )

    def call(method: str, path: str, opened: requests.Response) -> int:
        headers = {"X-Auth-Token": opened.headers["X-Auth-Token"]}
        return requests.request(method, url + path, headers=headers, verify=tiny.ca, timeout=10).status_code

    # Sessions of tests before may end meanwhile, so what counts is how many are open when one is refused.
    sessions: list[requests.Response] = []
    while (answer := login()).status_code == 201 and len(sessions) < SESSION_LIMIT:
        sessions.append(answer)
    refused = answer
    assert refused.status_code == 503
    assert client.get("/redfish/v1/SessionService/Sessions").dict["Members@odata.count"] == SESSION_LIMIT
    assert refused.headers["Retry-After"]
    for session in sessions:
        assert call("GET", SYSTEM, session) == 200
        assert call("DELETE", session.headers["Location"], session) == 204
        assert call("GET", SYSTEM, session) == 401


def test_event_log_is_the_one_that_ipmi_shows(client: Untyped, tiny: TinyRack, ipmitool: Ipmitool) -> None:
    log = "/redfish/v1/Managers/1/LogServices/Sel"
    control.request(tiny.rack, {"do": "sensor", "server": "r1", "sensor": "CPU Temp", "raw": 91})
    deadline = Deadline.after(10, "ipmi_sim to take in the reading")
    while "CPU Temp" not in ipmitool("r1", "sel", "elist").stdout and not deadline.passed:
        time.sleep(0.2)
    entries = client.get(f"{log}/Entries").dict["Members"]
    assert any("CPU Temp" in entry["Message"] and entry["Severity"] == "Critical" for entry in entries)
    assert client.get(entries[0]["@odata.id"]).dict["EntryType"] == "SEL"
    temperatures = client.get("/redfish/v1/Chassis/1/Thermal").dict["Temperatures"]
    assert (
        next(entry for entry in temperatures if entry["Name"] == "CPU Temp")["Status"]["Health"] == "Critical"
    )
    control.request(tiny.rack, {"do": "sensor", "server": "r1", "sensor": "CPU Temp", "raw": 24})
    assert client.post(f"{log}/Actions/LogService.ClearLog", body={}).status == 204
    assert "R1-" not in ipmitool("r1", "sel", "elist").stdout


def test_firmware_settings_take_effect_with_a_reset(client: Untyped, tiny: TinyRack) -> None:
    tiny.put_on_disk("r1", boot_sector("disk greets"))
    settings = f"{SYSTEM}/Bios/Settings"
    start = len(tiny.serial("r1"))
    _reset(client, "On")
    tiny.wait_for_serial("r1", "disk greets", since=start)
    assert b"SeaBIOS" not in tiny.serial("r1")[start:]
    wanted = {"SerialRedirection": "Enabled", "ProcVirtualization": "Disabled", "AssetTag": "a, b"}
    assert client.patch(settings, body={"Attributes": wanted}).status == 200
    start = len(tiny.serial("r1"))
    assert client.get(f"{SYSTEM}/Bios").dict["Attributes"]["SerialRedirection"] == "Disabled"
    _reset(client, "ForceRestart")
    at = tiny.wait_for_serial("r1", "SeaBIOS", since=start)
    tiny.wait_for_serial("r1", "disk greets", since=at)
    assert client.get(f"{SYSTEM}/Bios").dict["Attributes"]["SerialRedirection"] == "Enabled"
    command = Path(f"/proc/{tiny.status('r1').qemu_pid}/cmdline").read_bytes().decode()
    assert "-svm,-vmx" in command
    assert "asset=a,, b" in command
    assert client.post(f"{SYSTEM}/Bios/Actions/Bios.ResetBios", body={}).status == 204
    _reset(client, "ForceOff")
    _reset(client, "On")
    assert client.get(settings).dict["Attributes"] == {}


def test_new_and_old_sensor_resources_agree_with_ipmi(client: Untyped, ipmitool: Ipmitool) -> None:
    chassis = "/redfish/v1/Chassis/1"
    found = {}
    for member in client.get(f"{chassis}/Sensors").dict["Members"]:
        sensor = client.get(member["@odata.id"]).dict
        found[sensor["Name"]] = sensor
    thermal = client.get(f"{chassis}/Thermal").dict
    cpu = next(entry for entry in thermal["Temperatures"] if entry["Name"] == "CPU Temp")
    assert cpu["ReadingCelsius"] == found["CPU Temp"]["Reading"]
    assert cpu["UpperThresholdCritical"] == found["CPU Temp"]["Thresholds"]["UpperCritical"]["Reading"]
    listing = ipmitool("r1", "sensor", "get", "CPU Temp").stdout
    limits = dict(line.split(":", 1) for line in listing.splitlines() if ":" in line)
    limits = {name.strip().lower(): value.strip() for name, value in limits.items()}
    assert float(limits["upper critical"]) == cpu["UpperThresholdCritical"], listing
    assert float(limits["upper non-critical"]) == cpu["UpperThresholdNonCritical"]
    fan = client.get(f"{chassis}/ThermalSubsystem/Fans/FAN1").dict
    assert fan["SpeedPercent"]["SpeedRPM"] == found["FAN1"]["Reading"]


def test_judges_read_what_was_done(client: Untyped, tiny: TinyRack, ipmitool: Ipmitool) -> None:
    before = tiny.status("r1").counts
    _reset(client, "On")
    _reset(client, "ForceRestart")
    ipmitool("r1", "power", "reset")
    after = tiny.status("r1").counts
    assert after["redfish"]["resets"] - before["redfish"]["resets"] == 2
    assert after["server"]["reset"] - before["server"].get("reset", 0) == 2
    assert after["redfish"]["sessions"]["open"] >= 1
    assert after["redfish"]["recent"][-1]["what"] == "ComputerSystem.Reset ForceRestart"


def test_screen_can_be_seen(client: Untyped, tiny: TinyRack, tmp_path: Path) -> None:
    _reset(client, "On")
    control.request(tiny.rack, {"do": "screendump", "server": "r1", "file": str(tmp_path / "screen.png")})
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG")
