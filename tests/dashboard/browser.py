"""A real browser on a served page: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
DESKTOP, PHONE = (1280, 800), (390, 844)
PATIENCE_MS = 120_000


def browser_path() -> str:
    """Where a browser is; skips the test where there is none, and fails it in continuous integration."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        text = f"no browser here: expected one of {', '.join(NAMES)}"
        pytest.fail(text) if os.environ.get("CI") else pytest.skip(text)
    return found


@contextmanager
def a_browser() -> Iterator[Browser]:
    """A running browser without a window."""
    path = browser_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Visit:
    """An open page, and what it asked for and complained of."""

    page: Page
    hosts: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()

    def wait(self, selector: str) -> None:
        self.page.wait_for_selector(selector, state="attached", timeout=PATIENCE_MS)

    def wait_text(self, selector: str, words: str) -> None:
        """Wait until an element's text holds `words`."""
        end = time.monotonic() + PATIENCE_MS / 1000
        while not any(words in text for text in self.page.locator(selector).all_inner_texts()):
            assert time.monotonic() < end, f"{selector} never said {words!r}"
            self.page.wait_for_timeout(100)


@contextmanager
def visiting(
    browser: Browser,
    link: str,
    size: tuple[int, int] = DESKTOP,
    scheme: str = "light",
    **how: object,
) -> Iterator[Visit]:
    """Open `link` in a fresh profile with a window of `size`; the page's sections are there."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, **how
    )
    context.set_default_timeout(PATIENCE_MS)
    visit = Visit(context.new_page())
    visit.page.on("request", lambda request: visit.hosts.add(urlsplit(request.url).netloc))
    visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
    visit.page.on(
        "console", lambda said: visit.errors.append(said.text) if said.type == "error" else None
    )
    visit.page.goto(link, timeout=PATIENCE_MS)
    try:
        visit.wait(".tgtqr-page section.card")
        yield visit
    finally:
        context.close()
