"""SNMP as a PDU needs it, on pysnmp 7: integers read, repeated until answered; one integer written, once."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pysnmp.error import PySnmpError
from pysnmp.hlapi.v3arch import asyncio as hlapi
from pysnmp.proto import errind

from lab.bmc.target import Target
from lab.errors import BmcUnreachable

PORT = 161
READ_TRIES = 3
READ_S = 1.5
"""Seconds to wait for the answer to one datagram that reads."""
WRITE_S = 4.0
_SHUT_OUT = (
    errind.UnknownUserName,
    errind.UnknownSecurityName,
    errind.UnknownCommunityName,
    errind.WrongDigest,
    errind.AuthenticationError,
    errind.AuthenticationFailure,
    errind.DecryptionError,
    errind.UnsupportedSecurityLevel,
    errind.UnsupportedAuthProtocol,
    errind.UnsupportedPrivProtocol,
)
_AUTH = {
    "md5": hlapi.USM_AUTH_HMAC96_MD5,
    "sha": hlapi.USM_AUTH_HMAC96_SHA,
    "sha224": hlapi.USM_AUTH_HMAC128_SHA224,
    "sha256": hlapi.USM_AUTH_HMAC192_SHA256,
    "sha384": hlapi.USM_AUTH_HMAC256_SHA384,
    "sha512": hlapi.USM_AUTH_HMAC384_SHA512,
}
_PRIVACY = {
    "des": hlapi.USM_PRIV_CBC56_DES,
    "3des": hlapi.USM_PRIV_CBC168_3DES,
    "aes": hlapi.USM_PRIV_CFB128_AES,
    "aes192": hlapi.USM_PRIV_CFB192_AES,
    "aes256": hlapi.USM_PRIV_CFB256_AES,
}
_T = TypeVar("_T")


class NoAnswer(Exception):
    """A write was sent, and no answer came: whether it was carried out is open."""


class NotThere(Exception):
    """The agent answers, but has no such object."""


@dataclass(frozen=True)
class Credentials:
    """What an agent wants to know. The secrets are read when the first datagram is made."""

    version: str = "2c"
    community: Callable[[], str] | None = field(default=None, repr=False)
    user: str = ""
    auth: str | None = None
    auth_key: Callable[[], str] | None = field(default=None, repr=False)
    privacy: str | None = None
    privacy_key: Callable[[], str] | None = field(default=None, repr=False)
    context: str = ""

    def as_pysnmp(self) -> hlapi.CommunityData | hlapi.UsmUserData:
        """The same, as pysnmp takes it."""
        if self.community is not None:
            return hlapi.CommunityData(self.community(), mpModel=0 if self.version == "1" else 1)
        keys = {"authKey": self.auth_key, "privKey": self.privacy_key}
        protocols = {
            "authProtocol": _AUTH[self.auth] if self.auth else None,
            "privProtocol": _PRIVACY[self.privacy] if self.privacy else None,
        }
        given: dict[str, Any] = {name: key() for name, key in keys.items() if key is not None}
        given |= {name: value for name, value in protocols.items() if value is not None}
        return hlapi.UsmUserData(self.user, **given)  # noqa: S509 - as the rack file says


class SnmpAgent:
    """One SNMP agent. Not to be used from a coroutine: it runs an event loop of its own."""

    def __init__(self, target: Target, host: str, port: int, credentials: Credentials) -> None:
        self._target = target
        self._address = (host, port)
        self._credentials = credentials
        self._runner: asyncio.Runner | None = None
        self._engine: hlapi.SnmpEngine | None = None
        self._who: hlapi.CommunityData | hlapi.UsmUserData | None = None

    def read(self, oids: Sequence[str]) -> list[int]:
        """The integers at `oids`, all in one datagram, repeated up to `READ_TRIES` times.

        Raises:
            BmcUnreachable: no answer.
            BmcCredentials: version 3, and the user or a key is wrong.
            NotThere: one of them is not there.
            LabFault: the agent says no.
        """
        wanted = [hlapi.ObjectType(hlapi.ObjectIdentity(oid)) for oid in oids]
        tried = f"SNMP get, {READ_TRIES} times, {READ_S} s each"
        try:
            values = self._run(lambda: self._request(hlapi.get_cmd, wanted, READ_S, READ_TRIES - 1, tried))
        except NoAnswer as silence:
            raise self._silent(tried, str(silence)) from silence
        return [self._integer(oid, value, tried) for oid, value in zip(oids, values, strict=True)]

    def write(self, oid: str, value: int) -> None:
        """Write `value` at `oid`: one datagram, never repeated.

        Raises:
            NoAnswer: it went out, but no answer came.
            NotThere: it is not there.
            BmcRefused, BmcCredentials: the agent says no.
        """
        change = [hlapi.ObjectType(hlapi.ObjectIdentity(oid), hlapi.Integer32(value))]
        tried = f"SNMP set of {oid} to {value}, sent once"
        self._run(lambda: self._request(hlapi.set_cmd, change, WRITE_S, 0, tried))

    def close(self) -> None:
        """Close the socket."""
        runner, self._runner = self._runner, None
        engine, self._engine = self._engine, None
        if runner is None:
            return
        if engine is not None:

            async def hang_up() -> None:
                engine.close_dispatcher()

            runner.run(hang_up())
        runner.close()

    def _run(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(work())

    async def _request(
        self, command: Callable[..., Any], objects: list[Any], seconds: float, retries: int, tried: str
    ) -> list[Any]:
        if self._engine is None:
            self._engine = hlapi.SnmpEngine()
        if self._who is None:
            self._who = self._credentials.as_pysnmp()
        context = hlapi.ContextData(contextName=self._credentials.context.encode())
        try:
            transport = await self._transport(seconds, retries)
            problem, status, place, bindings = await command(
                self._engine, self._who, transport, context, *objects, lookupMib=False
            )
        except PySnmpError as error:
            raise self._silent(tried, str(error)) from error
        if isinstance(problem, errind.RequestTimedOut):
            raise NoAnswer(f"{tried}: no answer")
        if isinstance(problem, _SHUT_OUT):
            raise self._target.credentials(
                tried, str(problem), "check `user`, `auth` and `privacy` under bmc.pdu in the rack file"
            )
        if problem:
            raise self._target.fault(tried, f"SNMP went wrong: {problem}", "check `version` under bmc.pdu")
        if status:
            name = status.prettyPrint()
            if name in ("noSuchName", "noCreation", "inconsistentName"):
                raise NotThere(f"{name}, object {int(place)}")
            raise self._target.refused(
                tried, f"SNMP error {name}", "give the PDU's user or community the right to write"
            )
        return [value for _, value in bindings]

    async def _transport(self, seconds: float, retries: int) -> Any:  # noqa: ANN401 - pysnmp's own type
        kind = hlapi.Udp6TransportTarget if _is_v6(self._address[0]) else hlapi.UdpTransportTarget
        return await kind.create(self._address, timeout=seconds, retries=retries)

    def _integer(self, oid: str, value: Any, tried: str) -> int:  # noqa: ANN401 - whatever the agent sent
        if isinstance(value, (hlapi.NoSuchObject, hlapi.NoSuchInstance, hlapi.EndOfMibView)):
            raise NotThere(f"nothing at {oid}")
        try:
            return int(value)
        except (TypeError, ValueError) as error:
            raise self._target.fault(
                tried, f"{oid} holds no integer", "check `model` under bmc.pdu"
            ) from error

    def _silent(self, tried: str, why: str) -> BmcUnreachable:
        return self._target.unreachable(
            tried,
            why,
            "check address, `version` and community under bmc.pdu: a wrong community gets no answer",
        )


def _is_v6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
