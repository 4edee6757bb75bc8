"""Log services of the BMC: the system event log that IPMI has too, else a journal of what the BMC did.

Long logs come in pages: `$skip` and `$top` are answered, and `Members@odata.nextLink` leads on.
"""

from __future__ import annotations

from lab.virtual.ipmi import sel
from lab.virtual.redfish import ledger, messages
from lab.virtual.redfish.face import (
    MANAGER,
    Json,
    RedfishFace,
    Reply,
    Resource,
    action,
    collection,
    heading,
    link,
    parameters,
)

SERVICES = f"{MANAGER}/LogServices"
LOG, JOURNAL = f"{SERVICES}/Sel", f"{SERVICES}/Journal"
CLEAR = "LogService.ClearLog"
_EPOCH = "1970-01-01T00:00:00+00:00"


def resources(*, event_log: bool) -> dict[str, Resource]:
    """Every fixed path of the one log service: `Sel` where there is an IPMI face, else `Journal`."""
    log = LOG if event_log else JOURNAL
    return {
        SERVICES: Resource(lambda _: collection(SERVICES, "LogServiceCollection", "Log Services", [log])),
        log: Resource(_read_sel if event_log else _read_journal),
        f"{log}/Entries": Resource(read_entries),
        f"{log}/Actions/{CLEAR}": Resource(post=clear),
    }


async def find(face: RedfishFace, path: str) -> Resource | None:
    """One entry by its path."""
    log = JOURNAL if face.ipmi is None else LOG
    if not path.startswith(f"{log}/Entries/"):
        return None
    entry = next((entry for entry in await _entries(face) if entry["@odata.id"] == path), None)
    return None if entry is None else Resource(lambda _: entry)


async def read_entries(face: RedfishFace) -> Json:
    """A page of the log, entries in full, oldest first.

    Raises:
        RedfishError: 400 for a `$skip` or `$top` that is no natural number.
    """
    entries = await _entries(face)
    path = f"{JOURNAL if face.ipmi is None else LOG}/Entries"
    skip, top = _natural("$skip", 0), _natural("$top", len(entries))
    page = entries[skip : skip + min(top, face.behaviour.page)]
    found = collection(path, "LogEntryCollection", "Log Entries", [])
    found |= {"Members": page, "Members@odata.count": len(entries)}
    end, wanted = skip + len(page), min(skip + top, len(entries))
    if end < wanted:
        more = f"&$top={wanted - end}" if "$top" in ledger.current().query else ""
        found["Members@odata.nextLink"] = f"{path}?$skip={end}{more}"
    return found


async def clear(face: RedfishFace, body: Json) -> Reply:
    """Empty the log."""
    parameters(body, CLEAR, {})
    if face.ipmi is None:
        face.ledger.journal.clear()
    else:
        await face.ipmi.clear_events()
    return Reply()


def _read_sel(face: RedfishFace) -> Json:
    return _service(face, LOG, "System Event Log", "SEL", "NeverOverWrites")


def _read_journal(face: RedfishFace) -> Json:
    return _service(face, JOURNAL, "BMC Journal", "Event", "WrapsWhenFull")


def _service(face: RedfishFace, path: str, name: str, kind: str, policy: str) -> Json:
    return heading(path, "LogService.v1_4_0.LogService", name) | {
        "LogEntryType": kind,
        "OverWritePolicy": policy,
        "ServiceEnabled": True,
        "DateTime": face.clock.now(),
        "DateTimeLocalOffset": face.clock.offset,
        "Entries": link(f"{path}/Entries"),
        "Actions": {f"#{CLEAR}": action(f"{path}/Actions/{CLEAR}")},
    }


async def _entries(face: RedfishFace) -> list[Json]:
    if face.ipmi is not None:
        return [_event(event) for event in await face.ipmi.events()]
    return [
        _entry(JOURNAL, done.id, done.what, done.at.isoformat(timespec="seconds"), "OK", "Event")
        for done in face.ledger.journal
    ]


def _event(event: sel.Event) -> Json:
    severity = "OK"
    if event.direction.startswith("Assert"):
        severity = "Critical" if "ritical" in event.text and "Non-critical" not in event.text else "Warning"
    text = " ".join(part for part in (event.sensor, event.text, event.direction) if part)
    return _entry(LOG, event.id, text, event.at.isoformat() if event.at else _EPOCH, severity, "SEL")


def _entry(log: str, key: str, text: str, created: str, severity: str, kind: str) -> Json:
    return heading(f"{log}/Entries/{key}", "LogEntry.v1_15_0.LogEntry", f"Log Entry {key}") | {
        "EntryType": kind,
        "Created": created,
        "Severity": severity,
        "Message": text,
    }


def _natural(name: str, otherwise: int) -> int:
    text = ledger.current().query.get(name)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit()):
        raise messages.RedfishError(
            400,
            "QueryParameterValueTypeError",
            f"The value '{text}' for the query parameter {name} is not a natural number.",
            arguments=[text, name],
        )
    return int(text)
