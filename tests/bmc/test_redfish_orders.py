"""Power, boot and media orders in the shapes that BMCs want; what arrived is read at the service."""

from __future__ import annotations

import pytest

from lab.bmc import power
from lab.bmc.api import BootDevice, MediaSource, Outcome, PowerAction
from lab.bmc.redfish import media as redfish_media
from lab.bmc.target import Unsupported
from lab.errors import BmcRefused
from tests.bmc.scripted_redfish import CD, RESET, SYSTEM, Answer, Request, Service

INSERT = f"{CD}/Insert"
TARGETS = "BootSourceOverrideTarget@Redfish.AllowableValues"


def error(message: str) -> dict[str, object]:
    return {"error": {"@Message.ExtendedInfo": [{"Message": message}]}}


def allow(service: Service, *kinds: str) -> None:
    service.resources[f"{SYSTEM}/ResetInfo"]["Parameters"][0]["AllowableValues"] = list(kinds)


def test_a_cycle_is_one_order_where_the_bmc_has_it(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "DIP_S", 0.5)
    service.resources[SYSTEM]["PowerState"] = "On"
    allow(service, "On", "ForceOff", "PowerCycle")
    assert service.bmc().set_power(PowerAction.CYCLE).outcome is Outcome.UNVERIFIABLE
    assert service.bodies("POST", RESET) == [{"ResetType": "PowerCycle"}]


def test_a_cycle_is_off_and_on_where_it_has_not(service: Service) -> None:
    service.resources[SYSTEM]["PowerState"] = "On"
    answer = service.bmc().set_power(PowerAction.CYCLE)
    assert (answer.outcome, answer.tries) == (Outcome.VERIFIED, 2)
    assert service.bodies("POST", RESET) == [{"ResetType": "ForceOff"}, {"ResetType": "On"}]


def test_a_system_that_does_not_shut_down_is_forced_off_after_its_time(service: Service) -> None:
    service.resources[SYSTEM]["PowerState"] = "On"

    def deaf(request: Request) -> Answer | None:
        return Answer(204) if request.body.get("ResetType") == "GracefulShutdown" else None

    service.script = deaf
    answer = power.switch_off(service.bmc(), 0.5)
    assert answer.outcome is Outcome.VERIFIED
    assert "then forced" in answer.evidence[0]
    assert service.bodies("POST", RESET) == [{"ResetType": "GracefulShutdown"}, {"ResetType": "ForceOff"}]


def test_graceful_off_falls_back_to_the_button_and_then_to_force(service: Service) -> None:
    service.resources[SYSTEM]["PowerState"] = "On"
    allow(service, "On", "ForceOff", "PushPowerButton")

    def press(request: Request) -> Answer | None:
        if request.body.get("ResetType") != "PushPowerButton":
            return None
        service.resources[SYSTEM]["PowerState"] = "Off"
        return Answer(204)

    service.script = press
    service.bmc().set_power(PowerAction.GRACEFUL_OFF)
    assert service.bodies("POST", RESET) == [{"ResetType": "PushPowerButton"}]
    service.resources[SYSTEM]["PowerState"] = "On"
    allow(service, "On", "ForceOff")
    power.switch_off(service.bmc(), 5.0)
    assert service.bodies("POST", RESET)[1:] == [{"ResetType": "ForceOff"}]


def test_http_boot_names_its_uri(service: Service) -> None:
    service.resources[SYSTEM]["Boot"][TARGETS].append("UefiHttp")
    bmc = service.bmc()
    bmc.boot_once(BootDevice.HTTP, "uefi", uri="http://10.0.7.2/boot.efi")
    sent = service.bodies("PATCH", SYSTEM)[0]["Boot"]
    assert (sent["BootSourceOverrideTarget"], sent["HttpBootUri"]) == ("UefiHttp", "http://10.0.7.2/boot.efi")
    with pytest.raises(Unsupported, match="UEFI"):
        bmc.boot_once(BootDevice.HTTP, "bios")
    with pytest.raises(ValueError, match="HTTP only"):
        bmc.boot_once(BootDevice.PXE, "uefi", uri="http://10.0.7.2/boot.efi")


def test_a_lasting_override_is_written_once_and_not_again(service: Service) -> None:
    bmc = service.bmc()
    assert bmc.boot_always(BootDevice.DISK, "uefi").tries == 1
    assert bmc.boot_always(BootDevice.DISK, "uefi").tries == 0
    assert service.bodies("PATCH", SYSTEM)[0]["Boot"]["BootSourceOverrideEnabled"] == "Continuous"
    assert service.count("PATCH", SYSTEM) == 1


def test_a_boot_once_is_written_anew_although_it_reads_so(service: Service) -> None:
    bmc = service.bmc()
    bmc.boot_once(BootDevice.DISK, "uefi")
    bmc.boot_once(BootDevice.DISK, "uefi")
    assert service.count("PATCH", SYSTEM) == 2


def test_a_cd_that_did_not_boot_is_named_by_the_other_target(service: Service) -> None:
    service.resources[SYSTEM]["Boot"][TARGETS] += ["Cd"]
    bmc = service.bmc()
    bmc.boot_once(BootDevice.CD, "uefi")
    assert bmc.did_not_boot(BootDevice.CD)
    bmc.boot_once(BootDevice.CD, "uefi")
    sent = [body["Boot"]["BootSourceOverrideTarget"] for body in service.bodies("PATCH", SYSTEM)]
    assert sent == ["Cd", "UsbCd"]
    assert not bmc.did_not_boot(BootDevice.CD)


def test_a_refusal_during_post_is_waited_out(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.bmc.quirk_model.Retry.pause_s", lambda *_: 0.05)
    words = error("UnableToModifyDuringSystemPOST")

    def in_post(request: Request) -> Answer | None:
        busy = request.method == "PATCH" and service.count("PATCH", SYSTEM) < 3
        return Answer(400, words) if busy else None

    service.script = in_post
    assert service.bmc().boot_once(BootDevice.PXE, "uefi").outcome is Outcome.VERIFIED
    assert service.count("PATCH", SYSTEM) == 3


@pytest.mark.parametrize(
    ("url", "protocol"),
    [("nfs://10.0.7.2/export/x.iso", "NFS"), ("cifs://10.0.7.2/share/x.iso", "CIFS")],
)
def test_a_share_names_its_protocol_and_account(service: Service, url: str, protocol: str) -> None:
    service.bmc().insert_media(MediaSource(url, user="iso", password="sh4re-Pw"))
    (sent,) = service.bodies("POST", INSERT)
    assert (sent["Image"], sent["TransferProtocolType"]) == (url, protocol)
    assert (sent["UserName"], sent["Password"]) == ("iso", "sh4re-Pw")


def test_a_share_is_spelled_as_bmcs_do_that_know_no_urls(service: Service) -> None:
    def no_urls(request: Request) -> Answer | None:
        refused = request.path == INSERT and "://" in request.body["Image"]
        return Answer(400, error("Image is no share")) if refused else None

    service.script = no_urls
    answer = service.bmc().insert_media(MediaSource("nfs://10.0.7.2/export/x.iso"))
    assert answer.outcome is Outcome.VERIFIED
    assert service.bodies("POST", INSERT)[-1]["Image"] == "10.0.7.2:/export/x.iso"


def test_the_password_of_a_share_is_in_no_evidence(service: Service) -> None:
    source = MediaSource("cifs://10.0.7.2/share/x.iso", user="iso", password="sh4re-Pw")
    refused = Answer(403, error("the account iso with sh4re-Pw may not"))
    service.script = lambda request: refused if request.path == INSERT else None
    with pytest.raises(BmcRefused) as refusal:
        service.bmc().insert_media(source)
    assert "sh4re-Pw" not in str(refusal.value) + repr(source)


def test_a_scheme_that_no_drive_takes_changes_nothing(service: Service) -> None:
    service.resources[CD] |= {"Inserted": True, "Image": "http://127.0.0.1/old.iso"}
    action = service.resources[CD]["Actions"]["#VirtualMedia.InsertMedia"]
    action["TransferProtocolType@Redfish.AllowableValues"] = ["HTTP"]
    for url in ("nfs://10.0.7.2/x.iso", "ftp://10.0.7.2/x.iso"):
        with pytest.raises(Unsupported):
            service.bmc().insert_media(MediaSource(url))
    assert service.resources[CD]["Inserted"]


def test_an_unknown_slot_is_refused_with_those_there_are(service: Service) -> None:
    with pytest.raises(BmcRefused, match="'Cd9', but Disc"):
        service.bmc().insert_media(MediaSource("http://127.0.0.1/x.iso", slot="Cd9"))
    assert service.bmc().insert_media(MediaSource("http://127.0.0.1/x.iso", slot="Disc")).tries == 1


def test_an_insert_that_never_arrived_is_sent_once_more(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redfish_media, "SETTLE_S", 0.5)
    monkeypatch.setattr("lab.bmc.redfish.connection.WRITE_S", 0.3)
    lost = Answer(204, delay=0.8)
    service.script = lambda r: lost if r.path == INSERT and service.count("POST", INSERT) == 1 else None
    answer = service.bmc().insert_media(MediaSource("http://127.0.0.1/x.iso"))
    assert (answer.outcome, answer.tries) == (Outcome.VERIFIED, 2)
