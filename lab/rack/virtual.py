"""What a rack file says about a virtual server: the hardware that QEMU builds, and how its BMC errs."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from lab.rack.values import Mac, Name, Size, Strict, complain

FaultKind = Literal[
    "loss",
    "duplicate",
    "late",
    "tcp-reset",
    "session-expired",
    "refusal",
    "task-vanishes",
    "power-lags",
    "media-detaches",
    "bmc-reboot",
    "session-table-full",
    "bad-body",
]
"""What can go wrong at a virtual BMC; `lab.virtual.faults` plays it."""
FaultWay = Literal[
    "both",
    "in",
    "out",
    "after",
    "before",
    "lags",
    "lies",
    "html",
    "truncated",
    "trickle",
    "huge",
]
DATAGRAM_KINDS = ("loss", "duplicate", "late")
REDFISH_KINDS = ("tcp-reset", "session-expired", "refusal", "task-vanishes", "media-detaches", "bad-body")
_REQUEST = ("method", "path")
_OWN: dict[str, tuple[str, ...]] = {
    "loss": ("way",),
    "duplicate": ("way",),
    "late": ("way", "seconds"),
    "tcp-reset": ("way", *_REQUEST),
    "session-expired": _REQUEST,
    "refusal": ("status", "retry_after", *_REQUEST),
    "task-vanishes": (),
    "power-lags": ("way", "seconds"),
    "media-detaches": ("seconds",),
    "bmc-reboot": ("way", "seconds", *_REQUEST),
    "session-table-full": (),
    "bad-body": ("way", *_REQUEST),
}
_WAYS: dict[str, tuple[str, ...]] = {
    "loss": ("both", "in", "out"),
    "duplicate": ("both", "in", "out"),
    "late": ("both", "in", "out"),
    "tcp-reset": ("after", "before"),
    "power-lags": ("lags", "lies"),
    "bmc-reboot": ("after", "before"),
    "bad-body": ("html", "truncated", "trickle", "huge"),
}
"""The first of each is meant where none is given."""
_SECONDS = {"late": 1.5, "power-lags": 8.0, "media-detaches": 3.0, "bmc-reboot": 60.0}


class FaultEntry(Strict):
    """One fault of a virtual BMC, by count or by probability.

    An event is what the kind is about: a datagram, a request, a log-in, a look at a task, a change of power,
    an inserted image. The first `after` events pass; of those that follow each is hit with `probability`
    (absent: every one) until `times` were hit (absent: one, and without end where a probability is given).
    `seed` makes the draws repeatable.

    Attributes:
        seconds: how late a datagram comes, how long power lags or lies, how long after the insert the image
            is gone, how long the BMC stays away.
        status: of a refusal, with Retry-After where `retry_after` gives its seconds.
        way: of a datagram `both`, `in` (to the BMC) or `out`; of `tcp-reset` and `bmc-reboot` whether the
            request is carried out first (`after`) or not (`before`); of power whether the old state is shown
            for a while (`lags`) or the action is not carried out though the new state is shown (`lies`);
            of a body `html`, `truncated`, `trickle` or `huge`.
        method: only requests by it (a refusal: only changes, where it is absent).
        path: only requests whose path this regular expression is found in.
    """

    fault: FaultKind
    after: Annotated[int, Field(ge=0)] = 0
    times: Annotated[int, Field(ge=1)] | None = None
    probability: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int = 0
    seconds: Annotated[float, Field(gt=0, le=3600)] | None = None
    status: Literal[409, 412, 428, 503] | None = None
    retry_after: Annotated[int, Field(ge=0, le=600)] | None = None
    way: FaultWay | None = None
    method: Literal["GET", "POST", "PATCH", "DELETE"] | None = None
    path: str | None = None

    @field_validator("path")
    @classmethod
    def _pattern(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                re.compile(text)
            except re.error as error:
                raise ValueError(f"'{text}' is not a regular expression: {error}") from error
        return text

    @model_validator(mode="after")
    def _belongs(self) -> FaultEntry:
        own = _OWN[self.fault]
        for name in ("seconds", "status", "retry_after", "way", "method", "path"):
            if getattr(self, name) is not None and name not in own:
                complain(f"has no meaning with {self.fault}; it takes {', '.join(own) or 'nothing'}", name)
        if self.way is not None and self.way not in _WAYS[self.fault]:
            complain(f"the ways of {self.fault} are {', '.join(_WAYS[self.fault])}", "way")
        return self

    @property
    def face(self) -> Literal["redfish", "ipmi"] | None:
        """The one face of the BMC that it is about; None where it is about both or the server."""
        if self.fault in DATAGRAM_KINDS:
            return "ipmi"
        return "redfish" if self.fault in REDFISH_KINDS else None

    @property
    def chosen_way(self) -> str:
        """The way, as given or by default."""
        return self.way or _WAYS[self.fault][0]

    @property
    def lasting_s(self) -> float:
        """The seconds, as given or by default."""
        return self.seconds or _SECONDS[self.fault]


class VirtualBmc(Strict):
    """How the BMC of a virtual server behaves.

    `ipmi` is what speaks IPMI: Debian's `ipmi_sim`, or the `responder`, which can err as real BMCs do;
    absent, `ipmi_sim`, unless the profile needs the other. `profile` is one of `lab/virtual/profiles.yaml`.
    """

    ipmi: Literal["ipmi_sim", "responder"] | None = None
    profile: Name | None = None
    faults: tuple[FaultEntry, ...] = ()

    @model_validator(mode="after")
    def _known_profile(self) -> VirtualBmc:
        if self.profile is None:
            return self
        # Here, not above: the virtual rack knows rack files, and only this one check goes the other way.
        from lab.virtual.profiles import load

        known = load()
        if self.profile not in known:
            near = get_close_matches(self.profile, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; choose from {', '.join(sorted(known))}"
            complain(f"no profile '{self.profile}'{hint}", "profile")
        if known[self.profile].ipmi and self.ipmi == "ipmi_sim":
            complain(f"profile {self.profile} needs the responder; ipmi_sim cannot play it", "ipmi")
        return self


class VirtualDisk(Strict):
    """How the virtual rack builds one disk."""

    bus: Literal["nvme", "ahci", "megasas", "mptsas1068", "virtio-blk", "virtio-scsi"]
    size: Size = 64 * 2**30


class VirtualServer(Strict):
    """The hardware of a server of the virtual rack; `disks` by serial, `nics` (QEMU models) by MAC."""

    machine: Literal["q35", "pc"] = "q35"
    cpus: Annotated[int, Field(ge=1)] = 2
    memory: Size = 3 * 2**30
    cpu: str = "qemu64,+svm,+npt"
    disks: dict[str, VirtualDisk]
    nics: dict[Mac, Literal["e1000e", "vmxnet3", "virtio-net-pci"]]
    bmc: VirtualBmc = VirtualBmc()
