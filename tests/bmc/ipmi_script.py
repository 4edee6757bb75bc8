"""An IPMI session that answers as told, without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lab.bmc.ipmi.provider import IpmiBmc
from lab.bmc.ipmi.session import CompletionCode, IpmiSession
from lab.bmc.target import Account, Target

Reply = bytes | int
"""The answer's data, or a completion code."""
Answers = Callable[[int, int, bytes], Reply]


class Scripted(IpmiSession):
    """Notes what is asked; `answers` says what comes back."""

    def __init__(self, answers: Answers) -> None:
        super().__init__(Target("s", "there"), "there", 623, Account("lab", lambda: "pw"))
        self.answers = answers
        self.asked: list[tuple[int, int, bytes]] = []

    def connect(self) -> None:
        """Always there."""

    @property
    def idle(self) -> float:
        """Always alive."""
        return 0.0

    @property
    def privilege(self) -> int:
        """Administrator."""
        return 4

    def ask(self, netfn: int, command: int, data: Sequence[int] = (), *, lun: int = 0) -> bytes:
        """As told."""
        self.asked.append((netfn, command, bytes(data)))
        reply = self.answers(netfn, command, bytes(data))
        if isinstance(reply, int):
            raise CompletionCode(reply, netfn, command)
        return reply

    def ask_once(self, netfn: int, command: int, data: Sequence[int], wait: float = 5.0) -> bytes:
        """The same."""
        return self.ask(netfn, command, data)


def scripted(answers: Answers) -> tuple[IpmiBmc, Scripted]:
    """The provider over such a session."""
    session = Scripted(answers)
    bmc = IpmiBmc(Target("s", "there"), "there", 623, Account("lab", lambda: "pw"))
    bmc._session = bmc._boot._session = bmc._sol._session = session
    return bmc, session
