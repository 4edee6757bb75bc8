"""BIOS attributes by Redfish, and the profiles that set them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lab import paths, schemas
from lab.bmc import bios_profile
from lab.bmc.api import Attribute, Bios, Outcome
from lab.bmc.bios_profile import BiosProfile
from lab.bmc.redfish import bios as redfish_bios
from lab.bmc.target import Unsupported
from lab.errors import BmcRefused, ConfigError, UnknownName
from tests.bmc.scripted_redfish import ROOT, SYSTEM, Answer, Request, Service, ref

Json = dict[str, Any]
BIOS, REGISTRY = f"{SYSTEM}/Bios", f"{ROOT}/Registries/BiosAttributes"
NOW: dict[str, Attribute] = {
    "ProcVirtualization": "Disabled",
    "SriovGlobalEnable": "Enabled",
    "BootMode": "Uefi",
    "Delay": 5,
    "Quiet": True,
    "AssetTag": "",
    "SetupPassword": None,
}
ATTRIBUTES: list[Json] = [
    {
        "AttributeName": "ProcVirtualization",
        "Type": "Enumeration",
        "Value": [{"ValueName": "Enabled"}, {"ValueName": "Disabled"}],
    },
    {"AttributeName": "BootMode", "Type": "Enumeration", "ReadOnly": True},
    {"AttributeName": "Delay", "Type": "Integer", "LowerBound": 0, "UpperBound": 30, "ScalarIncrement": 5},
    {"AttributeName": "Quiet", "Type": "Boolean"},
    {"AttributeName": "AssetTag", "Type": "String", "MaxLength": 8},
    {"AttributeName": "SetupPassword", "Type": "Password", "MaxLength": 32},
]


def equip(service: Service, settings: str | None = f"{BIOS}/Settings", *, named: bool = True) -> None:
    """Give the server a BIOS with a registry, its pending settings at `settings`."""
    told: Json = {"SupportedApplyTimes": ["OnReset"]}
    service.resources[SYSTEM]["Bios"] = ref(BIOS)
    service.resources[BIOS] = {
        "@odata.id": BIOS,
        "AttributeRegistry": "BiosAttributes.v1_0_3",
        "Attributes": dict(NOW),
    }
    if settings:
        service.resources[settings] = {"@odata.id": settings, "Attributes": {}}
        service.resources[BIOS]["@Redfish.Settings"] = {
            **told,
            **({"SettingsObject": ref(settings)} if named else {}),
        }
    service.resources[ROOT]["Registries"] = ref(f"{ROOT}/Registries")
    service.resources[f"{ROOT}/Registries"] = {"Members": [ref(f"{ROOT}/Registries/Base"), ref(REGISTRY)]}
    places = [{"Language": "ja", "Uri": f"{REGISTRY}/ja"}, {"Language": "en", "Uri": f"{REGISTRY}/en"}]
    service.resources[REGISTRY] = {"Registry": "BiosAttributes.1.0", "Location": places}
    service.resources[f"{REGISTRY}/en"] = {"RegistryEntries": {"Attributes": ATTRIBUTES}}


def test_what_was_set_waits_for_the_next_boot(service: Service) -> None:
    equip(service)
    bmc = service.bmc()
    answer = bmc.set_bios({"ProcVirtualization": "Enabled", "SriovGlobalEnable": "Enabled"})
    assert (answer.outcome, answer.tries) == (Outcome.PENDING, 1)
    # What holds already is not sent, and the BMC is told when to apply the rest.
    assert service.bodies("PATCH", f"{BIOS}/Settings") == [
        {
            "Attributes": {"ProcVirtualization": "Enabled"},
            "@Redfish.SettingsApplyTime": {"ApplyTime": "OnReset"},
        }
    ]
    assert bmc.bios() == Bios(NOW, {"ProcVirtualization": "Enabled"})
    assert "registry BiosAttributes.v1_0_3: 6 attributes known" in answer.evidence


def test_nothing_is_sent_twice(service: Service) -> None:
    equip(service)
    bmc = service.bmc()
    bmc.set_bios({"ProcVirtualization": "Enabled"})
    again = bmc.set_bios({"ProcVirtualization": "Enabled"})
    assert (again.outcome, again.tries) == (Outcome.PENDING, 0)
    holds = bmc.set_bios({"SriovGlobalEnable": "Enabled"})
    assert (holds.outcome, holds.tries) == (Outcome.VERIFIED, 0)
    assert service.count("PATCH", f"{BIOS}/Settings") == 1


def test_a_change_that_waits_can_be_taken_back(service: Service) -> None:
    equip(service)
    bmc = service.bmc()
    bmc.set_bios({"Delay": 10})
    assert bmc.set_bios({"Delay": 5}).outcome is Outcome.VERIFIED
    assert bmc.bios().pending == {}


@pytest.mark.parametrize("place", ["Settings", "SD"])
def test_settings_that_nobody_names_are_looked_for(service: Service, place: str) -> None:
    equip(service, f"{BIOS}/{place}", named=False)
    assert service.bmc().set_bios({"Delay": 10}).outcome is Outcome.PENDING
    assert service.count("PATCH", f"{BIOS}/{place}") == 1


def test_a_bios_without_settings_of_its_own_is_patched_itself(service: Service) -> None:
    equip(service, None)
    assert service.bmc().set_bios({"Delay": 10}).outcome is Outcome.PENDING
    assert service.bodies("PATCH", BIOS) == [{"Attributes": {"Delay": 10}}]


def test_an_apply_time_that_is_refused_is_left_out(service: Service) -> None:
    equip(service)

    def picky(request: Request) -> Answer | None:
        odd = "@Redfish.SettingsApplyTime" in request.body
        return Answer(400, {"error": {"message": "PropertyUnknown"}}) if odd else None

    service.script = picky
    answer = service.bmc().set_bios({"Delay": 10})
    assert (answer.outcome, answer.tries) == (Outcome.PENDING, 2)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ProcVirtualization": "enabled"}, "it may be Enabled, Disabled"),
        ({"BootMode": "LegacyBios"}, "read-only"),
        ({"ProcVirtualisation": "Enabled"}, "did you mean ProcVirtualization"),
        ({"Delay": 31}, "from 0 to 30"),
        ({"Delay": 7}, "steps of 5"),
        ({"Delay": "5 s"}, "whole number"),
        ({"Delay": True}, "whole number"),
        ({"Quiet": "yes"}, "true or false"),
        ({"AssetTag": "nine more!"}, "0 to 8 characters"),
        ({"AssetTag": 7}, "a text"),
    ],
)
def test_a_value_that_cannot_be_is_refused_before_anything_is_sent(
    service: Service, changes: dict[str, Attribute], why: str
) -> None:
    equip(service)
    with pytest.raises(BmcRefused, match="nothing was sent") as refusal:
        service.bmc().set_bios({"SriovGlobalEnable": "Disabled", **changes})
    assert why in str(refusal.value)
    assert not [request for request in service.requests if request.method == "PATCH"]


@pytest.mark.parametrize("page", [Answer(404), Answer(200, "<html>"), Answer(200, {"RegistryEntries": 7})])
def test_without_a_registry_the_bmc_decides(service: Service, page: Answer) -> None:
    equip(service)
    service.script = lambda request: page if request.path.startswith(REGISTRY) else None
    assert service.bmc().set_bios({"Delay": 31}).outcome is Outcome.PENDING


def test_a_bmc_that_says_yes_and_keeps_another_value_has_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redfish_bios, "READ_BACK_S", 0.3)
    equip(service)
    service.script = lambda request: Answer(202) if request.method == "PATCH" else None
    with pytest.raises(BmcRefused, match="reads Delay=5"):
        service.bmc().set_bios({"Delay": 10})
    assert service.count("PATCH", f"{BIOS}/Settings") == 1


def test_a_refusal_says_what_the_bmc_said(service: Service) -> None:
    equip(service)
    busy = {"error": {"message": "Pending configuration values are already committed"}}
    service.script = lambda request: Answer(409, busy) if request.method == "PATCH" else None
    with pytest.raises(BmcRefused, match="already committed"):
        service.bmc().set_bios({"Delay": 10})


def test_a_password_is_in_no_evidence(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redfish_bios, "READ_BACK_S", 0.3)
    equip(service)
    secret = "0pen-Sesame"

    def mute(request: Request) -> Answer | None:
        return Answer(200) if request.method == "PATCH" else None

    service.script = mute
    answer = service.bmc().set_bios({"SetupPassword": secret})
    # It never reads back: the next boot must tell.
    assert answer.outcome is Outcome.UNVERIFIABLE
    assert secret not in " ".join(answer.evidence)
    with pytest.raises(BmcRefused) as refusal:
        service.bmc().set_bios({"SetupPassword": secret * 4})
    assert secret not in str(refusal.value)


def test_a_bios_without_attributes_is_not_this_providers(service: Service) -> None:
    service.resources[SYSTEM]["Bios"] = ref(BIOS)
    service.resources[BIOS] = {"@odata.id": BIOS}
    with pytest.raises(Unsupported):
        service.bmc().bios()


def test_attributes_of_other_types_are_left_out(service: Service) -> None:
    equip(service)
    service.resources[BIOS]["Attributes"] = {
        "Whole": 4.0,
        "Part": 0.5,
        "List": [1],
        "Text": "x",
        "None": None,
    }
    assert service.bmc().bios().attributes == {"Whole": 4, "Text": "x", "None": None}


def test_every_profile_fits_its_schema_and_says_where_its_names_are_from() -> None:
    schema = schemas.schema_of(BiosProfile)
    assert "virtualization" in bios_profile.names()
    for name in bios_profile.names():
        profile = bios_profile.load(name)
        jsonschema.validate(yaml.safe_load((paths.firmware() / "bios" / f"{name}.yaml").read_text()), schema)
        assert profile.profile == name
        for setting in profile.settings:
            known = [one.name for one in setting.attributes]
            assert len(known) == len(set(known))
            # What is set must not itself be a value to change.
            assert all(str(to) not in one.change for one in setting.attributes for to in one.change.values())


@pytest.mark.parametrize(
    ("attributes", "changes", "unknown"),
    [
        (
            {"ProcVirtualization": "Disabled", "SriovGlobalEnable": "Disabled"},
            {"ProcVirtualization": "Enabled", "SriovGlobalEnable": "Enabled"},
            ("io-virtualization",),
        ),
        (
            {"ProcAmdIoVt": "Disabled", "Sriov": "Enabled"},
            {"ProcAmdIoVt": "Enabled"},
            ("cpu-virtualization",),
        ),
        (
            {
                "IntelVirtualizationTechnology#3C2E": "Disable",
                "SR_IOVSupport_002B": "Disabled",
                "SR_IOVSupported": "Disabled",
                "IOMMU": "Auto",
            },
            {"IntelVirtualizationTechnology#3C2E": "Enable", "SR_IOVSupport_002B": "Enabled"},
            (),
        ),
        ({"GBT0001": "Enabled"}, {}, ("cpu-virtualization", "io-virtualization", "sr-iov")),
    ],
)
def test_a_profile_takes_the_names_that_the_bios_has(
    attributes: dict[str, Attribute], changes: dict[str, Attribute], unknown: tuple[str, ...]
) -> None:
    found = bios_profile.plan(bios_profile.load("virtualization"), Bios(attributes))
    assert found.changes == changes
    assert found.unknown == unknown
    assert bios_profile.plan(bios_profile.load("virtualization"), Bios(attributes, changes)).changes == {}


def test_a_profile_is_applied_once(service: Service) -> None:
    equip(service)
    bmc, profile = service.bmc(), bios_profile.load("virtualization")
    plan, answer = bios_profile.apply(bmc, profile)
    assert plan.changes == {"ProcVirtualization": "Enabled"}
    assert answer is not None
    assert answer.outcome is Outcome.PENDING
    plan, answer = bios_profile.apply(bmc, profile)
    assert (plan.changes, answer) == ({}, None)


def test_a_profile_that_is_not_there_or_not_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="virtualization"):
        bios_profile.load("gaming")
    (tmp_path / "bios").mkdir()
    (tmp_path / "bios" / "odd.yaml").write_text("profile: odd\ntitle: Odd\nsettings: [{id: a, why: b}]\n")
    monkeypatch.setattr(paths, "firmware", lambda: tmp_path)
    with pytest.raises(ConfigError, match=r"odd\.yaml:3: .*attributes"):
        bios_profile.load("odd")
