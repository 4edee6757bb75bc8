"""SOL configuration (IPMI 2.0, 26.2, 26.3, table 26-5): read, and enabled with read-back."""

from __future__ import annotations

from lab.bmc.api import Answer, Outcome, SolSettings
from lab.bmc.ipmi.sdr import Asks
from lab.bmc.ipmi.session import CompletionCode, IpmiSession
from lab.bmc.target import Target, Unsupported

_APP, _TRANSPORT = 0x06, 0x0C
_SET, _GET = 0x21, 0x22
_SET_IN_PROGRESS, _ENABLE, _RATE_KEPT, _RATE_NOW = 0, 1, 5, 6
_PRESENT_CHANNEL = 0x0E
_FIRST_LAN_CHANNEL = 1
_RATES = {6: 9600, 7: 19200, 8: 38400, 9: 57600, 10: 115200}
_NOT_SETTABLE = {0x80, 0x82, 0xC1, 0xC2, 0xCC}


class SolConfiguration:
    """SOL on the channel that we came in by."""

    def __init__(self, session: IpmiSession, target: Target, provider: str) -> None:
        self._session = session
        self._target = target
        self._provider = provider

    def read(self) -> SolSettings:
        """Enabled and bit rate.

        Raises:
            CompletionCode: the BMC does not tell whether SOL is enabled.
        """
        channel = present_channel(self._session)
        enabled = self._get(channel, _ENABLE)
        return SolSettings(bool(enabled and enabled[0] & 1), self._rate(channel))

    def enable(self, *, settable: bool = True) -> Answer:
        """Enable SOL and read it back; nothing is sent where it is.

        Raises:
            Unsupported: the BMC has no such setting (Q29).
            BmcRefused: it stays disabled.
            CompletionCode: the BMC said no.
        """
        if self.read().enabled:
            return Answer(Outcome.VERIFIED, self._provider, 0, ("SOL was already enabled; nothing sent",))
        if not settable:
            raise Unsupported("this BMC's SOL settings cannot be written (Q29)")
        channel = present_channel(self._session)
        try:
            with _InProgress(self, channel):
                self.put(channel, _ENABLE, 1)
        except CompletionCode as no:
            if no.code in _NOT_SETTABLE:
                raise Unsupported(f"enabling SOL: {no}") from no
            raise
        if not self.read().enabled:
            raise self._target.refused(
                "enabling SOL", "it reads disabled still", "enable SOL in the BMC's web page"
            )
        return Answer(Outcome.VERIFIED, self._provider, 1, (f"SOL on channel {channel} reads enabled",))

    def put(self, channel: int, parameter: int, value: int) -> None:
        """Set one parameter of one byte."""
        self._session.ask(_TRANSPORT, _SET, (channel, parameter, value))

    def _get(self, channel: int, parameter: int) -> bytes:
        return self._session.ask(_TRANSPORT, _GET, (channel, parameter, 0, 0))[1:]

    def _rate(self, channel: int) -> int | None:
        for parameter in (_RATE_NOW, _RATE_KEPT):
            try:
                value = self._get(channel, parameter)
            except CompletionCode:
                continue
            if value and value[0] & 0x0F in _RATES:
                return _RATES[value[0] & 0x0F]
        return None


def present_channel(session: Asks) -> int:
    """The number of the channel in use (Get Channel Info, 22.24); the first where the BMC does not say."""
    try:
        answer = session.ask(_APP, 0x42, (_PRESENT_CHANNEL,))
    except CompletionCode:
        return _FIRST_LAN_CHANNEL
    number = answer[0] & 0x0F if answer else 0
    return number if 0 < number <= 0x0B else _FIRST_LAN_CHANNEL


class _InProgress:
    """Set-in-progress around a change, for the BMCs that have it (table 26-5, parameter 0)."""

    def __init__(self, configuration: SolConfiguration, channel: int) -> None:
        self._configuration = configuration
        self._channel = channel

    def __enter__(self) -> None:
        self._mark(1)

    def __exit__(self, *_: object) -> None:
        self._mark(0)

    def _mark(self, value: int) -> None:
        try:
            self._configuration.put(self._channel, _SET_IN_PROGRESS, value)
        except CompletionCode:
            return
