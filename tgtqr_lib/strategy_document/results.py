"""What the backtests and tests of luck found, as macros, sentences and tables."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import numpy as np

from tgtqr_lib.backtest.bootstrap import Interval
from tgtqr_lib.backtest.luck import SURE, Luck
from tgtqr_lib.backtest.metrics import METRICS
from tgtqr_lib.backtest.terms import SPREAD_BPS
from tgtqr_lib.clock import from_ms
from tgtqr_lib.domain import MINUTE_MS, Candles
from tgtqr_lib.execution import fees_on
from tgtqr_lib.limits import HARD, SYMBOLS
from tgtqr_lib.research import Past
from tgtqr_lib.research.luck import DRAWS
from tgtqr_lib.research.plans import counted
from tgtqr_lib.signals.moving_average import trailing_sum
from tgtqr_lib.strategies import STRATEGIES
from tgtqr_lib.strategy_document.facts import SEED, break_even
from tgtqr_lib.strategy_document.mercy import Mercy
from tgtqr_lib.strategy_document.study import (
    BANDS,
    TRIED,
    WINDOWS,
    Equal,
    Evidence,
    Subject,
    candles_sha256,
    moves_beyond,
    result_sha256,
    ties,
)
from tgtqr_lib.strategy_document.tex import Pages, escape, number, percent

DIGITS = {  # of the metrics' units, where they are not percentages
    "USDT": 5, "ratio": 2, "days": 1, "minutes": 1, "times a year": 1, "count": 0,
}  # fmt: skip


def add_data(pages: Pages, evidence: Evidence) -> None:
    """The candles, where they are from, and what is missing in them."""
    first, last = evidence.span
    sources = sorted({past.source for past in evidence.pasts.values()})
    made_up = "made-up" if evidence.made_up else "recorded"
    pages.define(
        DataKind=made_up,
        DataSource=escape("; ".join(sources)),
        DataFirst=first,
        DataLast=last,
        DataDays=number(max(past.days for past in evidence.pasts.values()), 0),
        DataNotice=escape(_notice(evidence.made_up)),
    )
    rows = []
    for symbol, past in evidence.pasts.items():
        candles = past.candles
        missing = round(past.days * 1440) - len(candles)
        low, high = (candles.price(part) for part in (candles.low.min(), candles.high.max()))
        rows.append(
            (
                symbol, number(len(candles)), number(missing), f"1e-{candles.decimals}",
                number(low), number(high), number(candles.last_close),
            )
        )  # fmt: skip
    head = ("symbol", "candles", "missing", "step", "lowest", "highest", "last close")
    pages.table("data", "lrrrrrr", head, rows)


def _notice(made_up: bool) -> str:
    if made_up:
        return (
            "The prices in this edition are made up: no market traded at them, so nothing here says what "
            "one would pay. Costs, exactness and limits do not depend on that; the gross results do."
        )
    return "The prices in this edition are recorded. They are one history, and the future need not be like it."


def add_ties(pages: Pages, evidence: Evidence) -> None:
    """How often close and mean are equal, and what floats make of it."""
    window = STRATEGIES[SEED].parameters["window"].default
    found = [ties(past.candles, window) for past in evidence.pasts.values()]
    pages.define(
        TiesCompared=number(sum(one.compared for one in found)),
        TiesTied=number(sum(one.tied for one in found)),
        TiesWrong=number(sum(one.wrong for one in found)),
    )


def add_results(pages: Pages, evidence: Evidence, equal: Equal) -> None:
    """Every backtest of the seed strategy."""
    both = evidence.both
    years = max(past.days for past in evidence.pasts.values()) / 365
    fees = float(both.off.fees)
    # at the present cost a day, the whole budget; the runway of a kit that earns nothing gross
    runway = float(HARD.total_loss_usdt) / (both.costs / (years * 365)) if both.costs else np.inf
    trips = len(both.off.table)
    move = break_even(fees_on(from_ms(evidence.end_s * 1000).date()).bps, SPREAD_BPS)
    beyond = [moves_beyond(past.candles, move) for past in evidence.pasts.values()]
    pages.define(
        MovesBeyond=percent(sum(beyond) / len(beyond), 1),
        BothTrades=number(trips),
        BothGross=number(both.off.gross, 4, sign=True),
        BothCosts=number(both.costs, 4),
        BothFees=number(both.off.fees, 4),
        BothSpread=number(both.off.spread, 4),
        BothNet=number(both.off.pnl, 4, sign=True),
        BothVerdict=escape(verdict(both)),
        TripsAYear=number(trips / years / len(SYMBOLS), 0),
        FeesAYear=number(fees / years, 2),
        CostsAYear=number(both.costs / years, 2),
        FeesOverBudget=number(fees / years / float(HARD.total_loss_usdt), 1),
        Runway=number(runway, 0),
        LimitsVerdict=escape(stopped(both)),
        BothOnNet=number(both.on.pnl, 4, sign=True),
        EqualDays=number(equal.days),
        EqualTrades=number(equal.trades),
        EqualMinutes=number(equal.minutes),
        GrossTrip=number(float(both.off.gross) / trips * 1000 if trips else np.nan, 3),
        CostTrip=number(both.costs / trips * 1000 if trips else np.nan, 3),
    )
    rows = []
    for name, metric in METRICS.items():
        cells = [
            shown(each.metrics[i][name], metric.unit) for each in evidence.subjects for i in (0, 1)
        ]
        rows.append((rf"\texttt{{{escape(name)}}}", *cells))
    head = ["", *(cell for each in evidence.subjects for cell in (each.name, "limits on"))]
    pages.table("results", "l" + "rr" * len(evidence.subjects), head, rows)
    pages.table(
        "signals",
        "lrrrrrl",
        ("", "decisions", "long", "flat", "hold", "trades", "stop with limits on"),
        [_signals(each) for each in evidence.subjects],
    )


def shown(value: float, unit: str) -> str:
    """A metric as its unit is best read: fractions as percentages."""
    if unit.startswith("fraction"):
        return percent(value, 2)
    return number(value, DIGITS[unit])


def _signals(subject: Subject) -> tuple[str, ...]:
    off, on = subject.off, subject.on
    stop = escape(f"{on.stop.cause} after {subject.days_to_stop:.0f} days") if on.stop else "none"
    counts = (off.signals[name] for name in ("LONG", "FLAT", "HOLD"))
    return (
        subject.name, number(off.decisions), *map(number, counts), number(len(off.table)), stop,
    )  # fmt: skip


def verdict(subject: Subject) -> str:
    """Whether it earned anything that can be told from nothing, and what the costs made of it."""
    gross, net, costs = float(subject.off.gross), float(subject.off.pnl), subject.costs
    if not len(subject.off.table):
        return "It never traded in this history."
    before = before_costs(subject.gross_interval)
    if net >= 0:
        return f"{before} The gross result covered the costs."
    if gross > 0:
        return f"{before} The costs were {costs / gross:.1f} times the gross result."
    return f"{before} It lost before any cost; of the whole loss {costs / -net:.0%} is costs."


def before_costs(found: Interval | None) -> str:
    """What the gross Sharpe ratio says, by its interval."""
    if found is None:
        return "The days are too few for an interval of its Sharpe ratio before costs."
    if found.low > 0:
        told = "above zero"
    elif found.high < 0:
        told = "below zero"
    else:
        told = "which cannot be told from zero"
    return (
        f"Before costs its Sharpe ratio was {found.estimate:.2f} a year, {told} "
        f"({SURE * 100:.0f} % interval {found.low:.2f} to {found.high:.2f})."
    )


def stopped(subject: Subject) -> str:
    """What the loss limits did."""
    stop = subject.on.stop
    lost = -subject.on.pnl
    how = f"lost {lost:.4f} USDT" if lost > 0 else f"gained {-lost:.4f} USDT"
    if stop is None:
        return f"With the limits on it was not stopped and {how}."
    return (
        f"With the limits on it was stopped on day {subject.days_to_stop:.0f} ({stop.cause}) after it had {how}, "
        f"within the {HARD.total_loss_usdt} USDT that it may lose."
    )


def add_sweep(pages: Pages, evidence: Evidence) -> None:
    """The map of windows and bands."""
    found = list(evidence.maps.values())
    gains = sum(int((one.pnl > 0).sum()) for one in found)
    best = [(symbol, one.row(int(one.pnl.argmax()))) for symbol, one in evidence.maps.items()]
    pages.define(
        SweepCount=number(sum(len(one) for one in found)),
        SweepEach=number(len(WINDOWS) * len(BANDS)),
        SweepGains=number(gains),
        SweepRank=number(
            float(np.mean([rank_correlation(one.trades, one.pnl) for one in found])), 2
        ),
        SweepWindows=f"{number(WINDOWS[0])} to {number(WINDOWS[-1])}",
        SweepBands=f"{number(BANDS[0])} to {number(BANDS[-1])}",
        SweepBest=escape(
            "; ".join(
                f"{symbol} window {row['params']['window']}, band {row['params']['band_bps']}: "
                f"{Decimal(row['pnl']):+.4f} USDT in {counted(row['trades'], 'trade')}"
                for symbol, row in best
            )
        ),
    )


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's: the correlation of ranks, equal values sharing theirs; NaN when one has no spread."""
    ranks = []
    for values in (first, second):
        _, place, count = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(count) - (count - 1) / 2)[place])
    if any(np.ptp(one) == 0 for one in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def add_luck(pages: Pages, evidence: Evidence) -> None:
    """Whether the best of all that was tried is luck."""
    trials = len(next(iter(evidence.trials.values())).params)
    pages.define(
        TrialCount=number(trials),
        TrialGrid=escape(
            "; ".join(f"{name}: {', '.join(map(str, values))}" for name, values in TRIED.items())
        ),
        Draws=number(DRAWS),
        Sure=percent(SURE, 0),
    )
    rows = [_luck_row(symbol, evidence) for symbol in evidence.lucks]
    head = (
        "", "best of the trials", "net, USDT", "Sharpe", r"95\,\% interval", "best by luck",
        "PSR", "DSR", "timing $p$",
    )  # fmt: skip
    pages.table("luck", "llrrrrrrr", head, rows)
    verdicts = {symbol: luck.verdict for symbol, luck in evidence.lucks.items()}
    pages.define(LuckVerdict=escape(luck_sentence(verdicts)))
    done = [(s, luck.timing) for s, luck in evidence.lucks.items() if luck.timing is not None]
    pages.define(TimingText=escape(" ".join(f"{symbol}: {timing.text}" for symbol, timing in done)))


def luck_sentence(verdicts: Mapping[str, str]) -> str:
    """The verdicts of the symbols, said once when they agree."""
    if not verdicts:
        return "The history is too short to tell luck from skill."
    if len(set(verdicts.values())) == 1:
        return f"For {' and '.join(verdicts)}: {next(iter(verdicts.values()))}"
    return " ".join(f"For {symbol}: {text}" for symbol, text in verdicts.items())


def _luck_row(symbol: str, evidence: Evidence) -> tuple[str, ...]:
    tried, luck = evidence.trials[symbol], evidence.lucks[symbol]
    point = tried.params[tried.best]
    return (
        symbol,
        f"{point['window']} min, {point['band_bps']} bps",
        number(float(tried.net[tried.best]), 4, sign=True),
        number(luck.sharpe.estimate, 2),
        f"{number(luck.sharpe.low, 2)} to {number(luck.sharpe.high, 2)}",
        number(luck.best_by_luck, 2),
        percent(luck.probabilistic, 1),
        percent(luck.deflated, 1),
        _timing(luck),
    )


def _timing(luck: Luck) -> str:
    return "n/a" if luck.timing is None else number(luck.timing.p_value, 3)


def add_walk(pages: Pages, evidence: Evidence) -> None:
    """What was chosen on the past, on what followed."""
    rows = []
    for symbol, walked in evidence.walks.items():
        tests, gained = len(walked.kept), int((walked.kept > 0).sum())
        rows.append(
            (
                symbol, number(tests), number(walked.forward.trials),
                number(float(walked.promised.mean()), 5, sign=True),
                number(float(walked.kept.mean()), 5, sign=True),
                number(gained), number(walked.net, 4, sign=True),
            )
        )  # fmt: skip
    head = (
        "", "tests", "candidates scored", "training, USDT a day", "test, USDT a day",
        "tests with a gain", "all tests, USDT",
    )  # fmt: skip
    pages.table("walk-forward", "lrrrrrr", head, rows)
    pasts, walks = evidence.pasts, evidence.walks
    rest = {symbol: len(pasts[symbol].candles) - walked.end for symbol, walked in walks.items()}
    first = next(iter(evidence.walks.values())).forward.judged[0].split
    pages.define(
        TrainDays=number(len(first.train[0]) / 1440, 0),
        TestDays=number(len(first.test) / 1440, 0),
        PurgeDays=number((first.test.start - first.train[0].end) / 1440, 0),
        TestLeftOut=escape(too_short(rest)),
    )


def too_short(rest: Mapping[str, int]) -> str:
    """The end of each history that was too short for a test, symbol -> minutes; empty without any."""
    days = {symbol: f"{rows / 1440:.1f}" for symbol, rows in rest.items() if rows}
    if not days:
        return ""
    named = " and ".join(f"{each} of {symbol}" for symbol, each in days.items())
    return f" The last days are too few for another test and are left out: {named}."


def add_compared(pages: Pages, evidence: Evidence) -> None:
    """The registered strategies side by side."""
    rows, left_out = [], []
    for one in evidence.compared:
        if one.result is None:
            left_out.append(f"`{one.name}` ({one.why.rstrip('.')})")
            continue
        r = one.result
        rows.append(
            (
                rf"\texttt{{{escape(one.name)}}}", number(len(r.table)), number(r.gross, 4, sign=True),
                number(r.gross - r.pnl, 4), number(r.pnl, 4, sign=True), escape(one.text),
            )
        )  # fmt: skip
    head = ("strategy", "trades", "gross", "costs", "net", "what it does")
    pages.table("compared", r"lrrrr>{\raggedright\arraybackslash}p{0.38\textwidth}", head, rows)
    text = f" Left out, because candles alone do not test them: {', '.join(left_out)}."
    pages.define(LeftOut=escape(text) if left_out else "")


def add_mercy(pages: Pages, found: Mercy) -> None:
    """What the limits kept in the market without mercy."""
    stop = found.on.stop
    emptied = np.flatnonzero(found.equity_off <= 0)
    days = (emptied[0] + 1) / 1440 if len(emptied) else np.nan
    pages.define(
        MercyLost=number(found.lost, 4),
        MercyTrades=number(len(found.on.table)),
        MercyCause=rf"\texttt{{{stop.cause}}}" if stop else "none",
        MercyLeft=number(found.on.equity_end, 4),
        MercyEmptied=number(float(days), 1),
        MercyOffTrades=number(len(found.off.table)),
        MercyNearest=number(float((found.equity_on - found.floor).min()), 4),
    )


def add_digests(pages: Pages, evidence: Evidence) -> None:
    """What has to come out when the document is made again."""
    rows = [
        (rf"candles {symbol}", rf"\texttt{{{candles_sha256(past.candles)}}}")
        for symbol, past in evidence.pasts.items()
    ]
    for subject in evidence.subjects:
        for name, result in (("limits off", subject.off), ("limits on", subject.on)):
            rows.append((f"{subject.name}, {name}", rf"\texttt{{{result_sha256(result)}}}"))
    pages.table("digests", "ll", ("", "SHA-256"), rows)


def last_long(past: Past) -> datetime | None:
    """The newest quarter hour of `past` at which the close is above its mean; None without one."""
    window = STRATEGIES[SEED].parameters["window"].default
    candles: Candles = past.candles
    above = window * candles.close > trailing_sum(candles.close, window)
    quarter = (candles.open_ms + MINUTE_MS) % (15 * MINUTE_MS) == 0
    rows = np.flatnonzero(above & quarter & (np.arange(len(above)) >= window))
    return from_ms(int(candles.open_ms[rows[-1]]) + MINUTE_MS) if len(rows) else None
