"""The log of hardware events by Redfish: which one it is, its entries, how it is cleared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from lab.bmc.api import LogEntry
from lab.bmc.redfish.json import Json, action, link, moment, severity, strings, text
from lab.bmc.redfish.tree import RedfishTree

_LIMIT_S = 300.0
_EVENT_LOGS = ("sel", "iml", "event")
"""Parts of the names by which BMCs call the log of hardware events; others log their own doings."""
_NO_TIME = datetime.min.replace(tzinfo=UTC)


def log_services(tree: RedfishTree, system: Json) -> Iterator[Json]:
    """Every log of the server: its own, its managers', its chassis'."""
    places = (system, *tree.managers(system), *tree.chassis(system))
    for path in dict.fromkeys(link(place, "LogServices") for place in places):
        yield from (service for service in tree.members(path) if service)


def log_service(tree: RedfishTree) -> Json:
    """The log of hardware events; empty where there is none.

    It is the one that says it holds a SEL, else the first with the name of one, else the first at all.
    """
    with tree.within(_LIMIT_S, "finding the event log"):
        services = list(log_services(tree, tree.system))
    return next(iter(sorted(services, key=_rank)), {})


def clear_log_target(service: Json) -> str | None:
    """Where to post to clear that log."""
    return text(action(service, "LogService.ClearLog"), "target") or None


def clear_log_body(tree: RedfishTree, service: Json) -> Json:
    """What to post there: what its ActionInfo demands (AMI: ClearType), else nothing."""
    demanded = tree.parameters(action(service, "LogService.ClearLog"))
    return {
        name: values[0]
        for name, one in demanded.items()
        if one.get("Required") is True and (values := strings(one.get("AllowableValues")))
    }


def read_log(tree: RedfishTree, service: Json) -> list[LogEntry]:
    """The entries of a log, oldest first, whichever way the BMC lists them."""
    with tree.within(_LIMIT_S, "reading the event log"):
        offset = text(service, "DateTimeLocalOffset")
        found = [_entry(entry, offset) for entry in tree.members(link(service, "Entries")) if entry]
    dated = [entry.at for entry in found if entry.at is not None]
    if dated and dated[0] > dated[-1]:
        found.reverse()
    # A stable sort: entries of one time keep the order they came in, those without one their place in it.
    placed: list[tuple[datetime, LogEntry]] = []
    for entry in found:
        placed.append((entry.at or (placed[-1][0] if placed else _NO_TIME), entry))
    return [entry for _, entry in sorted(placed, key=lambda pair: pair[0])]


def _entry(entry: Json, offset: str) -> LogEntry:
    return LogEntry(
        id=text(entry, "Id"),
        at=_at(entry, offset),
        severity=severity(entry),
        message=_message(entry),
    )


def _at(entry: Json, offset: str) -> datetime | None:
    """When it happened; `Created` may be when the BMC last built its list."""
    for name in ("EventTimestamp", "Created"):
        told = text(entry, name)
        # Some give local time, and only the log says where.
        at = moment(told) or (moment(told + offset) if told and offset else None)
        if at is not None:
            return at
    return None


def _message(entry: Json) -> str:
    told = text(entry, "Message")
    if told and not re.fullmatch(r"0x[0-9A-Fa-f]+", told):
        return told
    # AMI gives the event's data alone as the message.
    source = " ".join(part for name in ("SensorType", "EntryCode") if (part := text(entry, name)))
    return ": ".join(part for part in (source, told) if part) or text(entry, "MessageId", "Name")


def _rank(service: Json) -> int:
    if text(service, "LogEntryType") == "SEL":
        return 0
    # OpenBMC and others tell it on the entries only; a name is what is left.
    words = re.findall(r"[a-z]+", f"{text(service, 'Id')} {text(service, 'Name')}".lower())
    if any(word in ("sel", "iml") for word in words):
        return 1
    return 2 if any(part in word for word in words for part in _EVENT_LOGS) else 3


def names(services: Iterator[Json]) -> list[str]:
    """The Ids of logs, and of which can be cleared."""
    found: list[str] = []
    for service in services:
        found.append(text(service, "Id", "Name"))
        if clear_log_target(service):
            found.append(f"{found[-1]}: ClearLog")
    return [name for name in found if name]
