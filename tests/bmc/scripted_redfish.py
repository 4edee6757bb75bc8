"""A small stateful Redfish service whose faults a test scripts and whose requests it counts."""

from __future__ import annotations

import copy
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lab.bmc.redfish.provider import RedfishBmc
from lab.bmc.target import Account, Target
from lab.rack.model import Tls

USER, PASSWORD, TOKEN = "lab", 's3cret-"redfish"-Pw', "t0ken-4711-very-secret"
ROOT = "/redfish/v1"
SYSTEM, MANAGER, CD = f"{ROOT}/Systems/Blade-7", f"{ROOT}/Managers/Bmc-x", f"{ROOT}/Managers/Bmc-x/Media/Disc"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
Json = dict[str, Any]


def ref(path: str) -> Json:
    """A reference."""
    return {"@odata.id": path}


_RESOURCES: dict[str, Json] = {
    ROOT: {
        "RedfishVersion": "1.6.0",
        "Systems": ref(f"{ROOT}/Systems"),
        "Managers": ref(f"{ROOT}/Managers"),
        "SessionService": ref(f"{ROOT}/SessionService"),
        "Links": {"Sessions": ref(f"{ROOT}/SessionService/Sessions")},
    },
    f"{ROOT}/Systems": {"Members": [ref(SYSTEM)]},
    f"{ROOT}/Managers": {"Members": [ref(MANAGER)]},
    SYSTEM: {
        "@odata.id": SYSTEM,
        "PowerState": "Off",
        "IndicatorLED": "Off",
        "Boot": {
            "BootSourceOverrideEnabled": "Disabled",
            "BootSourceOverrideTarget": "None",
            "BootSourceOverrideMode": "UEFI",
            "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "UsbCd", "Hdd"],
        },
        "Links": {"ManagedBy": [ref(MANAGER)]},
        "Actions": {"#ComputerSystem.Reset": {"target": RESET, "@Redfish.ActionInfo": f"{SYSTEM}/ResetInfo"}},
    },
    f"{SYSTEM}/ResetInfo": {
        "Parameters": [
            {"Name": "ResetType", "AllowableValues": ["On", "ForceOff", "ForceRestart", "GracefulShutdown"]}
        ]
    },
    MANAGER: {
        "@odata.id": MANAGER,
        "VirtualMedia": ref(f"{MANAGER}/Media"),
        "DateTime": "2026-01-02T03:04:05Z",
    },
    f"{MANAGER}/Media": {"Members": [ref(f"{MANAGER}/Media/Floppy"), ref(CD)]},
    f"{MANAGER}/Media/Floppy": {"@odata.id": f"{MANAGER}/Media/Floppy", "MediaTypes": ["Floppy"]},
    CD: {
        "@odata.id": CD,
        "MediaTypes": ["DVD"],
        "Inserted": False,
        "Image": None,
        "Actions": {
            "#VirtualMedia.InsertMedia": {"target": f"{CD}/Insert"},
            "#VirtualMedia.EjectMedia": {"target": f"{CD}/Eject"},
        },
    },
}


@dataclass
class Request:
    """What arrived."""

    method: str
    path: str
    body: Json
    headers: dict[str, str]
    service: Service
    raw: bytes = b""


@dataclass
class Answer:
    """What to say; `delay` seconds before it."""

    status: int = 200
    body: Json | str = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0


Script = Callable[[Request], "Answer | None"]


@dataclass
class Service:
    """The running service. `script` sees each request first; None from it means the ordinary answer."""

    url: str = ""
    resources: dict[str, Json] = field(default_factory=lambda: copy.deepcopy(_RESOURCES))
    script: Script = lambda request: None
    requests: list[Request] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    opened: int = 0

    def count(self, method: str, path: str) -> int:
        """How many such requests arrived."""
        return sum((request.method, request.path) == (method, path) for request in self.requests)

    def bodies(self, method: str, path: str) -> list[Json]:
        """Their bodies, in order."""
        return [request.body for request in self.requests if (request.method, request.path) == (method, path)]

    def bmc(self, password: str = PASSWORD, tls: Tls | None = None) -> RedfishBmc:
        """A provider for this service."""
        account = Account(USER, lambda: password)
        return RedfishBmc(Target("blade-7", self.url), account, tls or "none")

    def answer(self, request: Request) -> Answer:
        """The ordinary behaviour."""
        self.requests.append(request)
        scripted = self.script(request)
        if scripted is not None:
            return scripted
        if request.path == f"{ROOT}/SessionService/Sessions" and request.method == "POST":
            return self._log_in(request)
        if request.path != ROOT and request.headers.get("x-auth-token") not in self.sessions:
            return Answer(401, {"error": {"message": "no valid session"}})
        if request.method == "DELETE":
            self.sessions.clear()
            return Answer(204)
        if request.method == "POST":
            return self._act(request)
        resource = self.resources.get(request.path)
        if resource is None:
            return Answer(404, {"error": {"message": "not here"}})
        if request.method == "PATCH":
            for name, value in request.body.items():
                resource[name] = {**resource[name], **value} if isinstance(value, dict) else value
        return Answer(200, resource)

    def _log_in(self, request: Request) -> Answer:
        if request.body != {"UserName": USER, "Password": PASSWORD}:
            return Answer(401, {"error": {"message": f"wrong password {request.body.get('Password')}"}})
        self.opened += 1
        token = f"{TOKEN}-{self.opened}"
        self.sessions.add(token)
        where = f"{self.url}{ROOT}/SessionService/Sessions/{self.opened}"
        return Answer(201, {}, {"X-Auth-Token": token, "Location": where})

    def _act(self, request: Request) -> Answer:
        system, drive = self.resources[SYSTEM], self.resources[CD]
        if request.path == RESET:
            system["PowerState"] = "Off" if "Off" in request.body["ResetType"] else "On"
        elif request.path == f"{CD}/Insert":
            drive |= {"Image": request.body["Image"], "Inserted": True}
        elif request.path == f"{CD}/Eject":
            drive |= {"Image": None, "Inserted": False}
        else:
            return Answer(404)
        return Answer(204)


@contextmanager
def service(context: ssl.SSLContext | None = None) -> Iterator[Service]:
    """A service on a loopback port, over TLS where a context is given."""
    running = Service()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            form = headers.get("content-type", "").startswith("multipart/")
            body = json.loads(text) if text and not form else {}
            path = self.path.rstrip("/")
            answer = running.answer(Request(self.command, path, body, headers, running, text))
            # The fault under test: a BMC that is slow to answer.
            time.sleep(answer.delay)
            page = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            content = b"" if answer.status == 204 else page.encode()
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                return  # the client gave up, as some tests want

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    running.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
