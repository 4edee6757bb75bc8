"""The footprint table for a terminal or a log."""

from __future__ import annotations

from pathlib import Path


def footprint_table(run: Path) -> str:
    """Published and measured footprints of a run, as plain ASCII, one row a line; empty if none was measured.

    Raises:
        ConfigError: a file of the run or of `firmware/published/` is damaged.
    """
    from lab.report.figures import BESIDE_IT, INSTALLED_DISK, Row, footprints
    from lab.report.merge import read_run
    from lab.report.rundir import RunFolder

    measured, _ = read_run(RunFolder(run))
    table = footprints(measured)
    if not any(row.measured for row in table.rows):
        return ""
    metrics = (INSTALLED_DISK, *BESIDE_IT)

    def line(row: Row) -> list[str]:
        name = f"{row.product} ({row.where})" if row.measured else row.product
        figures = [row.figures.get(metric) for metric in metrics]
        return [name, row.origin, *(figure.text if figure else "-" for figure in figures)]

    lines = [["product", "origin", *metrics], *(line(row) for row in table.rows)]
    lines = [[cell.encode("ascii", "replace").decode() for cell in cells] for cells in lines]
    widths = [max(len(cells[column]) for cells in lines) for column in range(len(lines[0]))]
    text = [
        "  ".join(
            _fit(cell, width, column) for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        for cells in lines
    ]
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(entry.rstrip() for entry in text)


def _fit(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column < 2 else cell.rjust(width)
