"""Driving a server's BMC: providers for Redfish and IPMI behind one protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.bmc.open import open_bmc, open_sol

__all__ = ["open_bmc", "open_sol"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  # PEP 562
    """Load the providers' opener when it is first asked for; importing this package stays cheap."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lab.bmc import open as opening

    return getattr(opening, name)
