"""The Redfish provider against a service that misbehaves; what was sent is counted at the service."""

from __future__ import annotations

import datetime as dt
import hashlib
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
import trustme

from lab.bmc.api import BootDevice, MediaSource, Outcome, PowerAction
from lab.bmc.redfish import boot as redfish_boot
from lab.bmc.redfish import connection as redfish_connection
from lab.bmc.target import Unsupported
from lab.errors import BmcCredentials, BmcRefused, BmcUnreachable, LabError, LabFault
from lab.rack.model import Tls
from tests.bmc import scripted_redfish as scripted
from tests.bmc.scripted_redfish import CD, RESET, ROOT, SYSTEM, Answer, Request, Service

IMAGE = "http://127.0.0.1:8000/once/deploy.iso"


def test_power_is_verified_by_reading_it(service: Service) -> None:
    bmc = service.bmc()
    assert bmc.set_power(PowerAction.ON).outcome is Outcome.VERIFIED
    assert bmc.power() == "on"
    assert bmc.set_power(PowerAction.OFF).outcome is Outcome.VERIFIED
    assert service.bodies("POST", RESET) == [{"ResetType": "On"}, {"ResetType": "ForceOff"}]


def test_off_when_off_sends_nothing(service: Service) -> None:
    answer = service.bmc().set_power(PowerAction.OFF)
    assert (answer.outcome, answer.tries) == (Outcome.VERIFIED, 0)
    assert service.count("POST", RESET) == 0


def test_reset_of_a_server_that_is_off_is_a_power_on(service: Service) -> None:
    assert service.bmc().set_power(PowerAction.RESET).outcome is Outcome.VERIFIED
    assert service.bodies("POST", RESET) == [{"ResetType": "On"}]


def test_reset_is_verified_where_the_bmc_tells_when_it_was(service: Service) -> None:
    system = service.resources[SYSTEM]
    system |= {"PowerState": "On", "LastResetTime": "2026-01-01T00:00:00Z"}

    def restart(request: Request) -> None:
        if request.path == RESET:
            system["LastResetTime"] = "2026-01-01T00:01:00Z"

    service.script = restart
    assert service.bmc().set_power(PowerAction.RESET).outcome is Outcome.VERIFIED


def test_a_reset_without_an_answer_is_sent_exactly_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redfish_connection, "WRITE_S", 0.3)
    service.resources[SYSTEM]["PowerState"] = "On"
    service.script = lambda request: Answer(204, delay=1.0) if request.path == RESET else None
    answer = service.bmc().set_power(PowerAction.RESET, deadline_s=5)
    assert answer.outcome is Outcome.UNVERIFIABLE
    assert "no answer" in " ".join(answer.evidence)
    time.sleep(1.0)  # long enough for a retry to arrive, if there were one
    assert service.count("POST", RESET) == 1


def test_a_power_on_without_an_answer_is_settled_by_the_state(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redfish_connection, "WRITE_S", 0.3)

    def late(request: Request) -> Answer | None:
        if request.path != RESET:
            return None
        service.resources[SYSTEM]["PowerState"] = "On"
        return Answer(204, delay=1.0)

    service.script = late
    assert service.bmc().set_power(PowerAction.ON, deadline_s=5).outcome is Outcome.VERIFIED
    assert service.count("POST", RESET) == 1


def test_power_that_does_not_come_is_a_fault_that_says_what_was_tried(service: Service) -> None:
    service.script = lambda request: Answer(204) if request.path == RESET else None
    with pytest.raises(LabFault) as fault:
        service.bmc().set_power(PowerAction.ON, deadline_s=0.6)
    assert "power is off, not on" in str(fault.value)
    assert "sent on once" in str(fault.value)
    assert fault.value.server == "blade-7"


def test_an_action_outside_the_allowed_values_is_unsupported_and_not_sent(service: Service) -> None:
    service.resources[SYSTEM]["PowerState"] = "On"
    with pytest.raises(Unsupported, match="ForceRestart"):
        service.bmc().set_power(PowerAction.NMI)
    assert service.count("POST", RESET) == 0


def test_boot_once_takes_an_allowed_value_and_omits_a_mode_that_is_there(service: Service) -> None:
    bmc = service.bmc()
    assert bmc.boot_once(BootDevice.CD, "uefi").outcome is Outcome.VERIFIED
    sent = {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "UsbCd"}
    assert service.bodies("PATCH", SYSTEM) == [{"Boot": sent}]
    assert bmc.boot_override() is BootDevice.CD
    assert bmc.boot_once(BootDevice.NONE, "uefi").outcome is Outcome.VERIFIED
    assert bmc.boot_override() is BootDevice.NONE


def test_boot_once_names_a_mode_that_differs(service: Service) -> None:
    service.bmc().boot_once(BootDevice.DISK, "bios")
    assert service.bodies("PATCH", SYSTEM)[0]["Boot"]["BootSourceOverrideMode"] == "Legacy"


def test_a_bmc_that_keeps_another_boot_device_has_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redfish_boot, "READ_BACK_S", 1.0)
    service.script = lambda request: Answer(204) if request.method == "PATCH" else None
    with pytest.raises(BmcRefused, match="Disabled"):
        service.bmc().boot_once(BootDevice.PXE, "uefi")


def test_a_device_outside_the_allowed_values_is_unsupported(service: Service) -> None:
    with pytest.raises(Unsupported, match="setup"):
        service.bmc().boot_once(BootDevice.SETUP, "uefi")
    assert service.count("PATCH", SYSTEM) == 0


def test_etag_ladder_ends_with_what_the_bmc_takes(service: Service) -> None:
    service.resources[SYSTEM]["@odata.etag"] = 'W/"77"'

    def strong_only(request: Request) -> Answer | None:
        refused = request.method == "PATCH" and request.headers.get("if-match") != '"77"'
        return Answer(412, {"error": {"message": "precondition"}}) if refused else None

    service.script = strong_only
    assert service.bmc().boot_once(BootDevice.PXE, "uefi").outcome is Outcome.VERIFIED
    tags = [request.headers.get("if-match") for request in service.requests if request.method == "PATCH"]
    assert tags == ['W/"77"', '"77"']


def test_etag_ladder_is_bounded(service: Service) -> None:
    service.resources[SYSTEM]["@odata.etag"] = 'W/"77"'
    service.script = lambda request: Answer(412) if request.method == "PATCH" else None
    with pytest.raises(BmcRefused, match="412"):
        service.bmc().boot_once(BootDevice.PXE, "uefi")
    assert service.count("PATCH", SYSTEM) == 5


def test_media_is_ejected_inserted_and_read_back(service: Service) -> None:
    service.resources[CD] |= {"Inserted": True, "Image": "http://127.0.0.1/somebody-elses.iso"}
    bmc = service.bmc()
    assert bmc.insert_media(MediaSource(IMAGE)).outcome is Outcome.VERIFIED
    assert bmc.media() == IMAGE
    order = [request.path for request in service.requests if request.method == "POST"][1:]
    assert order == [f"{CD}/Eject", f"{CD}/Insert"]
    bmc.eject_media()
    assert bmc.media() is None


def test_media_payload_shrinks_until_the_bmc_takes_it(service: Service) -> None:
    def picky(request: Request) -> Answer | None:
        refused = request.path == f"{CD}/Insert" and set(request.body) != {"Image"}
        return Answer(400, {"error": {"message": "unknown member"}}) if refused else None

    service.script = picky
    answer = service.bmc().insert_media(MediaSource(IMAGE))
    assert (answer.outcome, answer.tries) == (Outcome.VERIFIED, 3)
    sent = [set(body) for body in service.bodies("POST", f"{CD}/Insert")]
    assert sent == [{"Image", "Inserted", "WriteProtected"}, {"Image", "Inserted"}, {"Image"}]


def test_media_that_the_bmc_will_not_take_is_refused_in_its_words(service: Service) -> None:
    message = {"error": {"@Message.ExtendedInfo": {"Message": "Licence does not include virtual media"}}}
    service.script = lambda request: Answer(403, message) if request.path == f"{CD}/Insert" else None
    with pytest.raises(BmcRefused, match="Licence does not include"):
        service.bmc().insert_media(MediaSource(IMAGE))


def test_html_in_place_of_json_is_a_fault_that_quotes_it(service: Service) -> None:
    page = "<html><body><h1>Bad Gateway</h1></body></html>"
    service.script = lambda request: Answer(200, page) if request.path == SYSTEM else None
    with pytest.raises(LabFault, match="Bad Gateway"):
        service.bmc().power()


def test_an_html_error_page_is_a_fault(service: Service) -> None:
    page = "<html><title>500 Internal Error</title></html>"
    service.script = lambda request: Answer(500, page) if request.path == SYSTEM else None
    with pytest.raises(LabFault, match="500 Internal Error"):
        service.bmc().power()


def test_a_read_is_repeated_while_the_bmc_is_away(service: Service) -> None:
    def away_twice(request: Request) -> Answer | None:
        away = request.path == SYSTEM and service.count("GET", SYSTEM) < 3
        return Answer(503, headers={"Retry-After": "0"}) if away else None

    service.script = away_twice
    assert service.bmc().power() == "off"


def test_an_expired_session_is_renewed_once(service: Service) -> None:
    bmc = service.bmc()
    bmc.power()
    service.sessions.clear()
    assert bmc.power() == "off"
    assert service.opened == 2


def test_every_session_is_deleted(service: Service) -> None:
    bmc = service.bmc()
    bmc.power()
    assert len(service.sessions) == 1
    bmc.close()
    assert service.sessions == set()
    bmc.close()


def test_a_wrong_password_is_told_as_such(service: Service) -> None:
    with pytest.raises(BmcCredentials) as refusal:
        service.bmc(password="wrong-Pw").power()
    assert refusal.value.exit_code == 33


def test_redirects_are_not_followed(service: Service) -> None:
    with scripted.service() as elsewhere:
        to = {"Location": f"{elsewhere.url}{SYSTEM}"}
        service.script = lambda request: Answer(302, headers=to) if request.path == SYSTEM else None
        with pytest.raises(LabFault, match="redirects"):
            service.bmc().power()
        assert elsewhere.requests == []


def test_an_ordinary_web_server_is_told_as_such(service: Service) -> None:
    service.script = lambda request: Answer(200, "<html>Welcome to nginx</html>")
    with pytest.raises(LabFault, match=r"no Redfish service.*Welcome to nginx"):
        service.bmc().power()


def test_nobody_there_is_known_at_once(service: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    service.url = f"http://127.0.0.1:{port}"
    with pytest.raises(BmcUnreachable):
        service.bmc().power()


def test_a_bmc_that_accepts_and_stays_silent_is_unreachable_in_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert redfish_connection.CONNECT_LIMIT_S <= 10
    monkeypatch.setattr(redfish_connection, "CONNECT_LIMIT_S", 0.5)
    service.script = lambda request: Answer(200, delay=1.5)
    began = time.monotonic()
    with pytest.raises(BmcUnreachable):
        service.bmc().power()
    assert time.monotonic() - began < 1.4


def test_a_body_that_trickles_ends_with_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redfish_connection, "CONNECT_LIMIT_S", 0.6)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        service = Service(url=f"http://127.0.0.1:{listener.getsockname()[1]}")

        def trickle() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                try:
                    for _ in range(100):
                        peer.sendall(b" " * 10)
                        time.sleep(0.05)
                except OSError:
                    return

        threading.Thread(target=trickle, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(BmcUnreachable):
            service.bmc().power()
        assert time.monotonic() - began < 3


def test_no_secret_reaches_a_log_or_an_error(
    service: Service, everything_logged: pytest.LogCaptureFixture
) -> None:
    bmc = service.bmc()
    bmc.insert_media(MediaSource(IMAGE))
    bmc.set_power(PowerAction.ON)
    service.sessions.clear()
    bmc.power()
    bmc.close()
    with pytest.raises(BmcCredentials) as refusal:
        service.bmc(password="other-s3cret").power()
    told = everything_logged.text + str(refusal.value) + repr(refusal.value) + repr(bmc.__dict__)
    assert "POST" in everything_logged.text, "nothing was logged, so this test proves nothing"
    for secret in (scripted.PASSWORD, scripted.TOKEN, "other-s3cret", 's3cret-\\"redfish'):
        assert secret not in told


class TestTls:
    """Certificates: an authority, a pin, or refused before any credential is sent."""

    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    @pytest.fixture
    def secure(self, authority: trustme.CA) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        return context

    def test_trusted_by_its_authority(
        self, authority: trustme.CA, secure: ssl.SSLContext, tmp_path: Path
    ) -> None:
        file = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(file))
        with scripted.service(secure) as service:
            assert service.bmc(tls=Tls(ca=file)).power() == "off"

    def test_another_authority_is_refused_before_the_password_is_sent(
        self, secure: ssl.SSLContext, tmp_path: Path
    ) -> None:
        file = tmp_path / "ca.pem"
        trustme.CA().cert_pem.write_to_path(str(file))
        with scripted.service(secure) as service:
            with pytest.raises(LabFault, match="no authority that is trusted here"):
                service.bmc(tls=Tls(ca=file)).power()
            assert service.requests == []

    def test_a_pinned_fingerprint(self, secure: ssl.SSLContext) -> None:
        with scripted.service(secure) as service:
            port = int(service.url.rsplit(":", 1)[1])
            der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))
            digest = hashlib.sha256(der).hexdigest()
            assert service.bmc(tls=Tls(fingerprint=f"sha256:{digest}")).power() == "off"
            wrong = f"sha256:{'00' * 32}"
            before = len(service.requests)
            with pytest.raises(LabError, match="it is not the pinned one"):
                service.bmc(tls=Tls(fingerprint=wrong)).power()
            assert len(service.requests) == before


def test_clock_and_identify(service: Service) -> None:
    bmc = service.bmc()
    assert bmc.clock() == dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    assert bmc.identify(True).outcome is Outcome.VERIFIED
    assert service.resources[SYSTEM]["IndicatorLED"] == "Blinking"
    assert bmc.identify(False).outcome is Outcome.VERIFIED


def test_several_systems_are_told_apart_by_mac(service: Service) -> None:
    other = f"{ROOT}/Systems/Blade-8"
    for path, mac in ((SYSTEM, "52:54:00:00:00:07"), (other, "52:54:00:00:00:08")):
        nics = f"{path}/Nics"
        service.resources.setdefault(path, {"PowerState": "On"})["EthernetInterfaces"] = scripted.ref(nics)
        service.resources[nics] = {"Members": [{"@odata.id": f"{nics}/1", "Id": "1", "MACAddress": mac}]}
    service.resources[f"{ROOT}/Systems"]["Members"].append(scripted.ref(other))
    bmc = service.bmc()
    with pytest.raises(LabFault, match="manages 2 systems"):
        bmc.power()
    bmc._tree._macs = {"52:54:00:00:00:08"}
    assert bmc.power() == "on"
