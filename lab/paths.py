"""Where things lie: the project's own folders, the user's state and the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

_APP = "hypervisor-lab"


def project() -> Path:
    """The checkout that holds `inventory/`, `firmware/` and `reports/`.

    `LAB_PROJECT` wins; else the nearest folder at or above the working folder that has
    `firmware/releases`; else the checkout this package was installed from.
    """
    named = os.environ.get("LAB_PROJECT")
    if named:
        return Path(named).resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "firmware" / "releases").is_dir():
            return folder
    return Path(__file__).resolve().parent.parent


def inventory() -> Path:
    """Folder of rack files."""
    return project() / "inventory"


def firmware() -> Path:
    """Folder of everything that goes onto servers: releases, recipes, pattern catalogue."""
    return project() / "firmware"


def reports() -> Path:
    """Folder of runs and built pages."""
    return project() / "reports"


def state() -> Path:
    """The user's state folder (leases, credentials, virtual racks), created owner-only."""
    folder = Path(platformdirs.user_state_dir(_APP))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def cache() -> Path:
    """The user's cache folder (built images and media); safe to delete."""
    folder = Path(platformdirs.user_cache_dir(_APP))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def expand(path: str, base: Path) -> Path:
    """The file that a path written in an inventory means.

    `{state}` is the user's state folder, `~` the home; a relative path is relative to `base`.
    """
    return base / Path(path.replace("{state}", str(state()))).expanduser()
