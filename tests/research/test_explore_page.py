"""notebooks/explore.ipynb in the real JupyterLab: run all, drag a slider, and see the numbers of `run`."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import pytest

from tests.dashboard.browser import a_browser
from tests.research.lab import lab, opened
from tests.stage import PROJECT
from tgtqr_lib.backtest import Bars, run
from tgtqr_lib.domain import Plan
from tgtqr_lib.home import Home
from tgtqr_lib.market.synthetic import SyntheticSource

NOTEBOOK = PROJECT / "notebooks" / "explore.ipynb"
FIGURES = ".tgtqr-explore .figures[data-net]"
YEAR = (1_735_689_600_000, 1_767_225_600_000)  # 2025, in ms since the epoch


def expected(window: int, band_bps: int):
    """The backtest of a year of the made-up market, called here without the page's own code."""
    rows = SyntheticSource(1).candles("BTCUSDT", *YEAR)
    columns = (rows[name].copy() for name in ("open_ms", "open", "close"))
    parameters = {"window": window, "band_bps": band_bps}
    plan = Plan("ma_trend", parameters, Decimal("0.95"), 100)
    return run(Bars("BTCUSDT", 1, *columns), plan, None)


def shown(page, name: str) -> str:
    return page.locator(FIGURES).get_attribute(f"data-{name}")


def picture(page, part: str) -> str:
    """The hash of a picture's source."""
    source = page.locator(f".part-{part} svg").evaluate("svg => svg.outerHTML")
    return hashlib.sha256(source.encode()).hexdigest()


@pytest.mark.slow
def test_a_dragged_slider_shows_the_backtest_of_its_value(tmp_path):
    with (
        lab(Home(tmp_path / "home"), tmp_path / "lab", NOTEBOOK) as link,
        a_browser() as browser,
        opened(browser, link) as (page, errors),
    ):
        page.wait_for_selector(FIGURES)
        page.wait_for_selector(".part-map svg")
        first = expected(60, 0)
        assert shown(page, "net") == f"{first.pnl:f}"
        assert shown(page, "trades") == str(len(first.table))
        before = {part: picture(page, part) for part in ("equity", "trades", "costs", "map")}

        handle = page.locator(".widget-slider .noUi-handle").first
        box = handle.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 90, y, steps=12)
        page.mouse.up()
        window = int(page.locator(".widget-readout").first.inner_text().replace(",", ""))
        page.wait_for_selector(f"{FIGURES}[data-window='{window}']")
        # the map is drawn anew once the slider rests, around the chosen point
        page.wait_for_function(
            "([part, before]) => !document.querySelector(part).classList.contains('waits')",
            arg=[".part-map", before["map"]],
        )

        found = expected(window, 0)
        assert window != 60
        assert shown(page, "net") == f"{found.pnl:f}"
        assert shown(page, "gross") == f"{found.gross:f}"
        assert shown(page, "fees") == f"{found.fees:f}"
        assert shown(page, "trades") == str(len(found.table))
        changed = {part for part, source in before.items() if picture(page, part) != source}
        assert changed == {"equity", "trades", "costs", "map"}
        chosen = f"{found.pnl:+.4f}".replace("-", "−")
        assert f"chosen {chosen}" in page.locator(".part-map svg").text_content()
        assert "tested and drawn in" in page.locator(".part-figures .small").inner_text()
        assert page.locator(".jp-OutputArea-output[data-mime-type*='stderr']").count() == 0
        assert errors == []
