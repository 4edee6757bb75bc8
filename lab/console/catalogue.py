"""The pattern catalogue: `firmware/consoles/*.yaml`, checked and read when first asked for."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from lab import errors, paths
from lab.console.api import Blame, Pattern, Stage
from lab.errors import ConfigError, UnknownName
from lab.rack.model import Name, Strict
from lab.strict_yaml import load_model

Kind = Literal["milestone", "failure"]


class Entry(Strict):
    """One pattern as its file describes it.

    `example` is a line that must match, `counterexample` a near miss that must not; `source` says where the
    text was seen. A failure also names whom to blame, what it means and what to do next, and may name a
    narrower class of `lab.errors` in `error`.
    """

    name: Name
    kind: Kind
    stage: Stage
    regex: Annotated[str, Field(min_length=1)]
    example: str
    counterexample: str
    source: Annotated[str, Field(min_length=1)]
    blame: Blame | None = None
    means: str = ""
    next_step: str = ""
    error: str | None = None

    @field_validator("regex")
    @classmethod
    def _compiles(cls, regex: str) -> str:
        try:
            re.compile(regex)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return regex

    @field_validator("error")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in {kind.__name__ for kind in errors.every_error()}:
            raise ValueError(f"lab.errors has no class {name}")
        return name

    @model_validator(mode="after")
    def _whole(self) -> Entry:
        if self.kind == "failure" and not (self.blame and self.means and self.next_step):
            raise ValueError("a failure needs blame, means and next_step")
        if self.kind == "milestone" and (self.blame or self.error):
            raise ValueError("a milestone blames nobody")
        if not re.search(self.regex, self.example, re.MULTILINE):
            raise ValueError("the regex does not match its example")
        if re.search(self.regex, self.counterexample, re.MULTILINE):
            raise ValueError("the regex matches its counterexample")
        return self

    def pattern(self) -> Pattern:
        """What a wait uses."""
        return Pattern(
            self.name, self.kind, self.stage, self.regex, self.blame, self.means, self.next_step, self.error
        )


class ConsoleFile(Strict):
    """The whole of one file; of failures on one line the first listed is believed: narrow before broad."""

    patterns: Annotated[tuple[Entry, ...], Field(min_length=1)]


def folder() -> Path:
    """Where the catalogue lies."""
    return paths.firmware() / "consoles"


def entries() -> dict[str, tuple[Entry, ...]]:
    """Every entry, by the name of its file.

    Raises:
        ConfigError: a file is wrong, or two patterns share a name.
    """
    return _read(folder())


def patterns(*selection: str, kind: Kind | None = None) -> list[Pattern]:
    """The patterns of some files (`xen`, `linux`) and stages (`loader`), all of them by default.

    Raises:
        UnknownName: neither a file nor a stage is called so.
        ConfigError: a file is wrong.
    """
    catalogue = entries()
    for name in selection:
        if name not in catalogue and name not in get_args(Stage):
            raise UnknownName(
                f"the console catalogue has no file or stage '{name}'",
                next_step=f"choose from {', '.join(sorted({*catalogue, *get_args(Stage)}))}",
            )
    return [
        entry.pattern()
        for file, found in catalogue.items()
        for entry in found
        if (not selection or file in selection or entry.stage in selection) and kind in (None, entry.kind)
    ]


def failures(*selection: str) -> list[Pattern]:
    """The failure patterns of some files and stages; see `patterns`."""
    return patterns(*selection, kind="failure")


def milestones(*selection: str) -> list[Pattern]:
    """The milestones of some files and stages; see `patterns`."""
    return patterns(*selection, kind="milestone")


def pattern(name: str) -> Pattern:
    """The pattern of that name.

    Raises:
        UnknownName: there is none.
        ConfigError: a file is wrong.
    """
    found = {entry.name: entry for group in entries().values() for entry in group}
    if name not in found:
        raise UnknownName(
            f"the console catalogue has no pattern '{name}'", next_step=f"choose from {', '.join(found)}"
        )
    return found[name].pattern()


@lru_cache(maxsize=4)
def _read(where: Path) -> dict[str, tuple[Entry, ...]]:
    catalogue = {file.stem: load_model(file, ConsoleFile).patterns for file in sorted(where.glob("*.yaml"))}
    names = [entry.name for group in catalogue.values() for entry in group]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{where}: pattern {', '.join(twice)} stands twice", next_step="rename one of them")
    return catalogue
