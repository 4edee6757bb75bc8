"""Reading Redfish JSON that may lack anything or have it in the wrong type: nothing here raises."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

Json = dict[str, Any]
Health = Literal["ok", "warning", "critical", "unknown"]


def as_dict(value: object) -> Json:
    """`value`, or an empty object where it is none."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Json]:
    """The objects in `value`; an object alone counts as a list of one."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def text(body: Json, *names: str) -> str:
    """The first of these members that is a text with something in it."""
    return next(
        (value.strip() for name in names if isinstance(value := body.get(name), str) and value.strip()), ""
    )


def number(body: Json, *names: str) -> float | None:
    """The first of these members that is a number."""
    for name in names:
        value = body.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    return None


def strings(value: object) -> list[str]:
    """The texts in a list."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def link(body: Json, name: str) -> str | None:
    """Where the member `name` points."""
    found = as_dict(body.get(name)).get("@odata.id")
    return found if isinstance(found, str) and found else None


def links(value: object) -> list[str]:
    """Where each of a list of references points."""
    return [path for item in as_list(value) if (path := link({"it": item}, "it"))]


def allowed(body: Json, name: str) -> list[str] | None:
    """The values that the BMC says `name` may take; None where it does not say."""
    values = body.get(f"{name}@Redfish.AllowableValues")
    return strings(values) if isinstance(values, list) else None


def action(body: Json, name: str) -> Json:
    """The action `name` of a resource, empty where there is none."""
    return as_dict(as_dict(body.get("Actions")).get(f"#{name}"))


def health(body: Json) -> Health:
    """`Status.Health` in our words."""
    told = text(as_dict(body.get("Status")), "Health", "HealthRollup")
    return _health(told)


def severity(entry: Json) -> Health:
    """A log entry's severity in our words."""
    return _health(text(entry, "Severity", "MessageSeverity"))


def moment(value: object) -> datetime | None:
    """An aware time; None for what is none, or has no time zone."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else None


def _health(told: str) -> Health:
    words: dict[str, Health] = {"ok": "ok", "warning": "warning", "critical": "critical"}
    return words.get(told.lower(), "unknown")
