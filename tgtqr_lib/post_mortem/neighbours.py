"""What-ifs around a tick: its neighbours in parameters, order and limits, each decided by the same `decide`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from tgtqr_lib.archive.opened import notebooks_in, open_archived
from tgtqr_lib.clock import MINUTE, TICK, boundary_of, to_ms
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import (
    MINUTE_MS,
    Candles,
    Choice,
    Decision,
    History,
    Inputs,
    MarketView,
    SignalState,
    TgtqrError,
)
from tgtqr_lib.home import Home
from tgtqr_lib.impact import Outcome, Series
from tgtqr_lib.limits import COLLAR_BPS, HARD
from tgtqr_lib.post_mortem.case import Case
from tgtqr_lib.strategies import minutes_needed, strategy_named
from tgtqr_lib.what_if import LIMITS, WhatIf

STEPS = (-10, -5, -1, 1, 5, 10)  # from the value that a parameter had
BPS = 10_000


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What one change would have done to one symbol's part of the decision.

    change  in words, `window=61`
    before  as sealed
    after   None when it cannot be told, and then `why` says why not
    """

    change: str
    symbol: str
    before: Outcome
    after: Outcome | None
    why: str = ""

    @property
    def differs(self) -> bool:
        return self.after is not None and self.after != self.before


@dataclass(frozen=True, slots=True)
class Flip:
    """How far a close was from another signal, for a strategy that compares it with a mean and a band.

    The last close is one of those in the mean, so a mean of n flips where the close meets the mean of the
    n - 1 before it (with a band, a little further out).

    close, long_above, flat_below  quote per base
    """

    symbol: str
    state: SignalState
    close: Decimal
    long_above: Fraction
    flat_below: Fraction

    @property
    def edge(self) -> Fraction:
        """The nearest price at which the signal is another one."""
        if self.state is SignalState.LONG:
            return self.long_above
        if self.state is SignalState.FLAT:
            return self.flat_below
        return min(self.long_above, self.flat_below, key=lambda edge: abs(edge - self.close_exact))

    @property
    def close_exact(self) -> Fraction:
        return Fraction(self.close)

    @property
    def distance(self) -> Fraction:
        """How far the close stands from the edge, quote per base, at least 0."""
        return abs(self.close_exact - self.edge)

    @property
    def distance_bps(self) -> Fraction:
        """The same in basis points of the close."""
        return self.distance / self.close_exact * BPS


def what_ifs(case: Case) -> tuple[Neighbour, ...]:
    """Every neighbour of the case, for each of its symbols."""
    seen = Lender(case.home, case.inputs)
    found: list[Neighbour] = []
    for change in changes(case.inputs):
        found += judged(case, change, seen)
    return tuple(found)


def judged(case: Case, change: WhatIf, seen: Lender | None = None) -> list[Neighbour]:
    """What `change` alone would have done to each symbol."""
    before = {choice.symbol: outcome_of(choice) for choice in case.decision.choices}
    try:
        decided = decided_with(case, change, seen)
        after = {choice.symbol: outcome_of(choice) for choice in decided.choices}
    except TgtqrError as error:
        return [Neighbour(change.text, name, was, None, str(error)) for name, was in before.items()]
    return [Neighbour(change.text, name, was, after.get(name)) for name, was in before.items()]


def decided_with(case: Case, change: WhatIf, seen: Lender | None = None) -> Decision:
    """The decision of the case after `change`.

    Raises `DomainError` for a value out of range, and when candles that it needs were seen by no tick.
    """
    wanted = change(case.inputs)
    seen = seen or Lender(case.home, case.inputs)
    views = tuple(replace(view, candles=seen(view.candles, wanted)) for view in wanted.markets)
    return decide(replace(wanted, markets=views))


def changes(inputs: Inputs) -> Iterator[WhatIf]:
    """The neighbours that are looked at: each parameter some steps up and down, order, collar, limits."""
    plan = inputs.plan
    strategy = strategy_named(plan.strategy)
    values = strategy.checked(plan.parameters)
    for name, parameter in strategy.parameters.items():
        for step in STEPS:
            value = values[name] + step
            if parameter.low <= value <= parameter.high:
                yield WhatIf(parameters={name: value})
    target, collar = plan.order_target_usdt, plan.collar_bps
    for amount in (target / 2, HARD.position_usdt):
        if 0 < amount != target:
            yield WhatIf(plan={"order_target_usdt": amount})
    for bps in (collar // 2, min(2 * collar, COLLAR_BPS)):
        if bps != collar:
            yield WhatIf(plan={"collar_bps": bps})
    for name in LIMITS:
        yield WhatIf(limits={name: getattr(inputs.limits, name) / 2})


def flips(case: Case) -> tuple[Flip, ...]:
    """How far each symbol was from another signal; only those that have one, and only for means."""
    found = (flip(view, case.inputs, case.decision) for view in case.inputs.markets)
    return tuple(one for one in found if one is not None)


def flip(view: MarketView, inputs: Inputs, decision: Decision) -> Flip | None:
    """How far one symbol was from another signal; None in doubt, and for a strategy of another kind."""
    plan = inputs.plan
    strategy = strategy_named(plan.strategy)
    signal = decision.choice(view.symbol).signal
    if strategy.fast is None or signal.distance_bps is None:
        return None
    values = strategy.checked(plan.parameters)
    band, n = values[strategy.fast.band_bps], minutes_needed(plan)
    candles = view.candles.tail(n)
    if len(candles) < n or not History(candles).contiguous(n)[-1]:
        return None
    # 10,000 n c > (10,000 + band) (others + c), solved for the last close c; mirrored for flat
    others = sum(int(steps) for steps in candles.close[:-1])
    scale = 10**candles.decimals
    up = Fraction((BPS + band) * others, (BPS * (n - 1) - band) * scale)
    down = Fraction((BPS - band) * others, (BPS * (n - 1) + band) * scale)
    return Flip(view.symbol, signal.state, candles.last_close, up, down)


def outcome_of(choice: Choice) -> Outcome:
    """A symbol's part of a decision in short."""
    return Outcome(str(choice.signal.state), choice.order_text, choice.approved, choice.reason)


class Lender:
    """Lends the candles of earlier ticks to a lookback that is longer than the tick's own."""

    def __init__(self, home: Home, inputs: Inputs) -> None:
        self._home, self._inputs = home, inputs
        self._series: Series | None = None

    def __call__(self, candles: Candles, wanted: Inputs) -> Candles:
        """`candles` as far back as `wanted` needs. Raises `DomainError` where no tick has seen them."""
        end_ms = to_ms(wanted.boundary)
        need = minutes_needed(wanted.plan) + 1  # one more, for the jump into it
        first_ms = end_ms - need * MINUTE_MS
        usual = minutes_needed(self._inputs.plan) + 1
        if need <= usual or not len(candles) or candles.open_ms[0] <= first_ms:
            return candles
        if self._series is None:
            self._series = self._read(need)
        return self._series.lengthened(candles, first_ms, end_ms)

    def _read(self, need: int) -> Series:
        series = Series()
        longest = max(
            p.high for p in strategy_named(self._inputs.plan.strategy).parameters.values()
        )
        since = boundary_of(self._inputs.boundary - max(need, longest) * MINUTE)
        for path in notebooks_in(self._home.ticks, since, self._inputs.boundary - TICK):
            try:
                inputs = open_archived(path).inputs()
                series.add(inputs.boundary, [view.candles for view in inputs.markets])
            except TgtqrError:
                continue  # where its candles are missed, that is said
        return series
