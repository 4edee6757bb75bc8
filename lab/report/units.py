"""Numbers as people read them: decimal units, as disks are sold and as the published figures are given."""

from __future__ import annotations

_STEPS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def show_bytes(count: float) -> str:
    """`1234567890` → `1.23 GB`: three significant digits, decimal."""
    for name, size in _STEPS:
        if count >= size * 0.9995:
            value = count / size
            return f"{value:.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f} {name}"
    return f"{count:.0f} B"


def show_round_bytes(count: int) -> str:
    """A power of ten: `10**10` → `10 GB`."""
    name, size = next((step for step in _STEPS if count >= step[1]), ("B", 1))
    return f"{count // size} {name}"


def show_clock(seconds: float) -> str:
    """`93` → `1:33`, minutes and seconds, for the axis of a chart."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def show_exact_bytes(count: float) -> str:
    """`1234567890` → `1,234,567,890 bytes`."""
    return f"{count:,.0f} bytes"


def show_seconds(seconds: float) -> str:
    """`3.14159` → `3.1 s`, `93` → `1 min 33 s`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def show(value: float, unit: str) -> str:
    """A measurement's value in its unit (`B`, `s` or `count`)."""
    if unit == "B":
        return show_bytes(value)
    if unit == "s":
        return show_seconds(value)
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def show_exact(value: float, unit: str) -> str:
    """A measurement's value with every digit."""
    if unit == "B":
        return show_exact_bytes(value)
    return f"{value:g} s" if unit == "s" else f"{value:,g}"
