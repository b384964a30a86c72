"""A tick and a backtest say the same: every signal, fill, fee and the equity of every minute.

The ticks are `decide` on frozen inputs, filled by `execution` and `portfolio`; `run` is the
compiled way. All money is compared in units of 1e-8.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tgtqr_lib.backtest import kernel
from tgtqr_lib.backtest.bars import Bars
from tgtqr_lib.backtest.crossings import FLAT, LONG, signals
from tgtqr_lib.backtest.probes.case import Case, word
from tgtqr_lib.backtest.probes.findings import Failed
from tgtqr_lib.backtest.result import COLUMNS, Result
from tgtqr_lib.backtest.run import run
from tgtqr_lib.clock import from_ms, iso, to_ms
from tgtqr_lib.domain import MINUTE_MS
from tgtqr_lib.limits import HARD

FACTS = (
    "decisions", "signals", "incomplete", "stop", "cash_units", "fees_units", "spread_units",
    "open_positions", "bars", "gaps", "params",
)  # fmt: skip
WORDS = {LONG: "LONG", FLAT: "FLAT"}  # whatever else there is holds


def probe(case: Case) -> str:
    _reads_what_a_backtest_has(case)
    _signals(case)
    ticked, quick = case.ticks.outcome, run(case.history(case.ticked), case.plan, HARD)
    _results(ticked, quick)
    return (
        f"{len(case.ticks.seen):,} ticks, {len(case.ticks.fills):,} fills and {len(quick.times_ms):,} "
        "minutes of equity: decide and run agree to the last unit"
    )


def _reads_what_a_backtest_has(case: Case) -> None:
    """A tick also has high, low and volume; a backtest has opens and closes."""
    seen = case.candles
    plain = Bars.of(seen).candles()
    rng = np.random.default_rng(2)
    dressed = replace(
        plain,
        high=plain.high + rng.integers(1, plain.high, dtype=np.int64),
        low=rng.integers(1, plain.low, endpoint=True, dtype=np.int64),
        volume=rng.integers(1, 10**9, len(plain)),
    )
    for params in case.sets:
        one, two = case.targets(plain, params), case.targets(dressed, params)
        odd = np.flatnonzero(~((one == two) | (np.isnan(one) & np.isnan(two))))
        if len(odd):
            row = int(odd[0])
            raise Failed(
                f"at {case.minute(row)}: {word(one[row])}, {word(two[row])} with other highs, lows and "
                "volumes, which a tick has and a backtest does not"
            )


def _signals(case: Case) -> None:
    """Each tick's signal against the backtest's for the same quarter hour."""
    bars = Bars.of(case.history(case.ticked))
    said = signals(bars, case.strategy, case.params)[None, :]
    has = np.ones(said.shape, dtype=bool)
    kernel.doubt_strays(bars.open_ms, bars.open[None, :], bars.close[None, :], has, said)
    rows = {int(at) + MINUTE_MS: row for row, at in enumerate(bars.open_ms)}
    for frozen, decision in case.ticks.seen:
        row = rows.get(to_ms(frozen.boundary))
        quick = "HOLD" if row is None else WORDS.get(int(said[0, row]), "HOLD")
        for choice in decision.choices:
            if choice.signal.state != quick:
                raise Failed(
                    f"at {iso(frozen.boundary)}: the tick says {choice.signal.state} "
                    f"({choice.signal.text}), the backtest {quick}"
                )


def _results(ticked: Result, quick: Result) -> None:
    """Both results hold the same trades, equity and sums."""
    for one, two in zip(ticked.trades, quick.trades, strict=False):
        if one != two:
            raise Failed(f"the ticks traded {one.plain()}, run traded {two.plain()}")
    if len(ticked.table) != len(quick.table):
        fewer = min(len(ticked.table), len(quick.table))
        more, who = (ticked, "the ticks") if len(ticked.table) > fewer else (quick, "run")
        raise Failed(f"only {who} traded {more.trades[fewer].plain()}")
    for column in COLUMNS:
        if not np.array_equal(ticked.column(column), quick.column(column)):
            raise Failed(f"the trades' {column} differs between ticks and run")
    for name in FACTS:
        one, two = getattr(ticked, name), getattr(quick, name)
        if one != two:
            raise Failed(f"{name} is {one} with the ticks, {two} with run")
    odd = np.flatnonzero(ticked.equity_units != quick.equity_units)
    if len(odd):
        row = int(odd[0])
        raise Failed(
            f"at {iso(from_ms(int(quick.times_ms[row])))}: equity is "
            f"{ticked.equity_units[row] / 1e8:.8f} USDT with the ticks, "
            f"{quick.equity_units[row] / 1e8:.8f} with run"
        )
