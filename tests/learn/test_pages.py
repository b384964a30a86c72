"""Notebooks of the course in the real JupyterLab: run all, move a slider, and see what the pencil says."""

from __future__ import annotations

import re
import time

import pytest

from tests.dashboard.browser import PATIENCE_MS, a_browser
from tests.research.lab import lab, opened
from tests.stage import PROJECT
from tgtqr_lib.home import Home

FOLDER = PROJECT / "notebooks" / "learn"
PLAY = ".tgtqr-play"


def press(page, slider: str, key: str, times: int) -> float:
    """Move a slider by the keyboard; the value that it shows then."""
    handle = page.locator(f".slider-{slider} .noUi-handle")
    handle.scroll_into_view_if_needed()
    handle.focus()
    for _ in range(times):
        page.keyboard.press(key)
    shown = page.locator(f".slider-{slider} .widget-readout").inner_text()
    return float(shown.replace(",", "").replace("−", "-"))


def words(page, number: int = 0) -> str:
    """All that stands under the sliders of a picture."""
    return page.locator(f"{PLAY} .tgtqr-x").nth(number).text_content()


def drawing(page, number: int = 0) -> str:
    return page.locator(f"{PLAY} .tgtqr-x svg").nth(number).evaluate("svg => svg.outerHTML")


def changed(page, before: str, number: int = 0) -> None:
    """Wait until the picture is another one."""
    page.wait_for_function(
        "([number, before]) => document.querySelectorAll('.tgtqr-play .tgtqr-x svg')[number]"
        ".outerHTML !== before",
        arg=[number, before],
    )


def until(page, holds) -> None:
    """Wait until something holds: a moved handle is followed by a picture for each step on its way."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while not holds():
        assert time.monotonic() < end, words(page)
        page.wait_for_timeout(100)


def all_ran(page) -> None:
    """Wait until the last cell ran, and see that none failed."""
    # a folded cell shows no number
    page.wait_for_function(
        r"""() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].every(
            prompt => /^(\[\d+\]:)?$/.test(prompt.textContent.trim()))"""
    )
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    assert page.locator(".jp-OutputArea-output[data-mime-type*='stderr']").count() == 0
    assert page.locator(".jp-OutputArea-output[data-mime-type*='error']").count() == 0


@pytest.fixture
def page(request, tmp_path):
    """The notebook `request.param` in JupyterLab, all its cells run."""
    with (
        lab(Home(tmp_path / "home"), tmp_path / "lab", FOLDER / request.param) as link,
        a_browser() as browser,
        opened(browser, link) as (found, errors),
    ):
        found.wait_for_selector(f"{PLAY} .tgtqr-x svg")
        all_ran(found)
        # what stays in an export is not shown beside the live picture
        assert found.locator(".tgtqr-still").count() == found.locator(PLAY).count()
        assert not found.locator(".tgtqr-still").filter(visible=True).count()
        yield found
        assert errors == []


@pytest.mark.slow
@pytest.mark.parametrize("page", ["03_funding_rates.ipynb"], indirect=True)
def test_the_funding_rate_follows_the_premium(page):
    before = drawing(page)
    premium = press(page, "premium_bps", "ArrowRight", 7)
    changed(page, before)
    # rate = P + clamp(1 - P, -5, 5) in basis points for 8 hours, within the cap of 37.5
    assert premium == 15.5  # seven steps of half a point from 12
    rate = min(premium + max(min(1 - premium, 5), -5), 37.5)
    until(page, lambda: f"makes {rate:+.2f} bps" in words(page))


def best_level(page) -> tuple[float, float, float]:
    """Bids and asks of the best level and their imbalance, as the text under the book has them."""
    found = re.search(r"at 1 \(([\d.,]+) − ([\d.,]+)\) / [\d.,]+ = ([+−][\d.]+)", words(page))
    return tuple(float(text.replace(",", "").replace("−", "-")) for text in found.groups())


@pytest.mark.slow
@pytest.mark.parametrize("page", ["04_order_book.ipynb"], indirect=True)
def test_more_bids_push_imbalance_and_micro_price_up(page):
    before, (_, _, first) = drawing(page), best_level(page)
    press(page, "bids", "ArrowRight", 12)
    changed(page, before)
    until(page, lambda: best_level(page)[2] > first)
    bids, asks, said = best_level(page)
    # both quantities are shown to a thousandth, which moves the ratio by as much over their sum
    room = 0.001 / (bids + asks) + 0.0005
    assert said == pytest.approx((bids - asks) / (bids + asks), abs=room)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["06_backtest_traps.ipynb"], indirect=True)
def test_without_a_look_ahead_the_profit_is_gone(page):
    before = drawing(page)
    assert press(page, "ahead", "Home", 1) == 0  # minutes
    changed(page, before)
    page.locator(".jp-Cell").last.scroll_into_view_if_needed()
    assert page.get_by_text("Answer.").count() >= 1
