"""Systems/1/Bios: attributes now, those that wait in its settings resource, and their registry.

Source: DSP0266 section 9.10 (settings resource), DSP0268 (Bios, AttributeRegistry).
"""

from __future__ import annotations

from lab.virtual.redfish import messages
from lab.virtual.redfish.face import (
    ROOT,
    SYSTEM,
    Json,
    RedfishFace,
    Reply,
    Resource,
    action,
    collection,
    heading,
    link,
    parameters,
    writable,
)
from lab.virtual.settings import FirmwareAttribute, Value

BIOS = f"{SYSTEM}/Bios"
SETTINGS = f"{BIOS}/Settings"
DEFAULTS = "Bios.ResetBios"
REGISTRIES = f"{ROOT}/Registries"
REGISTRY = "LabBiosAttributeRegistry.v1_0_0"
_APPLY = "@Redfish.SettingsApplyTime"


def resources() -> dict[str, Resource]:
    """Every path of BIOS attributes and of their registry."""
    return {
        BIOS: Resource(read),
        SETTINGS: Resource(read_settings, patch_settings),
        f"{BIOS}/Actions/{DEFAULTS}": Resource(post=reset_to_defaults),
        REGISTRIES: Resource(
            lambda _: collection(
                REGISTRIES, "MessageRegistryFileCollection", "Registries", [f"{REGISTRIES}/{REGISTRY}"]
            )
        ),
        f"{REGISTRIES}/{REGISTRY}": Resource(_read_registry_file),
        f"{REGISTRIES}/{REGISTRY}.json": Resource(_read_registry),
    }


def read(face: RedfishFace) -> Json:
    """The attributes that the server was last powered on with."""
    return heading(BIOS, "Bios.v1_2_1.Bios", "BIOS") | {
        "AttributeRegistry": REGISTRY,
        "Attributes": face.chassis.settings.current,
        "@Redfish.Settings": {
            "@odata.type": "#Settings.v1_3_5.Settings",
            "SettingsObject": link(SETTINGS),
            "SupportedApplyTimes": ["OnReset"],
        },
        "Actions": {f"#{DEFAULTS}": action(f"{BIOS}/Actions/{DEFAULTS}")},
    }


def read_settings(face: RedfishFace) -> Json:
    """The attributes that wait for the next reset or power-on, and only those."""
    return heading(SETTINGS, "Bios.v1_2_1.Bios", "BIOS Settings") | {
        "AttributeRegistry": REGISTRY,
        "Attributes": face.chassis.settings.pending,
    }


async def patch_settings(face: RedfishFace, body: Json) -> None:
    """Ask for attributes; refused whole where one of them is wrong."""
    when = body.get(_APPLY, {})
    if not isinstance(when, dict):
        raise messages.wrong_type(_APPLY, when)
    if when.get("ApplyTime", "OnReset") != "OnReset":
        raise messages.not_in_list("ApplyTime", when["ApplyTime"], ["OnReset"])
    wanted = writable(body, read_settings(face), ("Attributes",)).get("Attributes", {})
    if not isinstance(wanted, dict):
        raise messages.wrong_type("Attributes", wanted)
    known = face.chassis.settings.registry
    changes: dict[str, Value] = {}
    for name, value in wanted.items():
        place = f"Attributes/{name}"
        if name not in known:
            raise messages.unknown_property(place)
        if known[name].read_only:
            raise messages.read_only(place)
        changes[name] = _checked(known[name], place, value)
    face.chassis.settings.ask(changes)


async def reset_to_defaults(face: RedfishFace, body: Json) -> Reply:
    """Let every attribute go back to its default at the next reset or power-on."""
    parameters(body, DEFAULTS, {})
    face.chassis.settings.ask_defaults()
    return Reply()


def _checked(attribute: FirmwareAttribute, place: str, value: Value) -> Value:
    complaint = attribute.complaint(value)
    if complaint == "type":
        raise messages.wrong_type(place, value)
    if complaint == "list":
        raise messages.not_in_list(place, value, attribute.values)
    if complaint == "range":
        limits = f"{attribute.lower} to {attribute.upper}"
        if attribute.type == "String":
            limits = f"at most {attribute.longest} printable ASCII characters"
        raise messages.out_of_range(place, value, limits)
    return value


def _read_registry_file(_: RedfishFace) -> Json:
    path = f"{REGISTRIES}/{REGISTRY}"
    return heading(path, "MessageRegistryFile.v1_1_3.MessageRegistryFile", "BIOS attribute registry file") | {
        "Languages": ["en"],
        "Languages@odata.count": 1,
        "Registry": REGISTRY.rsplit("_", 1)[0].replace(".v", ".").replace("_", "."),
        "Location": [{"Language": "en", "Uri": f"{path}.json"}],
        "Location@odata.count": 1,
    }


def _read_registry(face: RedfishFace) -> Json:
    entries = [_entry(attribute) for attribute in face.chassis.settings.registry.values()]
    return {
        "@odata.type": "#AttributeRegistry.v1_3_8.AttributeRegistry",
        "Id": REGISTRY,
        "Name": "BIOS attribute registry",
        "Language": "en",
        "OwningEntity": "hypervisor-lab",
        "RegistryVersion": "1.0.0",
        "SupportedSystems": [{"ProductName": face.chassis.server.model}],
        "RegistryEntries": {"Attributes": entries},
    }


def _entry(attribute: FirmwareAttribute) -> Json:
    entry: Json = {
        "AttributeName": attribute.name,
        "DisplayName": attribute.display,
        "HelpText": attribute.help,
        "Type": attribute.type,
        "DefaultValue": attribute.default,
        "ReadOnly": attribute.read_only,
        "ResetRequired": not attribute.read_only,
    }
    if attribute.type == "Enumeration":
        entry["Value"] = [{"ValueName": value, "ValueDisplayName": value} for value in attribute.values]
    elif attribute.type == "Integer":
        entry |= {"LowerBound": attribute.lower, "UpperBound": attribute.upper, "ScalarIncrement": 1}
    else:
        entry |= {"MinLength": 0, "MaxLength": attribute.longest}
    return entry
