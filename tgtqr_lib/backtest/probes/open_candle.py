"""A candle that is still open decides nothing: not in `decide`, not in `run`.

A decision uses candles with open time + 60 s <= exchange time. When an open one is among the frozen inputs,
`decide` says what it says without it, or holds; what the open candle holds never matters.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np

from tgtqr_lib.backtest.probes.case import Case, joined
from tgtqr_lib.backtest.probes.findings import Failed
from tgtqr_lib.backtest.run import run
from tgtqr_lib.clock import from_ms, iso, to_ms
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import MINUTE_MS, Candles, Choice, Decision, Inputs
from tgtqr_lib.limits import HARD

# the open candle's close as a multiple of the last one: far enough to turn a signal, and near enough to the
# ticker (2 %) that no other rule hides what is done with it
CLOSES = (1.01, 0.99)


def probe(case: Case) -> str:
    ticks = case.ticks.seen
    for frozen, decision in ticks:
        _unread(frozen, decision)
        _before_its_close(frozen)
    fills = _fills_stay(case)
    return (
        f"{len(ticks):,} decisions with a candle still open, its close above and below; "
        f"{fills:,} quarter hours of run with the minute of the fill changed"
    )


def _unread(frozen: Inputs, decision: Decision) -> None:
    """The candle that opens at the boundary is among the inputs."""
    closed = [_outcome(choice) for choice in decision.choices]
    for factor in CLOSES:
        told = decide(_with_open_candle(frozen, factor))
        for without, choice in zip(closed, told.choices, strict=True):
            seen = _outcome(choice)
            if seen != without and seen != ("HOLD", None):
                raise Failed(
                    f"at {iso(frozen.boundary)}: {_told(seen)} when the candle that opens then is among "
                    f"the inputs, its close {factor:g} times the last; {_told(without)} on closed ones"
                )


def _before_its_close(frozen: Inputs) -> None:
    """A millisecond before the last minute is over, its candle is still open, and nothing is decided."""
    early = replace(frozen, exchange_time=frozen.boundary - timedelta(milliseconds=1))
    for choice in decide(early).choices:
        seen = _outcome(choice)
        if seen != ("HOLD", None):
            raise Failed(
                f"at {iso(early.exchange_time)}: {_told(seen)}, though the minute before "
                f"{iso(frozen.boundary)} is not over; expected HOLD"
            )


def _with_open_candle(frozen: Inputs, factor: float) -> Inputs:
    views = []
    for view in frozen.markets:
        close = max(round(int(view.candles.close[-1]) * factor), 1) if len(view.candles) else 1
        more = _one(view.candles, to_ms(frozen.boundary), close)
        views.append(replace(view, candles=joined(view.candles, more)))
    return replace(frozen, markets=tuple(views))


def _one(like: Candles, open_ms: int, close: int) -> Candles:
    column = np.array([close], dtype=np.int64)
    columns = {name: column for name in Candles.COLUMNS}
    return replace(like, open_ms=np.array([open_ms], dtype=np.int64), **columns)


def _outcome(choice: Choice) -> tuple[str, str | None]:
    """The signal and the approved order of a choice."""
    return str(choice.signal.state), choice.order_text if choice.approved else None


def _told(outcome: tuple[str, str | None]) -> str:
    return f"{outcome[0]}, {outcome[1] or 'no order'}"


def _fills_stay(case: Case) -> int:
    """How many quarter hours were run up to the minute of their fill, which opens as it did."""
    seen, checked = case.ticked, 0
    rows = np.flatnonzero(seen.open_ms % (15 * MINUTE_MS) == 0)
    for row in rows[rows > 0].tolist():
        until = seen.head(row + 1)
        usual = _booked(case, until)
        for factor in (2.0, 0.5):
            close = until.close.copy()
            close[row] = max(round(int(until.open[row]) * factor), 1)
            if _booked(case, replace(until, close=close)) != usual:
                raise Failed(
                    f"at {iso(from_ms(int(seen.open_ms[row])))}: run trades otherwise when the candle "
                    f"that opens then closes at {factor:g} times its open; it is still open"
                )
        checked += 1
    return checked


def _booked(case: Case, candles: Candles) -> tuple:
    """All that was traded, and the cash that is left."""
    found = run(case.history(candles), case.plan, HARD)
    held = [(one.symbol, one.quantity, one.entry_price, one.cost) for one in found.open_positions]
    return found.table.tolist(), found.cash_units, held
