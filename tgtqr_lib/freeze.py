"""FREEZE: everything the decision may see, fetched once and never looked at again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from tgtqr_lib import journal
from tgtqr_lib.clock import MINUTE, iso, to_ms
from tgtqr_lib.desk import Desk, check_account, plan_of, situation
from tgtqr_lib.domain import (
    FUNDING_UNREADABLE,
    BrokerError,
    Candles,
    DataError,
    Inputs,
    MarketView,
    Problem,
    Quote,
)
from tgtqr_lib.signals.book_features import features
from tgtqr_lib.strategies import minutes_needed, strategy_named

MARGIN = 60  # minutes before the strategy's lookback, so that the chart can show its line
ASK_AGAIN_S = 1.0


def freeze(desk: Desk, boundary: datetime) -> Inputs:
    """The inputs of the tick at `boundary`.

    A missing last minute is asked for again until `late_candle_wait_s` has passed. What cannot be read
    of one symbol becomes a problem of its view, and its rules refuse. The plan is read once: one that the
    owner changes while candles are fetched is for the next tick.
    """
    check_account(desk)
    plan = plan_of(desk.in_force(boundary), desk.scale)
    count = minutes_needed(plan) + MARGIN
    needs = strategy_named(plan.strategy).needs
    views = tuple(_view(desk, symbol, boundary, count, needs) for symbol in desk.settings.symbols)
    at = desk.exchange.time()
    return replace(situation(desk, at, boundary), markets=views, plan=plan)


def _view(
    desk: Desk, symbol: str, boundary: datetime, count: int, needs: Sequence[str]
) -> MarketView:
    instrument = desk.instruments().get(symbol)
    decimals = -instrument.price_step.normalize().as_tuple().exponent if instrument else 0
    problems: list[Problem] = []
    candles = Candles(symbol, 0, *([()] * 6))
    quote: Quote | None = None
    try:
        candles, found = _closed_candles(desk, symbol, boundary, count, max(decimals, 0))
        problems += found
    except DataError as error:
        problems.append(Problem("CANDLES_UNREADABLE", str(error)))
    try:
        quote = desk.exchange.quote(symbol)
    except DataError as error:
        problems.append(Problem("QUOTE_UNREADABLE", str(error)))
    funding = None
    if "funding" in needs:
        try:
            funding = desk.exchange.funding(symbol, boundary)
        except (DataError, BrokerError) as error:  # it must not hold up an exit
            problems.append(Problem(FUNDING_UNREADABLE, str(error)))
    book = features(quote) if quote is not None and "book" in needs else None
    for problem in problems:
        journal.event("data_problem", symbol=symbol, code=problem.code, text=problem.text)
    return MarketView(symbol, instrument, candles, quote, tuple(problems), funding, book)


def _closed_candles(
    desk: Desk, symbol: str, boundary: datetime, count: int, decimals: int
) -> tuple[Candles, tuple[Problem, ...]]:
    wanted = to_ms(boundary - MINUTE)
    deadline = time.monotonic() + desk.settings.late_candle_wait_s
    asked_at = None
    while True:
        candles, problems = desk.exchange.candles(symbol, count, boundary, decimals)
        if problems or (len(candles) and candles.open_ms[-1] == wanted):
            return candles, problems
        shown = desk.exchange.time()
        stands = shown == asked_at  # a clock that stands will not close another minute
        asked_at = shown
        if stands or time.monotonic() >= deadline:
            journal.event("candle_late", symbol=symbol, missing=iso(boundary - MINUTE))
            return candles, problems
        time.sleep(ASK_AGAIN_S)
