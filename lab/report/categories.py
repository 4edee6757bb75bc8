"""What Allure needs beside the tests' results: categories from the list of errors, and the environment."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from lab.errors import every_error
from lab.report.rundir import RunFacts
from lab.secret import redact


def categories() -> list[dict[str, Any]]:
    """One Allure category per category in `lab.errors`, in that order, matching its errors by name.

    The keys are those that Allure 2 reads from `categories.json`; Allure 3 takes the same ones from its
    configuration. A test skipped because its server broke counts under the category of that first cause.
    """
    names: dict[str, list[str]] = {}
    for kind in every_error():
        names.setdefault(kind.category, []).append(kind.__name__)
    # Allure 2 matches the whole message, Allure 3 any part of it: this pattern means the same to both
    return [
        {"name": category, "messageRegex": rf"^(?:[\s\S]*[\s.])?(?:{'|'.join(kinds)}): [\s\S]*"}
        for category, kinds in names.items()
    ]


def environment(facts: RunFacts) -> dict[str, str]:
    """What the report says of where the run took place."""
    return {
        "rack": facts.rack,
        "origin": facts.origin,
        "servers": ", ".join(facts.servers),
        "releases": ", ".join(facts.releases),
        "command": facts.command,
        "lab": f"{facts.lab_version} ({facts.revision})",
        "run": facts.id,
        "controller": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    }


def write_categories(allure_results: Path) -> None:
    """Write `categories.json` beside the results."""
    (allure_results / "categories.json").write_text(json.dumps(categories(), indent=1) + "\n")


def write_environment(allure_results: Path, facts: RunFacts) -> None:
    """Write `environment.properties` beside the results."""
    lines = [f"{key}={_property(redact(value))}" for key, value in environment(facts).items()]
    (allure_results / "environment.properties").write_text("\n".join(lines) + "\n")


def _property(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\r", "").replace("\n", "\\n")
