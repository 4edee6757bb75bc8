"""Units, rows, headline and geometry."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.measure.model import MeasurementsFile, Span, TimelineFile
from lab.report import charts, figures, units
from lab.report.comparison import headline
from lab.report.merge import read_run
from lab.report.rundir import RunFolder
from lab.report.summary import footprint_table
from tests.report.sample_run import AT, KVM, XEN, measurement

SEED = {
    "VMware ESX 3.5": (2e9, "2 GB"),
    "VMware ESXi 3.5": (32e6, "32 MB"),
    "Microsoft Hyper-V with Windows Server 2008": (10e9, "10 GB"),
    "Microsoft Hyper-V with Windows Server Core": (2.6e9, "2.6 GB"),
    "Citrix XenServer v4": (1.8e9, "1.8 GB"),
}


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (999_600, "1.00 MB"),
        (1_234_567_890, "1.23 GB"),
        (41_234_496, "41.2 MB"),
        (876_543_210, "877 MB"),
        (5e12, "5.00 TB"),
    ],
)
def test_bytes_have_three_digits(count: float, shown: str) -> None:
    assert units.show_bytes(count) == shown


@given(st.integers(min_value=1, max_value=10**15))
def test_shown_bytes_are_within_half_a_per_cent(count: int) -> None:
    text, unit = units.show_bytes(count).split()
    size = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}[unit]
    assert abs(float(text) * size - count) <= 0.0051 * count


@given(st.floats(min_value=0, max_value=10**6))
def test_every_duration_can_be_shown(seconds: float) -> None:
    assert units.show_seconds(seconds)
    assert "60" not in units.show_clock(seconds).split(":")[-1]


def test_the_seeds_five_rows_stand_as_published() -> None:
    rows = figures.published()
    assert {
        row.product: (row.figures["installed-disk"].value, row.figures["installed-disk"].text) for row in rows
    } == SEED
    assert {row.origin for row in rows} == {"published 2008"}


def test_the_latest_value_of_a_metric_counts() -> None:
    first = measurement("s", XEN, "installed-disk", 1)
    later = measurement("s", XEN, "installed-disk", 2).model_copy(update={"at": AT + timedelta(seconds=1)})
    table = figures.area(MeasurementsFile(run="r", measurements=(later, first)), "footprint")
    assert [row.figures["installed-disk"].value for row in table.rows] == [2]


def test_a_metric_nobody_has_heard_of_gets_its_column() -> None:
    metrics = ("dump-space", "boot-image-bytes", "a-new-one", "installed-disk")
    measured = MeasurementsFile(run="r", measurements=tuple(measurement("s", XEN, m, 5) for m in metrics))
    assert figures.area(measured, "footprint").columns == (
        "installed-disk",
        "boot-image-bytes",
        "a-new-one",
        "dump-space",
    )
    assert figures.footprint_details(measured).columns == ("a-new-one", "dump-space")
    assert figures.footprints(measured).columns == ("installed-disk", *figures.BESIDE_IT)


def test_times_stand_in_the_order_they_were_reached() -> None:
    times = {"login": 90.0, "loader": 6.0, "a-kernel": 12.0}
    measured = MeasurementsFile(
        run="r", measurements=tuple(measurement("s", XEN, metric, at, "boot") for metric, at in times.items())
    )
    assert figures.area(measured, "boot").columns == ("loader", "a-kernel", "login")


def test_a_stand_in_is_listed_and_never_plotted(sample: RunFolder) -> None:
    table = figures.footprints(read_run(sample)[0])
    assert "stand-in" in [row.origin for row in table.rows]
    chart = charts.bar_chart(table.rows)
    assert chart is not None
    assert "stand-in" not in [bar.row.origin for bar in chart.bars]
    assert "stand-in" not in (headline(table) or "")


def test_the_headline_names_few_products_and_counts_many() -> None:
    def said(*sizes: float) -> str:
        entries = [measurement("s", f"p{n}", "installed-disk", size) for n, size in enumerate(sizes)]
        return headline(figures.footprints(MeasurementsFile(run="r", measurements=tuple(entries)))) or ""

    assert said(64e6).startswith(
        "p0 takes 64.0 MB. The smallest figure of 2008 was 32 MB for VMware ESXi 3.5"
    )
    assert said(64e6).endswith("2.0 times that.")
    assert said(2e9, 64e6).startswith("p1 takes 64.0 MB and p0 takes 2.00 GB.")
    assert said(5e9, 4e9, 3e9, 2e9).startswith("4 products take between 2.00 GB and 5.00 GB.")


def test_one_product_on_two_servers_is_said_once() -> None:
    entries = (measurement("a", XEN, "installed-disk", 1e9), measurement("b", XEN, "installed-disk", 2e9))
    said = headline(figures.footprints(MeasurementsFile(run="r", measurements=entries))) or ""
    assert "takes 1.00 GB to 2.00 GB." in said


def test_only_stand_ins_make_no_headline() -> None:
    measured = MeasurementsFile(
        run="r", measurements=(measurement("s", "x", "installed-disk", 5, origin="stand-in"),)
    )
    assert headline(figures.footprints(measured)) is None


@given(st.lists(st.integers(min_value=0, max_value=10**14), max_size=12))
def test_bars_stay_in_the_chart_in_order_of_size(sizes: list[int]) -> None:
    rows = [
        figures.Row(f"p{number}", "hardware", "s", {"installed-disk": figures.Figure(size, "B")})
        for number, size in enumerate(sizes)
    ]
    chart = charts.bar_chart(rows)
    if not any(sizes):
        assert chart is None
        return
    assert chart is not None
    widths = [bar.width for bar in chart.bars]
    assert widths == sorted(widths)
    assert all(-1e-9 <= width <= 100 + 1e-9 for width in widths)
    assert [chart.ticks[0].at, chart.ticks[-1].at] == [0, 100]


def test_the_last_boot_is_drawn_from_its_power_on() -> None:
    def span(name: str, start: float, end: float) -> Span:
        return Span(server="s", release=KVM, lane="boot", name=name, start=start, end=end)

    first = [span("firmware", 10, 20), span("kernel", 20, 50)]
    second = [span("firmware", 100, 104), span("loader", 104, 106), span("kernel", 106, 140)]
    (chart,) = charts.boot_gantts(TimelineFile(run="r", started=AT, spans=(*second, *first)))
    (lane,) = chart.lanes
    assert [block.name for block in lane.blocks] == ["firmware", "loader", "kernel"]
    assert lane.blocks[0].x == 0
    assert chart.seconds == 40
    assert lane.blocks[1].x == pytest.approx(10)
    assert lane.blocks[-1].x + lane.blocks[-1].width == pytest.approx(100)


def test_a_boot_right_after_another_is_one_of_its_own() -> None:
    spans = tuple(
        Span(server="s", release=KVM, lane="boot", name=name, start=start, end=start + 5)
        for name, start in (("firmware", 0), ("kernel", 5), ("firmware", 10), ("kernel", 15))
    )
    (chart,) = charts.boot_gantts(TimelineFile(run="r", started=AT, spans=spans))
    assert chart.seconds == 10


def test_an_empty_timeline_has_no_charts() -> None:
    empty = TimelineFile(run="r", started=AT)
    assert charts.run_gantts(empty) == ()
    assert charts.boot_gantts(empty) == ()


def test_the_terminal_table_is_plain_ascii_with_every_row(sample: RunFolder) -> None:
    text = footprint_table(sample.path)
    assert text.isascii()
    lines = text.splitlines()
    assert len(lines) == 2 + 5 + 3
    assert "1.23 GB" in next(line for line in lines if "sample-uefi" in line and "emulated" in line)
    for product, (_, shown) in SEED.items():
        assert shown in next(line for line in lines if line.startswith(f"{product} "))


def test_nothing_measured_prints_no_table(sample: RunFolder) -> None:
    for part in sample.parts.glob("*.json"):
        part.unlink()
    sample.measurements.unlink()
    assert footprint_table(sample.path) == ""


def test_what_the_lab_installs_for_itself_is_compared_with_nothing() -> None:
    measured = MeasurementsFile(
        run="r",
        measurements=(
            measurement("s", "tiny-linux", "installed-disk", 1),
            *[measurement("s", XEN, "installed-disk", 2)],
        ),
    )
    (row,) = figures.area(measured, "footprint").rows
    assert row.product == figures.release_title(XEN)
