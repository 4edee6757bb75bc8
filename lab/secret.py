"""Secrets: named in files, read when needed, never printed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from lab import paths
from lab.errors import MissingSecret

_REDACTED = "********"
_revealed: set[str] = set()


@dataclass(frozen=True)
class Secret:
    """A reference to a secret, `env:NAME` or `file:PATH`; `PATH` may start with `~` or `{state}`.

    A relative path is relative to `base`, the folder of the file that names it; `named_at` is the place in
    that file, for messages. The value itself is never kept in the object, so printing, logging or pickling
    one shows the reference alone.
    """

    reference: str
    base: Path = Path()
    named_at: str = ""

    def reveal(self) -> str:
        """The secret's value, without a trailing line end.

        Raises:
            MissingSecret: the variable is unset or the file is missing or empty.
        """
        scheme, _, name = self.reference.partition(":")
        value = os.environ.get(name, "") if scheme == "env" else self._from_file(name)
        if not value:
            raise MissingSecret(
                f"{self.named_at}: secret {self.reference} is not there".removeprefix(": "),
                next_step=f"set the environment variable {name}"
                if scheme == "env"
                else f"write the secret to {self.path(name)} (mode 0600)",
            )
        _revealed.add(value)
        return value

    def path(self, name: str) -> Path:
        """The file that a `file:` reference means."""
        return paths.expand(name, self.base)

    def _from_file(self, name: str) -> str:
        file = self.path(name)
        try:
            return file.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            return ""


def conceal(value: str) -> str:
    """Count `value`, a secret made by the lab itself, among what `redact` blanks out; returns it."""
    _revealed.add(value)
    return value


def redact(text: str) -> str:
    """`text` with every secret that this process has revealed, and every token header, blanked out."""
    for value in sorted(_revealed, key=len, reverse=True):
        text = text.replace(value, _REDACTED)
    return re.sub(
        r"(?i)((?:x-auth-token|authorization)['\"]?\s*[:=]\s*['\"]?)[^'\",\s]+( [^'\",\s]+)?",
        rf"\1{_REDACTED}",
        text,
    )


def is_reference(text: str) -> bool:
    """Whether `text` is `env:NAME` or `file:PATH`."""
    return re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+", text) is not None
