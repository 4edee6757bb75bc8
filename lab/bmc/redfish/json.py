"""Reading Redfish JSON that may lack anything or have it in the wrong type: nothing here raises."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Literal

Json = dict[str, Any]
Health = Literal["ok", "warning", "critical", "unknown"]
_SAYS_NOTHING = {"", "n/a", "na", "none", "null", "nil", "unknown", "not available", "to be filled by o.e.m."}
_LARGEST = 2.0**63
"""Beyond this a number is no reading of anything."""


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


def told(body: Json, *names: str) -> str:
    """The first of these texts that says something; `N/A` and its like do not."""
    return next((value for name in names if (value := text(body, name)).lower() not in _SAYS_NOTHING), "")


def number(body: Json, *names: str) -> float | None:
    """The first of these members that is a finite number."""
    for name in names:
        value = body.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST:
            return float(value)
    return None


def whole(body: Json, *names: str) -> int | None:
    """The first of these members that is a number, as a whole one."""
    value = number(body, *names)
    return None if value is None else int(value)


def mac(body: Json, *names: str) -> str:
    """The first of these members that is a MAC address of some port, in lower case with colons."""
    for name in names:
        digits = re.sub(r"[^0-9a-f]", "", text(body, name).lower())
        if re.fullmatch(r"[0-9a-f]{12}", digits) and digits not in ("0" * 12, "f" * 12):
            return ":".join(digits[at : at + 2] for at in range(0, 12, 2))
    return ""


def strings(value: object) -> list[str]:
    """The texts in a list."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def link(body: Json, name: str) -> str | None:
    """Where the member `name` points."""
    reference = as_dict(body.get(name))
    # iLO 4 has references of the time before Redfish 1.0 beside those of the standard.
    found = reference.get("@odata.id") or reference.get("href")
    return found if isinstance(found, str) and found else None


def linked(body: Json, *names: str) -> str | None:
    """Where `body` points by the first of these members, in its `Links`, or in those of its Oem objects."""
    places = [body, as_dict(body.get("Links")), as_dict(body.get("links"))]
    for oem in oems(body):
        places += [oem, as_dict(oem.get("Links")), as_dict(oem.get("links"))]
    return next((path for name in names for place in places if (path := link(place, name))), None)


def oems(body: Json) -> list[Json]:
    """What vendors added to a resource."""
    return as_list(list(as_dict(body.get("Oem")).values()))


def absent(body: Json) -> bool:
    """Whether the part is not there: an empty slot, or one that is told as such."""
    return text(as_dict(body.get("Status")), "State") == "Absent"


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
