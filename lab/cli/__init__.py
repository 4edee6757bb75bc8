"""The `lab` command; each sub-command is a module, and what is slow to import is imported when it runs."""

from __future__ import annotations

from lab.cli.app import app


def main() -> None:
    """Run the command; the exit code is that of `lab.errors`, 2 for wrong usage, 130 when interrupted."""
    app()
