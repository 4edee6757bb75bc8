"""Live progress per server while tests run, for a person or for a CI log."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from lab.run import Run

_TAIL_EVERY_S = 0.25
_REPEAT_EVERY_S = 15.0


class LiveProgress:
    """Prints a line per step and server.

    Within one process lines are printed as they come, around pytest's capture. With xdist the controller
    follows the progress files of its workers. Steps that only count up ("writing 10%") are thinned out.
    """

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self._config = config
        self._run = run
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._shown: dict[str, tuple[str, float]] = {}
        self._read: dict[Path, int] = {}

    def start(self) -> None:
        """Begin to show; on an xdist controller, begin to follow the workers."""
        self._run.show = self._show_now
        if getattr(self._config.option, "numprocesses", None):
            self._thread = threading.Thread(target=self._follow, name="live progress", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop following, after showing what is left."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)

    def _follow(self) -> None:
        while not self._stop.wait(_TAIL_EVERY_S):
            self._catch_up()
        self._catch_up()

    def _catch_up(self) -> None:
        for file in sorted(self._run.parts.glob("progress-*.jsonl")):
            if file.stem == "progress-main":
                continue
            with file.open("rb") as source:
                source.seek(self._read.get(file, 0))
                whole = source.read()
            end = whole.rfind(b"\n") + 1
            self._read[file] = self._read.get(file, 0) + end
            for line in whole[:end].splitlines():
                entry = json.loads(line)
                self._print(entry["server"], entry["text"], entry["at"])

    def _show_now(self, server: str, text: str) -> None:
        capture: Any = self._config.pluginmanager.getplugin("capturemanager")
        if capture is None:
            self._print(server, text, self._run.now)
            return
        with capture.global_and_fixture_disabled():
            self._print(server, text, self._run.now)

    def _print(self, server: str, text: str, at: float) -> None:
        kind = text.rstrip("0123456789%. ")
        last, when = self._shown.get(server, ("", -_REPEAT_EVERY_S))
        if kind == last and at - when < _REPEAT_EVERY_S:
            return
        self._shown[server] = (kind, at)
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(f"{int(at) // 60:3d}:{int(at) % 60:02d}  {server:<10} {text}")
