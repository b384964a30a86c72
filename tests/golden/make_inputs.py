"""Makes `inputs-20250601T1015Z.json`: one tick's frozen inputs, with code of our own and no network.

The made-up market of seed 192 is chosen for its story. A fresh account watches from 09:30 on, when it buys ETH;
at 10:15 ETH has fallen below its mean and BTC has just risen above its own: an exit and an entry in one tick.

Run it from the project's folder: `python -m tests.golden.make_inputs`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from tgtqr_lib import execution, limits, portfolio
from tgtqr_lib.canonical import dumps
from tgtqr_lib.clock import tick_id, to_ms, utc_day
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import (
    MINUTE_MS,
    Account,
    Candles,
    Day,
    Health,
    Inputs,
    Instrument,
    Level,
    MarketView,
    Plan,
    Portfolio,
    Quote,
)
from tgtqr_lib.market.spot import SpotMarket
from tgtqr_lib.market.synthetic import SyntheticSource

FILE = Path(__file__).with_name("inputs-20250601T1015Z.json")

SEED = 192
OPENED = datetime(2025, 6, 1, 9, 20, tzinfo=UTC)
BOUGHT = datetime(2025, 6, 1, 9, 30, tzinfo=UTC)
BOUNDARY = datetime(2025, 6, 1, 10, 15, tzinfo=UTC)
START_S = 3  # the tick begins so long after its boundary
MINUTES = 120  # as a tick freezes them: the strategy's hour and one before it
LEVELS = 5
LOTS = {"BTCUSDT": Decimal("0.000001"), "ETHUSDT": Decimal("0.00001")}


def make() -> Inputs:
    """What the tick of 10:15 sees: ETH held since 09:30, gate armed, both symbols well."""
    first = see(BOUGHT, Portfolio(cash=limits.INITIAL_EQUITY))
    orders = decide(first).orders
    fills = [execution.fill(o, first.market(o.symbol).quote, first.fees) for o in orders]
    held = portfolio.fold(limits.INITIAL_EQUITY, fills)
    return see(BOUNDARY, held, used_ids=tuple(order.id for order in orders))


def see(boundary: datetime, held: Portfolio, used_ids: tuple[str, ...] = ()) -> Inputs:
    """The inputs that a tick at `boundary` freezes."""
    market = SpotMarket(SyntheticSource(SEED))
    now = boundary + timedelta(seconds=START_S)
    start = limits.INITIAL_EQUITY
    return Inputs(
        tick_id=tick_id(boundary),
        boundary=boundary,
        exchange_time=now,
        markets=tuple(view(market, symbol, boundary, now) for symbol in limits.SYMBOLS),
        fees=execution.fees_on(boundary.date()),
        account=Account("paper-1", start, OPENED),
        days=(Day(utc_day(boundary), start, start, limits.HARD),),
        portfolio=held,
        orders_today=len(used_ids),
        used_ids=used_ids,
        health=Health(boundary, None, 20_000, ledger_problem=None, stopped=None),
        limits=limits.HARD,
        plan=Plan(
            "ma_trend",
            {"window": 60, "band_bps": 0},
            limits.ORDER_TARGET_USDT,
            limits.COLLAR_BPS,
        ),
    )


def view(market: SpotMarket, symbol: str, boundary: datetime, now: datetime) -> MarketView:
    """What the exchange shows of `symbol` at `now`."""
    decimals, end = market.decimals(symbol), to_ms(boundary)
    rows = market.minutes(symbol, end - MINUTES * MINUTE_MS, end, to_ms(now))
    columns = {name: rows[name] for name in ("open_ms", *Candles.COLUMNS)}
    candles = Candles(symbol, decimals, **columns)
    bids, asks = (
        tuple(Level(candles.price(price), lots * LOTS[symbol]) for price, lots in side)
        for side in market.book(symbol, to_ms(now), LEVELS)
    )
    last = candles.price(market.mid(symbol, to_ms(now)))
    step = Decimal(1).scaleb(-decimals)
    instrument = Instrument(symbol, step, LOTS[symbol], min_notional=Decimal(5))
    return MarketView(symbol, instrument, candles, Quote(symbol, now, bids, asks, last))


if __name__ == "__main__":
    FILE.write_text(dumps(make()) + "\n", encoding="utf-8")
