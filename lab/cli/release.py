"""`lab release`: the hypervisor releases the lab can install."""

from __future__ import annotations

import typer

from lab.cli.output import Json, print_json, print_table

app = typer.Typer(no_args_is_help=True, help="The hypervisor releases that the lab can install.")


@app.command("list")
def list_releases(json: Json = False) -> None:
    """Every release in firmware/releases/, by the name that `pytest --hypervisor` takes."""
    from lab.release import load_release, release_names

    found = [load_release(name) for name in release_names()]
    if json:
        print_json([{"name": release.name} | release.model_dump(mode="json") for release in found])
        return
    print_table(
        ("Release", "Product", "Family", "Version", "Firmware", "Secure Boot"),
        (
            (
                release.name,
                release.title,
                release.family,
                release.version,
                ", ".join(release.firmware),
                "yes" if release.secure_boot else "no",
            )
            for release in found
        ),
        empty="no release files in firmware/releases/",
    )
