"""A recorded Redfish tree that answers reads, takes writes into memory, and checks each against itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lab.bmc.redfish.provider import RedfishBmc
from lab.bmc.target import Account, Target

Json = dict[str, Any]
ROOT = "/redfish/v1"


@dataclass
class RecordedTree:
    """One vendor's tree; what was written lies over what was recorded."""

    folder: Path
    url: str = ""
    written: list[tuple[str, str, Json]] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    changed: dict[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # iLO links to /redfish/v1/systems/1/bios what it has under Systems: its paths know no case.
        for file in self.folder.rglob("index.json"):
            self.files[str(file.parent.relative_to(self.folder)).lower().removeprefix(".")] = file

    def bmc(self) -> RedfishBmc:
        """A provider for it."""
        return RedfishBmc(Target(self.folder.name, self.url), Account("admin", lambda: "s3cret"), "none")

    def read(self, path: str) -> Json | None:
        """A resource, as it is now."""
        key = path.split("?")[0].rstrip("/").removeprefix(ROOT).strip("/").lower()
        if key not in self.changed and key in self.files:
            self.changed[key] = json.loads(self.files[key].read_text())
        return self.changed.get(key)

    def patch(self, path: str, body: Json) -> bool:
        """Merge `body` in, after noting every value that is not an allowable one."""
        resource = self.read(path)
        if resource is None:
            return False
        self.written.append(("PATCH", path, body))
        self._check(body, resource, path)
        _merge(resource, body)
        return True

    def act(self, path: str, body: Json) -> bool:
        """Carry out an action as far as it shows."""
        owner = self.read(path.split("/Actions/")[0]) if "/Actions/" in path else None
        action = next((one for one in _actions(owner or {}) if one.get("target") == path), None)
        if owner is None or action is None:
            return False
        self.written.append(("POST", path, body))
        self._check(body, {**self._told(action), **action}, path)
        if "ResetType" in body:
            owner["PowerState"] = "Off" if "Off" in body["ResetType"] else "On"
        elif "Image" in body:
            owner |= {"Image": body["Image"], "Inserted": True, "ConnectedVia": "URI"}
        elif path.endswith("EjectMedia"):
            owner |= {"Image": None, "Inserted": False, "ConnectedVia": "NotConnected"}
        return True

    def _told(self, action: Json) -> Json:
        info = self.read(action.get("@Redfish.ActionInfo", "nowhere")) or {}
        return {
            f"{one['Name']}@Redfish.AllowableValues": one["AllowableValues"]
            for one in info.get("Parameters", [])
            if "AllowableValues" in one
        }

    def _check(self, body: Json, beside: Json, path: str) -> None:
        for name, value in body.items():
            if isinstance(value, dict):
                self._check(value, beside.get(name) or {}, path)
            may = beside.get(f"{name}@Redfish.AllowableValues")
            if may is not None and value not in may:
                self.outside.append(f"{path}: {name} = {value}, allowed {may}")


@contextmanager
def serving(tree: RecordedTree) -> Iterator[RecordedTree]:
    """The tree on a loopback port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536  # head and body in one packet: two would wait for each other's ACK

        def do_GET(self) -> None:
            resource = tree.read(self.path)
            self.answer(404 if resource is None else 200, resource or {})

        def do_PATCH(self) -> None:
            self.answer(200 if tree.patch(self.path, self.body()) else 404, {})

        def do_POST(self) -> None:
            self.answer(200 if tree.act(self.path, self.body()) else 405, {})

        def body(self) -> Json:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parsed: Json = json.loads(text) if text else {}
            return parsed

        def answer(self, status: int, body: Json) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tree.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield tree
    finally:
        server.shutdown()
        server.server_close()


def _actions(resource: Json) -> list[Json]:
    actions = resource.get("Actions") or {}
    return [one for one in (*actions.values(), *(actions.get("Oem") or {}).values()) if isinstance(one, dict)]


def _merge(resource: Json, body: Json) -> None:
    for name, value in body.items():
        if isinstance(value, dict) and isinstance(resource.get(name), dict):
            _merge(resource[name], value)
        else:
            resource[name] = value
