"""From a target to an order: the place where arrays become `Decimal`."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from tgtqr_lib.clock import tick_id
from tgtqr_lib.domain import (
    ZERO,
    Instrument,
    Limits,
    NoOrder,
    Order,
    Plan,
    Portfolio,
    Quote,
    Side,
    Signal,
    SignalState,
)
from tgtqr_lib.execution import BPS

SAFETY = "X"  # ends the id of a safety sale


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """`value` >= 0 rounded down to a whole number of `step`s, exactly."""
    return (value // step) * step


def entry_limit(close: Decimal, collar_bps: int, price_step: Decimal) -> Decimal:
    """The most a buy may pay: close x (1 + collar), rounded down to the price step."""
    return floor_to(close * (BPS + collar_bps) / BPS, price_step)


def exit_limit(close: Decimal, collar_bps: int, price_step: Decimal) -> Decimal:
    """The least a sale may get: close x (1 - collar), rounded down to the price step."""
    return floor_to(close * (BPS - collar_bps) / BPS, price_step)


def order_id(placed_at: datetime, symbol: str, suffix: str) -> str:
    """`20261122T1015Z-BTC-B`: made from its cause, so that it is the same when computed again."""
    return f"{tick_id(placed_at)}-{symbol.removesuffix('USDT')}-{suffix}"


def feasible(notional: Decimal, instrument: Instrument) -> str:
    """Whether an order of `notional` quote units could exist on the exchange, in words."""
    if notional >= instrument.min_notional:
        return "yes"
    return f"no, needs {instrument.min_notional:.2f}"


def propose(
    signal: Signal,
    portfolio: Portfolio,
    instrument: Instrument,
    plan: Plan,
    limits: Limits,
    placed_at: datetime,
) -> Order | NoOrder:
    """The order that brings what is held to the signal's target, or the reason for none.

    LONG buys when nothing is held, FLAT sells all, and a holding worth more than `limits.trim_usdt`
    at the close is sold down to it by the fewest lots. The signal must have a close.
    """
    symbol, close = signal.symbol, signal.close
    # less than a lot, which a fee taken in the coin leaves, can neither be sold nor keeps from buying
    held = floor_to(portfolio.position(symbol).quantity, instrument.lot)
    if signal.state is SignalState.FLAT and held > 0:
        return sale(symbol, held, close, instrument, plan.collar_bps, placed_at, "S")
    if (excess := trim_quantity(held, close, instrument.lot, limits.trim_usdt)) > 0:
        return sale(symbol, excess, close, instrument, plan.collar_bps, placed_at, "S")
    if signal.state is not SignalState.LONG:
        code = "ALREADY_FLAT" if signal.state is SignalState.FLAT else "SIGNAL_HOLD"
        return NoOrder(symbol, code, signal.text)
    if held > 0:
        return NoOrder(symbol, "ALREADY_LONG", f"{signal.text}; {held:f} is held, no top-ups")
    return entry(symbol, close, instrument, plan, placed_at)


def entry(
    symbol: str, close: Decimal, instrument: Instrument, plan: Plan, placed_at: datetime
) -> Order | NoOrder:
    """A buy for `order_target_usdt` at the collar above `close`, in whole lots; never rounded up."""
    limit = entry_limit(close, plan.collar_bps, instrument.price_step)
    lots = plan.order_target_usdt // (limit * instrument.lot) if limit > 0 else ZERO
    quantity = lots * instrument.lot
    if quantity <= 0:
        return NoOrder(
            symbol,
            "BELOW_ONE_LOT",
            f"{plan.order_target_usdt} USDT buys less than one lot of {instrument.lot:f} at {limit:f}",
        )
    return Order(
        id=order_id(placed_at, symbol, "B"),
        symbol=symbol,
        side=Side.BUY,
        quantity=quantity,
        limit=limit,
        placed_at=placed_at,
        feasible=feasible(quantity * limit, instrument),
    )


def sale(
    symbol: str,
    quantity: Decimal,
    close: Decimal,
    instrument: Instrument,
    collar_bps: int,
    placed_at: datetime,
    suffix: str,
) -> Order:
    """A sale of `quantity` base units at the collar below `close`; never below one price step."""
    limit = exit_limit(close, collar_bps, instrument.price_step)
    return Order(
        id=order_id(placed_at, symbol, suffix),
        symbol=symbol,
        side=Side.SELL,
        quantity=quantity,
        limit=max(limit, instrument.price_step),
        placed_at=placed_at,
        feasible=feasible(quantity * close, instrument),
    )


def safety_sale(
    quantity: Decimal, quote: Quote, instrument: Instrument, collar_bps: int, minute: datetime
) -> Order:
    """A sale of all that a stop left, with its minute and `X` in the id, at the collar below the bid."""
    return sale(quote.symbol, quantity, quote.bid, instrument, collar_bps, minute, SAFETY)


def trim_quantity(held: Decimal, close: Decimal, lot: Decimal, trim_usdt: Decimal) -> Decimal:
    """The fewest base units, in lots, whose sale leaves at most `trim_usdt` at `close`; 0 if none."""
    if held * close <= trim_usdt:
        return ZERO
    lots_to_keep = trim_usdt // (close * lot)
    return held - lots_to_keep * lot
