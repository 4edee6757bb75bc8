"""The kinds of PDU that are known, from `pdus.yaml`."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Annotated

from pydantic import Field

from lab.rack.pdu import OutletObjects
from lab.rack.values import Strict
from lab.strict_yaml import load_model

FILE_NAME = "pdus.yaml"


class OutletNames(Strict):
    """How outlets of a PDU are named in a rack file: a regular expression, and an example for people."""

    pattern: str = r"\d+"
    such_as: str = "by number, such as 3"


class PduModel(Strict):
    """One kind of PDU; `source` names the MIB and the objects, `covers` the products."""

    covers: str
    source: str
    outlets: OutletNames = OutletNames()
    objects: OutletObjects


class PduFile(Strict):
    """The whole of `pdus.yaml`."""

    pdus: Annotated[dict[str, PduModel], Field(min_length=1)]


@functools.cache
def known() -> dict[str, PduModel]:
    """Every known kind, by the name that `bmc.pdu.model` takes."""
    with resources.as_file(resources.files("lab.bmc.pdu") / FILE_NAME) as file:
        return load_model(file, PduFile).pdus
