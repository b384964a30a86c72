"""A stretch of history run as ticks, each with the inputs it froze, what it decided, and its fills."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from tgtqr_lib.backtest.bars import series_of
from tgtqr_lib.backtest.replay import _Replay
from tgtqr_lib.backtest.result import Result
from tgtqr_lib.backtest.run import NO_FUNDING
from tgtqr_lib.backtest.terms import SPREAD_BPS, Setting
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import Candles, Decision, Fill, History, Inputs, Plan
from tgtqr_lib.limits import HARD, INITIAL_EQUITY


@dataclass
class Ticks(_Replay):
    """`replay` that keeps what it saw. The very same code; it only looks on.

    seen     a tick each: the frozen inputs and the decision on them
    fills    (the open time of the minute, the fill)
    outcome  what `replay` returns
    """

    seen: list[tuple[Inputs, Decision]] = field(default_factory=list)
    fills: list[tuple[datetime, Fill]] = field(default_factory=list)
    outcome: Result | None = None

    def tick(self, at: datetime) -> None:
        frozen = self.inputs(at, tuple(self.view(symbol, at) for symbol in self.symbols))
        self.seen.append((frozen, decide(frozen)))
        super().tick(at)

    def book(self, filled: Fill, at: datetime, price: Decimal, kind: str) -> None:
        self.fills.append((at, filled))
        super().book(filled, at, price, kind)


def ticks_of(candles: Candles | History, plan: Plan) -> Ticks:
    """The ticks of `plan` over `candles` within the hard limits."""
    series = series_of(candles)
    setting = Setting.of(series, plan, HARD, None, None, SPREAD_BPS, INITIAL_EQUITY)
    ticks = Ticks(series, setting, NO_FUNDING)
    ticks.outcome = ticks.result()
    return ticks
