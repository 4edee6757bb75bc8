"""The power outlets a server hangs on: the last way to switch it off when its BMC is dead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from lab.rack.values import HostMaybePort, SecretReference, Strict, complain

Oid = Annotated[str, Field(pattern=r"^[0-2](\.[0-9]+)+\.\{outlet\}(\.[0-9]+)*$")]
"""An object identifier in which `{outlet}` stands for the outlet's index."""
Outlet = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    Field(pattern=r"^[0-9]+(\.[0-9]+)*$"),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}),
]
Version = Annotated[
    Literal["1", "2c", "3"],
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    WithJsonSchema({"enum": ["1", "2c", "3", 1, 3]}),
]
AuthProtocol = Literal["md5", "sha", "sha224", "sha256", "sha384", "sha512"]
PrivacyProtocol = Literal["des", "3des", "aes", "aes192", "aes256"]


class Order(Strict):
    """An SNMP object and the integer that is written to it."""

    oid: Oid
    value: int


class OutletObjects(Strict):
    """How one kind of PDU is driven by SNMP.

    Attributes:
        switch_on: what is written to switch an outlet on at once.
        switch_off: what is written to switch it off at once.
        state: the object that tells whether it is on.
        state_on: values of `state` for an outlet that gives power.
        state_off: values of `state` for one that does not; any other means that it is about to change.
    """

    switch_on: Order
    switch_off: Order
    state: Oid
    state_on: Annotated[tuple[int, ...], Field(min_length=1)]
    state_off: Annotated[tuple[int, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _apart(self) -> OutletObjects:
        if set(self.state_on) & set(self.state_off):
            complain("a value cannot mean both on and off", "state_off")
        return self


class Auth(Strict):
    """SNMPv3 authentication (RFC 3414, RFC 7860); `key` is a passphrase of at least eight letters."""

    protocol: AuthProtocol = "sha256"
    key: SecretReference


class Privacy(Strict):
    """SNMPv3 encryption (RFC 3414, RFC 3826); `key` is a passphrase of at least eight letters."""

    protocol: PrivacyProtocol = "aes"
    key: SecretReference


class Pdu(Strict):
    """The outlets of one PDU that feed this server, all of them: a server with two supplies has two.

    `snmp` is `HOST` or `HOST:PORT` (default 161). `model` names an entry of lab/bmc/pdu/pdus.yaml; a PDU
    that is not there is described by `oid`. `community` goes with versions 1 and 2c, `user`, `auth` and
    `privacy` with version 3, and `context` where its agent has several. `off_s` is how long a power cycle
    keeps the outlets off, in seconds.
    """

    snmp: HostMaybePort
    model: str | None = None
    oid: OutletObjects | None = None
    outlets: Annotated[tuple[Outlet, ...], Field(min_length=1)]
    version: Version = "2c"
    community: SecretReference | None = None
    user: str | None = None
    auth: Auth | None = None
    privacy: Privacy | None = None
    context: str = ""
    off_s: Annotated[float, Field(ge=1, le=300)] = 10.0

    @model_validator(mode="after")
    def _consistent(self) -> Pdu:
        if (self.model is None) == (self.oid is None):
            complain("give exactly one of model and oid")
        if self.model is not None:
            self._check_model(self.model)
        if len(set(self.outlets)) < len(self.outlets):
            complain("an outlet is listed twice", "outlets")
        if self.version == "3":
            if self.user is None:
                complain("SNMP version 3 needs user (and, where the PDU wants them, auth and privacy)")
            if self.community is not None:
                complain("a community goes with versions 1 and 2c; version 3 has user", "community")
            if self.privacy is not None and self.auth is None:
                complain("privacy needs auth too", "privacy")
        else:
            if self.community is None:
                complain(f"SNMP version {self.version} needs community: env:NAME or file:PATH")
            if self.user or self.auth or self.privacy or self.context:
                complain("user, auth, privacy and context go with `version: 3`", "version")
        return self

    def secrets(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Every reference to a secret in here, and the keys under which it stands."""
        if self.community is not None:
            yield ("community",), self.community
        if self.auth is not None:
            yield ("auth", "key"), self.auth.key
        if self.privacy is not None:
            yield ("privacy", "key"), self.privacy.key

    def _check_model(self, model: str) -> None:
        # Here, not above: whoever reads a rack file without PDUs need not load their list.
        from lab.bmc.pdu.models import known

        models = known()
        if model not in models:
            complain(f"no PDU '{model}' is known: {', '.join(sorted(models))}; others by `oid`", "model")
        shape = models[model].outlets
        for index, outlet in enumerate(self.outlets):
            if not re.fullmatch(shape.pattern, outlet):
                complain(f"outlets of {model} are named {shape.such_as}", "outlets", index)
