"""Whom we talk to, and the words for what went wrong there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lab.errors import (
    BmcAccountLocked,
    BmcBusy,
    BmcCertificate,
    BmcCredentials,
    BmcRefused,
    BmcUnreachable,
    LabFault,
    NotABmc,
)
from lab.secret import redact

ALIVE_S = 5.0
"""Seconds for which a session that answered is taken to be alive."""


class Unsupported(Exception):
    """This provider cannot do that on this BMC; another one may. Never leaves `lab.bmc`."""


@dataclass(frozen=True)
class Account:
    """A user of the BMC; the password is read when a session is opened and kept nowhere else."""

    user: str
    password: Callable[[], str] = field(repr=False)


@dataclass(frozen=True)
class Target:
    """One face of one server's BMC: makes errors that name it and hold no secret.

    Attributes:
        server: name in the rack file.
        address: the URL or `HOST:PORT` that is talked to.
        what: what messages call it.
    """

    server: str
    address: str
    what: str = "BMC"

    def unreachable(self, tried: str, why: str, next_step: str | None = None) -> BmcUnreachable:
        """Nothing answers at the address."""
        return BmcUnreachable(
            redact(f"{self.what} {self.address} does not answer: {why}"),
            server=self.server,
            tried=redact(tried),
            next_step=next_step
            or "check the address in the rack file, the BMC's cable and power, and firewalls",
        )

    def credentials(self, tried: str, why: str, next_step: str | None = None) -> BmcCredentials:
        """The BMC answers but does not let us in."""
        return BmcCredentials(
            redact(f"{self.what} {self.address} refuses user or password: {why}"),
            server=self.server,
            tried=redact(tried),
            next_step=next_step
            or "check `user` and `password` in the rack file (on the command line: --user, LAB_BMC_PASSWORD)",
        )

    def locked(self, tried: str, why: str) -> BmcAccountLocked:
        """The BMC has locked the account; trying again would only prolong it."""
        return BmcAccountLocked(
            redact(f"{self.what} {self.address} has locked the account: {why}"),
            server=self.server,
            tried=redact(tried),
            next_step="wait until the lock-out ends, or unlock the user at the BMC; "
            "then check the password before trying again",
        )

    def certificate(self, tried: str, why: str, next_step: str | None = None) -> BmcCertificate:
        """TLS is there, but its certificate is not one that the rack file trusts; nothing was sent."""
        return BmcCertificate(
            redact(f"{self.what} {self.address}: its certificate is not trusted: {why}"),
            server=self.server,
            tried=redact(tried),
            next_step=next_step
            or "compare its SHA-256 fingerprint with the BMC's own, then correct `tls` "
            "in the rack file, or renew the certificate at the BMC",
        )

    def not_a_bmc(self, tried: str, why: str) -> NotABmc:
        """Something else than a BMC of that protocol answers at the address."""
        return NotABmc(
            redact(f"{self.address} is not a BMC: {why}"),
            server=self.server,
            tried=redact(tried),
            next_step="check address and port in the rack file: what listens there speaks something else",
        )

    def busy(self, tried: str, why: str) -> BmcBusy:
        """The BMC is alive, but its session table is full or it asks us to come back later."""
        return BmcBusy(
            redact(f"{self.what} {self.address} is busy: {why}"),
            server=self.server,
            tried=redact(tried),
            next_step="close other sessions to this BMC (`lab bmc sessions`), wait until they expire, "
            "or restart it (`lab bmc reset`)",
        )

    def refused(self, tried: str, why: str, next_step: str | None = None) -> BmcRefused:
        """The BMC understood and said no."""
        return BmcRefused(
            redact(f"{self.what} {self.address} refused: {why}"),
            server=self.server,
            tried=redact(tried),
            next_step=next_step or "see the BMC's own log; check the user's privileges and licence",
        )

    def fault(self, tried: str, why: str, next_step: str) -> LabFault:
        """Anything else that the lab's keeper must look at."""
        return LabFault(
            redact(f"{self.what} {self.address}: {why}"),
            server=self.server,
            tried=redact(tried),
            next_step=next_step,
        )
