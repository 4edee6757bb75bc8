"""Reading command output: what does not have the documented shape becomes an error that names the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from lab.errors import HypervisorFailure
from lab.measure.model import Evidence

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_SHOWN = 200


def unreadable(evidence: Evidence, why: str) -> HypervisorFailure:
    """The error for output that is not what the command is documented to print."""
    start = evidence.output.strip()[:_SHOWN]
    return HypervisorFailure(
        f"the output of '{evidence.command}' cannot be read: {why}",
        tried=f"read {len(evidence.output)} characters that begin with {start!r}",
        next_step="run it on the host by hand; the output is cut off, or this version prints another form",
    )


@contextmanager
def reading(evidence: Evidence) -> Iterator[None]:
    """Turn what goes wrong while this output is taken apart into one error that names its command."""
    try:
        yield
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        why = f"{error.args[0]} is missing" if isinstance(error, KeyError) and error.args else str(error)
        raise unreadable(evidence, why) from error


def json_rows(evidence: Evidence, key: str | None = None) -> list[dict[str, Json]]:
    """The list of objects that a command prints as JSON, under `key` or at the top.

    Raises:
        HypervisorFailure: it is not JSON, or not such a list.
    """
    with reading(evidence):
        content: Json = json.loads(evidence.output)
        rows = content[key] if key is not None and isinstance(content, dict) else content
        if not isinstance(rows, list):
            raise ValueError(f"no list {f'under {key!r} ' if key else ''}in its JSON")
        objects = [row for row in rows if isinstance(row, dict)]
        if len(objects) != len(rows):
            raise ValueError("its JSON list holds something else than objects")
        return objects


def text_of(row: dict[str, Json], key: str) -> str:
    """A text field of a JSON object, empty where it is null; KeyError or ValueError for anything else."""
    value = row[key]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{key} is {value!r}, not a text")
    return value


def bytes_of(row: dict[str, Json], key: str) -> int:
    """A size field of a JSON object: number, digits, or null for zero (util-linux prints all three)."""
    value = row[key]
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).isdecimal():
        raise ValueError(f"{key} is {value!r}, not a number of bytes")
    return int(value)


def fields(evidence: Evidence, separator: str) -> dict[str, str]:
    """Lines of `key<separator>value`, each split at the first separator; blank lines are passed over.

    Raises:
        HypervisorFailure: nothing is there, or a line has no separator.
    """
    found: dict[str, str] = {}
    for line in evidence.output.splitlines():
        if not line.strip():
            continue
        key, there, value = line.partition(separator)
        if not there:
            raise unreadable(evidence, f"no '{separator}' in the line {line!r}")
        found[key.strip()] = value.strip()
    if not found:
        raise unreadable(evidence, "it is empty")
    return found


def rows(evidence: Evidence, columns: int, separator: str | None = None) -> list[list[str]]:
    """Lines split into exactly `columns` columns, the last one taking the rest; blank lines are passed over.

    Raises:
        HypervisorFailure: a line has fewer.
    """
    found = []
    for line in evidence.output.splitlines():
        if not line.strip():
            continue
        parts = line.split(separator, columns - 1)
        if len(parts) < columns:
            raise unreadable(evidence, f"the line {line!r} has {len(parts)} columns, not {columns}")
        found.append(parts)
    return found
