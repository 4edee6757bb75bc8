"""What the Redfish provider reads, on trees as vendors differ in them; recorded ones are judged elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from lab.bmc.api import LogMark, Outcome, SessionSeen, Tpm
from lab.bmc.bill import DiskSeen, Port
from lab.bmc.capability import Area
from lab.bmc.redfish import connection as redfish_connection
from lab.bmc.redfish import identity as redfish_identity
from lab.bmc.redfish import manager as redfish_manager
from lab.bmc.target import Unsupported
from lab.errors import BmcRefused, BmcUnreachable, LabFault
from tests.bmc.scripted_redfish import MANAGER, ROOT, SYSTEM, Answer, Request, Service, ref

Json = dict[str, Any]
CHASSIS = f"{ROOT}/Chassis/Sled"
LOG = f"{MANAGER}/LogServices/SEL"
RESTART = f"{MANAGER}/Actions/Manager.Reset"


def put(service: Service, path: str, **members: object) -> None:
    """Add a resource, or members to one that is there."""
    service.resources.setdefault(path, {"@odata.id": path}).update(members)


def collection(service: Service, path: str, *members: Json) -> Json:
    """A collection of resources that are read one by one; what refers to it."""
    for at, member in enumerate(members):
        put(service, f"{path}/{at}", Id=str(at), **member)
    put(service, path, Members=[ref(f"{path}/{at}") for at in range(len(members))])
    return ref(path)


@pytest.fixture
def chassis(service: Service) -> Service:
    """With a chassis that the system links to."""
    put(service, CHASSIS, Name="Sled")
    service.resources[SYSTEM]["Links"]["Chassis"] = [ref(CHASSIS)]
    return service


def test_sensors_of_the_newer_schema(chassis: Service) -> None:
    volts = {
        "Name": "P12V",
        "ReadingType": "Voltage",
        "ReadingUnits": "V",
        "Reading": 12.1,
        "Status": {"Health": "Warning", "State": "Enabled"},
        "Thresholds": {"UpperCritical": {"Reading": 13.2}, "LowerCaution": {"Reading": 11.8}},
    }
    hot = {"Name": "Inlet", "ReadingType": "Temperature", "ReadingUnits": "Cel", "Reading": 24}
    empty = {"Name": "Bay 7", "Reading": 0, "Status": {"State": "Absent"}}
    silent = {"Name": "GPU", "ReadingType": "Temperature", "Reading": None}
    put(chassis, CHASSIS, Sensors=collection(chassis, f"{CHASSIS}/Sensors", volts, hot, empty, silent))
    found = {one.name: one for one in chassis.bmc().sensors()}
    assert set(found) == {"P12V", "Inlet"}
    assert (found["Inlet"].unit, found["Inlet"].kind) == ("°C", "Temperature")
    assert found["P12V"].health == "warning"
    limits = found["P12V"].thresholds
    assert (limits.upper_critical, limits.lower_warning, limits.upper_warning) == (13.2, 11.8, None)


def test_subsystems_where_there_are_no_sensors(chassis: Service) -> None:
    metrics = f"{CHASSIS}/Thermal/Metrics"
    put(chassis, metrics, TemperatureReadingsCelsius=[{"DeviceName": "CPU0", "Reading": 61.5}])
    fans = collection(
        chassis,
        f"{CHASSIS}/Fans",
        {"Name": "Fan 1", "SpeedPercent": {"Reading": 40, "SpeedRPM": 7200}},
        {"Name": "Fan 2", "SpeedPercent": {"Reading": 41}},
    )
    put(chassis, f"{CHASSIS}/ThermalSubsystem", ThermalMetrics=ref(metrics), Fans=fans)
    output = f"{CHASSIS}/PsuMetrics"
    put(chassis, output, OutputPowerWatts={"Reading": 230.5})
    supplies = collection(
        chassis,
        f"{CHASSIS}/Supplies",
        {"Name": "PSU0", "Metrics": ref(output), "Status": {"State": "Enabled", "Health": "OK"}},
        {"Name": "PSU1", "Status": {"State": "StandbySpare"}},
        {"Name": "PSU2", "Status": {"State": "Absent"}},
    )
    put(chassis, f"{CHASSIS}/PowerSubsystem", PowerSupplies=supplies)
    put(chassis, f"{CHASSIS}/Environment", PowerWatts={"Reading": 251})
    put(
        chassis,
        CHASSIS,
        ThermalSubsystem=ref(f"{CHASSIS}/ThermalSubsystem"),
        PowerSubsystem=ref(f"{CHASSIS}/PowerSubsystem"),
        EnvironmentMetrics=ref(f"{CHASSIS}/Environment"),
        PhysicalSecurity={"IntrusionSensor": "HardwareIntrusion"},
    )
    bmc = chassis.bmc()
    found = {one.name: (one.value, one.unit, one.states, one.health) for one in bmc.sensors()}
    assert found == {
        "CPU0": (61.5, "°C", (), "unknown"),
        "Fan 1": (7200.0, "RPM", (), "unknown"),
        "Fan 2": (41.0, "%", (), "unknown"),
        "Sled Power": (251.0, "W", (), "unknown"),
        "PSU0": (230.5, "W", (), "ok"),
        "PSU1": (None, "", ("StandbySpare",), "unknown"),
        "Intrusion": (None, "", ("HardwareIntrusion",), "warning"),
    }
    assert bmc.power_draw() == 251.0


def test_the_power_draw_is_the_servers_and_not_a_parts(chassis: Service) -> None:
    put(chassis, CHASSIS, Power=ref(f"{CHASSIS}/Power"))
    cpu = {"PhysicalContext": "CPU", "PowerConsumedWatts": 80}
    put(chassis, f"{CHASSIS}/Power", PowerControl=[cpu, {"PowerConsumedWatts": 310}])
    assert chassis.bmc().power_draw() == 310.0
    # The server is off: there is a meter, and no figure.
    put(chassis, f"{CHASSIS}/Power", PowerControl=[cpu, {"PowerConsumedWatts": None}])
    assert chassis.bmc().power_draw() is None


@pytest.mark.parametrize("what", ["sensors", "power_draw", "event_log", "bios", "security", "sol"])
def test_what_the_tree_lacks_another_provider_may_have(service: Service, what: str) -> None:
    with pytest.raises(Unsupported):
        getattr(service.bmc(), what)()


def log_of(service: Service, *entries: Json, **members: object) -> None:
    """The manager's logs: its own doings, and the SEL."""
    put(service, MANAGER, LogServices=ref(f"{MANAGER}/LogServices"))
    audit = f"{MANAGER}/LogServices/Audit"
    put(service, f"{MANAGER}/LogServices", Members=[ref(audit), ref(LOG)])
    put(service, audit, Id="Audit", Entries=ref(f"{audit}/Entries"))
    put(service, LOG, Id="Log3", LogEntryType="SEL", Entries=ref(f"{LOG}/Entries"), **members)
    put(service, f"{LOG}/Entries", Members=list(entries))


def entry(at: int, created: str | None, **members: object) -> Json:
    """A log entry as collections hold it."""
    path = f"{LOG}/Entries/{at}"
    return {"@odata.id": path, "Id": str(at), "Created": created, "Message": f"event {at}", **members}


def test_a_log_in_pages_newest_first_reads_oldest_first(service: Service) -> None:
    log_of(service, entry(5, "2026-01-01T00:00:05Z"), entry(4, "2026-01-01T00:00:04Z", Severity="Critical"))
    put(service, f"{LOG}/Entries", **{"Members@odata.nextLink": f"{LOG}/Entries/More"})
    # Three of one second, the middle one without a time; then a page that leads back to itself.
    tail = [entry(3, "2026-01-01T00:00:03Z"), entry(2, None), entry(1, "2026-01-01T00:00:03Z")]
    put(
        service,
        f"{LOG}/Entries/More",
        Members=[*tail, entry(4, "2026-01-01T00:00:04Z")],
        **{"Members@odata.nextLink": f"{LOG}/Entries"},
    )
    log = service.bmc().event_log()
    assert [one.id for one in log] == ["1", "2", "3", "4", "5"]
    assert [one.severity for one in log[3:]] == ["critical", "unknown"]


def test_a_mark_survives_a_cleared_log_that_begins_again(service: Service) -> None:
    log_of(service, entry(1, "2026-01-01T00:00:01Z"))
    bmc = service.bmc()
    mark = LogMark(frozenset(bmc.event_log()))
    log_of(service, entry(1, "2026-01-01T00:09:00Z", Message="cleared"), entry(2, "2026-01-01T00:09:01Z"))
    assert [one.message for one in mark.new(bmc.event_log())] == ["cleared", "event 2"]


def test_local_times_take_the_logs_own_offset(service: Service) -> None:
    log_of(service, entry(1, "2026-01-01T06:00:00"), DateTimeLocalOffset="+06:00")
    at = service.bmc().event_log()[0].at
    assert at is not None
    assert at.isoformat() == "2026-01-01T06:00:00+06:00"


def test_clearing_sends_what_action_info_demands(service: Service) -> None:
    clear = {"target": f"{LOG}/Clear", "@Redfish.ActionInfo": f"{LOG}/ClearInfo"}
    log_of(service, entry(1, None), entry(2, None), Actions={"#LogService.ClearLog": clear})
    kind = {"Name": "ClearType", "Required": True, "AllowableValues": ["ClearAll"]}
    put(service, f"{LOG}/ClearInfo", Parameters=[kind, {"Name": "Comment", "Required": False}])

    def emptied(request: Request) -> Answer | None:
        if request.path != f"{LOG}/Clear":
            return None
        service.resources[f"{LOG}/Entries"]["Members"] = []
        return Answer(204)

    service.script = emptied
    assert service.bmc().clear_event_log().outcome is Outcome.VERIFIED
    assert service.bodies("POST", f"{LOG}/Clear") == [{"ClearType": "ClearAll"}]


def test_disks_from_every_place_once_each(chassis: Service) -> None:
    drive = f"{SYSTEM}/Storage/0/Drives/a"
    names = [{"DurableNameFormat": "NAA", "DurableName": "5000c500a1b2c3d4"}]
    put(
        chassis,
        drive,
        SerialNumber=" S1 ",
        Model="HDD",
        CapacityBytes=4e12,
        Identifiers=names,
        Protocol="SAS",
    )
    controllers = collection(chassis, f"{SYSTEM}/Storage/0/Controllers", {"Model": "PERC H755"})
    storage = {"Drives": [ref(drive), ref(f"{drive}-gone")], "Controllers": controllers}
    put(chassis, SYSTEM, Storage=collection(chassis, f"{SYSTEM}/Storage", storage))
    put(chassis, CHASSIS, Links={"Drives": [ref(drive)]})
    bay = {"Name": "Bay 3", "Status": {"State": "Absent"}}
    nvme = {"SerialNumber": "S2", "Model": "NVMe", "MediaType": "SSD", "Protocol": "NVMe"}
    put(chassis, CHASSIS, Drives=collection(chassis, f"{CHASSIS}/Drives", nvme, bay))
    # What SimpleStorage has, without a serial, would be the same disks again.
    simple = {"Devices": [{"Name": "Disk", "Model": "HDD", "CapacityBytes": 4e12}]}
    put(chassis, SYSTEM, SimpleStorage=collection(chassis, f"{SYSTEM}/SimpleStorage", simple))
    assert chassis.bmc().inventory().disks == (
        DiskSeen("S1", "HDD", 4 * 10**12, "5000c500a1b2c3d4", "PERC H755", "SAS"),
        DiskSeen("S2", "NVMe", None, None, "", "NVMe SSD"),
    )


@pytest.mark.parametrize("age", ["iLO 4", "iLO 5"])
def test_disks_behind_a_smart_array(service: Service, age: str) -> None:
    smart = f"{SYSTEM}/SmartStorage"

    def to(path: str) -> Json:
        return {"href": path} if age == "iLO 4" else ref(path)

    place, vendor = ("links", "Hp") if age == "iLO 4" else ("Links", "Hpe")
    put(service, SYSTEM, Oem={vendor: {place: {"SmartStorage": to(smart)}}})
    put(service, smart, **{place: {"ArrayControllers": to(f"{smart}/Arrays")}})
    drive = {"SerialNumber": "6XN7", "Model": "EG0600", "CapacityMiB": 572325, "InterfaceType": "SAS"}
    drives = collection(service, f"{smart}/Drives", drive)["@odata.id"]
    controller = {"Model": "HPE Smart Array P408i-a", place: {"PhysicalDrives": to(drives)}}
    collection(service, f"{smart}/Arrays", controller)
    wanted = DiskSeen("6XN7", "EG0600", 572325 * 2**20, None, "HPE Smart Array P408i-a", "SAS")
    assert service.bmc().inventory().disks == (wanted,)


def test_ports_are_gathered_by_their_permanent_mac(chassis: Service) -> None:
    bond = {"Name": "eth0", "MACAddress": "02:00:00:00:00:99", "PermanentMACAddress": "B0-7B-25-00-00-01"}
    unused = {"Name": "eth9", "MACAddress": "00:00:00:00:00:00"}
    put(
        chassis,
        SYSTEM,
        EthernetInterfaces=collection(chassis, f"{SYSTEM}/Nics", {**bond, "SpeedMbps": 0}, unused),
    )
    addresses = {"AssociatedMACAddresses": ["b0:7b:25:00:00:01"]}
    ports = collection(chassis, f"{CHASSIS}/Ports", {"CurrentSpeedGbps": 25, "Ethernet": addresses})
    second = {"Name": "Port 2", "Ethernet": {"PermanentMACAddress": "B07B25000002"}}
    functions = collection(chassis, f"{CHASSIS}/Functions", second)
    card = {"Model": "E810", "Ports": ports, "NetworkDeviceFunctions": functions}
    put(chassis, CHASSIS, NetworkAdapters=collection(chassis, f"{CHASSIS}/Cards", card))
    assert chassis.bmc().inventory().ports == (
        Port("b0:7b:25:00:00:01", "eth0", "E810", 25000),
        Port("b0:7b:25:00:00:02", "Port 2", "E810"),
    )


def test_the_service_tag_of_a_dell_is_its_sku(service: Service) -> None:
    put(service, SYSTEM, Manufacturer="Dell Inc.", SerialNumber="CNIVC0098U0123", SKU="7XKQ3Z3")
    assert service.bmc().inventory().serial == "7XKQ3Z3"
    put(service, SYSTEM, Manufacturer="HPE", SKU="P18606-B21")
    assert service.bmc().inventory().serial == "CNIVC0098U0123"


def test_firmware_is_what_runs(service: Service) -> None:
    put(service, SYSTEM, BiosVersion="2.1.8")
    items = [
        {"Name": "BIOS", "Version": "2.1.8"},
        {"Name": "NIC", "Version": "22.31.6"},
        {"Name": "NIC", "Version": "22.00.0"},
    ]
    inventory = collection(service, f"{ROOT}/UpdateService/Firmware", *items)
    old = f"{ROOT}/UpdateService/Firmware/Previous"
    put(service, old, Id="Previous-159-2.0.1", Name="BIOS", Version="2.0.1")
    service.resources[inventory["@odata.id"]]["Members"].append(ref(old))
    put(service, f"{ROOT}/UpdateService", FirmwareInventory=inventory)
    put(service, ROOT, UpdateService=ref(f"{ROOT}/UpdateService"))
    assert service.bmc().inventory().firmware == {"BIOS": "2.1.8", "NIC": "22.31.6", "NIC (2)": "22.00.0"}


def test_managers_that_nobody_links_are_found_all_the_same(service: Service) -> None:
    del service.resources[SYSTEM]["Links"]
    assert service.bmc().clock() is not None


@pytest.mark.parametrize(
    ("manager", "root", "generation"),
    [
        ({"Model": "14G Monolithic", "Oem": {"Dell": {}}}, {}, "iDRAC9"),
        ({"Model": "17G Monolithic", "FirmwareVersion": "1.20.25.00", "Oem": {"Dell": {}}}, {}, "iDRAC10"),
        ({"Model": "iLO 6", "FirmwareVersion": "iLO 6 v1.58"}, {"Vendor": "HPE"}, "iLO 6"),
        ({"Model": "Lenovo XClarity Controller 2"}, {"Vendor": "Lenovo"}, "XCC2"),
        ({"Model": "Lenovo XClarity Controller"}, {"Vendor": "Lenovo"}, "XCC"),
        ({"Model": "OpenBmc", "Oem": {"Nvidia": {}}}, {}, "OpenBMC"),
        ({"Model": "iRMC S5"}, {}, "iRMC S5"),
        ({"Model": "410810600"}, {"Vendor": "AMI"}, ""),
        ({"Model": "410810600", "Oem": {"Ami": {}}}, {"Vendor": "AMI"}, "MegaRAC"),
        ({"Oem": {"Supermicro": {}}}, {}, "Supermicro BMC"),
        ({"Model": 7, "Oem": ["Dell"]}, {"Oem": "Dell"}, ""),
    ],
)
def test_generations(service: Service, manager: Json, root: Json, generation: str) -> None:
    put(service, MANAGER, **manager)
    put(service, ROOT, **root)
    put(service, SYSTEM, Manufacturer="Maker")
    seen = service.bmc().identity()
    assert seen.generation == generation
    assert seen.vendor == (f"Maker ({root['Vendor']})" if "Vendor" in root else "Maker")


def test_generations_are_in_an_order_that_lets_each_be_found() -> None:
    known = redfish_identity._known()
    plain = [entry.oem for entry in known if entry.text is None]
    assert len(plain) == len(set(plain))


def test_our_session_is_told_from_others(service: Service) -> None:
    sessions = f"{ROOT}/SessionService/Sessions"
    other = {"UserName": "root", "Oem": {"Hpe": {"UserIP": "10.0.0.9", "UserTag": "IPMI/RMCP"}}}
    ours = {"UserName": "lab", "ClientOriginIPAddress": "127.0.0.1", "SessionType": "Redfish"}
    put(service, f"{sessions}/7", **other)
    put(service, f"{sessions}/1", **ours)
    put(service, sessions, Members=[ref(f"{sessions}/7"), ref(f"{sessions}/1")])
    assert service.bmc().sessions() == [
        SessionSeen("root", "10.0.0.9", "IPMI/RMCP", ours=False),
        SessionSeen("lab", "127.0.0.1", "Redfish", ours=True),
    ]


def test_tpms_of_newer_trees(chassis: Service) -> None:
    tpm = {"TrustedComponentType": "Discrete", "FirmwareVersion": "7.2", "Status": {"State": "Disabled"}}
    put(chassis, CHASSIS, TrustedComponents=collection(chassis, f"{CHASSIS}/Trusted", tpm))
    put(chassis, SYSTEM, SecureBoot=ref(f"{SYSTEM}/SecureBoot"))
    put(chassis, f"{SYSTEM}/SecureBoot", SecureBootEnable=True, SecureBootCurrentBoot="Disabled")
    seen = chassis.bmc().security()
    assert seen.tpms == (Tpm("Discrete", "7.2", enabled=False),)
    # What is set is not what the server booted with.
    assert seen.secure_boot is False


@pytest.mark.parametrize("place", ["system", "manager"])
def test_sol_is_enabled_where_it_is_told(service: Service, place: str) -> None:
    path, console = (
        (SYSTEM, {"IPMI": {"ServiceEnabled": False}})
        if place == "system"
        else (MANAGER, {"ServiceEnabled": False, "ConnectTypesSupported": ["SSH", "IPMI"]})
    )
    put(service, path, SerialConsole=console)
    lines = [{"Name": "COM1", "BitRate": "9600"}, {"Name": "IPMI-SOL", "BitRate": "115200"}]
    put(service, MANAGER, SerialInterfaces=collection(service, f"{MANAGER}/Lines", *lines))
    bmc = service.bmc()
    assert (bmc.sol().enabled, bmc.sol().bit_rate) == (False, 115200)
    assert bmc.enable_sol().outcome is Outcome.VERIFIED
    assert bmc.sol().enabled
    assert bmc.enable_sol().tries == 0
    assert service.count("PATCH", path) == 1


def restartable(service: Service, away: list[bool], answer: Answer | None = None) -> None:
    """A manager that goes away after its restart, until `away` is emptied; sessions do not survive it."""
    kinds = ["ForceRestart", "GracefulRestart"]
    reset = {"target": RESTART, "ResetType@Redfish.AllowableValues": kinds}
    put(service, MANAGER, Actions={"#Manager.Reset": reset})

    def play(request: Request) -> Answer | None:
        if request.path == RESTART:
            away.extend([True] * 3)
            service.sessions.clear()
            return answer or Answer(204)
        if away and request.method != "DELETE":
            away.pop()
            return Answer(503, "starting")
        return None

    service.script = play


def test_the_bmc_is_restarted_once_and_waited_for(service: Service) -> None:
    restartable(service, [])
    answer = service.bmc().reset_bmc(deadline_s=30)
    assert answer.outcome is Outcome.VERIFIED
    assert service.bodies("POST", RESTART) == [{"ResetType": "GracefulRestart"}]
    assert "gone after" in " ".join(answer.evidence)
    assert service.opened == 2


def test_a_refused_restart_is_not_sent_again(service: Service) -> None:
    restartable(service, [], Answer(503, {}, {"Retry-After": "1"}))
    with pytest.raises(BmcRefused, match="503"):
        service.bmc().reset_bmc(deadline_s=10)
    assert service.count("POST", RESTART) == 1


def test_a_bmc_that_never_goes_is_not_believed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redfish_manager, "_GOES_WITHIN_S", 1.0)
    restartable(service, [])
    service.script = lambda request: Answer(204) if request.path == RESTART else None
    assert service.bmc().reset_bmc(deadline_s=20).outcome is Outcome.UNVERIFIABLE


def test_a_bmc_that_does_not_come_back_is_a_fault(service: Service) -> None:
    restartable(service, [])
    bmc = service.bmc()
    away = False

    def play(request: Request) -> Answer | None:
        nonlocal away
        away = away or request.path == RESTART
        return Answer(503) if away and request.path != RESTART else Answer(204) if away else None

    service.script = play
    with pytest.raises(LabFault, match="not back 3 s after") as fault:
        bmc.reset_bmc(deadline_s=3)
    assert "sent Manager.Reset GracefulRestart once" in str(fault.value)


def test_a_matrix_of_a_tree_that_breaks_in_one_place(service: Service) -> None:
    put(service, SYSTEM, Bios=ref(f"{SYSTEM}/Bios"), SecureBoot=ref(f"{SYSTEM}/SecureBoot"))
    service.script = lambda request: (
        Answer(200, "<html>session expired</html>") if request.path == f"{SYSTEM}/Bios" else None
    )
    matrix = {one.area: one for one in service.bmc().capabilities()}
    assert set(matrix) == set(Area)
    assert matrix[Area.POWER].allowed == ("On", "ForceOff", "ForceRestart", "GracefulShutdown")
    assert matrix[Area.POWER].learned == f"{SYSTEM}/ResetInfo ResetType AllowableValues"
    assert matrix[Area.BOOT].allowed == ("None", "Pxe", "UsbCd", "Hdd")
    assert {"Disc: DVD", "Disc: InsertMedia"} <= set(matrix[Area.MEDIA].allowed)
    assert (matrix[Area.BIOS].can, "no JSON" in matrix[Area.BIOS].learned) == ("unknown", True)
    # A link that leads nowhere is a BMC that contradicts itself.
    assert matrix[Area.SECURE_BOOT].can == "unknown"
    assert matrix[Area.UPDATE].can == "no"
    assert {request.method for request in service.requests} == {"GET", "POST"}
    assert sum(request.method == "POST" for request in service.requests) == 1


def test_a_bmc_that_goes_away_while_it_is_probed_is_no_matrix(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    bmc = service.bmc()
    bmc.connect()
    monkeypatch.setattr(redfish_connection, "READ_S", 0.2)
    service.script = lambda request: Answer(delay=0.6) if request.path == MANAGER else None
    with pytest.raises(BmcUnreachable):
        bmc.capabilities()


def test_one_pass_reads_each_resource_once_and_ends_in_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    bmc = service.bmc()
    bmc.capabilities()
    assert service.count("GET", SYSTEM) == service.count("GET", MANAGER) == 1
    bmc.inventory()
    assert service.count("GET", SYSTEM) == 2
    with pytest.raises(LabFault, match="too slowly for a look"), bmc.tree.within(0.0, "a look"):
        bmc.tree.look(SYSTEM)
