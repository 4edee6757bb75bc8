"""The form of a quirk: when it applies, and what it changes in how providers behave.

Capability comes first: a quirk that can be told by what was probed names no vendor. What a quirk may
change is a small closed set of typed knobs, so that a lab's own file is checked like a rack file.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool, field_validator, model_validator

from lab.rack.values import Strict, complain

Fact = Literal[
    "boot-none",
    "boot-oem-dell",
    "boot-oem-hpe",
    "boot-target-cd",
    "boot-target-usbcd",
    "boot-target-vcd-dvd",
    "boot-targets-unsaid",
    "boot-settings",
    "boot-no-continuous",
    "etag-none",
    "etag-weak",
    "etag-odd",
    "job-queue-dell",
    "managed-by-none",
    "media-none",
    "media-in-system",
    "media-in-manager",
    "media-dvd-only",
    "media-insert-absent",
    "media-oem-iso-config",
    "media-types-unsaid",
    "power-no-force-on",
    "power-no-push-button",
    "sessions-none",
]
"""What probing may find; each is read from a resource, and nothing is changed for it."""

Flag = StrictBool
Intent = Literal["read", "power-on", "power-off", "reset", "boot", "media", "any"]
EtagForm = Literal["as-is", "strong", "unquoted", "in-body", "none"]
MediaMember = Literal["Image", "Inserted", "WriteProtected"]


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"'{text}' is not a regular expression: {error}") from error
    return text


Regex = Annotated[str, AfterValidator(_regex)]
NamedDevice = Literal["disk", "cd", "pxe", "http", "setup"]
Selector = Annotated[int, Field(ge=0, le=255)]


class Retry(Strict):
    """A refusal after which the same request may be sent again, because the BMC did not carry it out.

    `status` and `message` (a regular expression on MessageId and text of the answer) must both fit; one
    that is absent fits everything. With `asked` the BMC must have said Retry-After too. Sent at most
    `times` more, `every_s` seconds apart, each pause longer by `factor` up to `at_most_s`; a Retry-After
    of the BMC comes first.
    """

    intent: Intent = "any"
    status: tuple[int, ...] = ()
    message: Regex | None = None
    asked: Flag = False
    times: Annotated[int, Field(ge=1, le=60)]
    every_s: Annotated[float, Field(gt=0, le=60)]
    factor: Annotated[float, Field(ge=1, le=4)] = 1.0
    at_most_s: Annotated[float, Field(gt=0, le=120)] = 60.0

    @model_validator(mode="after")
    def _narrow(self) -> Retry:
        if not self.status and self.message is None:
            raise ValueError("name a status, a message or both: not every refusal is one to send again")
        return self

    def fits(self, intent: Intent, status: int, why: str, *, asked: bool) -> bool:
        """Whether this refusal is one of those; `asked` where it came with a Retry-After."""
        return (
            self.intent in (intent, "any")
            and (asked or not self.asked)
            and (not self.status or status in self.status)
            and (self.message is None or re.search(self.message, why, re.IGNORECASE) is not None)
        )

    def pause_s(self, tried: int) -> float:
        """Seconds to wait after `tried` tries, the first being 1."""
        return min(self.at_most_s, float(self.every_s * self.factor ** (tried - 1)))


class Behaviour(Strict):
    """What providers read; the defaults are for a BMC that keeps to its specification.

    Redfish:
        retries: refusals that may be sent again; those of all quirks in force, together.
        cd_targets: BootSourceOverrideTarget values that mean the virtual CD, the one that boots first.
        boot_skip_same: which overrides are not written where they read as wanted already: lasting ones, as a
            boot-once may read on after it was used up, or every one.
        boot_mode_sent: when BootSourceOverrideMode goes with the device.
        whole_boot_object: send Enabled, Target and Mode together, always.
        oem_boot_once: the vendor's own way to boot once from the virtual CD.
        oem_boot_first: take that way before the standard one, where virtual media is inserted.
        media_payloads: members of InsertMedia, tried in order where the BMC rejects the request.
        media_slot: Id of the only virtual drive that boots.
        media_stale: a drive may read Inserted after a good eject.
        media_account: UserName and Password for media without one ("none"), or nothing.
        transfer_protocol: whether TransferProtocolType goes with http and https.
        etag_forms: what to send as If-Match, in order.
        etag_on_actions: send If-Match with POSTs to actions too; else only when asked to.
        poll_tasks_below_s: the longest pause between two looks at a task.
        clear_job_queue: empty the vendor's job queue where it blocks a boot change.
        soft_off_needs_agent: graceful off is the work of an agent in the system: expect silence.
        connection_close: a new TCP connection for each request.
        encoding: the Accept-Encoding sent; "any" leaves it out.

    IPMI:
        command_spacing_s: seconds between two commands.
        boot_selectors: raw boot device selector by device, for UEFI.
        cipher_suites: in the order they are tried.
        login_retries: more log-ins after one that ended in an inactive session or a stray answer.
        sol_settable: whether SOL parameters can be written.
        sol_reattach: tries to attach a lost SOL again; 0 ends it.
        sol_reattach_every_s: seconds between them.
        sol_deactivate_first: end an orphan SOL session before activating one.
    """

    retries: tuple[Retry, ...] = ()
    cd_targets: tuple[str, ...] = ("Cd", "UsbCd")
    boot_skip_same: Literal["lasting", "every"] = "lasting"
    boot_mode_sent: Literal["always", "when-different", "never"] = "when-different"
    whole_boot_object: Flag = False
    oem_boot_once: Literal["dell-server-boot", "hpe-boot-on-next-reset"] | None = None
    oem_boot_first: Flag = False
    media_payloads: tuple[tuple[MediaMember, ...], ...] = (
        ("Image", "Inserted", "WriteProtected"),
        ("Image", "Inserted"),
        ("Image",),
    )
    media_slot: str | None = None
    media_stale: Flag = False
    media_account: Literal["none"] | None = None
    transfer_protocol: Literal["always", "when-asked", "never"] = "when-asked"
    etag_forms: tuple[EtagForm, ...] = ("as-is", "strong", "unquoted", "in-body", "none")
    etag_on_actions: Flag = False
    poll_tasks_below_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    clear_job_queue: Flag = False
    soft_off_needs_agent: Flag = False
    connection_close: Flag = False
    encoding: Literal["identity", "any"] = "identity"

    command_spacing_s: Annotated[float, Field(ge=0, le=60)] = 0.0
    boot_selectors: dict[NamedDevice, Selector] = Field(default_factory=dict)
    cipher_suites: tuple[Literal[3, 17], ...] = (17, 3)
    login_retries: Annotated[int, Field(ge=0, le=10)] = 2
    sol_settable: Flag = True
    sol_reattach: Annotated[int, Field(ge=0, le=60)] = 10
    sol_reattach_every_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    sol_deactivate_first: Flag = False

    def retry_for(self, intent: Intent, status: int, why: str, *, asked: bool = False) -> Retry | None:
        """The rule by which a refused request may be sent again; the last one that fits."""
        fitting = (rule for rule in reversed(self.retries) if rule.fits(intent, status, why, asked=asked))
        return next(fitting, None)


class Match(Strict):
    """When a quirk applies: all that is given must hold; with nothing given it applies to every BMC.

    `probed` and `not_probed` are facts; the others are regular expressions, case ignored, searched in what
    the BMC says of itself.
    """

    probed: tuple[Fact, ...] = ()
    not_probed: tuple[Fact, ...] = ()
    vendor: Regex | None = None
    model: Regex | None = None
    generation: Regex | None = None
    firmware: Regex | None = None

    @model_validator(mode="after")
    def _one_generation(self) -> Match:
        # Version numbers start again with a generation (Q3), so one alone says nothing.
        if self.firmware is not None and self.generation is None:
            complain("a firmware version is compared within one generation: name that too", "firmware")
        return self


class Quirk(Strict):
    """One entry: what breaks, where, how it is handled, and how that is known.

    `where` names the modules that handle it for everybody, whatever the match says. `advice` is for people,
    where software cannot mend it.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{1,30}$")]
    title: Annotated[str, Field(min_length=1)]
    match: Match = Match()
    behaviour: Behaviour = Behaviour()
    handled: Annotated[tuple[Literal["always", "knob", "advice"], ...], Field(min_length=1)]
    where: tuple[str, ...] = ()
    advice: str | None = None
    evidence: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _says_how(self) -> Quirk:
        if ("knob" in self.handled) != bool(self.behaviour.model_fields_set):
            complain("`knob` and `behaviour` go together", "handled")
        if ("advice" in self.handled) != (self.advice is not None):
            complain("`advice` in `handled` and the key `advice` go together", "handled")
        if ("always" in self.handled) != bool(self.where):
            complain("`always` and `where` go together", "handled")
        return self

    @property
    def rank(self) -> int:
        """Whose knobs win: what was probed over what a name suggests, and that over what is for all."""
        if self.match.probed or self.match.not_probed:
            return 2
        return 1 if self.match.model_fields_set else 0


class QuirkFile(Strict):
    """`lab/bmc/quirks.yaml`, or a lab's own `quirks.yaml` beside its rack files."""

    quirks: Annotated[tuple[Quirk, ...], Field(min_length=1)]

    @field_validator("quirks")
    @classmethod
    def _once(cls, quirks: tuple[Quirk, ...]) -> tuple[Quirk, ...]:
        seen: set[str] = set()
        for index, quirk in enumerate(quirks):
            if quirk.id in seen:
                complain(f"{quirk.id} stands twice", index, "id")
            seen.add(quirk.id)
        return quirks
