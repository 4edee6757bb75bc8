"""The media service: one install, for one server, under addresses nobody can guess, and then no more.

Three random paths, each of 192 bits: the server's, for what the booted server fetches and reports; the
loader's, for kernel and initrd alone, because a boot loader shows it on its screen; and the BMC's, for the
ISO alone. The server's path is bound to the first address that fetches `install.env`; the
host's private key and the image go to no other. It listens on the named addresses only, the access log never
shows a path's random part, and after `close` nothing answers. Source: design.md, rules of conduct 6 and 7.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from aiohttp import web

from lab.deadline import Deadline
from lab.errors import ConfigError, DiskAmbiguous, DiskNotFound, InstallFailure
from lab.progress import Progress, silent
from lab.secret import conceal, redact

log = logging.getLogger(__name__)
http_log = logging.getLogger(f"{__name__}.http")

Content = bytes | Path | Callable[[], bytes]
ForServer = Literal["install.env", "image", "overlay.tar", "kernel", "initrd"]

_BINDS = "install.env"
_BOUND = ("image", "overlay.tar")
_FOR_LOADER = ("kernel", "initrd")
_REPORT_LIMIT = 64 * 2**10
_REPORT_LINES = 20
_WATCH_EVERY_S = 0.2
_START_S = 10.0
_CLOSE_S = 5.0
_REFUSED = "refused: "
_REFUSALS: tuple[tuple[str, type[InstallFailure]], ...] = (
    (r"refused: no disk with ", DiskNotFound),
    (r"refused: [0-9]+ disks with ", DiskAmbiguous),
)
"""How a `failed` report of the deploy RAM OS begins (firmware/deploy/disks.sh); else an install failure."""


class MediaService:
    """An HTTP service in a thread of its own; a context manager.

    Args:
        addresses: where it listens; the first is the one BMCs use.
        port: the port; 0 lets the system choose.
        server: the server's name, for messages.
        release: the release's name, for messages.
        progress: told what the server reports, from the service's thread.
        on_fetch: told the name of each thing the first time it is fetched, from the service's thread.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        port: int,
        *,
        server: str,
        release: str,
        progress: Progress = silent,
        on_fetch: Callable[[str], None] = silent,
    ) -> None:
        self.addresses = tuple(dict.fromkeys(addresses))
        self.port = port
        self.server = server
        self.release = release
        self.fetched: dict[str, float] = {}
        """When each thing was first asked for, by name, on `time.monotonic()`."""
        self._progress = progress
        self._on_fetch = on_fetch
        self._server_token = conceal(secrets.token_urlsafe(24))
        self._loader_token = conceal(secrets.token_urlsafe(24))
        self._bmc_token = conceal(secrets.token_urlsafe(24))
        self._contents: dict[str, Content] = {}
        self._iso: Path | None = None
        self._client: str | None = None
        self._last_report = ""
        self._changed = threading.Condition()
        self._end: Literal["done", "failed"] | None = None
        self._reason = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> MediaService:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Start to listen.

        Raises:
            ConfigError: an address is not this machine's, or the port is taken.
        """
        started = threading.Event()
        refused: list[BaseException] = []
        self._thread = threading.Thread(
            target=self._run, args=(started, refused), name=f"media-{self.server}", daemon=True
        )
        try:
            self._thread.start()
            in_time = started.wait(_START_S)
        except BaseException:
            self.close()
            raise
        if refused or not in_time:
            self.close()
            why = refused[0] if refused else "it did not start in time"
            raise ConfigError(
                f"install media cannot be served on {' and '.join(self.addresses)} port {self.port}: {why}",
                server=self.server,
                next_step="make media_address and install_address in the rack file addresses of this "
                "machine, and media_port a free port (0 lets the system choose)",
            ) from (refused[0] if refused else None)

    def close(self) -> None:
        """Stop: connections are cut, the port is closed, the thread has ended. May be called twice."""
        loop, stop, thread = self._loop, self._stop, self._thread
        if loop is not None and stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(stop.set)
        if thread is not None and thread.ident is not None:
            thread.join(_CLOSE_S)
        self._thread = None
        with self._changed:
            self._contents.clear()
            self._iso = None

    def offer(self, name: ForServer, content: Content) -> None:
        """Serve `content` (a file, bytes, or what makes the bytes at each fetch) to the server as `name`."""
        self._contents[name] = content

    def offer_iso(self, iso: Path, address: str) -> str:
        """Serve the ISO to the server's BMC; the URL to hand to it, as seen at `address`."""
        self._iso = iso
        return f"{_base(address, self.port)}/{self._bmc_token}/lab.iso"

    def url_for_server(self, address: str) -> str:
        """The server's URL, as seen at `address`, without a slash at the end."""
        return f"{_base(address, self.port)}/{self._server_token}"

    def url_for_loader(self, address: str) -> str:
        """Where a boot loader finds kernel and initrd, and nothing else, as seen at `address`."""
        return f"{_base(address, self.port)}/{self._loader_token}"

    @property
    def report(self) -> str:
        """What came with `done` or `failed`; empty before."""
        return self._reason

    @property
    def settled(self) -> bool:
        """Whether the server has said done or failed."""
        return self._end is not None

    def wait_done(self, deadline: Deadline, watch: Callable[[], None] | None = None) -> None:
        """Wait until the server reports that the install is done.

        Args:
            deadline: until when.
            watch: called five times a second meanwhile; what it raises ends the wait.

        Raises:
            DiskNotFound: the server has no such disk.
            DiskAmbiguous: the server has more than one such disk.
            InstallFailure: the server reported another failure, or nothing by the deadline.
        """
        with self._changed:
            while self._end is None and not deadline.passed:
                self._changed.wait(min(deadline.left, _WATCH_EVERY_S if watch else deadline.left))
                if watch is not None and self._end is None:
                    watch()
        if self._end == "done":
            return
        if self._end == "failed":
            raise self._refusal(self._reason)
        raise InstallFailure(
            f"the server did not report the end of the install in time; {self._whereabouts()}",
            server=self.server,
            release=self.release,
            tried=f"waited for {deadline.why}",
            next_step="read the serial log from the power-on of the deploy medium onwards",
        )

    def _whereabouts(self) -> str:
        if not self.fetched:
            return "it never fetched anything from the lab"
        last = f"; its last report: {self._last_report}" if self._last_report else ""
        return f"it fetched {', '.join(self.fetched)}{last}"

    def _refusal(self, reason: str) -> InstallFailure:
        kind = next((kind for pattern, kind in _REFUSALS if re.match(pattern, reason)), InstallFailure)
        if reason.startswith(_REFUSED):
            next_step = (
                "nothing was written; compare the disks listed on the server's console with the rack file"
            )
        else:
            next_step = "read the serial log of the deploy RAM OS; the disk may be half written"
        return kind(
            f"the deploy RAM OS {reason or 'failed and gave no reason'}",
            server=self.server,
            release=self.release,
            tried=self._whereabouts(),
            next_step=next_step,
        )

    def _run(self, started: threading.Event, refused: list[BaseException]) -> None:
        try:
            asyncio.run(self._serve(started))
        except (OSError, OverflowError) as error:
            refused.append(error)
        finally:
            started.set()

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=_REPORT_LIMIT)
        app.router.add_get("/{token}/{name}", self._get)
        app.router.add_post("/{token}/{name}", self._post)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, logger=http_log)
        await runner.setup()
        try:
            for address in self.addresses:
                site = web.TCPSite(runner, address, self.port, reuse_address=True)
                await site.start()
                self.port = self.port or int(runner.addresses[0][1])
            started.set()
            await self._stop.wait()
        finally:
            await runner.cleanup()

    async def _get(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if (
            _same(request.match_info["token"], self._bmc_token)
            and name == "lab.iso"
            and self._iso is not None
        ):
            return self._answer(request, name, self._iso)
        if self.settled or name not in self._contents or not self._may_ask(request, name):
            return self._refuse(request, 404)
        if name == _BINDS and request.method == "GET" and self._client is None:
            self._client = request.remote
        if name in (_BINDS, *_BOUND) and request.remote != self._client:
            self._progress(f"refused {name} to {request.remote}: this install is not its")
            return self._refuse(request, 403)
        return self._answer(request, name, self._contents[name])

    def _answer(self, request: web.Request, name: str, content: Content) -> web.StreamResponse:
        if name not in self.fetched:
            self.fetched[name] = time.monotonic()
            self._on_fetch(name)
        log.info("%s: %s %s to %s", self.server, request.method, name, request.remote)
        if isinstance(content, Path):
            return web.FileResponse(content, headers={"Content-Type": "application/octet-stream"})
        body = content if isinstance(content, bytes) else content()
        return web.Response(body=body, content_type="application/octet-stream")

    async def _post(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if not self._is_for_server(request) or name not in ("progress", "done", "failed"):
            return self._refuse(request, 404)
        if request.remote != self._client and (self._client is not None or name == "done"):
            return self._refuse(request, 403)
        body = (await request.read()).decode("utf-8", "replace")
        lines = [_plain(line) for line in body.splitlines()[:_REPORT_LINES]]
        text = " ".join(lines)
        log.info("%s: %s from %s: %s", self.server, name, request.remote, text)
        if name == "progress":
            self._last_report = text
            self._progress(text)
        else:
            self._settle("done" if name == "done" else "failed", "\n".join(lines))
        return web.Response(text="noted\n")

    def _settle(self, end: Literal["done", "failed"], reason: str) -> None:
        with self._changed:
            if self._end is None:  # a report sent twice, because the answer was lost, changes nothing
                self._end, self._reason = end, reason
            self._changed.notify_all()

    def _may_ask(self, request: web.Request, name: str) -> bool:
        loader = _same(request.match_info["token"], self._loader_token)
        return self._is_for_server(request) or (loader and name in _FOR_LOADER)

    def _is_for_server(self, request: web.Request) -> bool:
        return _same(request.match_info["token"], self._server_token)

    def _refuse(self, request: web.Request, status: int) -> web.StreamResponse:
        log.info("%s: refused %s from %s with %d", self.server, request.method, request.remote, status)
        return web.Response(status=status, text="not here\n")


def _blank_addresses(record: logging.LogRecord) -> bool:
    """Keep what aiohttp says of a broken request, but not the request line it quotes."""
    what = record.exc_info[1] if record.exc_info else None
    cause = f": {type(what).__name__}" if what is not None else ""
    record.msg, record.args = redact(f"{record.getMessage()}{cause}"), ()
    record.exc_info = record.exc_text = None
    return True


http_log.addFilter(_blank_addresses)


def _base(address: str, port: int) -> str:
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _plain(text: str) -> str:
    """One line of printable text, of at most 500 characters; what comes from a server is not trusted."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()[:500]
