"""One order from close to fill, every line of the arithmetic computed by the code of a tick."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_CEILING, Decimal

from tgtqr_lib.backtest.terms import SPOT, SPREAD_BPS
from tgtqr_lib.clock import iso, to_ms
from tgtqr_lib.domain import DomainError, Fill, Level, Order, Quote
from tgtqr_lib.execution import BPS, fee_on, fees_on, fill, round_up, worst_cost
from tgtqr_lib.research import Past, plan
from tgtqr_lib.sizing import entry, exit_limit, floor_to
from tgtqr_lib.strategy_document.facts import SEED
from tgtqr_lib.strategy_document.tex import Pages, escape, number

FIRST_LEVEL_LOTS = 4  # of the example's book, so that the order walks to a second price


def add_example(pages: Pages, past: Past, at: datetime) -> None:
    """The entry that a LONG signal at `at`, a quarter hour in `past`, leads to, and its fill."""
    symbol, instrument = past.candles.symbol, SPOT[past.candles.symbol]
    row = int(past.candles.open_ms.searchsorted(to_ms(at))) - 1
    close, terms = past.candles.price(past.candles.close[row]), plan(SEED)
    order = entry(symbol, close, instrument, terms, at)
    if not isinstance(order, Order):
        raise DomainError(f"{symbol} at {iso(at)}: {order.text}, so there is no example to show")
    fees = fees_on(at.date())
    book = a_book(order, close, at)
    got = fill(order, book, fees)
    step, lot = instrument.price_step, instrument.lot
    quotient = terms.order_target_usdt / (order.limit * lot)
    pages.define(
        ExSymbol=symbol,
        ExAt=rf"\mbox{{{at:%Y-%m-%d}}} {at:%H:%M} UTC",
        ExClose=number(close),
        ExLimitExact=number(close * (BPS + terms.collar_bps) / BPS),
        ExLimit=number(order.limit),
        ExExitLimit=number(exit_limit(close, terms.collar_bps, step)),
        ExLot=rf"\mbox{{{lot:f}}}",
        ExQuotient=number(quotient, 4),
        ExLots=number(int(order.quantity / lot)),
        ExQuantity=rf"\mbox{{{order.quantity:f}}}",
        ExNotional=number(round_up(order.notional), 8),
        ExFee=number(fee_on(order.notional, fees), 8),
        ExReserve=number(worst_cost(order, fees), 8),
        ExFeasible=escape(order.feasible),
        ExPaid=number(got.notional, 8),
        ExPaidFee=number(got.fee, 8),
        ExPaidAll=number(got.notional + got.fee, 8),
        ExUnused=number(worst_cost(order, fees) - got.notional - got.fee, 8),
    )
    pages.table(
        "walk", "rrrr", ("price", "lots offered", "lots taken", "cost, USDT"), _walk(book, got, lot)
    )


def a_book(order: Order, close: Decimal, at: datetime) -> Quote:
    """A book around `close` whose best price has too little for `order`: the rest is a step above."""
    instrument = SPOT[order.symbol]
    step, lot = instrument.price_step, instrument.lot
    half = close * SPREAD_BPS / BPS / 2
    ask = ((close + half) / step).to_integral_value(ROUND_CEILING) * step
    bid = floor_to(close - half, step)
    few, many = FIRST_LEVEL_LOTS * lot, order.quantity * 10
    asks = (Level(ask, few), Level(ask + step, many), Level(order.limit + step, many))
    return Quote(order.symbol, at, (Level(bid, many),), asks, close)


def _walk(book: Quote, got: Fill, lot: Decimal) -> list[tuple[str, ...]]:
    taken = {level.price: level.quantity for level in got.levels}
    return [
        (
            number(level.price),
            number(level.quantity / lot, 0),
            number(taken.get(level.price, Decimal(0)) / lot, 0),
            number(level.price * taken.get(level.price, Decimal(0)), 8),
        )
        for level in book.asks
    ]
