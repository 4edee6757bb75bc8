from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import ConfigError, DiskAmbiguous, DiskNotFound, InstallFailure
from lab.media.service import MediaService
from lab.secret import redact

IMAGE = bytes(range(256)) * 8192


def ask(
    url: str, *, method: str = "", data: bytes | None = None, source: str = "127.0.0.1", **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    """One request from a given loopback address; status, body, headers."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=5, source_address=(source, 0))
    try:
        connection.request(
            method or ("GET" if data is None else "POST"), f"/{path}", body=data, headers=headers
        )
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def service(tmp_path: Path, said: list[str]) -> Iterator[MediaService]:
    image = tmp_path / "image"
    image.write_bytes(IMAGE)
    with MediaService(("127.0.0.1",), 0, server="s1", release="kvm", progress=said.append) as running:
        running.offer("install.env", lambda: b"SERVER='s1'\n")
        running.offer("image", image)
        running.offer("overlay.tar", b"private")
        running.offer("kernel", b"kernel")
        yield running


@pytest.fixture
def url(service: MediaService) -> str:
    return service.url_for_server("127.0.0.1")


def soon(seconds: float = 5.0) -> Deadline:
    return Deadline.after(seconds, "the test's install")


def test_the_server_gets_its_things_and_says_done(service: MediaService, url: str) -> None:
    assert ask(f"{url}/kernel")[1] == b"kernel"
    assert ask(f"{url}/install.env")[1] == b"SERVER='s1'\n"
    assert ask(f"{url}/image")[1] == IMAGE
    assert ask(f"{url}/overlay.tar")[1] == b"private"
    assert not service.settled
    assert ask(f"{url}/done", data=b"serial=D1\ndigest=00\n")[0] == 200
    service.wait_done(soon())
    assert service.report == "serial=D1\ndigest=00"
    assert list(service.fetched) == ["kernel", "install.env", "image", "overlay.tar"]


def test_ranges_are_served_as_bmcs_ask_for_them(service: MediaService, tmp_path: Path) -> None:
    iso = service.offer_iso(tmp_path / "image", "127.0.0.1")
    status, body, headers = ask(iso, Range="bytes=1000-1999")
    assert (status, body) == (206, IMAGE[1000:2000])
    assert headers["Content-Range"] == f"bytes 1000-1999/{len(IMAGE)}"
    assert ask(iso, Range=f"bytes={len(IMAGE) - 5}-")[1] == IMAGE[-5:]
    assert ask(iso, Range=f"bytes={len(IMAGE)}-")[0] == 416
    status, _, headers = ask(iso, method="HEAD")
    assert (status, int(headers["Content-Length"])) == (200, len(IMAGE))
    assert headers["Accept-Ranges"] == "bytes"


def test_addresses_cannot_be_guessed_and_differ(service: MediaService, url: str, tmp_path: Path) -> None:
    iso = service.offer_iso(tmp_path / "image", "127.0.0.1")
    server_part, bmc_part = url.split("/")[3], iso.split("/")[3]
    loader_part = service.url_for_loader("127.0.0.1").split("/")[3]
    assert len(server_part) >= 128 / 6  # URL-safe base64 carries 6 bits a letter
    assert len({server_part, bmc_part, loader_part}) == 3
    assert ask(f"{url.removesuffix(server_part)}{loader_part}/kernel")[1] == b"kernel"
    base = url.removesuffix(server_part)
    for path in (
        "",
        "install.env",
        f"{'x' * len(server_part)}/install.env",
        f"{bmc_part}/install.env",
        f"{bmc_part}/overlay.tar",
        f"{bmc_part}/kernel",
        f"{loader_part}/install.env",
        f"{loader_part}/overlay.tar",
        f"{loader_part}/image",
        f"{loader_part}/lab.iso",
        f"{server_part}/lab.iso",
        f"{server_part}/nothing",
        f"{server_part}/../{server_part}/kernel",
        f"{server_part[:-1]}/kernel",
        "%ff%fe/kernel",
    ):
        assert ask(base + path)[0] == 404, path
    for path in (f"{bmc_part}/done", f"{loader_part}/done", f"{'x' * len(server_part)}/failed"):
        assert ask(base + path, data=b"")[0] == 404
    assert not service.settled


def test_the_first_to_fetch_the_settings_is_the_only_one(
    service: MediaService, url: str, said: list[str]
) -> None:
    assert ask(f"{url}/overlay.tar")[0] == 403, "before anybody has fetched install.env"
    assert ask(f"{url}/done", data=b"")[0] == 403
    assert ask(f"{url}/install.env", source="127.0.0.2")[0] == 200
    for name in ("install.env", "overlay.tar", "image"):
        assert ask(f"{url}/{name}", source="127.0.0.3")[0] == 403
        assert ask(f"{url}/{name}", source="127.0.0.2")[0] == 200
    for name in ("done", "failed", "progress"):
        assert ask(f"{url}/{name}", data=b"", source="127.0.0.3")[0] == 403
    assert not service.settled
    assert any("refused overlay.tar to 127.0.0.3" in line for line in said)


def test_a_head_request_binds_nothing(service: MediaService, url: str) -> None:
    assert ask(f"{url}/kernel", method="HEAD")[0] == 200
    assert ask(f"{url}/install.env", method="HEAD")[0] == 403
    assert ask(f"{url}/install.env", source="127.0.0.2")[0] == 200


def test_after_done_nothing_is_given_out_but_done_may_be_said_again(service: MediaService, url: str) -> None:
    ask(f"{url}/install.env")
    ask(f"{url}/done", data=b"first")
    assert ask(f"{url}/overlay.tar")[0] == 404
    assert ask(f"{url}/install.env")[0] == 404
    assert ask(f"{url}/done", data=b"second")[0] == 200
    assert service.report == "first"


def test_after_close_nothing_answers_and_nothing_is_left(service: MediaService, url: str) -> None:
    port = service.port
    ask(f"{url}/install.env")
    service.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)
    assert not [thread for thread in threading.enumerate() if thread.name == "media-s1"]
    service.close()
    with MediaService(("127.0.0.1",), port, server="s2", release="kvm") as successor:
        assert ask(url + "/install.env")[0] == 404
        assert successor.port == port


@pytest.mark.parametrize(
    ("report", "kind"),
    [
        (b"refused: no disk with serial D1", DiskNotFound),
        (b"refused: 2 disks with serial D1", DiskAmbiguous),
        (b"refused: disk too small: sda has 1 bytes, the image needs 2", InstallFailure),
        (b"failed: digest: the image arrived as 00, not 11", InstallFailure),
        (b"", InstallFailure),
    ],
)
def test_a_failure_says_why_and_who_must_act(
    service: MediaService, url: str, report: bytes, kind: type[InstallFailure]
) -> None:
    ask(f"{url}/install.env")
    threading.Timer(0.2, ask, [f"{url}/failed"], {"data": report}).start()
    with pytest.raises(InstallFailure) as failure:
        service.wait_done(soon())
    assert type(failure.value) is kind
    assert report.decode() in failure.value.message
    assert failure.value.server == "s1"
    nothing_written = "nothing was written" in failure.value.next_step
    assert nothing_written == report.startswith(b"refused")


def test_silence_ends_at_the_deadline_and_says_how_far_it_came(service: MediaService, url: str) -> None:
    with pytest.raises(InstallFailure, match="never fetched anything"):
        service.wait_done(soon(0.2))
    ask(f"{url}/install.env")
    ask(f"{url}/progress", data=b"writing 40")
    with pytest.raises(InstallFailure, match=r"fetched install.env; its last report: writing 40"):
        service.wait_done(soon(0.2))


def test_a_watcher_ends_the_wait(service: MediaService) -> None:
    calls: list[float] = []

    def watch() -> None:
        calls.append(time.monotonic())
        if len(calls) == 3:
            raise InstallFailure("kernel panic", next_step="look")

    with pytest.raises(InstallFailure, match="kernel panic"):
        service.wait_done(soon(), watch)
    assert calls[-1] - calls[0] < 2


def test_what_a_server_says_cannot_forge_log_lines(service: MediaService, url: str, said: list[str]) -> None:
    ask(f"{url}/install.env")
    ask(f"{url}/progress", data=b"one\x1b[2Jtwo\r\nthree\x00" + b"x" * 5000)
    assert said[-1].isprintable()
    assert len(said[-1]) < 1100
    assert ask(f"{url}/progress", data=b"x" * 200_000)[0] == 413


def test_no_log_line_shows_an_address(
    service: MediaService, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, said: list[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    iso = service.offer_iso(tmp_path / "image", "127.0.0.1")
    tokens = [url.split("/")[3], iso.split("/")[3]]
    ask(f"{url}/install.env")
    ask(f"{url}/image", Range="bytes=5-1")
    ask(f"{url}/image", source="127.0.0.9")
    ask(f"{url}/nothing")
    ask(f"{url}/progress", data=b"x" * 200_000)
    ask(iso)
    with socket.create_connection(("127.0.0.1", service.port)) as rude:
        rude.sendall(f"GET /{tokens[0]}/image HTTP/9.9\r\nbroken\r\n\r\n".encode())
        rude.recv(1000)
    service.close()
    written = "\n".join([*(record.getMessage() + str(record.exc_text) for record in caplog.records), *said])
    assert "install.env" in written
    for token in tokens:
        assert token not in written
        assert token not in redact(f"console: lab.url=http://10.0.2.2:1/{token}")


def test_clients_that_hang_or_vanish_hold_up_nobody(service: MediaService, url: str, tmp_path: Path) -> None:
    ask(f"{url}/install.env")
    big = tmp_path / "big"
    with big.open("wb") as out:
        out.truncate(64 * 2**20)
    service.offer("image", big)
    path = "/" + url.split("/", 3)[3]
    slow = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(8)]
    for one in slow[:4]:
        one.sendall(f"GET {path}/image HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        one.recv(1000)
    for one in slow[4:6]:
        one.sendall(b"GET /")
    for one in slow[2:4]:
        one.close()
    started = time.monotonic()
    assert ask(f"{url}/kernel")[0] == 200
    assert ask(f"{url}/done", data=b"")[0] == 200
    service.wait_done(soon())
    service.close()
    assert time.monotonic() - started < 3
    for one in slow:
        one.close()


def test_it_listens_on_the_named_address_alone(service: MediaService) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", service.port), timeout=2)


@pytest.mark.parametrize("address", ["192.0.2.1", "127.0.0.1"])
def test_an_address_that_cannot_be_served_on_is_a_matter_of_the_rack_file(
    address: str, service: MediaService
) -> None:
    before = threading.active_count()
    with pytest.raises(ConfigError, match=address) as error:
        MediaService((address,), service.port, server="s1", release="kvm").open()
    assert "media_address" in error.value.next_step
    assert threading.active_count() == before
