"""YAML into pydantic models, with file, line and key in every complaint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from lab.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
Key = str | int

_MESSAGES = {
    "extra_forbidden": "unknown key",
    "missing": "is missing",
    "too_short": "list at least one",
    "string_type": "must be text; put it in quotes if it is, for YAML reads it otherwise",
    "bool_type": "must be true or false",
}


def load_model(file: Path, model: type[Model]) -> Model:
    """The content of `file` as a `model`.

    Raises:
        ConfigError: not readable, not YAML, a key twice, or not what the model allows. The message has
            one line per complaint: `FILE:LINE: KEY: what is wrong`.
    """
    return Document.read(file).as_model(model)


@dataclass(frozen=True)
class Place:
    """A part of a YAML file that outlives the parsed file: the lines of everything below `path`."""

    file: Path
    path: tuple[Key, ...]
    lines: dict[tuple[Key, ...], int]

    def where(self, *keys: Key) -> str:
        """`FILE:LINE: KEY` of what is below; the line is that of the deepest part that the file has."""
        depth = next(length for length in range(len(keys), -1, -1) if keys[:length] in self.lines)
        return f"{self.file}:{self.lines[keys[:depth]]}: {_shown([*self.path, *keys])}"


@dataclass(frozen=True)
class Document:
    """One YAML file: its content and where in the file each part of it stands."""

    file: Path
    content: Any
    root: yaml.Node

    @classmethod
    def read(cls, file: Path) -> Document:
        """Read and parse `file`.

        Raises:
            ConfigError: not readable, empty, not YAML, or a key stands twice.
        """
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{file}: cannot be read: {error}", next_step="check the path and its permissions"
            ) from error
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            if root is not None:
                _refuse_duplicates(file, root, set())
            content = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise _not_yaml(file, error) from error
        if root is None:
            raise ConfigError(
                f"{file}:1: file: is empty", next_step="start from a file that works in the same folder"
            )
        return cls(file, content, root)

    def as_model(self, model: type[Model]) -> Model:
        """The content as a `model`; ConfigError with one line per complaint when it does not fit."""
        try:
            return model.model_validate(self.content)
        except ValidationError as error:
            details = [dict(detail) for detail in error.errors(include_url=False, include_input=False)]
            complaints = [self._complaint(detail) for detail in details if not _echo(detail, details)]
            raise ConfigError(
                "\n".join(dict.fromkeys(complaints)),
                next_step=f"mend the lines named above in {self.file.name}",
            ) from error

    def place(self, *path: Key) -> Place:
        """The part of the file at `path`, to locate later complaints about what is below it."""
        node, line = self.root, self.root.start_mark.line + 1
        for key in path:
            line, node = _child(node, key) or (line, node)
        return Place(self.file, path, {(): line, **_lines(node, ())})

    def _locate(self, path: tuple[Key, ...]) -> tuple[int, list[Key]]:
        """The line of the deepest part of `path` that exists, and the keys worth showing."""
        node, line, keys = self.root, self.root.start_mark.line + 1, list[Key]()
        for position, key in enumerate(path):
            found = _child(node, key)
            if found is not None:
                line, node = found
                keys.append(key)
            elif position == len(path) - 1 and not str(key).startswith("<"):
                keys.append(key)  # the missing key itself; other strangers are names of union members
        return line, keys

    def _complaint(self, detail: dict[str, Any]) -> str:
        line, keys = self._locate((*detail["loc"], *detail.get("ctx", {}).get("at", ())))
        message = _MESSAGES.get(detail["type"], detail["msg"].removeprefix("Value error, "))
        return f"{self.file}:{line}: {_shown(keys)}: {message}"


def _echo(detail: dict[str, Any], details: list[dict[str, Any]]) -> bool:
    """Whether a list only counts as too short because its items are wrong, which is said of them."""
    depth = len(detail["loc"])
    return detail["type"] == "too_short" and any(
        len(other["loc"]) > depth and other["loc"][:depth] == detail["loc"] for other in details
    )


def _shown(keys: list[Key]) -> str:
    parts = [f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys]
    return "".join(parts).removeprefix(".") or "file"


def _child(node: yaml.Node, key: Key) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == str(key):
                return name.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key].start_mark.line + 1, node.value[key]
    return None


def _lines(node: yaml.Node, path: tuple[Key, ...]) -> dict[tuple[Key, ...], int]:
    below: list[tuple[Key, yaml.Node, yaml.Node]]
    if isinstance(node, yaml.MappingNode):
        below = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        below = [(index, item, item) for index, item in enumerate(node.value)]
    else:
        return {}
    lines: dict[tuple[Key, ...], int] = {}
    for key, mark, value in below:
        lines |= {(*path, key): mark.start_mark.line + 1, **_lines(value, (*path, key))}
    return lines


def _not_yaml(file: Path, error: Exception) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 1
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return ConfigError(
        f"{file}:{line}: file: not YAML: {problem}", next_step=f"mend line {line} of {file.name}"
    )


def _refuse_duplicates(file: Path, node: yaml.Node, done: set[int]) -> None:
    if id(node) in done:  # an alias: checked where it was anchored
        return
    done.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(file, item, done)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                raise ConfigError(
                    f"{file}:{key.start_mark.line + 1}: {name}: the key stands twice",
                    next_step="remove one of the two",
                )
            seen.add(name)
            _refuse_duplicates(file, value, done)
