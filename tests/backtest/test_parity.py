"""The ticks of a demo and the backtest of the same span: every fill, every fee, and the cash."""

import json
import sqlite3
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from tests.backtest.series import a_plan
from tests.stage import command
from tgtqr_lib.backtest import Bars, run
from tgtqr_lib.clock import MINUTE, floor_minute, parse_time, to_ms
from tgtqr_lib.home import Home
from tgtqr_lib.limits import HARD, SYMBOLS
from tgtqr_lib.market.synthetic import SyntheticSource

pytestmark = pytest.mark.slow

TICKS = 22
# the hour before the first tick is the backtest's first whole window
FIRST = parse_time("2025-05-31T23:00Z")


def test_the_ticks_of_a_demo_and_its_backtest_are_the_same(tmp_path):
    done = command(Home(tmp_path), "demo", "--ticks", str(TICKS), "--json", timeout_s=280)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    with sqlite3.connect(Path(facts["home"]) / "data" / "trading_data.db") as con:
        rows = con.execute("SELECT body FROM events WHERE kind = 'fill' ORDER BY seq")
        ticked = sorted(a_fill(json.loads(body)) for (body,) in rows)
    last = parse_time(facts["decisions"][-1]["tick_id"])

    source, bars = SyntheticSource(1), {}
    for symbol in SYMBOLS:
        seen = source.candles(symbol, to_ms(FIRST), to_ms(last + MINUTE))
        columns = (np.ascontiguousarray(seen[name]) for name in ("open_ms", "open", "close"))
        bars[symbol] = Bars(symbol, source.price_decimals(symbol), *columns)
    found = run(bars, a_plan(), HARD)

    bought = [
        (one.symbol, "BUY", one.entry_at, one.quantity, one.entry_price)
        for one in (*found.trades, *found.open_positions)
    ]
    sold = [(t.symbol, "SELL", t.exit_at, t.quantity, t.exit_price) for t in found.trades]
    assert sorted(bought + sold) == ticked
    assert len(ticked) >= 4
    assert f"{found.fees:f}" == facts["fees"]
    assert found.cash_units == int(Decimal(facts["cash"]).scaleb(8))
    # no decision of the ticks was anything else
    said = {"LONG": 0, "FLAT": 0, "HOLD": 0}
    for decision in facts["decisions"]:
        said[decision["signal"]] += 1
    before = 2 * 4  # the backtest's own quarter hours before the first tick, whose window is short
    said["HOLD"] += before - 2
    assert dict(found.signals) == said


def a_fill(body: dict) -> tuple:
    price = Decimal(body["levels"].split(":")[0])
    minute = floor_minute(parse_time(body["at"]))
    return body["symbol"], body["side"], minute, Decimal(body["quantity"]), price
