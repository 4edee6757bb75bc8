"""A page in Debian's Chromium: what it asks for, what it complains of, what it looks like.

`python -m tests.report.browser reports/site/comparison.html docs/comparison.png` takes README's picture.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Scheme = Literal["light", "dark"]
CHROMIUM = shutil.which("chromium")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@contextlib.contextmanager
def opened(chromium: str) -> Iterator[Browser]:
    """The browser, closed at the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """One page, opened; what it asked for and what it complained of."""

    def __init__(self, browser: Browser, file: Path, width: int = 1100, scheme: Scheme = "light") -> None:
        self.console: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def asked_elsewhere(self) -> list[str]:
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]

    def shoot(self, folder: Path, name: str) -> Path:
        file = folder / f"{name}.png"
        self.page.screenshot(path=str(file), full_page=True)
        return file


def main(page: Path, picture: Path) -> None:
    """Picture of a page down to the end of its second section, where the headline table is."""
    if CHROMIUM is None:
        raise SystemExit("chromium is not installed: apt install chromium")
    with opened(CHROMIUM) as browser:
        visit = Visit(browser, page.resolve(), width=1000)
        box = visit.page.locator("section").nth(1).bounding_box()
        if box is None:
            raise SystemExit(f"{page} has no second section")
        clip = {"x": 0, "y": 0, "width": 1000, "height": box["y"] + box["height"] + 16}
        visit.page.screenshot(path=str(picture), full_page=True, clip=clip)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
