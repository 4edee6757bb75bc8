"""A BMC named on the command line, by its addresses: how it is trusted, and where its password comes from."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from lab.rack.draft import Trust
    from lab.rack.model import Rack


def typed_rack(redfish: str | None, ipmi: str | None, user: str, trust: Trust) -> Rack:
    """A rack of the one server whose BMC is there; its password is LAB_BMC_PASSWORD, or asked for.

    Raises:
        ConfigError: the addresses or the trust cannot be.
        MissingSecret: there is no password, and nobody to ask.
    """
    from pydantic import ValidationError

    from lab.errors import ConfigError
    from lab.rack.draft import asking_rack

    where = redfish or ipmi or ""
    if trust.insecure_http and (trust.ca or trust.fingerprint):
        raise ConfigError(
            f"{where} is plain http, which has no certificate to trust",
            next_step="use https, or leave out --ca and --fingerprint",
        )
    try:
        rack = asking_rack(redfish, user, trust, ipmi=ipmi)
    except ValidationError as error:
        complaints = {
            detail["msg"].removeprefix("Value error, ") for detail in error.errors(include_url=False)
        }
        raise ConfigError(
            f"cannot ask {where}: {'; '.join(sorted(complaints))}",
            next_step="see the command's --help for how to name and trust a BMC",
        ) from error
    _ask_password(f"Password of {user} at {where}")
    return rack


def _ask_password(prompt: str) -> None:
    from lab.errors import MissingSecret
    from lab.rack.draft import PASSWORD_VARIABLE

    if os.environ.get(PASSWORD_VARIABLE):
        return
    if not sys.stdin.isatty():
        raise MissingSecret(
            "no password, and nobody to ask", next_step=f"set the environment variable {PASSWORD_VARIABLE}"
        )
    os.environ[PASSWORD_VARIABLE] = str(typer.prompt(prompt, hide_input=True, err=True))
