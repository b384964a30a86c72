"""Three backtests that share no code beyond the rules must say the same: replay, run, and the reference."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tests.backtest import reference
from tgtqr_lib.backtest import Result, replay, run
from tgtqr_lib.backtest.terms import LINEAR, SPOT
from tgtqr_lib.clock import to_ms
from tgtqr_lib.strategies import strategy_named

FACTS = (
    "symbols", "market", "strategy", "params", "decimals", "bars", "gaps", "decisions", "signals",
    "incomplete", "stop", "labels", "initial_units", "cash_units", "fees_units", "spread_units",
    "funding_units", "open_positions",
)  # fmt: skip


def same(one: Result, other: Result) -> None:
    """Both results are equal in everything they hold."""
    for name in FACTS:
        assert getattr(one, name) == getattr(other, name), name
    for name in ("table", "times_ms", "equity_units"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def all_three(candles, plan, limits, **terms) -> Result:
    """Run all three, compare them, and return the one of `run`."""
    quick = run(candles, plan, limits, **terms)
    same(replay(candles, plan, limits, **terms), quick)
    as_reference(candles, plan, limits, quick, **terms)
    return quick


def as_reference(candles, plan, limits, found: Result, **terms) -> None:
    """`found` equals what the reference makes of the same candles."""
    series = candles if isinstance(candles, dict) else {candles.symbol: candles}
    expected = reference.backtest(*reference_terms(series, plan, limits, **terms))
    trades = [
        (
            t.symbol, to_ms(t.entry_at), to_ms(t.exit_at), Fraction(t.quantity),
            Fraction(t.entry_price), Fraction(t.exit_price), Fraction(t.fees), Fraction(t.pnl), t.kind,
        )
        for t in found.trades
    ]  # fmt: skip
    assert trades == expected.trades
    units = [int(worth * reference.UNIT) for _, worth in expected.equity]
    assert units == found.equity_units.tolist()
    assert [at for at, _ in expected.equity] == found.times_ms.tolist()
    assert expected.said == found.signals
    assert expected.stop == (found.stop and (to_ms(found.stop.at), found.stop.cause))
    assert (Fraction(found.fees), Fraction(found.funding)) == (expected.fees, expected.funding)
    assert expected.held == {p.symbol: Fraction(p.quantity) for p in found.open_positions}


def reference_terms(series, plan, limits, *, fees=None, spread_bps=1, initial=10, funding=None):
    parameters = strategy_named(plan.strategy).checked(plan.parameters)
    market = next(iter(series.values())).market
    rules = {"spot": SPOT, "linear": LINEAR}[market]
    markets = {}
    for symbol, seen in series.items():
        scale = 10**seen.decimals
        markets[symbol] = reference.Market(
            open={int(t): Fraction(int(p), scale) for t, p in zip(seen.open_ms, seen.open, strict=True)},
            close={int(t): Fraction(int(p), scale) for t, p in zip(seen.open_ms, seen.close, strict=True)},
            step=Fraction(rules[symbol].price_step),
            lot=Fraction(rules[symbol].lot),
        )  # fmt: skip
    bps = fees.bps if fees else {"spot": "10", "linear": "5.5"}[market]
    bound = {
        "position": None if limits is None else Fraction(limits.position_usdt),
        "daily": Fraction(limits.daily_loss_usdt) if limits else Fraction(10**9),
        "total": Fraction(limits.total_loss_usdt) if limits else Fraction(10**9),
        "trim": Fraction(limits.trim_usdt) if limits else Fraction(10**9),
    }
    settlements = [
        (symbol, int(at), Fraction(int(rate), 10**10))
        for symbol, rates in (funding or {}).items()
        for at, rate in zip(rates.at_ms, rates.units, strict=True)
    ]
    return (
        markets,
        reference.Rules(
            window=parameters["window"],
            band_bps=parameters["band_bps"],
            target=Fraction(plan.order_target_usdt),
            collar_bps=plan.collar_bps,
            fee=Fraction(bps) / 10_000,
            spread_bps=Fraction(spread_bps),
            initial=Fraction(initial),
            **bound,
        ),
        settlements,
    )
