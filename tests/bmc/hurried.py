"""Our quirks in a hurry, for tests that are not about how long a pause is."""

from __future__ import annotations

from lab.bmc import quirks
from lab.bmc.quirk_model import Quirk
from lab.bmc.quirks import Catalogue


def hurried() -> Catalogue:
    """Our quirks, with a tenth of their pauses."""

    def quick(quirk: Quirk) -> Quirk:
        rules = tuple(
            rule.model_copy(update={"every_s": rule.every_s / 10}) for rule in quirk.behaviour.retries
        )
        if not rules:
            return quirk
        return quirk.model_copy(update={"behaviour": quirk.behaviour.model_copy(update={"retries": rules})})

    return Catalogue(tuple(quick(quirk) for quirk in quirks.load().entries))
