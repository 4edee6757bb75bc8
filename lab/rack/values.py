"""The small values a rack file is made of: names, addresses, sizes, references to secrets.

Each refuses what it cannot be with a sentence that shows what it should look like.
"""

from __future__ import annotations

import re
from typing import Annotated, NoReturn

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, WithJsonSchema
from pydantic_core import PydanticCustomError

from lab.secret import is_reference

_UNITS = {
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
_MAC = r"^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$"
_SERIAL = r"^[!-~]+( +[!-~]+)*$"
_HOST = r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_HOST_PORT = rf"^{_HOST}:[0-9]{{1,5}}$"
_HOST_MAYBE_PORT = rf"^{_HOST}(:[0-9]{{1,5}})?$"
_URL = rf"^https?://{_HOST}(:[0-9]{{1,5}})?$"
_SECRET = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"  # noqa: S105 - the form of a reference, not a secret


class Strict(BaseModel):
    """Base of everything read from YAML: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def complain(message: str, *at: str | int) -> NoReturn:
    """Refuse a value because of something below it; `at` is the way down to the key to blame."""
    raise PydanticCustomError("misfit", "{message}", {"message": message, "at": list(at)})


def parse_size(value: object) -> int:
    """Bytes of `64 GiB`, `500 GB`, `4096`; ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = (
        re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?B|B)\s*", value, re.ASCII)
        if isinstance(value, str)
        else None
    )
    if not found:
        raise ValueError(f"'{value}' is not a size such as 64 GiB")
    return int(float(found[1]) * _UNITS[found[2]])


def _like(pattern: str, what: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern.removeprefix("^").removesuffix("$"), text):
            raise ValueError(f"'{text}' is not {what}")
        return text

    return AfterValidator(check)


def _with_port() -> AfterValidator:
    def port_in_range(text: str) -> str:
        port = re.search(r":(\d+)$", text)
        if port and not text.endswith("]") and not 1 <= int(port[1]) <= 65535:
            raise ValueError(f"port {port[1]} is not between 1 and 65535")
        return text

    return AfterValidator(port_in_range)


def _reference(text: str) -> str:
    if not is_reference(text):
        raise ValueError("a secret is named as env:NAME or file:PATH, never written here")
    return text


def _pattern(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern})


def _switch(value: object) -> object:
    """`off` and `on`, which YAML 1.1 reads as false and true, as the words they are."""
    return {False: "off", True: "on"}[value] if isinstance(value, bool) else value


OnOff = BeforeValidator(_switch)
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=63)]
Flag = StrictBool
Mac = Annotated[
    str,
    _like(_MAC, "a MAC address such as b0:7b:25:01:02:03"),
    AfterValidator(lambda text: text.lower().replace("-", ":")),
    _pattern(_MAC),
]
Identifier = Annotated[str, _like(_SERIAL, "a serial or WWN as the disk reports it"), _pattern(_SERIAL)]
SecretReference = Annotated[str, AfterValidator(_reference), _pattern(_SECRET)]
BmcUrl = Annotated[
    str,
    _like(_URL, "a BMC's URL such as https://192.0.2.12, without path or user"),
    _with_port(),
    _pattern(_URL),
]
HostPort = Annotated[str, _like(_HOST_PORT, "HOST:PORT"), _with_port(), _pattern(_HOST_PORT)]
HostMaybePort = Annotated[
    str, _like(_HOST_MAYBE_PORT, "HOST or HOST:PORT"), _with_port(), _pattern(_HOST_MAYBE_PORT)
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([KMGT]i?B|B)\s*$"},
            ]
        }
    ),
]
