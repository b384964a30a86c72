"""Notebooks of the course in the real JupyterLab: run all, drag a slider, and see what the pencil says."""

from __future__ import annotations

import re

import pytest

from tests.dashboard.browser import a_browser
from tests.research.lab import lab, opened
from tests.stage import PROJECT
from tgtqr_lib.home import Home

FOLDER = PROJECT / "notebooks" / "learn"
PLAY = ".tgtqr-play"


def drag(page, slider: str, by: int) -> float:
    """Drag the handle of a slider sideways by pixels; the value that it shows then."""
    handle = page.locator(f".slider-{slider} .noUi-handle")
    box = None
    while box is None or box != handle.bounding_box():  # cells above still find their height
        handle.scroll_into_view_if_needed()
        box = handle.bounding_box()
        page.wait_for_timeout(300)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by, y, steps=8)
    page.mouse.up()
    shown = page.locator(f".slider-{slider} .widget-readout").inner_text()
    return float(shown.replace(",", "").replace("−", "-"))


def words(page, number: int = 0) -> str:
    """All that stands under the sliders of a picture."""
    return page.locator(f"{PLAY} .tgtqr-x").nth(number).inner_text()


def drawing(page, number: int = 0) -> str:
    return page.locator(f"{PLAY} .tgtqr-x svg").nth(number).evaluate("svg => svg.outerHTML")


def changed(page, before: str, number: int = 0) -> None:
    """Wait until the picture is another one."""
    page.wait_for_function(
        "([number, before]) => document.querySelectorAll('.tgtqr-play .tgtqr-x svg')[number]"
        ".outerHTML !== before",
        arg=[number, before],
    )


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
        yield found
        assert errors == []


@pytest.mark.slow
@pytest.mark.parametrize("page", ["03_funding_rates.ipynb"], indirect=True)
def test_the_funding_rate_follows_the_premium(page):
    before = drawing(page)
    premium = drag(page, "premium_bps", 60)
    changed(page, before)
    # rate = P + clamp(1 - P, -5, 5) in basis points for 8 hours, within the cap of 37.5
    assert premium > 12
    rate = min(premium + max(min(1 - premium, 5), -5), 37.5)
    assert f"{rate:.4f}".rstrip("0").rstrip(".") in words(page).replace("\u2212", "-")


def best_level(page) -> tuple[float, float, float]:
    """Bids and asks of the best level and their imbalance, as the text under the book has them."""
    found = re.search(r"at 1 \(([\d.,]+) − ([\d.,]+)\) / [\d.,]+ = ([+−][\d.]+)", words(page))
    return tuple(float(text.replace(",", "").replace("−", "-")) for text in found.groups())


@pytest.mark.slow
@pytest.mark.parametrize("page", ["04_order_book.ipynb"], indirect=True)
def test_more_bids_push_imbalance_and_micro_price_up(page):
    before, (_, _, first) = drawing(page), best_level(page)
    drag(page, "bids", 80)
    changed(page, before)
    bids, asks, said = best_level(page)
    assert said == pytest.approx((bids - asks) / (bids + asks), abs=2e-3)
    assert said > first


@pytest.mark.slow
@pytest.mark.parametrize("page", ["06_backtest_traps.ipynb"], indirect=True)
def test_without_a_look_ahead_the_profit_is_gone(page):
    before = drawing(page)
    drag(page, "ahead", -400)  # to the left end: 0 minutes
    changed(page, before)
    assert page.locator(".slider-ahead .widget-readout").inner_text() == "0"
    page.locator(".jp-Cell").last.scroll_into_view_if_needed()
    assert page.get_by_text("Answer.").count() >= 1
