"""The attribute registry of a BIOS: which attributes there are, and what each may be (DSP0268)."""

from __future__ import annotations

from lab.bmc.api import Attribute
from lab.bmc.redfish.json import Json, as_dict, as_list, link, number, text, whole
from lab.bmc.redfish.tree import RedfishTree
from lab.errors import BmcCredentials, BmcUnreachable, LabFault

Registry = dict[str, Json]


def read_registry(tree: RedfishTree, name: str) -> Registry:
    """The entries of the registry called `name`, by attribute; empty where the BMC does not give it.

    A registry is a help, not a condition: one that cannot be read is as good as none.
    """
    if not name:
        return {}
    try:
        with tree.within(120.0, "reading the attribute registry"):
            body = _find(tree, name)
    except (BmcUnreachable, BmcCredentials):
        raise
    except LabFault:
        return {}
    entries = as_list(as_dict(body.get("RegistryEntries")).get("Attributes"))
    return {text(entry, "AttributeName"): entry for entry in entries if text(entry, "AttributeName")}


def objection(entry: Json, value: Attribute) -> str | None:
    """Why an attribute cannot be set to `value`; None where the registry has nothing against it."""
    for flag in ("ReadOnly", "Immutable"):
        if entry.get(flag) is True:
            return f"it is read-only ({flag} in the attribute registry)"
    match text(entry, "Type"):
        case "Enumeration":
            may = [text(one, "ValueName") for one in as_list(entry.get("Value")) if text(one, "ValueName")]
            return None if not may or value in may else f"it may be {', '.join(may)}"
        case "Boolean":
            return None if isinstance(value, bool) else "it may be true or false"
        case "Integer":
            return _against_number(entry, value)
        case "String" | "Password":
            return _against_text(entry, value)
    return None


def _against_number(entry: Json, value: Attribute) -> str | None:
    low, high = number(entry, "LowerBound"), number(entry, "UpperBound")
    step = whole(entry, "ScalarIncrement") or 0
    if not isinstance(value, int) or isinstance(value, bool):
        return "it is a whole number"
    if (low is not None and value < low) or (high is not None and value > high):
        return f"it may be from {_shown(low)} to {_shown(high)}"
    if step > 1 and low is not None and (value - int(low)) % step:
        return f"it goes in steps of {step} from {int(low)}"
    return None


def _against_text(entry: Json, value: Attribute) -> str | None:
    if not isinstance(value, str):
        return "it is a text"
    shortest, longest = whole(entry, "MinLength") or 0, whole(entry, "MaxLength")
    if len(value) < shortest or (longest is not None and len(value) > longest):
        return f"it may have {shortest} to {longest} characters"
    return None


def _shown(bound: float | None) -> str:
    return "no bound" if bound is None else f"{bound:g}"


def _find(tree: RedfishTree, name: str) -> Json:
    """The registry itself, in English where there is a choice; by the name its file has in the collection."""
    wanted = name.lower().rstrip("/").rsplit("/", 1)[-1]
    stem = wanted.split(".", 1)[0]
    for member in _files(tree, stem):
        told = text(member, "Registry", "Id").lower()
        if told.split(".", 1)[0] != stem:
            continue
        places = as_list(member.get("Location"))
        places.sort(key=lambda place: text(place, "Language").lower() not in ("en", "default"))
        for place in places:
            body = tree.look(text(place, "Uri") or link(place, "Uri"))
            if "RegistryEntries" in body:
                return body
    return {}


def _files(tree: RedfishTree, stem: str) -> list[Json]:
    """Those members of the Registries collection that may be it; the name mostly stands in the path."""
    path = link(tree.root, "Registries")
    listed = list(tree.references(path))
    likely = [one for one in listed if stem in one.lower()]
    return [tree.look(one) for one in (likely or [one for one in listed if "bios" in one.lower()])]
