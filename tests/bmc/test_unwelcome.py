"""All that can be wrong with a BMC's address, account or certificate: each told apart, with a next step.

Each case is asked twice: by the library, and by `lab bmc probe` as a person types it.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from socket import SOCK_DGRAM, SOCK_STREAM

import pytest
import trustme

from lab.bmc.ipmi import session as ipmi_session
from lab.bmc.open import providers_of
from lab.bmc.redfish import connection as redfish_connection
from lab.cli.address import typed_rack
from lab.errors import (
    BmcAccountLocked,
    BmcBusy,
    BmcCertificate,
    BmcCredentials,
    BmcUnreachable,
    ConfigError,
    LabError,
    MissingSecret,
    NotABmc,
)
from lab.rack import tls
from lab.rack.draft import PASSWORD_VARIABLE, Trust
from tests.bmc import ipmi_sim, scripted_redfish, strangers
from tests.bmc.scripted_redfish import Answer, Request
from tests.lab_command import LabCommand, lab

__all__ = ["lab"]

LATEST_S = 10.0
SLACK_S = 10.0
"""Seconds that a loaded machine may add."""


@dataclass
class World:
    """What a case may start, and it ends with the test."""

    folder: Path
    stack: ExitStack
    authority: trustme.CA = field(default_factory=trustme.CA)

    def redfish(self, *, expired: bool = False, secure: bool = False) -> scripted_redfish.Service:
        """A Redfish service, over TLS where `secure` or `expired`."""
        context = strangers.server_tls(self.authority, expired=expired) if secure or expired else None
        return self.stack.enter_context(scripted_redfish.service(context))

    def ipmi(self) -> ipmi_sim.Simulator:
        """An ipmi_sim."""
        return self.stack.enter_context(ipmi_sim.simulator(self.folder / "sim"))

    def authority_file(self) -> Path:
        """The authority's PEM."""
        file = self.folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(file))
        return file


@dataclass(frozen=True)
class Asked:
    """How somebody names a BMC."""

    redfish: str | None = None
    ipmi: str | None = None
    user: str = scripted_redfish.USER
    password: str = scripted_redfish.PASSWORD
    ca: Path | None = None
    fingerprint: str | None = None

    def options(self) -> list[str]:
        """As `lab bmc probe` takes it."""
        given: dict[str, str | None] = {"redfish": self.redfish, "ipmi": self.ipmi, "user": self.user}
        given |= {"ca": str(self.ca) if self.ca else None, "fingerprint": self.fingerprint}
        return [word for name, value in given.items() if value for word in (f"--{name}", value)]


def saying(status: int, message: str) -> Callable[[Request], Answer | None]:
    """Logging in ends with this."""

    def script(request: Request) -> Answer | None:
        if request.method != "POST" or not request.path.endswith("/Sessions"):
            return None
        return Answer(status, {"error": {"message": message}})

    return script


def scripted(world: World, status: int, message: str) -> Asked:
    service = world.redfish()
    service.script = saying(status, message)
    return Asked(redfish=service.url)


def wrong_user(world: World) -> Asked:
    return Asked(redfish=world.redfish().url, user="nobody")


def wrong_password(world: World) -> Asked:
    return Asked(redfish=world.redfish().url, password="wr0ng-secret")


def locked(world: World) -> Asked:
    return scripted(world, 401, "The account is locked out because of too many failed attempts.")


def expired_password(world: World) -> Asked:
    return scripted(world, 403, "PasswordChangeRequired: the password must be changed.")


def full(world: World) -> Asked:
    return scripted(world, 503, "RAC0218: The maximum number of user sessions is reached.")


def expired(world: World) -> Asked:
    return Asked(redfish=world.redfish(expired=True).url, ca=world.authority_file())


def unknown_authority(world: World) -> Asked:
    return Asked(redfish=world.redfish(secure=True).url)


def wrong_fingerprint(world: World) -> Asked:
    return Asked(redfish=world.redfish(secure=True).url, fingerprint="sha256:" + "ab" * 32)


def plain_http_at_an_https_address(world: World) -> Asked:
    return Asked(redfish=world.redfish().url.replace("http:", "https:"), ca=world.authority_file())


def web(world: World) -> Asked:
    return Asked(redfish=world.stack.enter_context(strangers.web_server(world.folder)))


def echo(world: World) -> Asked:
    return Asked(redfish=f"http://{world.stack.enter_context(strangers.tcp_echo())}")


def echo_at_https(world: World) -> Asked:
    return Asked(redfish=f"https://{world.stack.enter_context(strangers.tcp_echo())}")


def refused(world: World) -> Asked:
    return Asked(redfish=f"http://{strangers.nobody(SOCK_STREAM)}")


def refused_https(world: World) -> Asked:
    return Asked(redfish=f"https://{strangers.nobody(SOCK_STREAM)}")


def filtered(world: World) -> Asked:
    return Asked(redfish=f"http://{world.stack.enter_context(strangers.tcp_silence())}")


def filtered_https(world: World) -> Asked:
    return Asked(redfish=f"https://{world.stack.enter_context(strangers.tcp_silence())}")


def no_such_host(world: World) -> Asked:
    return Asked(redfish="http://bmc.invalid")


def ipmi_wrong_user(world: World) -> Asked:
    return Asked(ipmi=world.ipmi().address, user="nobody", password=ipmi_sim.PASSWORD)


def ipmi_wrong_password(world: World) -> Asked:
    return Asked(ipmi=world.ipmi().address, user=ipmi_sim.USER, password="wr0ng-secret")


def ipmi_refused(world: World) -> Asked:
    return Asked(ipmi=strangers.nobody(SOCK_DGRAM))


def ipmi_filtered(world: World) -> Asked:
    return Asked(ipmi=world.stack.enter_context(strangers.udp_silence()))


def ipmi_echo(world: World) -> Asked:
    return Asked(ipmi=world.stack.enter_context(strangers.udp_echo()))


def ipmi_no_such_host(world: World) -> Asked:
    return Asked(ipmi="bmc.invalid")


Case = tuple[Callable[[World], Asked], type[LabError], str, str]
CASES: list[Case] = [
    (wrong_user, BmcCredentials, "refuses user or password", "password"),
    (wrong_password, BmcCredentials, "refuses user or password", "password"),
    (locked, BmcAccountLocked, "locked", "unlock"),
    (expired_password, BmcCredentials, "must be changed", "change it at the BMC"),
    (full, BmcBusy, "session table is full", "close other sessions"),
    (expired, BmcCertificate, "expired", "renew"),
    (unknown_authority, BmcCertificate, "certificate", "fingerprint"),
    (wrong_fingerprint, BmcCertificate, "not the pinned one", "fingerprint"),
    (plain_http_at_an_https_address, NotABmc, "no TLS", "port"),
    (web, NotABmc, "no Redfish service", "check address and port"),
    (echo, NotABmc, "no HTTP", "check address and port"),
    (echo_at_https, NotABmc, "no TLS", "port"),
    (refused, BmcUnreachable, "refused", "check the address"),
    (refused_https, BmcUnreachable, "refused", "check the address"),
    (filtered, BmcUnreachable, "does not answer", "firewalls"),
    (filtered_https, BmcUnreachable, "timed out", "check the address"),
    (no_such_host, BmcUnreachable, "bmc.invalid", "check the address"),
    (ipmi_wrong_user, BmcCredentials, "name", "`user`"),
    (ipmi_wrong_password, BmcCredentials, "incorrect password", "password"),
    (ipmi_refused, BmcUnreachable, "nothing listens on UDP port", "enable IPMI over LAN"),
    (ipmi_filtered, BmcUnreachable, "is silent|nor to anything", "firewall"),
    (ipmi_echo, NotABmc, "echo", "check address and port"),
    (ipmi_no_such_host, BmcUnreachable, "", "check the address"),
]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, stack)


each = pytest.mark.parametrize(
    ("arrange", "kind", "said", "next_step"), CASES, ids=[case[0].__name__ for case in CASES]
)


@each
def test_by_the_library(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    arrange: Callable[[World], Asked],
    kind: type[LabError],
    said: str,
    next_step: str,
) -> None:
    asked = arrange(world)
    if arrange is filtered_https:  # one such wait by each protocol shows that it ends in time
        monkeypatch.setattr(tls, "_TIMEOUT_S", 2.0)
        monkeypatch.setattr(redfish_connection, "CONNECT_LIMIT_S", 2.0)
    monkeypatch.setenv(PASSWORD_VARIABLE, asked.password)
    plain = asked.redfish is not None and asked.redfish.startswith("http:")
    rack = typed_rack(asked.redfish, asked.ipmi, asked.user, Trust(asked.ca, asked.fingerprint, plain))
    (provider,) = providers_of(rack, rack.servers[0])
    began = time.monotonic()
    with pytest.raises(LabError) as ended:
        provider.connect()
    took = time.monotonic() - began
    provider.close()
    error = ended.value
    assert type(error) is kind, str(error)
    assert took < LATEST_S + SLACK_S
    assert re.search(said, error.message), error.message
    assert re.search(next_step, error.next_step), error.next_step
    assert asked.password not in str(error)


@each
def test_by_the_command(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    lab: LabCommand,
    arrange: Callable[[World], Asked],
    kind: type[LabError],
    said: str,
    next_step: str,
) -> None:
    asked = arrange(world)
    monkeypatch.setenv(PASSWORD_VARIABLE, asked.password)
    # Their full length is waited for by the test above.
    monkeypatch.setattr(tls, "_TIMEOUT_S", 2.0)
    monkeypatch.setattr(redfish_connection, "CONNECT_LIMIT_S", 2.0)
    monkeypatch.setattr(ipmi_session, "LOGIN_S", 4.0)
    ran = lab("bmc", "probe", *asked.options())
    assert ran.code == kind.exit_code, ran.err
    assert ran.out == ""
    assert re.search(said, ran.err), ran.err
    assert re.search(f"next: .*({next_step})", ran.err), ran.err
    assert asked.password not in ran.err


def test_a_user_that_is_shut_out_after_it_was_let_in_is_locked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = world.ipmi()
    monkeypatch.setenv(PASSWORD_VARIABLE, ipmi_sim.PASSWORD)
    rack = typed_rack(None, sim.address, ipmi_sim.USER, Trust())
    (provider,) = providers_of(rack, rack.servers[0])
    provider.connect()
    provider.close()
    sim.stop()
    config = sim.folder / "lan.conf"
    config.write_text(config.read_text().replace('user 2 true "lab"', 'user 2 false "lab"'))
    for file in (sim.folder / "state").rglob("*"):
        if file.is_file():
            file.unlink()
    sim.start()
    with pytest.raises(BmcAccountLocked, match="logged in before") as error:
        provider.connect()
    provider.close()
    assert "unlock" in error.value.next_step


def test_an_unknown_certificate_shows_its_fingerprint_and_the_pin_then_works(
    world: World, monkeypatch: pytest.MonkeyPatch, lab: LabCommand
) -> None:
    service = world.redfish(secure=True)
    monkeypatch.setenv(PASSWORD_VARIABLE, scripted_redfish.PASSWORD)
    asked = Asked(redfish=service.url).options()
    ran = lab("bmc", "probe", *asked)
    assert ran.code == BmcCertificate.exit_code
    shown = re.search(r"sha256:[0-9a-f]{64}", ran.err)
    assert shown and "--fingerprint" in ran.err
    assert service.requests == []
    for trust in (["--fingerprint", shown[0]], ["--ca", str(world.authority_file())]):
        ran = lab("bmc", "probe", *asked, *trust)
        assert (ran.code, service.sessions) == (0, set()), ran.err


def test_nobody_to_ask_for_a_password_is_told_before_anything_is_sent(
    world: World, monkeypatch: pytest.MonkeyPatch, lab: LabCommand
) -> None:
    service = world.redfish()
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert lab("bmc", "probe", "--redfish", service.url).code == MissingSecret.exit_code
    assert service.requests == []


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["srv", "--redfish", "https://192.0.2.1"],
        ["--redfish", "192.0.2.1"],
        ["--redfish", "https://192.0.2.1/redfish/v1"],
        ["--redfish", "https://lab:pw@192.0.2.1"],
        ["--ipmi", "192.0.2.1:99999"],
        ["--redfish", "https://192.0.2.1", "--fingerprint", "abc"],
        ["--redfish", "https://192.0.2.1", "--fingerprint", "sha256:" + "ab" * 32, "--ca", "x.pem"],
        ["--redfish", "https://192.0.2.1", "--ca", "/nowhere/ca.pem"],
        ["--redfish", "http://192.0.2.1", "--ca", "x.pem"],
    ],
    ids=lambda options: " ".join(options)[:60],
)
def test_an_address_that_cannot_be_is_the_persons_to_mend(
    monkeypatch: pytest.MonkeyPatch, lab: LabCommand, options: list[str]
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "pw")
    ran = lab("bmc", "probe", *options)
    assert (ran.code, ran.out) == (ConfigError.exit_code, ""), ran.err
    assert "next: " in ran.err
