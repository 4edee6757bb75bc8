"""`lab schema`: the JSON Schemas of the project's files."""

from __future__ import annotations

from typing import Annotated

import typer


def schema(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail when one is not current.")
    ] = False,
) -> None:
    """Bring the JSON Schemas that editors read (rack, release, measurements, timeline) up to date.

    An editor with a YAML language server completes and checks a rack file whose first line is
    `# yaml-language-server: $schema=rack.schema.json`
    """
    from lab import paths, schemas
    from lab.errors import ConfigError

    project = paths.project()
    if not check:
        for file in schemas.write(project):
            typer.echo(f"wrote {file.relative_to(project)}")
        return
    old = [str(file.relative_to(project)) for file in schemas.stale(project)]
    if old:
        raise ConfigError(
            f"not current: {', '.join(old)}", next_step="run `lab schema` and commit the result"
        )
