"""YAML into pydantic models, with file, line and key in every complaint."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from lab.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
Key = str | int


def load_model(file: Path, model: type[Model]) -> Model:
    """The content of `file` as a `model`.

    Raises:
        ConfigError: not readable, not YAML, a key twice, or not what the model allows. The message has
            one line per complaint: `FILE:LINE: KEY: what is wrong`.
    """
    try:
        text = file.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}", next_step="check the path and its permissions") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{file}:{line}: not YAML: {problem}", next_step="mend that line") from error
    if root is None:
        raise ConfigError(f"{file}:1: the file is empty", next_step="start from inventory/example-rack.yaml")
    _refuse_duplicates(file, root)
    try:
        return model.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        complaints = [_complaint(file, root, dict(detail)) for detail in error.errors(include_url=False, include_input=False)]
        raise ConfigError("\n".join(dict.fromkeys(complaints)), next_step=f"mend the lines named above in {file.name}") from error


def line_of(root: yaml.Node, path: tuple[Key, ...]) -> int:
    """The line (from 1) of the deepest part of `path` that exists under `root`."""
    node, line = root, root.start_mark.line + 1
    for key in path:
        found = _child(node, key)
        if found is None:
            continue  # pydantic puts union member names into the path; they are not in the file
        line, node = found
    return line


def _child(node: yaml.Node, key: Key) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == str(key):
                return name.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key].start_mark.line + 1, node.value[key]
    return None


def _complaint(file: Path, root: yaml.Node, detail: dict[str, Any]) -> str:
    path: tuple[Key, ...] = detail["loc"]
    shown: list[str] = []
    node = root
    for position, key in enumerate(path):
        found = _child(node, key)
        if found is not None:
            node = found[1]
        elif position != len(path) - 1:
            continue
        shown.append(f"[{key}]" if isinstance(key, int) else f".{key}" if shown else key)
    message = "unknown key" if detail["type"] == "extra_forbidden" else detail["msg"].removeprefix("Value error, ")
    return f"{file}:{line_of(root, path)}: {''.join(shown) or 'file'}: {message}"


def _refuse_duplicates(file: Path, node: yaml.Node) -> None:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(file, item)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise ConfigError(
                    f"{file}:{key.start_mark.line + 1}: {key.value}: the key stands twice", next_step="remove one of the two"
                )
            seen.add(key.value)
            _refuse_duplicates(file, value)
