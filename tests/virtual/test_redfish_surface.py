"""The whole Redfish surface, with no server behind it, by plain HTTP: what is shown, done and refused."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from lab.bmc.api import BootDevice
from lab.deadline import Deadline
from lab.virtual.redfish.face import Behaviour
from tests.virtual.bare_bmc import CHASSIS, MANAGER, PASSWORD, RESET, SYSTEM, BareBmc, Untyped, bare_bmc

ROOT = "/redfish/v1"
CD = f"{MANAGER}/VirtualMedia/Cd"
INSERT, EJECT = f"{CD}/Actions/VirtualMedia.InsertMedia", f"{CD}/Actions/VirtualMedia.EjectMedia"
SETTINGS = f"{SYSTEM}/Bios/Settings"
SIMPLE = f"{ROOT}/UpdateService/Actions/UpdateService.SimpleUpdate"
DUMMY = f"{ROOT}/UpdateService/FirmwareInventory/LabDummy"
BMC_RESET = f"{MANAGER}/Actions/Manager.Reset"
ENTRIES = f"{MANAGER}/LogServices/Journal/Entries"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def do_GET(self) -> None:
        if self.path == "/locked.iso" and self.headers.get("Authorization") != "Basic bWU6bXkgc2VjcmV0":
            self.send_error(401)
            return
        super().do_GET()


@pytest.fixture
def media(tmp_path: Path) -> Iterator[str]:
    """URL of a folder with images and firmware."""
    folder = tmp_path / "served"
    folder.mkdir()
    for name in ("a.iso", "b.iso", "locked.iso"):
        (folder / name).write_bytes(name.encode())
    (folder / "new.bin").write_text("lab-dummy-firmware 2.0\n")
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{service.server_address[1]}"
        service.shutdown()
        thread.join()


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[BareBmc]:
    with bare_bmc(tmp_path) as served:
        yield served


def _code(answer: requests.Response) -> str:
    return str(answer.json()["error"]["@Message.ExtendedInfo"][0]["MessageId"].rsplit(".", 1)[-1])


def _ok(answer: requests.Response) -> Untyped:
    assert answer.status_code in (200, 201, 202, 204), answer.text
    return answer.json() if answer.content else None


def _reset(bmc: BareBmc, kind: str) -> int:
    return bmc.call("POST", RESET, {"ResetType": kind}).status_code


def _tree(bmc: BareBmc) -> dict[str, Any]:
    pending, seen = [ROOT], dict[str, Any]()
    while pending:
        path = pending.pop().rstrip("/").split("#")[0]
        if path not in seen:
            seen[path] = _ok(bmc.call("GET", path))
            pending += _links(seen[path])
    return seen


def _links(body: Untyped) -> list[str]:
    if isinstance(body, list):
        return [found for item in body for found in _links(item)]
    if not isinstance(body, dict):
        return []
    here = [body["@odata.id"]] if "@odata.id" in body else []
    return here + [found for value in body.values() for found in _links(value)]


def test_every_link_leads_to_a_resource_that_says_what_it_is(bmc: BareBmc) -> None:
    tree = _tree(bmc)
    assert len(tree) > 50
    for path, body in tree.items():
        assert body["@odata.id"].rstrip("/") == path
        assert body["@odata.type"].startswith("#")
        assert body["Name"]
        assert body["@odata.etag"]


def test_hardware_is_what_the_rack_file_says_and_no_more(bmc: BareBmc) -> None:
    server = bmc.chassis.server
    tree = _tree(bmc)

    def of(kind: str) -> list[Any]:
        return [body for body in tree.values() if f"#{kind}." in body["@odata.type"]]

    macs = [nic.mac for nic in server.nics]
    assert [nic["PermanentMACAddress"] for nic in of("EthernetInterface")].sort() == macs.sort()
    assert {mac for port in of("Port") for mac in port["Ethernet"]["AssociatedMACAddresses"]} == set(macs)
    assert {function["Ethernet"]["MACAddress"] for function in of("NetworkDeviceFunction")} == set(macs)
    assert {card["Model"] for card in of("NetworkAdapter")} == {"virtio-net-pci", "vmxnet3"}
    drives = {drive["SerialNumber"]: drive["Protocol"] for drive in of("Drive")}
    assert drives == {"L1-NVME": "NVMe", "L1-SATA": "SATA", "L1-SAS": "SAS"}
    assert len(of("Storage")) == len(of("StorageController")) == 3
    assert sum(module["CapacityMiB"] for module in of("Memory")) == 64
    assert sum(cpu["TotalCores"] for cpu in of("Processor")) == 1
    assert tree[SYSTEM]["TrustedModules"] == []
    assert not of("SecureBoot")
    assert "Sensors" not in tree[CHASSIS]


@pytest.mark.parametrize(
    ("kind", "off", "on", "acts"),
    [
        ("On", (204, "on"), (204, "on"), {"on": 1}),
        ("ForceOn", (204, "on"), (204, "on"), {"on": 1}),
        ("ForceOff", (204, "off"), (204, "off"), {"on": 1, "off": 1}),
        ("GracefulShutdown", (204, "off"), (204, "off"), {"on": 1, "graceful-off": 1}),
        ("GracefulRestart", (409, "off"), (204, "on"), {"on": 1, "graceful-restart": 1}),
        ("ForceRestart", (409, "off"), (204, "on"), {"on": 1, "reset": 1}),
        ("PowerCycle", (204, "on"), (204, "on"), {"cycle": 2}),
        ("PushPowerButton", (204, "on"), (204, "off"), {"on": 1, "graceful-off": 1}),
        ("Nmi", (409, "off"), (204, "on"), {"on": 1, "nmi": 1}),
    ],
)
def test_each_reset_type_does_what_its_name_says(
    bmc: BareBmc, kind: str, off: tuple[int, str], on: tuple[int, str], acts: dict[str, int]
) -> None:
    info = _ok(bmc.call("GET", f"{SYSTEM}/ResetActionInfo"))
    assert kind in info["Parameters"][0]["AllowableValues"]
    assert (_reset(bmc, kind), bmc.chassis.power) == off
    if bmc.chassis.power == "off":
        _reset(bmc, "On")
    assert (_reset(bmc, kind), bmc.chassis.power) == on
    assert bmc.chassis.acts == acts
    accepted = [status for status, _ in (off, on)].count(204)
    counted = bmc.face.status()["done"][f"ComputerSystem.Reset {kind}"]
    assert counted == accepted + (kind == "On" and off[1] == "off")


def test_a_system_that_does_not_listen_stays_on(bmc: BareBmc) -> None:
    bmc.chassis.obeys = False
    _reset(bmc, "On")
    started = _ok(bmc.call("GET", SYSTEM))["LastResetTime"]
    for kind in ("GracefulShutdown", "GracefulRestart", "PushPowerButton"):
        assert _reset(bmc, kind) == 204
        assert _ok(bmc.call("GET", SYSTEM))["PowerState"] == "On"
    assert _ok(bmc.call("GET", SYSTEM))["LastResetTime"] == started


def test_override_once_is_spent_continuous_stays_disabled_clears(bmc: BareBmc) -> None:
    def boot() -> tuple[str, str]:
        found = _ok(bmc.call("GET", SYSTEM))["Boot"]
        return found["BootSourceOverrideTarget"], found["BootSourceOverrideEnabled"]

    def ask(**wanted: str) -> None:
        body = {"Boot": {f"BootSourceOverride{name}": value for name, value in wanted.items()}}
        _ok(bmc.call("PATCH", SYSTEM, body))

    ask(Target="Cd", Enabled="Once", Mode="Legacy")
    assert boot() == ("Cd", "Once")
    _reset(bmc, "On")
    assert boot() == ("None", "Disabled")
    ask(Target="Pxe", Enabled="Continuous")
    _reset(bmc, "ForceRestart")
    _reset(bmc, "PowerCycle")
    assert boot() == ("Pxe", "Continuous")
    ask(Enabled="Disabled")
    _reset(bmc, "ForceRestart")
    assert bmc.chassis.boots == [BootDevice.CD, BootDevice.PXE, BootDevice.PXE, BootDevice.NONE]


def test_bios_settings_wait_for_the_next_boot(bmc: BareBmc) -> None:
    bios = _ok(bmc.call("GET", f"{SYSTEM}/Bios"))
    assert bios["@Redfish.Settings"]["SettingsObject"]["@odata.id"] == SETTINGS
    assert bios["Attributes"]["ProcVirtualization"] == "Enabled"
    wanted = {"ProcVirtualization": "Disabled", "BootPromptSeconds": 3, "AssetTag": "rack 7"}
    body = {"Attributes": wanted, "@Redfish.SettingsApplyTime": {"ApplyTime": "OnReset"}}
    assert _ok(bmc.call("PATCH", SETTINGS, body))["Attributes"] == wanted
    assert _ok(bmc.call("GET", f"{SYSTEM}/Bios"))["Attributes"]["BootPromptSeconds"] == 0
    _reset(bmc, "On")
    now = _ok(bmc.call("GET", f"{SYSTEM}/Bios"))["Attributes"]
    assert {name: now[name] for name in wanted} == wanted
    assert _ok(bmc.call("GET", SYSTEM))["AssetTag"] == "rack 7"
    assert _ok(bmc.call("GET", SETTINGS))["Attributes"] == {}
    _ok(bmc.call("POST", f"{SYSTEM}/Bios/Actions/Bios.ResetBios", {}))
    assert set(_ok(bmc.call("GET", SETTINGS))["Attributes"]) == set(wanted)
    _ok(bmc.call("PATCH", SETTINGS, {"Attributes": {"AssetTag": "rack 7"}}))
    assert "AssetTag" not in _ok(bmc.call("GET", SETTINGS))["Attributes"]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"Nonsense": 1}, "PropertyUnknown"),
        ({"BootMode": "Uefi"}, "PropertyNotWritable"),
        ({"ProcVirtualization": "Perhaps"}, "PropertyValueNotInList"),
        ({"ProcVirtualization": True}, "PropertyValueTypeError"),
        ({"BootPromptSeconds": 31}, "PropertyValueOutOfRange"),
        ({"BootPromptSeconds": True}, "PropertyValueTypeError"),
        ({"AssetTag": "x" * 33}, "PropertyValueOutOfRange"),
        ([], "PropertyValueTypeError"),
    ],
)
def test_bios_settings_are_refused_whole(bmc: BareBmc, attributes: Untyped, message: str) -> None:
    good = {"SerialRedirection": "Enabled"}
    body = {"Attributes": {**good, **attributes} if isinstance(attributes, dict) else attributes}
    answer = bmc.call("PATCH", SETTINGS, body)
    assert (answer.status_code, _code(answer)) == (400, message)
    assert _ok(bmc.call("GET", SETTINGS))["Attributes"] == {}


def test_registry_describes_every_attribute(bmc: BareBmc) -> None:
    bios = _ok(bmc.call("GET", f"{SYSTEM}/Bios"))
    file = _ok(bmc.call("GET", f"{ROOT}/Registries/{bios['AttributeRegistry']}"))
    registry = _ok(bmc.call("GET", file["Location"][0]["Uri"]))
    entries = {entry["AttributeName"]: entry for entry in registry["RegistryEntries"]["Attributes"]}
    assert set(entries) == set(bios["Attributes"])
    assert {entry["Type"] for entry in entries.values()} == {"Enumeration", "Integer", "String"}


def test_secure_boot_is_shown_and_cannot_be_enabled(tmp_path: Path) -> None:
    with bare_bmc(tmp_path, firmware="uefi") as bmc:
        path = _ok(bmc.call("GET", SYSTEM))["SecureBoot"]["@odata.id"]
        assert _ok(bmc.call("GET", path))["SecureBootEnable"] is False
        refused = bmc.call("PATCH", path, {"SecureBootEnable": True})
        assert (refused.status_code, _code(refused)) == (400, "PropertyNotWritable")
        assert _ok(bmc.call("PATCH", path, {"SecureBootEnable": False}))["SecureBootEnable"] is False
        assert _ok(bmc.call("GET", f"{SYSTEM}/Bios"))["Attributes"]["BootMode"] == "Uefi"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"Image": "nfs://127.0.0.1/share/a.iso"}, "ActionParameterNotSupported"),
        ({"Image": "127.0.0.1:/share/a.iso"}, "ActionParameterNotSupported"),
        ({"Image": "cifs://127.0.0.1/share/a.iso", "UserName": "x"}, "ActionParameterNotSupported"),
        ({"Image": "//127.0.0.1/share/a.iso"}, "ActionParameterNotSupported"),
        ({"Image": "{media}/a.iso", "TransferProtocolType": "NFS"}, "ActionParameterNotSupported"),
        ({"Image": "{media}/a.iso", "TransferProtocolType": "HTTPS"}, "ActionParameterValueConflict"),
        ({"Image": "{media}/a.iso", "TransferProtocolType": "Pigeon"}, "ActionParameterValueNotInList"),
        ({"Image": "{media}/a.iso", "WriteProtected": False}, "ActionParameterValueNotInList"),
        ({"Image": "{media}/a.iso", "Nonsense": 1}, "ActionParameterUnknown"),
        ({"Image": "http:///a.iso"}, "ActionParameterValueFormatError"),
        ({"Image": "{media}/none.iso"}, "ResourceAtUriInUnknownFormat"),
        ({"Image": "{media}/locked.iso", "UserName": "me", "Password": "wrong"}, "AccessDenied"),
        ({"Image": "http://127.0.0.1:9/a.iso"}, "CouldNotEstablishConnection"),
        ({"Image": ""}, "ActionParameterMissing"),
    ],
)
def test_media_that_cannot_be_mounted_are_refused_by_name(
    bmc: BareBmc, media: str, body: dict[str, Any], message: str
) -> None:
    body = {**body, "Image": body["Image"].replace("{media}", media)}
    answer = bmc.call("POST", INSERT, body)
    assert (answer.status_code, _code(answer)) == (400, message)
    assert "wrong" not in answer.text
    assert _ok(bmc.call("GET", CD))["Inserted"] is False
    assert not list(bmc.chassis.folder.media.iterdir())


def test_media_by_action_with_everything_said(bmc: BareBmc, media: str) -> None:
    body = {
        "Image": f"{media}/locked.iso",
        "TransferProtocolType": "HTTP",
        "TransferMethod": "Stream",
        "UserName": "me",
        "Password": "my secret",
        "Inserted": True,
        "WriteProtected": True,
    }
    _ok(bmc.call("POST", INSERT, body))
    shown = bmc.call("GET", CD)
    assert _ok(shown)["Image"] == f"{media}/locked.iso"
    assert "my secret" not in shown.text
    assert [file.read_bytes() for file in bmc.chassis.folder.media.iterdir()] == [b"locked.iso"]
    assert bmc.call("POST", INSERT, {"Image": f"{media}/a.iso"}).status_code == 409
    _ok(bmc.call("POST", EJECT, {}))
    assert not list(bmc.chassis.folder.media.iterdir())


def test_media_by_patch(bmc: BareBmc, media: str) -> None:
    mounted = _ok(
        bmc.call("PATCH", CD, {"Image": f"{media}/a.iso", "Inserted": True, "WriteProtected": True})
    )
    assert (mounted["Inserted"], mounted["ConnectedVia"]) == (True, "URI")
    assert bmc.call("PATCH", CD, {"Image": f"{media}/b.iso"}).status_code == 409
    contradiction = bmc.call("PATCH", CD, {"Image": f"{media}/b.iso", "Inserted": False})
    assert (contradiction.status_code, _code(contradiction)) == (400, "PropertyValueConflict")
    assert _ok(bmc.call("PATCH", CD, {"Image": None, "Inserted": False}))["Image"] is None
    missing = bmc.call("PATCH", CD, {"Inserted": True})
    assert (missing.status_code, _code(missing)) == (400, "PropertyMissing")


def test_etags_are_enforced_when_given_also_on_actions(bmc: BareBmc) -> None:
    tag = bmc.call("GET", SYSTEM).headers["ETag"]
    stale = bmc.call("POST", RESET, {"ResetType": "On"}, headers={"If-Match": '"stale"'})
    assert (stale.status_code, _code(stale)) == (412, "PreconditionFailed")
    assert bmc.chassis.power == "off"
    _ok(bmc.call("POST", RESET, {"ResetType": "On"}, headers={"If-Match": f"W/{tag}"}))
    again = bmc.call("POST", RESET, {"ResetType": "ForceOff"}, headers={"If-Match": tag})
    assert again.status_code == 412
    _ok(bmc.call("PATCH", SETTINGS, {"Attributes": {}}, headers={"If-Match": "*"}))


def test_journal_comes_in_pages_and_can_be_cleared(bmc: BareBmc) -> None:
    kinds = ["On", "ForceRestart", "Nmi", "PowerCycle", "GracefulRestart", "ForceOff", "On"]
    for kind in kinds:
        _reset(bmc, kind)
    pages, path = [], ENTRIES
    while path:
        page = _ok(bmc.call("GET", path))
        assert page["Members@odata.count"] == len(kinds)
        pages.append([entry["Message"] for entry in page["Members"]])
        path = page.get("Members@odata.nextLink", "")
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [message for page in pages for message in page] == [f"ComputerSystem.Reset {k}" for k in kinds]
    top = _ok(bmc.call("GET", f"{ENTRIES}?$skip=2&$top=4"))
    assert [entry["Id"] for entry in top["Members"]] == ["3", "4", "5"]
    rest = _ok(bmc.call("GET", top["Members@odata.nextLink"]))
    assert [entry["Id"] for entry in rest["Members"]] == ["6"]
    assert "Members@odata.nextLink" not in rest
    assert bmc.call("GET", f"{ENTRIES}?$skip=-1").status_code == 400
    _ok(bmc.call("POST", f"{MANAGER}/LogServices/Journal/Actions/LogService.ClearLog", {}))
    assert _ok(bmc.call("GET", ENTRIES))["Members"] == []


def test_clock_can_be_set(bmc: BareBmc) -> None:
    wanted = datetime.now(UTC) - timedelta(days=3)
    body = {"DateTime": wanted.isoformat(timespec="seconds"), "DateTimeLocalOffset": "+02:00"}
    answer = _ok(bmc.call("PATCH", MANAGER, body))
    assert answer["DateTime"].endswith("+02:00")
    assert abs(datetime.fromisoformat(answer["DateTime"]) - wanted) < timedelta(seconds=60)
    for name, value in (("DateTime", "yesterday"), ("DateTime", 7), ("DateTimeLocalOffset", "+99:00")):
        assert bmc.call("PATCH", MANAGER, {name: value}).status_code == 400
    assert _ok(bmc.call("GET", MANAGER))["DateTimeLocalOffset"] == "+02:00"


@pytest.mark.parametrize("keeps", [True, False])
def test_bmc_reset_takes_the_bmc_away_and_the_server_runs_on(
    tmp_path: Path, media: str, *, keeps: bool
) -> None:
    behaviour = Behaviour(reset_s=0.5, keeps_media=keeps)
    with bare_bmc(tmp_path, behaviour=behaviour) as bmc:
        _reset(bmc, "On")
        _ok(bmc.call("POST", INSERT, {"Image": f"{media}/a.iso"}))
        body = {"UserName": "lab", "Password": PASSWORD}
        opened = bmc.call("POST", f"{ROOT}/SessionService/Sessions", body)
        assert bmc.call("POST", BMC_RESET, {"ResetType": "GracefulRestart"}).status_code == 204
        with pytest.raises(requests.ConnectionError):
            bmc.call("GET", SYSTEM)
        deadline = Deadline.after(20, "the BMC to come back")
        while bmc.service.address is None:
            assert not deadline.passed
            threading.Event().wait(0.02)
        token = {"X-Auth-Token": opened.headers["X-Auth-Token"]}
        assert bmc.call("GET", SYSTEM, auth=None, headers=token).status_code == 401
        assert _ok(bmc.call("GET", SYSTEM))["PowerState"] == "On"
        assert _ok(bmc.call("GET", CD))["Inserted"] is keeps
        assert bmc.face.status()["sessions"] == {"open": 0, "created": 1, "expired": 0, "lost": 1}
        assert bmc.face.status()["done"]["Manager.Reset GracefulRestart"] == 1


def test_sessions_say_whose_they_are_and_are_counted(tmp_path: Path) -> None:
    with bare_bmc(tmp_path, limit=2) as bmc:
        sessions, login = f"{ROOT}/SessionService/Sessions", {"UserName": "lab", "Password": PASSWORD}
        opened = [bmc.call("POST", sessions, login) for _ in range(2)]
        shown = _ok(bmc.call("GET", opened[0].headers["Location"]))
        assert (shown["UserName"], shown["ClientOriginIPAddress"]) == ("lab", "127.0.0.1")
        assert _ok(bmc.call("GET", sessions))["Members@odata.count"] == 2
        full = bmc.call("POST", sessions, login)
        assert (full.status_code, _code(full)) == (503, "SessionLimitExceeded")
        assert bmc.call("POST", sessions, {**login, "Password": "no"}).status_code == 401
        _ok(bmc.call("DELETE", opened[0].headers["Location"]))
        assert bmc.face.status()["sessions"] == {
            "open": 1,
            "created": 2,
            "full": 1,
            "deleted": 1,
            "expired": 0,
        }


def _finished(bmc: BareBmc, answer: requests.Response) -> requests.Response:
    """Follow the monitor to the end."""
    assert answer.status_code == 202
    assert answer.json()["TaskState"] in ("New", "Running")
    deadline = Deadline.after(20, "the task to end")
    location = answer.headers["Location"]
    while answer.status_code == 202:
        assert not deadline.passed
        assert int(answer.headers["Retry-After"]) > 0
        threading.Event().wait(0.05)
        answer = bmc.call("GET", location)
    return answer


def _push(bmc: BareBmc, image: bytes, plan: Untyped) -> requests.Response:
    uri = _ok(bmc.call("GET", f"{ROOT}/UpdateService"))["MultipartHttpPushUri"]
    parts = {
        "UpdateParameters": (None, json.dumps(plan), "application/json"),
        "UpdateFile": ("dummy.bin", image, "application/octet-stream"),
    }
    return bmc.call("POST", uri, files=parts)


def test_updates_run_as_tasks_and_reach_the_dummy_only(bmc: BareBmc, media: str) -> None:
    done = _finished(bmc, bmc.call("POST", SIMPLE, {"ImageURI": f"{media}/new.bin", "Targets": [DUMMY]}))
    assert (done.status_code, _ok(done)["TaskState"], _ok(done)["PercentComplete"]) == (200, "Completed", 100)
    assert _ok(bmc.call("GET", DUMMY))["Version"] == "2.0"
    _finished(bmc, _push(bmc, b"lab-dummy-firmware 2.1", {"Targets": []}))
    assert _ok(bmc.call("GET", DUMMY))["Version"] == "2.1"
    failed = _finished(bmc, _push(bmc, b"something else", {}))
    assert failed.status_code == 400
    missing = _finished(bmc, bmc.call("POST", SIMPLE, {"ImageURI": f"{media}/none.bin"}))
    assert "404" in missing.json()["error"]["message"]
    bios = f"{ROOT}/UpdateService/FirmwareInventory/BIOS"
    for body in (
        {"ImageURI": f"{media}/new.bin", "Targets": [bios]},
        {"ImageURI": "nfs://127.0.0.1/new.bin"},
        {"ImageURI": f"{media}/new.bin", "@Redfish.OperationApplyTime": "OnReset"},
        {},
    ):
        assert bmc.call("POST", SIMPLE, body).status_code == 400
    assert _push(bmc, b"lab-dummy-firmware 9", {"Targets": [bios]}).status_code == 400
    assert _push(bmc, b"x" * (2**20 + 1), {}).status_code == 413
    assert bmc.call("POST", f"{ROOT}/UpdateService/MultipartPush", {}).status_code == 415
    tasks = _ok(bmc.call("GET", f"{ROOT}/TaskService/Tasks"))["Members"]
    states = [_ok(bmc.call("GET", task["@odata.id"]))["TaskState"] for task in tasks]
    assert states == ["Completed", "Completed", "Exception", "Exception"]
    assert _ok(bmc.call("GET", DUMMY))["Version"] == "2.1"


def test_finished_tasks_are_forgotten(tmp_path: Path) -> None:
    with bare_bmc(tmp_path, behaviour=Behaviour(task_step_s=0.0, task_kept_s=0.0)) as bmc:
        begun = _push(bmc, b"lab-dummy-firmware 3", {})
        deadline = Deadline.after(20, "the task to be forgotten")
        while bmc.call("GET", begun.headers["Location"]).status_code != 404:
            assert not deadline.passed
        assert _ok(bmc.call("GET", f"{ROOT}/TaskService/Tasks"))["Members"] == []
        assert _ok(bmc.call("GET", DUMMY))["Version"] == "3"


def test_what_was_done_is_on_record_with_its_time(bmc: BareBmc) -> None:
    before = datetime.now(UTC)
    _reset(bmc, "On")
    _reset(bmc, "Explode")
    bmc.call("PATCH", SYSTEM, {"LocationIndicatorActive": True})
    bmc.call("PATCH", SYSTEM, {"Nonsense": True})
    status = bmc.face.status()
    assert status["done"] == {"ComputerSystem.Reset On": 1, "PATCH Systems/1": 1}
    assert status["resets"] == 1
    assert status["requests"] == {"POST": 2, "PATCH": 2}
    at = datetime.fromisoformat(status["recent"][0]["at"])
    assert before - timedelta(milliseconds=1) <= at <= datetime.now(UTC)
    assert json.dumps(status)
