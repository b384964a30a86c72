"""Notebook 06: four ways to fool oneself with a backtest, each planted here, and what catches it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import sqrt

import numpy as np

from tgtqr_lib import backtest
from tgtqr_lib.backtest import Result
from tgtqr_lib.backtest.crossings import TICK_MS
from tgtqr_lib.backtest.metrics import DAYS_A_YEAR
from tgtqr_lib.backtest.probes import Findings, check
from tgtqr_lib.backtest.report import Table
from tgtqr_lib.backtest.sharpe import deflated_sharpe, expected_maximum, moments
from tgtqr_lib.domain import MINUTE_MS, Candles, DomainError, History
from tgtqr_lib.research.drawing import Frame, number, picture
from tgtqr_lib.research.past import Past
from tgtqr_lib.research.plans import Answer, counted, plan, tested
from tgtqr_lib.strategies import STRATEGIES, Parameter, Strategy, registered

HONEST = STRATEGIES["ma_trend"]
MINUTES = 15  # of a bar, and from one decision to the next
BARS = 4  # in the mean of bars
LOOKBACK = MINUTES * BARS
MOST_AHEAD = 60

# planted strategies; their functions are inner ones, so that `check` sends them to its other processes by
# value, which then need not import all of research


def look_ahead() -> Strategy:
    """The seed strategy with its signal shifted the wrong way."""

    def targets(history: History, *, ahead: int) -> np.ndarray:
        """What the seed strategy says `ahead` minutes later; the last `ahead` rows cannot know, and hold."""
        said = HONEST.targets(history)
        return np.concatenate([said[ahead:], np.full(min(ahead, len(said)), np.nan)])

    return Strategy(
        name="peeking",
        text="the seed strategy with its signal shifted the wrong way",
        targets=targets,
        lookback=lambda *, ahead: HONEST.lookback(),
        reference=lambda history, *, ahead: HONEST.reference(history),
        parameters={"ahead": Parameter(MINUTES, 0, MOST_AHEAD, "minutes", "how far it sees ahead")},
    )


def open_candle() -> Strategy:
    """Long above the mean of four quarter-hour bars, the newest of which has not closed yet.

    still_open  1: the newest bar is the one that opens at the decision, as a table of bars named by their
                opens offers it; history knows how it closes, a tick knows only where it opens. 0: the
                newest closed one
    """

    def bars(history: History, still_open: int) -> list[np.ndarray]:
        """The closes of the four bars that each row sees, newest first; (n,) price steps each."""
        n = len(history)
        ends = (history.candles.open_ms + MINUTE_MS) % TICK_MS // MINUTE_MS
        newest = np.arange(n) - ends + MINUTES * still_open
        rows = [np.clip(newest - MINUTES * i, 0, max(n - 1, 0)) for i in range(BARS)]
        return [history.close_steps[row] for row in rows]

    def targets(history: History, *, still_open: int) -> np.ndarray:
        seen = bars(history, still_open)
        above = BARS * seen[0] - sum(seen)
        said = np.where(above == 0, np.nan, (above > 0).astype(np.float64))
        return np.where(history.contiguous(LOOKBACK), said, np.nan)

    def reference(history: History, *, still_open: int) -> Fraction | None:
        if not len(history) or not history.contiguous(LOOKBACK)[-1]:
            return None
        return Fraction(sum(int(close[-1]) for close in bars(history, still_open)), BARS)

    return Strategy(
        name="open_bar",
        text="long above the mean of four quarter-hour bars, the open one counted",
        targets=targets,
        lookback=lambda *, still_open: LOOKBACK,
        reference=reference,
        parameters={"still_open": Parameter(1, 0, 1, "bars", "1 reads the bar that is still open")},
    )


PEEKING, OPEN_BAR = look_ahead(), open_candle()

CHECKED_MINUTES = 720  # of history, given to the probes
TICKED_DAYS = 2  # of it, also run as ticks


@dataclass(frozen=True, eq=False)
class Peek:
    """The seed strategy on a history, and with a look ahead of any length."""

    past: Past

    @cached_property
    def honest(self) -> Result:
        """The seed strategy as it is, without loss limits."""
        return tested(self.past, plan())

    def seeing(self, ahead: int) -> Result:
        """The same with its signal `ahead` minutes early."""
        with registered(PEEKING):
            return tested(self.past, plan(PEEKING, ahead=ahead))

    def draw(self, ahead: int) -> str:
        """Equity of both as HTML."""
        seen, honest = self.seeing(ahead), self.honest
        at = seen.times_ms + MINUTE_MS
        curves = [one.equity_units * 1e-8 for one in (seen, honest)]
        start = seen.initial_units * 1e-8
        frame = Frame.around((float(at[0]), float(at[-1])), (*curves, np.array([start])))
        drawn = frame.path(at, curves[1], "orange", "dash") + frame.path(at, curves[0], "blue")
        legend = [
            (f"— {ahead} minutes ahead {number(curves[0][-1], 4)}", "blue"),
            (f"╌ honest {number(curves[1][-1], 4)}", "orange"),
        ]
        text = f"Equity ends at {curves[0][-1]:.4f} USDT with the look ahead, {curves[1][-1]:.4f} without"
        svg = picture(
            "Equity, USDT",
            legend,
            frame.values() + frame.level(start) + drawn + frame.times(),
            text,
        ).svg
        return (
            f"{svg}<p>Seeing {counted(ahead, 'minute')} ahead: {_net(seen)} after all costs, "
            f"{number(float(seen.gross), 4, sign=True)} before, in "
            f"{counted(len(seen.table), 'trade')}. Honest: {_net(honest)}.</p>"
        )

    def table(self, minutes: Sequence[int] = (0, 1, 2, 5, 10, 15)) -> Table:
        """What each length of the look ahead comes to."""
        rows = tuple(
            (
                str(ahead),
                f"{len(seen.table):,}",
                number(float(seen.gross), 4, sign=True),
                number(float(seen.pnl), 4, sign=True),
            )
            for ahead in minutes
            for seen in [self.seeing(ahead)]
        )
        return Table(("minutes ahead", "trades", "before costs, USDT", "net, USDT"), rows)


def _net(result: Result) -> str:
    return f"{number(float(result.pnl), 4, sign=True)} USDT"


@dataclass(frozen=True, eq=False)
class Caught:
    """A strategy in a backtest, in ticks over its newest days, and under the probes.

    whole    the backtest of all of the history
    newest   of the newest days alone
    ticked   the same days decided tick by tick, with nothing there but what was closed by then
    """

    strategy: Strategy
    whole: Result
    newest: Result
    ticked: Result
    findings: Findings

    @classmethod
    def of(cls, strategy: Strategy, past: Past) -> Caught:
        """Run `strategy` over `past` in all these ways, without loss limits."""
        wanted, newest = plan(strategy), past.last(TICKED_DAYS)
        with registered(strategy):
            whole, part = tested(past, wanted), tested(newest, wanted)
            ticked = backtest.replay(newest.candles, wanted, None, funding=newest.funding or None)
        return cls(
            strategy, whole, part, ticked, check(strategy, past.candles.tail(CHECKED_MINUTES))
        )

    @property
    def sentence(self) -> str:
        """What the first probe that failed says; else that all passed."""
        failed = self.findings.failed
        if not failed:
            return self.findings.summary
        return f"{failed[0]}: {self.findings[failed[0]].detail}"


def planted(past: Past) -> tuple[Caught, ...]:
    """The seed strategy, the look ahead and the open candle, each run and checked."""
    return tuple(Caught.of(strategy, past) for strategy in (HONEST, PEEKING, OPEN_BAR))


def beside(caught: Sequence[Caught]) -> Table:
    """Backtest and ticks of the same days, side by side."""
    rows = tuple(
        (
            one.strategy.name,
            number(float(one.whole.pnl), 4, sign=True),
            number(float(one.newest.pnl), 4, sign=True),
            number(float(one.ticked.pnl), 4, sign=True),
            f"{len(one.newest.table):,} / {len(one.ticked.table):,}",
        )
        for one in caught
    )
    head = (
        "net, USDT", "backtest, all days", f"backtest, last {TICKED_DAYS} days",
        f"ticks, last {TICKED_DAYS} days", "trades in these",
    )  # fmt: skip
    return Table(head, rows)


def verdicts(caught: Sequence[Caught]) -> Table:
    """What `check` says of each."""
    rows = tuple((one.strategy.name, one.sentence) for one in caught)
    return Table(("strategy", "check"), rows, prose=True)


# survivors

VOLATILITY = 0.8  # a year, of every made-up coin
YEARS = 2
DELISTED_BELOW = 0.1  # of the first price; what is held is sold there


@dataclass(frozen=True, eq=False)
class Coins:
    """Made-up coins whose price is expected to stay where it is; a bet on any of them is fair.

    paths  (days + 1, coins) multiples of the first price; a delisted coin stays at its last one
    """

    paths: np.ndarray

    @classmethod
    def of(cls, coins: int, seed: int, delisted_below: float = DELISTED_BELOW) -> Coins:
        """`coins` of them over two years. Raises `DomainError` below 20."""
        if coins < 20:
            raise DomainError(f"{coins} coins are too few to choose from; expected 20 or more")
        chance = np.random.default_rng(seed)
        sd = VOLATILITY / sqrt(DAYS_A_YEAR)
        steps = sd * chance.standard_normal((YEARS * DAYS_A_YEAR, coins)) - sd**2 / 2
        paths = np.exp(np.concatenate([np.zeros((1, coins)), np.cumsum(steps, axis=0)]))
        gone = np.maximum.accumulate(paths < delisted_below, axis=0)
        first = np.where(gone[-1], gone.argmax(axis=0), len(paths) - 1)
        rows = np.minimum(np.arange(len(paths))[:, None], first)
        return cls(np.take_along_axis(paths, rows, axis=0))

    @cached_property
    def alive(self) -> np.ndarray:
        """(coins,) bool: still listed at the end."""
        return self.paths[-1] >= DELISTED_BELOW

    def listed(self, percent: int) -> np.ndarray:
        """Columns of the `percent` of all coins that are worth most at the end: today's list."""
        count = max(round(self.paths.shape[1] * percent / 100), 1)
        return np.argsort(-self.paths[-1], kind="stable")[:count]

    def gain(self, columns: np.ndarray | slice = slice(None)) -> float:
        """Mean return of holding these coins from the first day, as a fraction."""
        return float(self.paths[-1, columns].mean() - 1)

    @property
    def survivors(self) -> float:
        """Mean return of the coins that are still listed."""
        return self.gain(np.flatnonzero(self.alive))

    def draw(self, percent: int) -> str:
        """What 1 USDT in each came to, of all coins and of today's list, as HTML."""
        columns = self.listed(percent)
        every, kept = self.paths.mean(axis=1), self.paths[:, columns].mean(axis=1)
        days = np.arange(len(every), dtype=float)
        frame = Frame.around((0.0, days[-1]), (every, kept, np.array([0.0, 1.0])))
        drawn = frame.path(days, every, "orange", "dash") + frame.path(days, kept, "blue")
        ticks = [(365.0 * i / 2, f"{i * 6} months") for i in range(2 * YEARS + 1)]
        legend = [("— today's list", "blue"), ("╌ all coins of then", "orange")]
        text = f"1 USDT became {kept[-1]:.2f} on today's list and {every[-1]:.2f} in all coins"
        inside = frame.values() + frame.level(1.0) + drawn + _below(frame, ticks)
        svg = picture("Mean worth of 1 USDT in each coin", legend, inside, text).svg
        total, dead = len(self.alive), int((~self.alive).sum())
        then = as_percent(self.gain())
        return (
            f"{svg}<p>Of {total:,} coins {dead:,} were delisted on the way. The {len(columns):,} on "
            f"today's list: {as_percent(self.gain(columns))}. All that could be bought then: {then}. "
            "None of them was a better bet than another.</p>"
        )


def as_percent(fraction: float) -> str:
    """A gain in percent with its sign."""
    return f"{number(fraction * 100, 1, sign=True)} %"


def _below(frame: Frame, ticks: Sequence[tuple[float, str]]) -> str:
    """Words below the picture at values of x."""
    last = len(ticks) - 1
    return "".join(
        f"<text x='{frame.at_x(value):.1f}' y='278' class='{'e' if i == last else 'm'}'>{word}</text>"
        for i, (value, word) in enumerate(ticks)
    )


# overfitting

SEEN = 60  # days that a worthless rule looks at
TRAIN = TEST = DAYS_A_YEAR
DAILY = 0.02  # standard deviation of the noise's daily moves


@dataclass(frozen=True, eq=False)
class Noise:
    """Worthless rules on a market of pure noise: a year to choose in, and the year after it.

    Setting i weighs the last 60 daily moves with numbers of its own, and is long or short for a day as the sum
    is above or below zero; nothing is paid.

    train, test  (settings,) Sharpe ratios a year
    returns      (TRAIN, settings) daily returns of the year to choose in
    """

    train: np.ndarray
    test: np.ndarray
    returns: np.ndarray

    @classmethod
    def of(cls, settings: int, seed: int) -> Noise:
        """`settings` of them on one market. Raises `DomainError` below 2."""
        if settings < 2:
            raise DomainError(f"{settings} settings; expected 2 or more to choose among")
        chance = np.random.default_rng(seed)
        moves = DAILY * chance.standard_normal(SEEN + TRAIN + TEST)
        weights = chance.standard_normal((SEEN, settings))
        before = np.lib.stride_tricks.sliding_window_view(moves[:-1], SEEN)
        returns = np.sign(before @ weights) * moves[SEEN:, None]
        first, second = returns[:TRAIN], returns[TRAIN:]
        return cls(_sharpes(first), _sharpes(second), first)

    def best(self, tries: int) -> int:
        """Which of the first `tries` settings was best in the year to choose in."""
        if not 1 <= tries <= len(self.train):
            raise DomainError(f"{tries} tries; expected 1 to {len(self.train)}")
        return int(np.argmax(self.train[:tries]))

    def deflated(self, tries: int) -> float:
        """One minus the p-value of the best one's ratio, were its true one what luck alone shows."""
        seen = moments(self.returns[:, self.best(tries)])
        return deflated_sharpe(seen, tries, 1 / (TRAIN - 1))

    def draw(self, tries: int) -> str:
        """Best ratio by the number of tries, found and expected, and what came after, as HTML."""
        every = np.unique(np.rint(np.geomspace(1, len(self.train), 160)).astype(int))
        chosen = np.array([self.best(int(n)) for n in every])
        found, after = self.train[chosen], self.test[chosen]
        luck = np.array([by_luck(int(n)) for n in every])
        x = np.log10(every)
        frame = Frame.around((0.0, float(x[-1])), (found, after, luck, np.array([-1.0, 1.0])))
        here = frame.at_x(np.log10(max(tries, 1)))
        drawn = (
            f"<line x1='{here:.1f}' x2='{here:.1f}' y1='44' y2='262' style='stroke:var(--muted)'/>"
            + frame.path(x, luck, "muted", "dot")
            + frame.path(x, after, "orange", "dash")
            + frame.path(x, found, "blue")
        )
        ticks = [(float(i), f"{10**i:,}") for i in range(int(x[-1] + 1e-9) + 1)]
        ticks[0] = (0.0, "1 try")
        legend = [
            ("— best, the year it was chosen in", "blue"), ("╌ the same, a year later", "orange"),
            ("⋯ expected by luck", "muted"),
        ]  # fmt: skip
        best = self.best(tries)
        told = (
            f"Best of {tries:,}: a Sharpe ratio of {number(self.train[best], 2)}; luck alone was expected to show "
            f"{by_luck(tries):.2f}; a year later it had {number(self.test[best], 2)}."
        )
        inside = frame.values() + frame.level(0.0) + drawn + _below(frame, ticks)
        svg = picture("Sharpe ratio a year, of pure noise", legend, inside, told).svg
        return (
            f"{svg}<p>{told} Were its true ratio luck's, it would show less than it did in "
            f"{self.deflated(tries):.0%} of years (deflated Sharpe ratio; 95 % would be evidence). Taken as "
            f"the only try, with a true ratio of 0, in {self.deflated_as_one(tries):.1%}.</p>"
        )

    def deflated_as_one(self, tries: int) -> float:
        """The same when the other tries are forgotten."""
        return deflated_sharpe(moments(self.returns[:, self.best(tries)]), 1, 1 / (TRAIN - 1))


def _sharpes(returns: np.ndarray) -> np.ndarray:
    """(settings,) Sharpe ratios a year of the columns; the formula of `metrics.sharpe`."""
    return returns.mean(axis=0) / returns.std(axis=0, ddof=1) * sqrt(DAYS_A_YEAR)


def by_luck(tries: int, days: int = TRAIN) -> float:
    """The Sharpe ratio a year that the best of `tries` worthless rules is expected to show in `days`."""
    return expected_maximum(tries, 1 / (days - 1)) * sqrt(DAYS_A_YEAR)


# the answer


def answer(peek: Peek, caught: Sequence[Caught], coins: Coins, noise: Noise) -> Answer:
    """What each trap promised, what it was worth, and what caught it."""
    lines = []
    for one in caught[1:]:
        end = "not caught" if one.findings.passed else f"caught by `check`, {one.sentence}"
        lines.append(
            f"*{one.strategy.name}* made {_net(one.whole)} in the backtest, where the seed strategy made "
            f"{_net(peek.honest)}; on the last {TICKED_DAYS} days the backtest made {_net(one.newest)} and ticks "
            f"{_net(one.ticked)}. It is {end}."
        )
    tenth = coins.listed(10)
    lines.append(
        f"Coins that nobody could choose among gained {as_percent(coins.gain())} on average, those still "
        f"listed {as_percent(coins.survivors)}, the top tenth of today's list {as_percent(coins.gain(tenth))}: "
        "the list knew the end."
    )
    most = len(noise.train)
    best = noise.best(most)
    lines.append(
        f"The best of {most:,} settings on noise had a Sharpe ratio of {number(noise.train[best], 2)}, a year later "
        f"{number(noise.test[best], 2)}; luck explains {number(by_luck(most), 2)}. With all tries counted the "
        f"deflated Sharpe ratio is {noise.deflated(most):.0%}: were that the true ratio, {noise.deflated(most):.0%} of "
        "years would show less; 95 % would be evidence. It is one minus a p-value, not the probability that "
        "the rule is good."
    )
    lines.append(
        "`check` sees what a strategy reads. It cannot see which coins were left out of the data, nor how "
        "often somebody tried: that takes a list of the time and an honest count."
    )
    return Answer(" ".join(lines))


# exercises


def tries_for(
    ratio: float, days: Sequence[int] = (180, 365, 730, 1825), most: int = 10**9
) -> Table:
    """How many worthless tries until the best of them is expected to show `ratio` a year."""
    rows = []
    for length in days:
        low, high = 1, 2
        while by_luck(high, length) < ratio and high < most:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if by_luck(middle, length) >= ratio else (middle, high)
        enough = by_luck(high, length) >= ratio
        rows.append((f"{length:,} days", f"{high:,}" if enough else f"more than {most:,}"))
    return Table(("history", f"tries until luck shows {ratio:g}"), tuple(rows))


@dataclass(frozen=True)
class Filled:
    """Decisions in whose window minutes were missing.

    decisions  of them
    said       told LONG or FLAT once the gaps were filled with the last close; honest ones hold
    wrong      of these, the true minutes say the opposite, or hold
    """

    outages: int
    minutes: int
    decisions: int
    said: int
    wrong: int

    @property
    def table(self) -> Table:
        """The counts."""
        share = self.wrong / self.said if self.said else 0.0
        rows = (
            (
                f"quarter hours with a gap in their window ({self.outages} outages)",
                f"{self.decisions:,}",
            ),
            ("the kit: hold", f"{self.decisions:,}"),
            ("gaps filled with the last close: long or flat", f"{self.said:,}"),
            ("of which the true minutes say otherwise", f"{self.wrong:,} ({share:.0%})"),
        )
        return Table((f"outages of {self.minutes} minutes", "decisions"), rows)


def filled(past: Past, outages: int = 50, minutes: int = 30, seed: int = 1) -> Filled:
    """Take `outages` from `past`, fill them with the last close, and compare the seed strategy's words.

    Of a short history no more than a quarter is taken. Raises `DomainError` when not even one outage fits.
    """
    true, n = past.candles, len(past.candles)
    outages = min(outages, n // (4 * minutes)) if minutes > 0 else 0
    if outages < 1:
        raise DomainError(
            f"outages of {minutes} minutes do not fit {n:,} minutes; expected shorter ones"
        )
    starts = np.random.default_rng(seed).choice(n - minutes - 1, outages, replace=False) + 1
    gone = np.zeros(n, dtype=bool)
    gone[np.unique(starts[:, None] + np.arange(minutes))] = True
    last = np.maximum.accumulate(np.where(gone, 0, np.arange(n)))
    flat = true.close[last]
    fake = Candles(true.symbol, true.decimals, true.open_ms, flat, flat, flat, flat, true.volume)
    truth, told = (HONEST.targets(History(seen)) for seen in (true, fake))
    window = HONEST.lookback()
    touched = np.convolve(gone, np.ones(window))[:n] > 0
    decided = (true.open_ms + MINUTE_MS) % TICK_MS == 0
    rows = np.flatnonzero(touched & decided & History(true).contiguous(window))
    spoke = rows[np.isfinite(told[rows])]
    wrong = int((told[spoke] != truth[spoke]).sum())
    return Filled(outages, minutes, len(rows), len(spoke), wrong)
