"""Steps and attachments of the Allure report; outside an Allure run each of these does nothing.

Reporting must never break a test or a lease, so nothing here raises for want of a report: without a test
under way (allure-python issue 360: teardown, session fixtures, other threads) an attachment goes to the
report's global ones instead.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.secret import redact

_LARGEST = 8 * 2**20


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """A step of the test under way, failed if what is inside raises."""
    if not _test_is_open():
        yield
        return
    import allure

    with allure.step(redact(name)):
        yield


def attach_text(name: str, text: str) -> None:
    """Attach text, secrets blanked out; of more than 8 MiB the end alone."""
    _attach(name, _tail(redact(text)), "TEXT")


def attach_json(name: str, value: object) -> None:
    """Attach `value` as JSON; what JSON does not know is written as text, a pydantic model as its fields."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    _attach(name, redact(json.dumps(value, indent=1, default=str, ensure_ascii=False)), "JSON")


def attach_file(name: str, file: Path) -> None:
    """Attach a file: images as they are, anything else as text with secrets blanked out.

    A file that is not there is said to be missing, in an attachment of that name.
    """
    image = file.suffix.lower() in (".png", ".jpg")
    try:
        content = file.read_bytes()
    except OSError as error:
        attach_text(name, f"{file.name} cannot be read: {error.strerror}")
        return
    if image:
        _attach(name, content, file.suffix.lower().removeprefix(".").upper())
    else:
        attach_text(name, content.decode("utf-8", errors="replace"))


def about(server: str, release: str) -> None:
    """Say which server and release the test under way is about; the report groups by both."""
    if not _test_is_open():
        return
    import allure

    dynamic: Any = allure.dynamic
    for label, value in (("server", server), ("release", release)):
        dynamic.label(label, value)
        dynamic.parameter(label, value)


def _attach(name: str, body: str | bytes, kind: str) -> None:
    if _reporter() is None:
        return
    import allure

    attach: Any = allure.attach if _test_is_open() else allure.global_attach
    attach(body, name=redact(name), attachment_type=getattr(allure.attachment_type, kind))


def _tail(text: str) -> str:
    if len(text) <= _LARGEST:
        return text
    return f"[the first {len(text) - _LARGEST} characters are left out]\n{text[-_LARGEST:]}"


def _reporter() -> Any | None:  # noqa: ANN401 - allure has no types
    """Allure's reporter of this process; None outside an Allure run, where allure need not even be loaded."""
    core: Any = sys.modules.get("allure_commons")
    if core is None:
        return None
    plugins = core.plugin_manager.get_plugins()
    return next((plugin.allure_logger for plugin in plugins if hasattr(plugin, "allure_logger")), None)


def _test_is_open() -> bool:
    reporter = _reporter()
    if reporter is None:
        return False
    from allure_commons.model2 import ExecutableItem

    # in a thread of its own allure looks to the main thread, and stumbles where that has nothing open
    with contextlib.suppress(StopIteration, RuntimeError):
        return reporter.get_last_item(ExecutableItem) is not None
    return False
