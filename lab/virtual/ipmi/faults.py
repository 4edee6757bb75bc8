"""What can be wrong with the virtual BMC's IPMI, as data; a profile or a rack file names it.

Everything defaults to a BMC without a fault. Numbers Qn are those of facts/bmc.md section 1, "defect n"
those of pyghmi in section 2.1.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lab.rack.values import Strict

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0.0)]


class Frequency(Strict):
    """When a fault happens among the occasions it has.

    The first `after` occasions pass. Of those that follow each `every`-th is hit, with `probability`, until
    `times` were hit. With neither of the last three it never happens; `times: 2` alone is the first two. A
    bare number in YAML is a probability: `loss: 0.05`.
    """

    after: Count = 0
    every: Annotated[int, Field(ge=1)] | None = None
    probability: Probability | None = None
    times: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_number(cls, value: object) -> object:
        return {"probability": value} if isinstance(value, int | float) else value

    @property
    def ever(self) -> bool:
        """Whether it can happen at all."""
        return (self.every, self.probability, self.times) != (None, None, None)


NEVER = Frequency()


class Datagrams(Strict):
    """What happens to the datagrams of one direction."""

    loss: Frequency = NEVER
    duplicate: Frequency = NEVER
    late: Frequency = NEVER
    late_s: Seconds = 2.0
    """How much later a late one arrives, behind those sent meanwhile."""


class IpmiFaults(Strict):
    """The faults of one BMC's IPMI face. `ipmi_sim` has the datagram faults alone, the responder all."""

    seed: int = 1
    """Where every probability starts, so that a run can be repeated."""
    to_bmc: Datagrams = Datagrams()
    from_bmc: Datagrams = Datagrams()

    suites: Annotated[tuple[Literal[3, 17], ...], Field(min_length=1)] = (3, 17)
    """Cipher suites offered; an OpenBMC offers 17 alone (Q28)."""
    sha1_for_sha256: bool = False
    """An offer of SHA-256 is taken for one of SHA-1 (defect 2)."""
    rakp2_tag_zero: bool = False
    """RAKP 2 carries message tag 0 whatever was asked (Q28)."""
    stray_rakp2: Frequency = NEVER
    """A RAKP 2 of another log-in comes before the right one (Q28); occasions are RAKP 1 messages."""
    inactive_session: Frequency = NEVER
    """RAKP 1 is answered "inactive session ID", and the log-in is over (Q19); occasions as before."""
    table_full: Frequency = NEVER
    """Open Session is answered "insufficient resources"; occasions are Open Session requests."""
    sessions: Annotated[int, Field(ge=1)] = 16
    """How many sessions there can be."""
    session_timeout_s: Annotated[float, Field(gt=0.0)] = 60.0
    """A session that is silent so long is ended (IPMI v2.0, 6.12.15)."""

    boot_parameter_3: bool = True
    """Whether boot option parameter 3 (keep the flags beyond a minute) is supported (Q28)."""
    boot_flags: Literal["kept", "refused", "ignored", "wrong"] = "kept"
    """Boot flags are kept; refused (80h); accepted and dropped; accepted and read back as another device."""
    boot_flags_lapse_s: Seconds = 60.0
    """Unless parameter 3 forbids it, flags lapse so long after they were set (table 28-14, parameter 5)."""
    uefi_disk_selector: Literal[0x08, 0x24] = 0x08
    """The selector that boots a UEFI disk; where it is 24h the standard one has no effect (Q19)."""
    nmi: bool = True
    """Whether Chassis Control knows the diagnostic interrupt."""

    power_lag_s: Seconds = 0.0
    """A power action is acknowledged at once and carried out so much later."""
    power_lies: Count = 0
    """So many reads after a power action still tell the old state."""

    sol_settable: bool = True
    """Whether SOL configuration parameters can be written (Q29)."""
    sol_enabled: bool = True
    """Whether SOL is enabled at start."""
    sol_at_power_change: Literal["kept", "dropped", "frozen"] = "kept"
    """When the server is switched or reset SOL goes on, its session vanishes, or it falls silent (Q29)."""
    sol_orphan_kills: bool = False
    """A timed-out session that once had SOL ends the SOL of whoever has it then (Q30)."""
    sol_orphan: bool = False
    """At start a session of nobody holds SOL, until it times out or its payload is deactivated (Q30)."""
    sol_end: Frequency = NEVER
    """SOL's session ends without a word (Q30); occasions are packets of output."""
    sol_deactivate: Frequency = NEVER
    """SOL is deactivated by the BMC, which says so (defect 5); occasions are packets of output."""
    sol_gap: Frequency = NEVER
    """A packet of output is never sent though its sequence number is spent (defect 4)."""
    sol_grown: Frequency = NEVER
    """The acknowledgement of a packet is overlooked; it is sent again with more behind it (defect 3)."""

    spacing_s: Seconds = 0.0
    """Commands that come faster than this make the BMC hang (Q33); those of NetFn App do not count."""
    hang_s: Seconds = 20.0
    """How long it then answers nothing (Q33)."""
    reboot: Frequency = NEVER
    """The BMC restarts when it has carried out a request, in place of an answer; occasions are requests."""
    reboot_unheard: bool = False
    """Whether that restart comes before the request is carried out."""
    reboot_s: Seconds = 60.0
    """How long a restart takes that was not asked for."""
    cold_reset_s: Seconds = 5.0
    """How long one takes that was asked for (Cold Reset)."""


NO_FAULTS = IpmiFaults()
