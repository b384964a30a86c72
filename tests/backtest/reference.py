"""The backtest once more, written from the design's sections 6 and 7 alone: plain, slow, exact fractions.

Money is a `Fraction` of USDT, or units of 1e-8 where something is booked. It imports nothing of the library
and returns plain values. Two symbols share the cash; the market is spot, or 1x long/flat with funding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction as F
from itertools import pairwise
from math import ceil, floor

MINUTE, QUARTER, DAY = 60_000, 900_000, 86_400_000
UNIT = 10**8
ORDER = ("BTCUSDT", "ETHUSDT")


def up(amount: F) -> F:
    """Rounded up to 1e-8: what we pay."""
    return F(ceil(amount * UNIT), UNIT)


def down(amount: F) -> F:
    """Rounded down to 1e-8: what we get."""
    return F(floor(amount * UNIT), UNIT)


@dataclass
class Market:
    """One symbol: minute -> price, exact; and what the exchange and the plan demand."""

    open: dict[int, F]
    close: dict[int, F]
    step: F
    lot: F


@dataclass
class Rules:
    window: int = 60
    band_bps: int = 0
    target: F = F(95, 100)
    collar_bps: int = 100
    fee: F = F(10, 10_000)
    spread_bps: F = F(1)
    initial: F = F(10)
    position: F | None = F(1)  # None: no limit binds
    daily: F = F(2)
    total: F = F(5)
    trim: F = F(1)


@dataclass
class Held:
    quantity: F
    cost: F
    fee: F
    since: int
    price: F


@dataclass
class Outcome:
    """Trades as (symbol, entry, exit, quantity, entry price, exit price, fees, pnl, kind); all exact."""

    trades: list[tuple] = field(default_factory=list)
    equity: list[tuple[int, F]] = field(default_factory=list)
    fees: F = F(0)
    funding: F = F(0)
    cash: F = F(0)
    said: dict[str, int] = field(default_factory=lambda: {"LONG": 0, "FLAT": 0, "HOLD": 0})
    stop: tuple[int, str] | None = None
    held: dict[str, F] = field(default_factory=dict)


def backtest(markets: dict[str, Market], rules: Rules, funding=()) -> Outcome:
    """Walk every minute. `funding` lists (symbol, settlement time, rate as a fraction)."""
    out, held = Outcome(), {}
    cash = rules.initial
    free = rules.position is None
    symbols = [s for s in ORDER if s in markets]
    begin = min(min(m.close) for m in markets.values())
    end = max(max(m.close) for m in markets.values())
    day, day_floor = None, None  # the open day and its floor
    last: dict[str, F] = {}

    def sell(symbol, quantity, minute, kind):
        nonlocal cash
        market, position = markets[symbol], held[symbol]
        price = floor_to(market.open[minute] * (1 - rules.spread_bps / 20_000), market.step)
        price = max(price, market.step)
        proceeds = down(quantity * price)
        fee = min(up(quantity * price * rules.fee), proceeds)
        left = position.quantity - quantity
        cost_left = up(position.cost * left / position.quantity)
        fee_left = up(position.fee * left / position.quantity)
        cash += proceeds - fee
        out.fees += fee
        out.trades.append(
            (
                symbol,
                position.since,
                minute,
                quantity,
                position.price,
                price,
                position.fee - fee_left + fee,
                proceeds - fee - (position.cost - cost_left),
                kind,
            )
        )
        position.quantity, position.cost, position.fee = left, cost_left, fee_left
        if left == 0:
            del held[symbol]

    now = begin
    while now < end + MINUTE:
        now += MINUTE  # the moment at which the candle that opened a minute ago is closed
        seen = {
            s: markets[s].close[now - MINUTE] for s in symbols if now - MINUTE in markets[s].close
        }
        last |= seen
        # the day opens at cash plus what is held at its close of 23:59
        if day != now // DAY:
            midnight = now // DAY * DAY
            closes = [markets[s].close.get(midnight - MINUTE) for s in held]
            if None not in closes:
                worth = cash + sum(
                    down(held[s].quantity * c) for s, c in zip(held, closes, strict=True)
                )
                day, day_floor = now // DAY, min(worth - rules.daily, cash)
        for symbol, at, rate in funding:
            if at == now and symbol in held:
                due = held[symbol].quantity * last[symbol] * rate
                paid = up(due) if due > 0 else -down(-due)
                cash -= paid
                out.funding += paid
        worth = cash + sum(down(p.quantity * last[s]) for s, p in held.items())
        if seen:
            out.equity.append((now - MINUTE, worth))
        if out.stop is None and not free and set(held) <= set(seen):
            floor_total = rules.initial - rules.total
            day_known = day == now // DAY
            if worth < floor_total or (day_known and worth < day_floor):
                out.stop = (now, "BREACH")
            elif not held and set(seen) == set(symbols):
                costs = [entry(markets[s], seen[s], rules) for s in symbols]
                if all(c is not None and cash - c[2] < floor_total for c in costs):
                    out.stop = (now, "SPENT")
        if out.stop is not None:
            for symbol in list(held):
                if now in markets[symbol].open:
                    sell(symbol, held[symbol].quantity, now, "stop")
            continue
        if now % QUARTER:
            continue
        # the tick: what is wanted, exits first, proceeds do not count
        sales, buys = [], []
        for symbol in symbols:
            market = markets[symbol]
            said = signal(market, now, rules)
            out.said[said if said in out.said else "HOLD"] += 1
            if said == "DOUBT":
                continue
            close = seen[symbol]
            if symbol in held:
                quantity = held[symbol].quantity
                if said == "FLAT":
                    sales.append((symbol, quantity, close, "signal"))
                elif not free and quantity * close > rules.trim:
                    keep = floor(rules.trim / close / market.lot) * market.lot
                    sales.append((symbol, quantity - keep, close, "trim"))
            elif said == "LONG" and (order := entry(market, close, rules)) is not None:
                buys.append((symbol, *order, close))
        available, granted = cash, []
        for symbol, quantity, limit, cost, close in buys:
            if now not in markets[symbol].open or day != now // DAY:
                continue
            if rules.collar_bps > 100 and limit > close * F(10_100, 10_000):
                continue
            after = available - cost
            floor_total = rules.initial - rules.total
            if not free and (cost > rules.position or after < day_floor or after < floor_total):
                continue
            available = after
            granted.append((symbol, quantity, limit))
        for symbol, quantity, close, kind in sales:
            market = markets[symbol]
            if now not in market.open:
                continue
            limit = floor_to(close * F(10_000 - rules.collar_bps, 10_000), market.step)
            best = floor_to(market.open[now] * (1 - rules.spread_bps / 20_000), market.step)
            if max(best, market.step) >= max(limit, market.step):
                sell(symbol, quantity, now, kind)
        for symbol, quantity, limit in granted:
            market = markets[symbol]
            price = ceil_to(market.open[now] * (1 + rules.spread_bps / 20_000), market.step)
            if price <= limit:
                fee = up(quantity * price * rules.fee)
                cost = up(quantity * price) + fee
                cash -= cost
                out.fees += fee
                held[symbol] = Held(quantity, cost, fee, now, price)
    out.cash, out.held = cash, {s: p.quantity for s, p in held.items()}
    return out


def signal(market: Market, now: int, rules: Rules) -> str:
    """LONG, FLAT, HOLD, or DOUBT where the data rules refuse."""
    minutes = [now - MINUTE * k for k in range(rules.window, 0, -1)]
    if any(m not in market.close for m in minutes):
        return "DOUBT"
    closes = [market.close[m] for m in minutes]
    earlier = [m for m in market.close if m < minutes[0]]
    chain = [market.close[max(earlier)], *closes] if earlier else closes
    if any(abs(b - a) / a >= F(1, 5) for a, b in pairwise(chain)):
        return "DOUBT"
    if now in market.open and abs(closes[-1] - market.open[now]) / market.open[now] > F(1, 50):
        return "DOUBT"
    mean = sum(closes) / rules.window
    if closes[-1] > mean * (1 + F(rules.band_bps, 10_000)):
        return "LONG"
    if closes[-1] < mean * (1 - F(rules.band_bps, 10_000)):
        return "FLAT"
    return "HOLD"


def entry(market: Market, close: F, rules: Rules) -> tuple[F, F, F] | None:
    """Quantity, limit and worst cost of an entry at `close`; None below one lot."""
    limit = floor_to(close * F(10_000 + rules.collar_bps, 10_000), market.step)
    if limit <= 0:
        return None
    quantity = floor(rules.target / limit / market.lot) * market.lot
    if quantity == 0:
        return None
    return quantity, limit, up(quantity * limit) + up(quantity * limit * rules.fee)


def floor_to(amount: F, step: F) -> F:
    return floor(amount / step) * step


def ceil_to(amount: F, step: F) -> F:
    return ceil(amount / step) * step
