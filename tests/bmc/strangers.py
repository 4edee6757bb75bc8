"""What is no healthy BMC, really started on loopback: echoes, silence, web pages, odd certificates."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme

from tests.bmc.ipmi_sim import free_port


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """An ordinary web server that serves `folder`; its URL."""
    (folder / "index.html").write_text("<html><body>Welcome</body></html>")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def tcp_echo() -> Iterator[str]:
    """A TCP service that sends back what it is sent; `HOST:PORT`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def repeat(peer: socket.socket) -> None:
        with peer:
            try:
                while data := peer.recv(4096):
                    peer.sendall(data)
            except OSError:
                return

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=repeat, args=(peer,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    with listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def tcp_silence() -> Iterator[str]:
    """A TCP port that takes connections and never says a word; `HOST:PORT`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def udp_echo() -> Iterator[str]:
    """A UDP service that sends back what it is sent; `HOST:PORT`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("127.0.0.1", 0))
        service.settimeout(0.2)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    data, peer = service.recvfrom(4096)
                    service.sendto(data, peer)
                except OSError:
                    continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{service.getsockname()[1]}"
        ended.set()
        thread.join(5)


@contextmanager
def udp_silence() -> Iterator[str]:
    """A UDP port where datagrams vanish; `HOST:PORT`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nothing:
        nothing.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{nothing.getsockname()[1]}"


def nobody(kind: socket.SocketKind) -> str:
    """A port that nobody listens on; `HOST:PORT`."""
    return f"127.0.0.1:{free_port(kind)}"


def server_tls(authority: trustme.CA, *, expired: bool = False) -> ssl.SSLContext:
    """TLS for a server on 127.0.0.1, by a certificate of `authority`."""
    until = datetime.now(UTC) - timedelta(days=3) if expired else None
    began = datetime.now(UTC) - timedelta(days=30) if expired else None
    certificate = authority.issue_cert("127.0.0.1", not_before=began, not_after=until)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
