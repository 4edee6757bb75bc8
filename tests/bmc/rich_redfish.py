"""A Redfish tree with one of everything that we read, for tests that break it in a place of their choice."""

from __future__ import annotations

import copy
from typing import Any

Json = dict[str, Any]
ROOT = "/redfish/v1/"
SYSTEM, MANAGER, CHASSIS = f"{ROOT}Systems/1", f"{ROOT}Managers/1", f"{ROOT}Chassis/1"
OK: Json = {"State": "Enabled", "Health": "OK"}


def ref(path: str) -> Json:
    """A reference."""
    return {"@odata.id": path}


def _action(name: str, target: str, **values: list[str]) -> Json:
    allowable = {f"{parameter}@Redfish.AllowableValues": may for parameter, may in values.items()}
    return {f"#{name}": {"target": target, **allowable}}


def rich_tree() -> dict[str, Json]:
    """Resources by path; its own copy for every caller."""
    return {path: {"@odata.id": path, **copy.deepcopy(body)} for path, body in _TREE.items()}


_LIMITS = {"UpperThresholdCritical": 90, "LowerThresholdNonCritical": 5}
_TREE: dict[str, Json] = {
    ROOT: {
        "RedfishVersion": "1.15.0",
        "Vendor": "HPE",
        "Product": "Server",
        "Oem": {"Hpe": {"Manager": [{"ManagerType": "iLO 5"}]}},
        "Links": {"Sessions": ref(f"{ROOT}Sessions")},
        **{
            name: ref(f"{ROOT}{name}")
            for name in ("Systems", "Managers", "Chassis", "UpdateService", "Registries", "Tasks")
        },
    },
    f"{ROOT}Systems": {"Members": [ref(SYSTEM)]},
    f"{ROOT}Managers": {"Members": [ref(MANAGER)]},
    f"{ROOT}Chassis": {"Members": [ref(CHASSIS)]},
    f"{ROOT}Sessions": {"Members": [ref(f"{ROOT}Sessions/1")]},
    f"{ROOT}Sessions/1": {"UserName": "lab", "Oem": {"Hpe": {"UserIP": "10.0.0.9"}}},
    f"{ROOT}Registries": {"Members": [ref(f"{ROOT}Registries/BiosA")]},
    f"{ROOT}Registries/BiosA": {"Registry": "BiosA.1.0", "Location": [{"Language": "en", "Uri": f"{ROOT}A"}]},
    f"{ROOT}A": {
        "RegistryEntries": {
            "Attributes": [
                {"AttributeName": "Virt", "Type": "Enumeration", "Value": [{"ValueName": "On"}]},
                {"AttributeName": "Delay", "Type": "Integer", "LowerBound": 0, "UpperBound": 9},
                {"AttributeName": "Tag", "Type": "String", "MaxLength": 9, "MinLength": 0},
            ]
        }
    },
    f"{ROOT}UpdateService": {
        "ServiceEnabled": True,
        "MultipartHttpPushUri": "/push",
        "FirmwareInventory": ref(f"{ROOT}Firmware"),
        "Actions": _action("UpdateService.SimpleUpdate", "/update", TransferProtocol=["HTTP"]),
    },
    f"{ROOT}Firmware": {"Members": [{"@odata.id": "/f", "Id": "1", "Name": "NIC", "Version": "2"}]},
    SYSTEM: {
        "@odata.etag": 'W/"1"',
        "Manufacturer": "Dell Inc.",
        "Model": "R660",
        "SerialNumber": "CN1",
        "SKU": "7XKQ3Z3",
        "BiosVersion": "2.1",
        "PowerState": "On",
        "Boot": {
            "BootSourceOverrideEnabled": "Disabled",
            "BootSourceOverrideTarget": "None",
            "BootSourceOverrideMode": "UEFI",
            "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Cd", "Pxe"],
            "BootSourceOverrideEnabled@Redfish.AllowableValues": ["Disabled", "Once"],
        },
        "@Redfish.Settings": {"SettingsObject": ref(f"{SYSTEM}/Settings")},
        "Actions": {"#ComputerSystem.Reset": {"target": "/reset", "@Redfish.ActionInfo": f"{SYSTEM}/Info"}},
        "TrustedModules": [{"InterfaceType": "TPM2_0", "FirmwareVersion": "7.2", "Status": OK}],
        "ProcessorSummary": {"Count": 1, "Model": "CPU"},
        "SerialConsole": {"IPMI": {"ServiceEnabled": True}},
        "Links": {"ManagedBy": [ref(MANAGER)], "Chassis": [ref(CHASSIS)]},
        "Oem": {"Hpe": {"Links": {"SmartStorage": ref("/smart"), "NetworkAdapters": ref("/base")}}},
        "EthernetInterfaces": ref(f"{SYSTEM}/Nics"),
        **{
            name: ref(f"{SYSTEM}/{name}")
            for name in (
                *("Bios", "SecureBoot", "Processors", "Memory", "NetworkInterfaces"),
                *("Storage", "SimpleStorage", "LogServices", "EnvironmentMetrics"),
            )
        },
    },
    f"{SYSTEM}/Settings": {"Boot": {"BootSourceOverrideTarget@Redfish.AllowableValues": ["Cd"]}},
    f"{SYSTEM}/Info": {"Parameters": [{"Name": "ResetType", "AllowableValues": ["On", "ForceOff"]}]},
    f"{SYSTEM}/Nics": {"Members": [ref(f"{SYSTEM}/Nics/1")]},
    f"{SYSTEM}/Nics/1": {"Name": "eth0", "PermanentMACAddress": "02:00:00:00:00:01", "SpeedMbps": 1000},
    f"{SYSTEM}/Bios": {
        "AttributeRegistry": "BiosA.v1_0",
        "Attributes": {"Virt": "Off", "Delay": 5, "Tag": "x"},
        "@Redfish.Settings": {
            "SettingsObject": ref(f"{SYSTEM}/Bios/Settings"),
            "SupportedApplyTimes": ["OnReset"],
        },
    },
    f"{SYSTEM}/Bios/Settings": {"Attributes": {"Delay": 7}},
    f"{SYSTEM}/SecureBoot": {
        "SecureBootEnable": True,
        "SecureBootCurrentBoot": "Enabled",
        "SecureBootMode": "UserMode",
        "Actions": _action("SecureBoot.ResetKeys", "/keys"),
    },
    f"{SYSTEM}/Processors": {"Members": [ref(f"{SYSTEM}/Processors/1")]},
    f"{SYSTEM}/Processors/1": {
        "Socket": "P0",
        "Model": "CPU",
        "TotalCores": 8,
        "TotalThreads": 16,
        "Status": OK,
    },
    f"{SYSTEM}/Memory": {"Members": [ref(f"{SYSTEM}/Memory/1")]},
    f"{SYSTEM}/Memory/1": {
        "CapacityMiB": 32768,
        "MemoryDeviceType": "DDR5",
        "OperatingSpeedMhz": 4800,
        "Location": {"PartLocation": {"ServiceLabel": "A1"}},
    },
    f"{SYSTEM}/NetworkInterfaces": {"Members": [ref(f"{SYSTEM}/NetworkInterfaces/1")]},
    f"{SYSTEM}/NetworkInterfaces/1": {
        "Links": {"NetworkAdapter": ref("/card")},
        "NetworkDeviceFunctions": ref("/functions"),
    },
    "/card": {
        "Model": "E810",
        "NetworkDeviceFunctions": ref("/functions"),
        "Controllers": [{"Links": {"Ports": [ref("/port")]}}],
    },
    "/port": {
        "Id": "1",
        "CurrentSpeedGbps": 25,
        "Ethernet": {"AssociatedMACAddresses": ["02:00:00:00:00:02"]},
        "AssociatedNetworkAddresses": ["02:00:00:00:00:03"],
    },
    "/functions": {"Members": [{"@odata.id": "/f1", "Id": "1", "Ethernet": {"MACAddress": "020000000004"}}]},
    "/base": {
        "Members": [
            {
                "@odata.id": "/b1",
                "Name": "NIC",
                "PhysicalPorts": [{"MacAddress": "02:00:00:00:00:05", "SpeedMbps": 25000}],
            }
        ]
    },
    f"{SYSTEM}/Storage": {"Members": [ref(f"{SYSTEM}/Storage/1")]},
    f"{SYSTEM}/Storage/1": {
        "Drives": [ref("/drive")],
        "StorageControllers": [{"Model": "H755"}],
        "Controllers": ref("/controllers"),
    },
    "/controllers": {"Members": [{"@odata.id": "/c1", "Model": "H755", "Name": "RAID"}]},
    "/drive": {
        "SerialNumber": "S1",
        "Model": "SSD",
        "CapacityBytes": 10**12,
        "Identifiers": [{"DurableNameFormat": "NAA", "DurableName": "50"}],
        "MediaType": "SSD",
        "Protocol": "SAS",
    },
    f"{SYSTEM}/SimpleStorage": {"Members": [ref(f"{SYSTEM}/SimpleStorage/1")]},
    f"{SYSTEM}/SimpleStorage/1": {"Devices": [{"Name": "Disk", "Model": "HDD", "CapacityBytes": 1}]},
    "/smart": {"Links": {"ArrayControllers": ref("/arrays")}},
    "/arrays": {"Members": [ref("/array")]},
    "/array": {"Model": "P408i", "Links": {"PhysicalDrives": ref("/physical")}},
    "/physical": {"Members": [{"@odata.id": "/p1", "SerialNumber": "S2", "CapacityMiB": 5, "CapacityGB": 1}]},
    f"{SYSTEM}/LogServices": {"Members": [ref(f"{SYSTEM}/LogServices/SEL")]},
    f"{SYSTEM}/LogServices/SEL": {
        "Id": "SEL",
        "LogEntryType": "SEL",
        "DateTimeLocalOffset": "+01:00",
        "Entries": ref("/entries"),
        "Actions": {"#LogService.ClearLog": {"target": "/clear", "@Redfish.ActionInfo": "/clear-info"}},
    },
    "/clear-info": {"Parameters": [{"Name": "ClearType", "Required": True, "AllowableValues": ["ClearAll"]}]},
    "/entries": {
        "Members": [
            {
                "@odata.id": "/e1",
                "Id": "1",
                "Created": "2026-01-01T00:00:00Z",
                "EventTimestamp": "2026-01-01T00:00:00",
                "Message": "0x01",
                "SensorType": "Fan",
                "EntryCode": "Assert",
                "Severity": "Warning",
            },
            {"@odata.id": "/e2", "Id": "2", "Created": None, "MessageId": "Base.1.0"},
        ],
        "Members@odata.nextLink": "/entries",
    },
    f"{SYSTEM}/EnvironmentMetrics": {"PowerWatts": {"Reading": 200}},
    MANAGER: {
        "Id": "1",
        "Model": "iLO 5",
        "FirmwareVersion": "2.46",
        "DateTime": "2026-01-01T00:00:00Z",
        "LastResetTime": "2026-01-01T00:00:00Z",
        "SerialConsole": {"ServiceEnabled": True, "ConnectTypesSupported": ["IPMI"]},
        "SerialInterfaces": ref(f"{MANAGER}/Serial"),
        "VirtualMedia": ref(f"{MANAGER}/Media"),
        "Actions": _action("Manager.Reset", "/restart", ResetType=["ForceRestart"]),
        "Oem": {"Supermicro": {"Links": {"VirtualMedia": ref("/iso")}}},
    },
    f"{MANAGER}/Serial": {"Members": [{"@odata.id": "/s1", "Id": "SOL", "BitRate": "115200"}]},
    f"{MANAGER}/Media": {"Members": [ref(f"{MANAGER}/Media/Cd")]},
    f"{MANAGER}/Media/Cd": {
        "Id": "Cd",
        "MediaTypes": ["CD", "DVD"],
        "Inserted": True,
        "Image": "http://10.0.0.1/a.iso",
        "ConnectedVia": "URI",
        "Actions": {
            **_action("VirtualMedia.InsertMedia", "/insert", TransferProtocolType=["HTTP", "NFS"]),
            **_action("VirtualMedia.EjectMedia", "/eject"),
        },
    },
    CHASSIS: {
        "Id": "1",
        "Name": "Chassis",
        "PhysicalSecurity": {"IntrusionSensor": "Normal"},
        "Links": {"Drives": [ref("/drive")]},
        "Drives": ref("/drives"),
        **{
            name: ref(f"{CHASSIS}/{name}")
            for name in (
                *("Thermal", "Power", "Sensors", "ThermalSubsystem", "PowerSubsystem"),
                *("EnvironmentMetrics", "TrustedComponents", "NetworkAdapters"),
            )
        },
    },
    "/drives": {"Members": [{"@odata.id": "/d3", "Id": "3", "SerialNumber": "S3"}]},
    f"{CHASSIS}/NetworkAdapters": {"Members": [ref("/card")]},
    f"{CHASSIS}/TrustedComponents": {
        "Members": [{"@odata.id": "/t", "Id": "1", "Name": "TPM", "Status": OK}]
    },
    f"{CHASSIS}/Thermal": {
        "Temperatures": [{"Name": "CPU", "ReadingCelsius": 40, "Status": OK, **_LIMITS}],
        "Fans": [{"Name": "Fan", "Reading": 4000, "ReadingUnits": "RPM", "Status": OK}],
    },
    f"{CHASSIS}/Power": {
        "PowerControl": [{"Name": "Server", "PowerConsumedWatts": 100, "PhysicalContext": "Chassis"}],
        "PowerSupplies": [{"Name": "PSU", "MemberId": "0", "LastPowerOutputWatts": 50, "Status": OK}],
        "Voltages": [{"Name": "12V", "ReadingVolts": 12.1, "Status": OK}],
    },
    f"{CHASSIS}/Sensors": {"Members": [ref(f"{CHASSIS}/Sensors/1")]},
    f"{CHASSIS}/Sensors/1": {
        "Name": "Inlet",
        "Reading": 20,
        "ReadingType": "Temperature",
        "ReadingUnits": "Cel",
        "Thresholds": {"UpperCritical": {"Reading": 40}},
    },
    f"{CHASSIS}/ThermalSubsystem": {"ThermalMetrics": ref("/metrics"), "Fans": ref("/fans")},
    "/metrics": {"TemperatureReadingsCelsius": [{"DeviceName": "CPU", "Reading": 40}]},
    "/fans": {
        "Members": [{"@odata.id": "/fan", "Name": "Fan", "SpeedPercent": {"Reading": 4, "SpeedRPM": 900}}]
    },
    f"{CHASSIS}/PowerSubsystem": {"PowerSupplies": ref("/supplies")},
    "/supplies": {
        "Members": [{"@odata.id": "/psu", "Name": "PSU 1", "Metrics": ref("/psu-m"), "Status": OK}]
    },
    "/psu-m": {"OutputPowerWatts": {"Reading": 99}},
    f"{CHASSIS}/EnvironmentMetrics": {"PowerWatts": {"Reading": 199}, "TemperatureCelsius": {"Reading": 20}},
    f"{ROOT}Tasks": {"Tasks": ref("/tasks")},
    "/tasks": {"Members": [ref("/task")]},
    "/task": {"TaskState": "Completed", "TaskStatus": "OK", "Messages": [{"Message": "done"}]},
}
