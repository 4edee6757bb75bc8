"""Looking at a BMC's certificate: whom it names, until when, and whether the rack file's trust covers it."""

from __future__ import annotations

import hashlib
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from lab.deadline import Deadline
from lab.errors import BmcCertificate, BmcUnreachable, ConfigError, NotABmc

_TIMEOUT_S = 8.0


def trusted_certificate(url: str, *, ca: Path | None = None, fingerprint: str | None = None) -> str:
    """What vouches for the certificate at `url`, in a few words.

    Trust is the `fingerprint` where given, else the authority in the PEM file `ca`, else the system's own.

    Raises:
        ConfigError: the file `ca` is not there or holds no certificate.
        BmcUnreachable: nothing answers there.
        NotABmc: it speaks no TLS.
        BmcCertificate: the certificate is not the one that is trusted.
    """
    if fingerprint is not None:
        seen = certificate(url)
        if plain_fingerprint(fingerprint_of(seen)) != plain_fingerprint(fingerprint):
            raise BmcCertificate(
                f"the certificate of {url} is {fingerprint_of(seen)}, not the pinned one",
                next_step="find out why it changed; if the new one is right, pin it in bmc.tls.fingerprint",
            )
        return f"pinned certificate, {_validity(seen)}"
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"bmc.tls.ca: {ca} is not a readable PEM file: {error}",
            next_step="put the authority's PEM file there",
        ) from error
    try:
        seen = _handshake(url, context)
    except ssl.SSLCertVerificationError as error:
        raise BmcCertificate(
            f"the certificate of {url} is not trusted: {error.verify_message}",
            tried=f"the authority in {ca}" if ca else "this system's authorities",
            next_step=(
                "renew it (is the clock here right?); or " if "expired" in error.verify_message else ""
            )
            + f"if {fingerprint_of(certificate(url))} is this BMC's, pin it: "
            "bmc.tls.fingerprint in the rack file, --fingerprint on the command line (or --ca FILE)",
        ) from error
    return f"vouched for by {ca.name if ca else 'a system authority'}, {_validity(seen)}"


def certificate(url: str) -> bytes:
    """The certificate (DER) that `url` presents, trusted or not; sends nothing but the handshake.

    Raises:
        BmcUnreachable: nothing answers there.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only looked at; the caller compares the fingerprint
    return _handshake(url, context)


def fingerprint_of(der: bytes) -> str:
    """`sha256:` and the hexadecimal digest of a certificate, as `bmc.tls.fingerprint` takes it."""
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def plain_fingerprint(text: str) -> str:
    """A fingerprint's digits alone, lower-case, for comparing."""
    return text.removeprefix("sha256:").replace(":", "").lower()


def _handshake(url: str, context: ssl.SSLContext) -> bytes:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    deadline = Deadline.after(_TIMEOUT_S, f"a TLS handshake with {host}:{port}")
    try:
        with socket.create_connection((host, port), timeout=_TIMEOUT_S) as plain:
            plain.settimeout(max(0.1, deadline.left))
            with context.wrap_socket(plain, server_hostname=host) as secured:
                return secured.getpeercert(binary_form=True) or b""
    except ssl.SSLCertVerificationError:
        raise
    except ssl.SSLError as error:
        raise NotABmc(
            f"no TLS at {host}:{port}: {error.reason or error}",
            tried="one handshake",
            next_step="check the port: what listens there speaks something else (plain http?)",
        ) from error
    except OSError as error:
        raise BmcUnreachable(
            f"no TLS at {host}:{port}: {error}",
            tried=f"one handshake, {_TIMEOUT_S:.0f} s",
            next_step="check the address, the BMC's network port and its HTTPS service",
        ) from error


def _validity(der: bytes) -> str:
    until = x509.load_der_x509_certificate(der).not_valid_after_utc
    return f"{'expired on' if until < datetime.now(UTC) else 'valid until'} {until:%Y-%m-%d}"
