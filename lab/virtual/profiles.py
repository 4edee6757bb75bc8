"""Profiles: how real BMCs differ from the specification, as data in `profiles.yaml`.

A profile plays one quirk of facts/bmc.md, or a whole vendor by combining several. Paths and pointers in it
are those of our own service; `moves` says where a client finds them instead.
"""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from lab.rack.values import Flag, Name, Strict, complain
from lab.strict_yaml import load_model

FILE_NAME = "profiles.yaml"
Method = Literal["GET", "POST", "PATCH", "DELETE"]
Event = Literal["start", "power-on", "power-off", "insert", "eject"]
Oem = Literal["dell-attributes", "dell-jobs", "hpe-boot-next", "supermicro-iso-config"]


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"'{text}' is not a regular expression: {error}") from error
    return text


Regex = Annotated[str, AfterValidator(_regex)]
Quirk = Annotated[str, Field(pattern=r"^Q([1-9]|[12][0-9]|3[0-3])$")]
Members = dict[str, JsonValue]
"""JSON pointers without the leading slash, and what belongs there."""


class Shows(Strict):
    """Who the BMC says it is; an absent one is left as our service has it."""

    vendor: str | None = None
    model: str | None = None
    manager: str | None = None
    firmware: str | None = None
    redfish_version: str | None = None
    oem: str | None = None
    """The key of its own members under `Oem`."""


class Edit(Strict):
    """What a GET of the resources at `at` shows instead: first copied, then removed, then set."""

    at: Regex
    copied: dict[str, str] = Field(default_factory=dict)
    removed: tuple[str, ...] = ()
    set: Members = Field(default_factory=dict)


class Refusal(Strict):
    """A request that is refused, and how.

    Every condition that is given must hold. `body` maps a pointer to `present`, `absent` or a regular
    expression on the value; `no_body` asks for a request without any. `since` names what begins a round, in
    which the first `times` requests, or those of `for_s` seconds, are refused; absent, all are. `attribute`
    is one of the vendor's own (`oem`) and the value at which this is refused. `quirk` is filled in here.
    """

    quirk: Quirk | None = None
    method: Method
    at: Regex
    body: dict[str, str] = Field(default_factory=dict)
    no_body: Flag = False
    headers: dict[str, Regex] = Field(default_factory=dict)
    power: Literal["on", "off"] | None = None
    attribute: tuple[str, str] | None = None
    since: Event | None = None
    times: Annotated[int, Field(ge=1)] | None = None
    for_s: Annotated[float, Field(gt=0)] | None = None
    status: Annotated[int, Field(ge=400, le=599)]
    message_id: str
    message: str
    answers: dict[str, str] = Field(default_factory=dict)
    """HTTP headers of the answer."""


class EtagHabit(Strict):
    """How ETags look and what If-Match is taken.

    `races` writes with the right tag are answered 412 all the same, and the tag changes each time.
    """

    shown: Literal["strong", "weak", "double-quoted", "empty", "none"] = "strong"
    taken: Literal["any", "strong", "unquoted", "none"] = "any"
    demanded: tuple[Method, ...] = ()
    missing_status: Literal[412, 428] = 428
    races: Annotated[int, Field(ge=0)] = 0


class DeadSlot(Strict):
    """A virtual drive that does not boot: it takes an image for nothing, or refuses with a status."""

    id: str
    types: tuple[str, ...]
    insert: Literal["taken", 400, 405] = "taken"


class MediaHabit(Strict):
    """How virtual drives behave.

    `by_task`: an insert is answered 202, and a task tells how it ends. `by_patch`: no actions; Image (and
    Inserted, where `patch_needs_inserted`) is written. `slots_in_system` puts the collection under the
    system as well as `slot` renames the drive; `dead_slots` come first.
    """

    image_stays: Flag = False
    inserted_stays_s: Annotated[float, Field(ge=0)] = 0.0
    by_task: Flag = False
    by_patch: Flag = False
    patch_needs_inserted: Flag = False
    patch_refuses: tuple[str, ...] = ()
    dead_slots: tuple[DeadSlot, ...] = ()


class BootHabit(Strict):
    """How the boot override behaves.

    `targets` maps what a client may name to what it comes to: a target of our service, or `nothing` where it
    is taken and read back but not carried out. `mode_reverts`: the mode becomes Legacy, and nothing boots by
    UEFI, unless it is sent with the device. `repeats_stall`: writing what holds already ends in a screen that
    waits for a key.
    """

    targets: dict[str, str] = Field(default_factory=dict)
    mode_reverts: Flag = False
    repeats_stall: Flag = False


class SessionHabit(Strict):
    """How many sessions there are, how many others leaked, and how long a full table locks everybody out."""

    limit: Annotated[int, Field(ge=1)] = 8
    leaked: Annotated[int, Field(ge=0)] = 0
    lockout_s: Annotated[float, Field(ge=0)] = 0.0
    status: Annotated[int, Field(ge=400, le=599)] = 503
    message_id: str = "Base.1.15.SessionLimitExceeded"


class TaskHabit(Strict):
    """How tasks behave: unknown for the first reads, gone once finished, running though finished.

    `completed_with_errors`: every task ends as Completed, with a message that says otherwise.
    """

    unknown_reads: Annotated[int, Field(ge=0)] = 0
    vanish_after_reads: Annotated[int, Field(ge=1)] | None = None
    done_reads_running: Annotated[int, Field(ge=0)] = 0
    completed_with_errors: Flag = False


class Habits(Strict):
    """What a BMC does again and again, with a memory. `attributes` are the vendor's own, to begin with."""

    etag: EtagHabit | None = None
    media: MediaHabit | None = None
    boot: BootHabit | None = None
    sessions: SessionHabit | None = None
    tasks: TaskHabit | None = None
    oem: tuple[Oem, ...] = ()
    attributes: Members = Field(default_factory=dict)
    info_is_object: Flag = False
    graceful_off_ignored: Flag = False
    keep_alive_requests: Annotated[int, Field(ge=1)] | None = None


class Profile(Strict):
    """One entry of `profiles.yaml`.

    Attributes:
        quirk: the row of facts/bmc.md that it plays; absent for a vendor's.
        about: what breaks, in a sentence.
        combines: profiles whose quirks it has too; what is given here goes before theirs.
        moves: where a client finds a part of the tree: our path to the one shown.
        absent: paths that are not there.
        adds: resources that our service does not have, read-only.
        ipmi: fields of `lab.virtual.ipmi.faults.IpmiFaults`.
    """

    quirk: Quirk | None = None
    about: Annotated[str, Field(min_length=1)]
    combines: tuple[Name, ...] = ()
    shows: Shows = Shows()
    moves: dict[str, str] = Field(default_factory=dict)
    absent: tuple[Regex, ...] = ()
    adds: dict[str, Members] = Field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    refuses: tuple[Refusal, ...] = ()
    habits: Habits = Habits()
    ipmi: Members = Field(default_factory=dict)


class ProfileFile(Strict):
    """The whole file."""

    profiles: dict[Name, Profile]

    @model_validator(mode="after")
    def _combinations(self) -> ProfileFile:
        for name, profile in self.profiles.items():
            for index, other in enumerate(profile.combines):
                if other not in self.profiles or self.profiles[other].combines:
                    complain(f"{other} is no profile of a single quirk", "profiles", name, "combines", index)
        return self


@functools.cache
def load() -> dict[str, Profile]:
    """Every profile by its name, those that combine others with everything they combine.

    Raises:
        ConfigError: the file does not fit; the message names line and key.
    """
    known = _file()
    told = {name: _with_quirk(profile) for name, profile in known.items()}
    return {
        name: functools.reduce(_joined, (told[other] for other in profile.combines), profile)
        for name, profile in told.items()
    }


def quirks_of(name: str) -> tuple[str, ...]:
    """The quirks that a profile plays."""
    known = _file()
    profile = known[name]
    parts = (profile, *(known[other] for other in profile.combines))
    return tuple(dict.fromkeys(part.quirk for part in parts if part.quirk))


@functools.cache
def _file() -> dict[str, Profile]:
    with resources.as_file(resources.files("lab.virtual") / FILE_NAME) as file:
        return load_model(file, ProfileFile).profiles


def _with_quirk(profile: Profile) -> Profile:
    refuses = [
        refusal.model_copy(update={"quirk": refusal.quirk or profile.quirk}) for refusal in profile.refuses
    ]
    return profile.model_copy(update={"refuses": tuple(refuses)})


def _joined(one: Profile, other: Profile) -> Profile:
    habits = {
        name: getattr(one.habits, name)
        if name in one.habits.model_fields_set
        else getattr(other.habits, name)
        for name in one.habits.model_fields_set | other.habits.model_fields_set
    }
    habits["oem"] = tuple(dict.fromkeys((*one.habits.oem, *other.habits.oem)))
    return one.model_copy(
        update={
            "moves": {**other.moves, **one.moves},
            "absent": (*one.absent, *other.absent),
            "adds": {**other.adds, **one.adds},
            "edits": (*one.edits, *other.edits),
            "refuses": (*one.refuses, *other.refuses),
            "habits": Habits(**habits),
            "ipmi": {**other.ipmi, **one.ipmi},
        }
    )
