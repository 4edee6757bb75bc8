"""Where a server is reached from outside: its BMC and its console."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from lab.rack.pdu import Pdu
from lab.rack.values import BmcUrl, HostMaybePort, HostPort, SecretReference, Strict, complain

_CONSOLES = ("sol", "serial", "rfc2217", "tcp")


class Tls(Strict):
    """How the BMC's certificate is trusted: by an authority, or by its own SHA-256 fingerprint.

    `ca` is a PEM file; `Rack.resolve` says where a relative one or one in `{state}` lies.
    """

    ca: Path | None = None
    fingerprint: Annotated[str, Field(pattern=r"^sha256:([0-9A-Fa-f]{2}:?){32}$")] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Tls:
        if (self.ca is None) == (self.fingerprint is None):
            raise ValueError("give exactly one of ca and fingerprint")
        return self


def _trust(value: Any) -> str:  # noqa: ANN401 - whatever YAML holds there
    # The angle brackets keep a tag from being taken for a key of the file when an error is located.
    return "<none>" if isinstance(value, str) else "<trust>"


Trust = Annotated[
    Annotated[Tls, Tag("<trust>")] | Annotated[Literal["none"], Tag("<none>")], Discriminator(_trust)
]


class BmcEndpoints(Strict):
    """Where the server's BMC is reached and as whom.

    `ipmi` is `HOST` or `HOST:PORT` (default 623). `sol_user`, where given, is a second account for the
    serial console, for BMCs that do not keep two sessions of one account apart. `tls` absent means that
    the system's authorities vouch for the certificate; `none` is the consent to plain http. `media_slot`
    is the Redfish Id of the virtual drive to use, where a BMC has several and only one boots. `pdu` is how
    to switch the server when its BMC is dead.
    """

    redfish: BmcUrl | None = None
    ipmi: HostMaybePort | None = None
    user: str
    password: SecretReference
    sol_user: str | None = None
    sol_password: SecretReference | None = None
    tls: Trust | None = None
    media_slot: Annotated[str, Field(pattern=r"^[!-~]+$")] | None = None
    pdu: Pdu | None = None

    @model_validator(mode="after")
    def _consistent(self) -> BmcEndpoints:
        if self.redfish is None and self.ipmi is None:
            complain("give redfish, ipmi or both")
        if self.media_slot is not None and self.redfish is None:
            complain("virtual media needs redfish", "media_slot")
        plain = self.redfish is not None and self.redfish.startswith("http://")
        if plain and self.tls != "none":
            complain("plain http needs `tls: none` beside it, so that it is on purpose", "redfish")
        if self.tls == "none" and not plain:
            complain("`none` is for plain http; trust an https certificate by ca or fingerprint", "tls")
        if self.sol_password is not None and self.sol_user is None:
            complain("give sol_user too", "sol_password")
        if self.sol_user is not None and self.sol_password is None:
            complain("give sol_password too", "sol_user")
        return self

    def secrets(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Every reference to a secret in here, and the keys under which it stands."""
        yield ("password",), self.password
        if self.sol_password is not None:
            yield ("sol_password",), self.sol_password
        if self.pdu is not None:
            for keys, reference in self.pdu.secrets():
                yield ("pdu", *keys), reference


class SerialConsole(Strict):
    """A local serial port of the controller."""

    serial: Path
    baud: int = 115200


class SolConsole(Strict):
    """IPMI Serial over LAN through the server's own BMC."""

    sol: dict[str, str] = Field(default_factory=dict, max_length=0)


class Rfc2217Console(Strict):
    """A port of a console server that speaks RFC 2217, `HOST:PORT`."""

    rfc2217: HostPort
    baud: int = 115200


class TcpConsole(Strict):
    """A raw TCP port of a console server, `HOST:PORT`."""

    tcp: HostPort


def _kind(value: Any) -> str | None:  # noqa: ANN401 - whatever YAML holds there
    if isinstance(value, BaseModel):
        keys = set(type(value).model_fields)
    else:
        keys = set(value) if isinstance(value, dict) else set()
    return next((f"<{name}>" for name in _CONSOLES if name in keys), None)


Console = Annotated[
    Annotated[SolConsole, Tag("<sol>")]
    | Annotated[SerialConsole, Tag("<serial>")]
    | Annotated[Rfc2217Console, Tag("<rfc2217>")]
    | Annotated[TcpConsole, Tag("<tcp>")],
    Discriminator(
        _kind,
        custom_error_type="console_kind",
        custom_error_message=f"give exactly one of {', '.join(_CONSOLES)}, such as {{sol: {{}}}}",
    ),
]
