"""Looking at a BMC's certificate: trusted, pinned, foreign, absent."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from socket import create_server

import pytest
import trustme

from lab.errors import BmcUnreachable, ConfigError, LabFault
from lab.rack.tls import certificate, fingerprint_of, trusted_certificate


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def url(authority: trustme.CA) -> Iterator[str]:
    """A TLS server on loopback whose certificate `authority` signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                with plain:
                    try:
                        context.wrap_socket(plain, server_side=True).close()
                    except OSError:
                        continue  # the client refused us, which is what half of these tests are about

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


def test_a_certificate_of_the_named_authority_is_trusted(url: str, ca_file: Path) -> None:
    assert trusted_certificate(url, ca=ca_file).startswith("vouched for by ca.pem, valid until ")


def test_a_pinned_certificate_is_trusted_however_its_digits_are_written(url: str) -> None:
    pin = fingerprint_of(certificate(url))
    digits = pin.removeprefix("sha256:").upper()
    spelt = "sha256:" + ":".join(digits[n : n + 2] for n in range(0, 64, 2))
    for fingerprint in (pin, spelt):
        assert trusted_certificate(url, fingerprint=fingerprint).startswith(
            "pinned certificate, valid until "
        )


def test_another_pin_is_refused_and_names_what_was_seen(url: str) -> None:
    with pytest.raises(LabFault, match="not the pinned one") as refused:
        trusted_certificate(url, fingerprint="sha256:" + "00" * 32)
    assert fingerprint_of(certificate(url)) in refused.value.message


@pytest.mark.parametrize("whose", ["another authority's", "the system's"])
def test_a_foreign_certificate_is_refused_and_the_pin_offered(whose: str, url: str, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with pytest.raises(LabFault, match="is not trusted") as refused:
        trusted_certificate(url, ca=other if whose == "another authority's" else None)
    assert f"if {fingerprint_of(certificate(url))} is this BMC's" in refused.value.next_step


@pytest.mark.parametrize("content", [None, "no certificate in here"])
def test_a_missing_or_wrong_authority_file_is_the_authors_to_mend(
    content: str | None, url: str, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"bmc\.tls\.ca"):
        trusted_certificate(url, ca=file)


def test_nobody_at_the_address() -> None:
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(BmcUnreachable, match=f"no TLS at 127.0.0.1:{port}"):
        trusted_certificate(f"https://127.0.0.1:{port}")
