"""If-Match for BMCs that demand it, refuse it, or garble their ETags: a ladder that ends.

Sources: RFC 9110, 13.1.1; DSP0266, 7.2 and 8.6; facts/bmc.md Q21, Q24, Q25, Q26.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.bmc.quirk_model import EtagForm

_MOST_FRESH = 2
"""How often a tag that changed under our hands is taken up anew."""


@dataclass(frozen=True)
class Condition:
    """The If-Match header of one request; `in_body` repeats it as `@odata.etag`."""

    header: str | None
    in_body: bool = False


UNCONDITIONAL = Condition(None)


class IfMatch:
    """What to send, request after request, while the BMC answers 412 or 428."""

    def __init__(self, tag: str | None, forms: Sequence[EtagForm]) -> None:
        self._forms = forms
        self._tag = tag
        self._fresh = 0
        self._left = ladder(tag, forms)
        self.now: Condition = next(self._left, UNCONDITIONAL)

    def refused(self, fresh: str | None) -> bool:
        """Move on after a 412 or 428; `fresh` is the tag that reads now. False when all was tried."""
        if fresh and fresh != self._tag and self._fresh < _MOST_FRESH:
            self._fresh += 1
            self._tag, self._left = fresh, ladder(fresh, self._forms)
        elif not fresh and not self._tag and self._fresh == 0:
            # It demands a tag, but gives none.
            self._fresh += 1
            self._left = iter([Condition("*")])
        following = next(self._left, None)
        if following is None:
            return False
        self.now = following
        return True


def ladder(tag: str | None, forms: Sequence[EtagForm]) -> Iterator[Condition]:
    """The forms of one tag; of an empty one, none at all."""
    core = (tag or "").removeprefix("W/").strip('"')
    if not tag or not core:
        return iter([UNCONDITIONAL])
    by_form: dict[EtagForm, list[Condition]] = {
        "as-is": [Condition(tag)],
        "strong": [Condition(tag.removeprefix("W/"))],
        "unquoted": [Condition(f'"{core}"'), Condition(core)],
        "in-body": [Condition(tag, in_body=True)],
        "none": [UNCONDITIONAL],
    }
    return iter(dict.fromkeys(condition for form in forms for condition in by_form[form]))
