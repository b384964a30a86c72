"""Builders of the nouns: a test names what it is about and leaves the rest to these.

The defaults are the two worked examples of the design: both symbols rise to their example close, nothing
is held, the kit is healthy, and the tick of 10:15 started three seconds after its boundary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from tgtqr_lib.domain import (
    Account,
    Candles,
    Day,
    Fees,
    Fill,
    Health,
    Inputs,
    Instrument,
    Level,
    Limits,
    MarketView,
    NoOrder,
    Order,
    Plan,
    Portfolio,
    Position,
    Quote,
    Side,
)

BOUNDARY = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
NOW = BOUNDARY + timedelta(seconds=3)
MINUTE = timedelta(minutes=1)

BTC = Instrument("BTCUSDT", Decimal("0.1"), Decimal("0.000001"), Decimal("5"))
ETH = Instrument("ETHUSDT", Decimal("0.01"), Decimal("0.00001"), Decimal("5"))
INSTRUMENTS = {"BTCUSDT": BTC, "ETHUSDT": ETH}
CLOSES = {"BTCUSDT": "104321.7", "ETHUSDT": "2511.03"}  # the worked examples of the design
DECIMALS = {"BTCUSDT": 1, "ETHUSDT": 2}

FEES = Fees(bps=Decimal(10), since="2022-06-01", source="a table")
HARD_LIMITS = Limits(Decimal("1.00"), Decimal("2.00"), Decimal("5.00"), Decimal("1.00"))
ACCOUNT = Account("paper-1", Decimal("10.00"), datetime(2026, 11, 1, tzinfo=UTC))
PLAN = Plan("ma_trend", {}, Decimal("0.95"), 100)

UNSEEN = object()  # stands for "build the usual one", because None means "was not there"


def dec(value: object) -> Decimal:
    """`value` (a string, an int or a Decimal) as a Decimal."""
    return value if isinstance(value, Decimal) else Decimal(str(value))


def limits(position="1.00", daily="2.00", total="5.00", trim="1.00") -> Limits:
    return Limits(dec(position), dec(daily), dec(total), dec(trim))


# orders and fills


def an_order(
    side=Side.BUY,
    quantity="0.01",
    limit="100",
    symbol="BTCUSDT",
    id="20261122T1015Z-BTC-B",
    placed_at=BOUNDARY,
) -> Order:
    return Order(id, symbol, side, dec(quantity), dec(limit), placed_at)


def an_entry(quantity="0.000009", limit="105364.9", symbol="BTCUSDT", **other) -> Order:
    return an_order(Side.BUY, quantity, limit, symbol, **other)


def a_sale(quantity="0.000009", limit="103278.4", symbol="BTCUSDT", **other) -> Order:
    other.setdefault("id", "20261122T1015Z-BTC-S")
    return an_order(Side.SELL, quantity, limit, symbol, **other)


def no_order(symbol="BTCUSDT", code="ALREADY_FLAT", text="nothing is wanted") -> NoOrder:
    return NoOrder(symbol, code, text)


def a_fill(side=Side.BUY, quantity="0.01", price="100", fee="0.001", symbol="BTCUSDT") -> Fill:
    """A fill at one price, whose notional is exact."""
    level = Level(dec(price), dec(quantity))
    return Fill(
        order_id=f"20261122T1015Z-{symbol[:3]}-{side[0]}",
        symbol=symbol,
        side=side,
        quantity=level.quantity,
        notional=level.price * level.quantity,
        fee=dec(fee),
        at=NOW,
        levels=(level,),
        mid=level.price,
    )


# what is held


def a_position(symbol="BTCUSDT", quantity="0.000009", cost="0.94") -> Position:
    return Position(symbol, dec(quantity), dec(cost))


def a_portfolio(*positions: Position, cash="10.00", reserved="0", pending=None) -> Portfolio:
    pending = {symbol: dec(cost) for symbol, cost in (pending or {}).items()}
    return Portfolio(dec(cash), positions, dec(reserved), pending)


# what was seen


def candles(
    closes: Sequence,
    symbol="BTCUSDT",
    *,
    decimals: int | None = None,
    until=BOUNDARY,
    missing: Iterable[int] = (),
    market="spot",
) -> Candles:
    """Contiguous candles whose last one closes at `until`; every price of a candle is its close.

    `missing` names rows that are left out, counted as in a list (-1 is the last minute).
    """
    decimals = DECIMALS.get(symbol, 2) if decimals is None else decimals
    steps = np.array([int(dec(close).scaleb(decimals)) for close in closes], dtype=np.int64)
    assert all(dec(c).scaleb(decimals) == int(s) for c, s in zip(closes, steps, strict=True))
    end = int(until.timestamp()) * 1000
    times = end - 60_000 * np.arange(len(steps), 0, -1, dtype=np.int64)
    keep = np.ones(len(steps), dtype=bool)
    keep[list(missing)] = False
    steps, times = steps[keep], times[keep]
    volume = np.full(len(steps), 1_500_000, dtype=np.int64)
    return Candles(symbol, decimals, times, steps, steps, steps, steps, volume, market)


def closes_for(state="LONG", close="104321.7", rows=61, decimals=1) -> list[Decimal]:
    """`rows` closes that end at `close`, above ("LONG"), below ("FLAT") or on ("TIE") their mean."""
    factor = {"LONG": "0.999", "FLAT": "1.001", "TIE": "1"}[state]
    before = (dec(close) * Decimal(factor)).quantize(Decimal(1).scaleb(-decimals))
    return [before] * (rows - 1) + [dec(close)]


def a_quote(
    price="104321.7", symbol="BTCUSDT", *, at=NOW, bids=None, asks=None, last=None
) -> Quote:
    """A deep book one price step around `price`, or the given [(price, quantity), ...] sides."""
    price, step = dec(price), INSTRUMENTS[symbol].price_step
    sides = [bids or [(price - step, 1000)], asks or [(price + step, 1000)]]
    levels = [tuple(Level(dec(p), dec(q)) for p, q in side) for side in sides]
    return Quote(symbol, at, *levels, dec(last) if last is not None else price)


def a_view(
    symbol="BTCUSDT",
    state="LONG",
    close=None,
    *,
    quote=UNSEEN,
    seen=UNSEEN,
    instrument=UNSEEN,
    problems=(),
) -> MarketView:
    """What was seen of `symbol`: 61 candles that make the seed strategy say `state`, and a quote."""
    close = dec(close or CLOSES[symbol])
    if seen is UNSEEN:
        decimals = DECIMALS[symbol]
        seen = candles(closes_for(state, close, decimals=decimals), symbol)
    return MarketView(
        symbol=symbol,
        instrument=INSTRUMENTS[symbol] if instrument is UNSEEN else instrument,
        candles=seen,
        quote=a_quote(close, symbol) if quote is UNSEEN else quote,
        problems=tuple(problems),
    )


# the frozen inputs


def healthy(**changes) -> Health:
    usual = Health(
        last_beat_at=NOW - timedelta(seconds=3),
        clock_offset_ms=None,
        disk_free_mb=10_000,
        ledger_problem=None,
        stopped=None,
    )
    return replace(usual, **changes)


def a_day(start_equity="10.00", start_cash=None, date="2026-11-22", within=HARD_LIMITS) -> Day:
    cash = start_equity if start_cash is None else start_cash
    return Day(date, dec(start_equity), dec(cash), within)


def inputs(*views: MarketView, **changes) -> Inputs:
    """Frozen inputs of a healthy kit; both symbols rise unless views are given."""
    usual = Inputs(
        tick_id="20261122T1015Z",
        boundary=BOUNDARY,
        exchange_time=NOW,
        markets=views or (a_view("BTCUSDT"), a_view("ETHUSDT")),
        fees=FEES,
        account=ACCOUNT,
        days=(a_day(),),
        portfolio=a_portfolio(),
        orders_today=0,
        used_ids=(),
        health=healthy(),
        limits=HARD_LIMITS,
        plan=PLAN,
    )
    return replace(usual, **changes)


FLAT_INPUTS = inputs()  # nothing is held
