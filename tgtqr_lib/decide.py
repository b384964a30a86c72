"""The whole road in one pure function: frozen inputs in, decision out."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np

from tgtqr_lib.canonical import sha256
from tgtqr_lib.domain import (
    MINUTE_MS,
    UNIT,
    BookHistory,
    Candles,
    Choice,
    Decision,
    History,
    Inputs,
    MarketView,
    NoOrder,
    Order,
    Signal,
    SignalState,
    Verdict,
)
from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.portfolio import reserve
from tgtqr_lib.risk import SIGNAL_RULES, approved, first_refusal, review
from tgtqr_lib.sizing import propose
from tgtqr_lib.strategies import strategy_named


def decide(inputs: Inputs) -> Decision:
    """What to do at `inputs.boundary`: exits first, then entries, each reviewed by every rule.

    An allowed entry counts as reserved for the next; the proceeds of exits do not count.
    """
    views = sorted(inputs.markets, key=lambda view: _place(view.symbol))
    wishes = {view.symbol: wish(view, inputs) for view in views}
    exits_first = sorted(views, key=lambda view: not wishes[view.symbol][1].is_exit)
    choices, now = {}, inputs
    for view in exits_first:
        signal, order = wishes[view.symbol]
        verdicts = review(order, now)
        choices[view.symbol] = choose(signal, order, verdicts)
        if isinstance(order, Order) and approved(verdicts):
            now = replace(
                now,
                portfolio=reserve(now.portfolio, order, now.fees),
                orders_this_tick=now.orders_this_tick + 1,
            )
    ordered = tuple(choices[view.symbol] for view in views)
    return Decision(inputs.tick_id, sha256(inputs), ordered)


def decision_sha256(decision: Decision) -> str:
    """The hash of signals, orders, verdicts and reasons."""
    return sha256({"tick_id": decision.tick_id, "choices": decision.choices})


def wish(view: MarketView, inputs: Inputs) -> tuple[Signal, Order | NoOrder]:
    """The signal of one symbol, and the order or reason that follows from it alone."""
    doubts = [v for v in review(NoOrder(view.symbol, "", ""), inputs) if v.code in SIGNAL_RULES]
    doubt = first_refusal(doubts)
    signal, code = read_signal(view, inputs, doubt)
    if doubt is not None or view.instrument is None:
        return signal, NoOrder(view.symbol, code, signal.text)
    order = propose(
        signal, inputs.portfolio, view.instrument, inputs.plan, inputs.limits, inputs.boundary
    )
    if isinstance(order, NoOrder) and order.code == "SIGNAL_HOLD":
        return signal, NoOrder(view.symbol, code, signal.text)
    return signal, order


def read_signal(view: MarketView, inputs: Inputs, doubt: Verdict | None) -> tuple[Signal, str]:
    """The strategy's last target as a signal with its sentence, and the code of its own reason."""
    strategy = strategy_named(inputs.plan.strategy)
    parameters = strategy.checked(inputs.plan.parameters)
    candles = view.candles.tail(strategy.lookback(**parameters))
    close = candles.last_close if len(candles) else None
    history = seen_by_strategy(view, candles)
    compares = strategy.reference is not None
    reference = strategy.reference(history, **parameters) if compares and len(candles) else None
    if doubt is not None or not len(candles) or (compares and reference is None):
        text = doubt.text if doubt else f"{view.symbol}: too little history"
        mean = _mean(reference, candles.decimals)
        return Signal(view.symbol, SignalState.HOLD, close, mean, None, text), "SIGNAL_HOLD"
    target = strategy.targets(history, **parameters)[-1]
    told = strategy.explain(history, **parameters) if strategy.explain else None
    mean = _mean(reference, candles.decimals)
    off = Fraction(int(candles.close[-1])) / reference - 1 if compares else Fraction(0)
    distance = _decimal(off * 10_000, Decimal("0.01")) if compares else None
    if np.isnan(target):
        code = told.code if told else "SIGNAL_TIE" if off == 0 else "SIGNAL_IN_BAND"
        state = SignalState.HOLD
    else:
        state = SignalState.LONG if target > 0 else SignalState.FLAT
        code = f"SIGNAL_{state}"
    text = told.text if told else _sentence(state, close, mean, distance, code)
    return Signal(view.symbol, state, close, mean, distance, text), code


def seen_by_strategy(view: MarketView, candles: Candles) -> History:
    """`candles` with what was frozen beside them; the book belongs to the candle that closed last."""
    book = None
    if view.book is not None and len(candles):
        book = BookHistory.of([(int(candles.open_ms[-1]) + MINUTE_MS, view.book)])
    return History(candles, view.funding, book)


def choose(signal: Signal, order: Order | NoOrder, verdicts: tuple[Verdict, ...]) -> Choice:
    """The symbol's part of the decision; the first refusing rule is its reason, else the signal's."""
    refusal = first_refusal(verdicts)
    placed = isinstance(order, Order)
    if refusal is not None:
        reason, text = refusal.code, refusal.text
    elif not placed:
        reason, text = order.code, order.text
    elif order.is_exit and signal.state is not SignalState.FLAT:
        reason, text = "POSITION_TRIM", "the holding is worth more than its limit at the close"
    else:
        reason, text = f"SIGNAL_{signal.state}", signal.text
    return Choice(
        symbol=signal.symbol,
        signal=signal,
        order=order if placed else None,
        verdicts=verdicts,
        approved=placed and refusal is None,
        reason=reason,
        reason_text=text,
    )


def _place(symbol: str) -> int:
    """Where `symbol` stands among those that are traded; others come last."""
    return SYMBOLS.index(symbol) if symbol in SYMBOLS else len(SYMBOLS)


def _mean(reference: Fraction | None, decimals: int) -> Decimal | None:
    return None if reference is None else _decimal(reference / 10**decimals, UNIT)


def _decimal(value: Fraction, unit: Decimal) -> Decimal:
    """`value` rounded half to even to a multiple of `unit`; for people, never for comparisons."""
    return Decimal(round(value / Fraction(unit))) * unit


def _sentence(
    state: SignalState, close: Decimal, mean: Decimal, distance: Decimal, code: str
) -> str:
    place = {
        SignalState.LONG: "above",
        SignalState.FLAT: "below",
    }.get(state, "exactly on" if code == "SIGNAL_TIE" else "inside the band around")
    shown = mean.quantize(Decimal(1).scaleb(close.as_tuple().exponent - 2))
    return f"close {close:f} is {place} its mean {shown:f} by {abs(distance):f} bps: {state}"
