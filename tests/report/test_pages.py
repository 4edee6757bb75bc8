"""The pages in a real browser: nothing loaded from elsewhere, nothing on its console, everything drawn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from lab import paths
from lab.errors import ConfigError
from lab.measure.model import MeasurementsFile, TimelineFile
from lab.report import allure_site
from lab.report.build import Site, build
from lab.report.comparison import comparison_page
from lab.report.rundir import RunFolder
from tests.report.browser import CHROMIUM, Scheme, Visit, opened
from tests.report.sample_run import AT, measurement, write_sample

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def site(tested: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The pages of the run that really ran."""
    return build(tested.path, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt install chromium")
    with opened(CHROMIUM) as browser:
        yield browser


@pytest.mark.parametrize(("width", "scheme"), [(1100, "light"), (1100, "dark"), (380, "light")])
def test_the_comparison_page(
    site: Site, browser: Browser, width: int, scheme: Scheme, tmp_path: Path
) -> None:
    visit = Visit(browser, site.comparison, width, scheme)
    page = visit.page
    assert page.locator("section[aria-labelledby=table] tbody tr.published").count() == 5
    assert page.locator("section[aria-labelledby=table] tbody tr.measured").count() == 3
    bars = page.locator("rect.bar[height='16']")
    assert bars.count() == 7
    widths = [box["width"] for number in range(7) if (box := bars.nth(number).bounding_box()) is not None]
    assert widths == sorted(widths)
    assert widths[0] > 20
    assert page.locator("[data-gantt]").count() == 4
    assert "not a product fact" in page.inner_text("section[aria-labelledby=boot]")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(
        "[...document.querySelectorAll('svg.plot')].every(plot => plot.querySelector('title'))"
    )
    assert visit.shoot(tmp_path, "comparison").stat().st_size > 20_000
    assert visit.console == []
    assert visit.requests == [site.comparison.as_uri()]


def test_colours_follow_the_readers_scheme(site: Site, browser: Browser) -> None:
    papers = {
        Visit(browser, site.comparison, scheme=scheme).page.evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for scheme in get_args(Scheme)
    }
    assert len(papers) == 2


def test_every_link_leads_to_a_file(site: Site, browser: Browser) -> None:
    for file in (site.comparison, site.index):
        links = Visit(browser, file).page.eval_on_selector_all(
            "a", "links => links.map(a => a.getAttribute('href'))"
        )
        assert len(links) >= 6
        assert [link for link in links if not (file.parent / link).is_file()] == []


def test_the_allure_report_asks_nobody_for_anything(site: Site, browser: Browser, tmp_path: Path) -> None:
    assert site.allure is not None
    visit = Visit(browser, site.allure)
    visit.page.get_by_text("kvm-debian12").first.wait_for(timeout=15_000)
    visit.page.get_by_text("test_bmc").first.wait_for(timeout=15_000)
    visit.page.get_by_text("Categories").first.click()
    visit.page.get_by_text("Lab fault: BMC, network, console or power").first.wait_for(timeout=15_000)
    assert visit.shoot(tmp_path, "allure").stat().st_size > 20_000
    assert visit.console == []
    assert visit.asked_elsewhere() == []


def test_a_page_that_did_call_out_would_be_seen(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<script src='http://127.0.0.1:9/x.js'></script><script>console.error('no')</script>")
    visit = Visit(browser, page)
    assert visit.asked_elsewhere() == ["http://127.0.0.1:9/x.js"]
    assert "no" in visit.console


def test_building_again_counts_the_run_once(tmp_path: Path, tested: RunFolder) -> None:
    for _ in range(2):
        build(tested.path, tmp_path)
    history = (tested.path.parent / "history.jsonl").read_text().splitlines()
    assert len([line for line in history if tested.id in line]) == 1


def test_a_run_without_tests_still_has_its_comparison(sample: RunFolder, tmp_path: Path) -> None:
    built = build(sample.path, tmp_path)
    assert built.allure is None
    assert "No test failed" in built.index.read_text()
    assert built.comparison.is_file()


def test_a_missing_generator_says_what_to_run(
    tested: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "templates").mkdir()
    monkeypatch.setattr(paths, "project", lambda: tmp_path)
    with pytest.raises(ConfigError, match="make setup"):
        allure_site.allure_site(tested, tmp_path / "allure")


def test_a_page_of_nothing_measured_still_shows_2008() -> None:
    html = comparison_page(MeasurementsFile(run="r"), TimelineFile(run="r", started=AT), None)
    assert html.count('class="published"') == 5
    assert "Nothing was measured in this run" in html


def test_what_a_server_says_cannot_become_markup(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>" + "long" * 40
    measured = MeasurementsFile(run="r", measurements=(measurement(name, name, "installed-disk", 5e9),))
    html = comparison_page(measured, TimelineFile(run="r", started=AT), None)
    assert "<script" not in html


def test_many_rows_with_long_names_fit_a_phone(browser: Browser, tmp_path: Path) -> None:
    rows = tuple(
        measurement(
            f"rack-seven-unit-{number}-with-a-long-name",
            f"product-{number}-" + "x" * 60,
            metric,
            10.0**number,
        )
        for number in range(5, 13)
        for metric in ("installed-disk", "allocated-partitions")
    )
    page = tmp_path / "page.html"
    page.write_text(
        comparison_page(MeasurementsFile(run="r", measurements=rows), TimelineFile(run="r", started=AT), None)
    )
    visit = Visit(browser, page, width=360)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert visit.console == []


def test_analytics_of_the_generator_are_cut_out() -> None:
    html = (
        "<html><head><title>x</title></head><script>window.a = 1</script>"
        '<script async src="https://www.googletagmanager.com/gtag/js?id=G"></script>\n'
        "<script>function gtag(){} gtag('js');</script><script>window.b = 2</script>"
    )
    kept = allure_site.keep_to_itself(html)
    assert "gtag" not in kept
    assert "window.a = 1" in kept
    assert "window.b = 2" in kept
    assert "Content-Security-Policy" in kept


def test_a_second_sample_is_a_run_of_its_own(tmp_path: Path) -> None:
    assert write_sample(tmp_path).id != write_sample(tmp_path).id
