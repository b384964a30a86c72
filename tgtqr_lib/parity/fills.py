"""What was booked of an order against the backtest's fill: open plus or minus half the spread."""

from __future__ import annotations

from decimal import Decimal

from tgtqr_lib.act import NO_QUOTE, OUTSIDE_COLLAR
from tgtqr_lib.domain import Fees, Fill, Level, Order, Quote, Side
from tgtqr_lib.execution import fill
from tgtqr_lib.parity.findings import Cause, Compared, Evidence
from tgtqr_lib.parity.record import Booked, Ticked
from tgtqr_lib.risk import GATE_RULES, data_stale, decision_late


def compare(
    tick: Ticked, order: Order, mine: Fill | None, quote: Quote | None, found: Compared
) -> None:
    """Add to `found` how the booked outcome of `order` differs from the backtest's fill `mine`, and why.

    quote  what the backtest filled at, None without a candle of the minute
    """
    booked = tick.orders.get(order.id)
    theirs = booked.fill if booked else None
    if booked is not None and _same(theirs, mine):
        return
    where, now = f"{order.id} fill", _words(mine) if mine else _no_fill(quote)
    then = "not acted on" if booked is None else _words(theirs) if theirs else booked.body["text"]
    found.differences.append(Evidence(where, then, now))
    cause = _cause(tick, booked, order, mine, quote)
    if cause is None:
        found.unexplained.append(f"order {order.id}: {then} for the tick, {now} in the backtest")
        return
    if theirs is not None and mine is not None:
        facts = tuple(_fields(order.id, theirs, mine))
    else:
        facts = (Evidence(where, tick.ended if booked is None else then, now),)
    found.add(cause, *facts)


def _cause(
    tick: Ticked, booked: Booked | None, order: Order, mine: Fill | None, quote: Quote | None
) -> Cause | None:
    """Why it was not filled as in the backtest, as far as ledger and prices prove it."""
    if booked is None:
        return Cause.MISSED_TICK if tick.failed else None
    body = booked.body
    if booked.fill is not None:
        apart = mine is not None or quote is None or _outside(quote.bid, quote.ask, order)
        follows = apart and _follows(booked.fill, order, tick.inputs.fees)
        return Cause.FILL_PRICE if follows else None
    if body["reason"] in GATE_RULES:
        return Cause.GATE
    if body["reason"] == decision_late.CODE:
        return Cause.MISSED_TICK
    if body["result"] == NO_QUOTE or body["reason"] == data_stale.CODE:
        return Cause.FILL_PRICE
    best = body["quote"]
    if body["result"] == OUTSIDE_COLLAR and _outside(best["bid"], best["ask"], order):
        return Cause.FILL_PRICE
    return None


def _follows(filled: Fill, order: Order, fees: Fees) -> bool:
    """Whether quantity, notional and fee are what the kit makes of the prices in the fill."""
    prices = [level.price for level in filled.levels]
    if filled.side is Side.BUY:
        bids, asks = (Level(min(prices) / 2, Decimal(1)),), filled.levels
    else:
        bids, asks = filled.levels, (Level(max(prices) * 2, Decimal(1)),)
    book = Quote(order.symbol, filled.at, bids, asks, filled.mid)
    again = fill(order, book, fees)
    return again is not None and _same(again, filled)


def _outside(bid: Decimal | str, ask: Decimal | str, order: Order) -> bool:
    return Decimal(ask) > order.limit if order.is_entry else Decimal(bid) < order.limit


def odd(tick: Ticked, booked: Booked, order: Order) -> str | None:
    """What does not agree between ledger, sealed decision and sealed outcome."""
    asked = booked.body["order"]
    for name in ("side", "symbol", "quantity", "limit"):
        wanted = getattr(order, name)
        if asked[name] != (f"{wanted:f}" if isinstance(wanted, Decimal) else str(wanted)):
            return f"order {order.id}: the ledger has {name} {asked[name]}, the decision {wanted}"
    acts = {act["order_id"]: act for act in tick.sealed.facts["outcome"]["acts"]}
    act, filled = acts.get(order.id), booked.fill
    if act is None:
        return None
    for name in ("price", "notional", "fee"):
        known = f"{getattr(filled, name):f}" if filled else None
        if act.get(name) != known:
            return f"order {order.id}: its notebook has {name} {act.get(name)}, the ledger {known}"
    return None


def _same(one: Fill | None, two: Fill | None) -> bool:
    if one is None or two is None:
        return one is two
    return all(
        getattr(one, name) == getattr(two, name)
        for name in ("symbol", "side", "quantity", "price", "notional", "fee")
    )


def _fields(name: str, theirs: Fill, mine: Fill) -> list[Evidence]:
    return [
        Evidence(f"{name} {field}", f"{a:f}", f"{b:f}")
        for field in ("price", "quantity", "notional", "fee")
        if (a := getattr(theirs, field)) != (b := getattr(mine, field))
    ]


def _words(filled: Fill) -> str:
    return f"{filled.quantity:f} at {filled.price:f}, fee {filled.fee:f}"


def _no_fill(quote: Quote | None) -> str:
    if quote is None:
        return "no candle of the minute, no fill"
    return f"no fill at bid {quote.bid:f}, ask {quote.ask:f}"
