"""One strategy a file; this dict is all there is, and one conformance test covers every entry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tgtqr_lib.domain import DomainError, Plan
from tgtqr_lib.strategies import (
    buy_and_hold,
    flat,
    funding_carry_paper,
    ma_trend,
    ma_trend_filtered,
)
from tgtqr_lib.strategies.strategy import Parameter, Strategy, Told

STRATEGIES: dict[str, Strategy] = {
    "ma_trend": ma_trend.STRATEGY,
    "ma_trend_filtered": ma_trend_filtered.STRATEGY,
    "funding_carry_paper": funding_carry_paper.STRATEGY,
    "buy_and_hold": buy_and_hold.STRATEGY,
    "flat": flat.STRATEGY,
}

__all__ = [
    "STRATEGIES",
    "Parameter",
    "Strategy",
    "Told",
    "minutes_needed",
    "registered",
    "strategy_named",
]


def strategy_named(name: str) -> Strategy:
    """The strategy called `name`. Raises `DomainError` naming the known ones."""
    if name not in STRATEGIES:
        raise DomainError(f"strategy {name!r} is unknown; expected one of {sorted(STRATEGIES)}")
    return STRATEGIES[name]


def minutes_needed(plan: Plan) -> int:
    """The lookback of the plan's strategy. Raises `DomainError` for parameters it does not have."""
    strategy = strategy_named(plan.strategy)
    return strategy.lookback(**strategy.checked(plan.parameters))


@contextmanager
def registered(strategy: Strategy) -> Iterator[Strategy]:
    """`strategy` under its name for as long as the context lasts, so that research can run one of its own.

    Raises `DomainError` when another strategy has that name.
    """
    known = STRATEGIES.get(strategy.name)
    if known is not None and known is not strategy:
        raise DomainError(
            f"strategy {strategy.name!r} is another one already; expected a name of its own"
        )
    STRATEGIES[strategy.name] = strategy
    try:
        yield strategy
    finally:
        if known is None:
            del STRATEGIES[strategy.name]
