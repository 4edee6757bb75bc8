"""A variation module of snmpsim: outlets with a state, an order object each, and a log of what was ordered.

snmpsim loads it and calls `init`, `variate` and `shutdown`. Values in the data file are `FOLDER,OUTLET`. What
is on disk in FOLDER is the truth, so that a test can look and change: `outlet-N` holds `on` or `off`,
`sets.log` the orders that arrived. `lag-N` (seconds) makes an outlet change later, `stuck-N` not at all;
`mute-N` and `lost-N` (seconds) answer one order too late, carried out or not.
"""

# ruff: noqa: ANN401 - what snmpsim hands over has no public types

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pysnmp.proto.rfc1902 import Integer32

ON, OFF, CHANGING = 2, 1, 3


def init(**_: Any) -> None:
    """Nothing to prepare."""


def variate(oid: Any, tag: Any, value: Any, **context: Any) -> tuple[Any, Any, Any]:
    """One value read or written."""
    if not context["nextFlag"] and not context["exactMatch"]:
        return context["origOid"], tag, context["errorStatus"]
    where, outlet = str(value).split(",")
    if context["setFlag"]:
        _order(Path(where), outlet, int(context["origValue"]))
        return oid, tag, context["origValue"]
    state, until = ((Path(where) / f"outlet-{outlet}").read_text() + " 0").split()[:2]
    code = CHANGING if float(until) > time.time() else ON if state == "on" else OFF
    return oid, tag, Integer32(code)


def _order(folder: Path, outlet: str, order: int) -> None:
    with (folder / "sets.log").open("a") as log:
        log.write(f"{outlet} {order}\n")
    lost = _once(folder / f"lost-{outlet}")
    if not lost and not (folder / f"stuck-{outlet}").exists():
        lag = folder / f"lag-{outlet}"
        until = time.time() + float(lag.read_text()) if lag.exists() else 0.0
        (folder / f"outlet-{outlet}").write_text(f"{'on' if order == 1 else 'off'} {until}")
    time.sleep(lost + _once(folder / f"mute-{outlet}"))


def _once(file: Path) -> float:
    if not file.exists():
        return 0.0
    seconds = float(file.read_text())
    file.unlink()
    return seconds


def shutdown(**_: Any) -> None:
    """Nothing to end."""
