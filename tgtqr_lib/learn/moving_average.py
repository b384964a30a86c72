"""Notebook 01: how late a moving average is, how often it changes its mind, and when floats get it wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from tgtqr_lib.backtest.report import Table
from tgtqr_lib.clock import from_ms, utc_day
from tgtqr_lib.domain import MINUTE_MS, Candles, DomainError, History
from tgtqr_lib.research.drawing import Frame, number, picture
from tgtqr_lib.research.past import Past
from tgtqr_lib.research.plans import Answer, counted
from tgtqr_lib.signals.moving_average import BPS, long_flat_hold, trailing_sum

DAY_MS = 1440 * MINUTE_MS
TICK_MS = 15 * MINUTE_MS
QUARTERS_A_DAY = 96
LONG, FLAT, UNSAID = 1, 0, -1
HOUR = 4  # quarter hours
SIDE_MINUTES = 720  # a turn is the highest close of so many minutes before and after it
SLOPE = 1000  # steps a minute of the drawn lines, so that divisions of it stay whole
DRAWS, SEED = 5, 1  # shuffles of a history
HOURS = 10_000  # hours that are made into ties
WINDOWS = (15, 30, 60, 120, 240)


# --- lag ---


def behind(window: int) -> float:
    """Minutes by which the mean of `window` closes trails a price that rises evenly, measured."""
    close = 10**9 + SLOPE * np.arange(window, dtype=np.int64)
    return (int(close[-1]) - int(trailing_sum(close, window)[-1]) / window) / SLOPE


def after_turn(window: int, fall: float = 1.0) -> int:
    """Minutes after a turn at which the signal first says flat, measured on a drawn line.

    fall  speed of the fall after the turn over that of the rise before it, at least 0.001

    Raises `DomainError` for a fall that is slower, or a window below 2.
    """
    speed = round(fall * SLOPE)
    if speed < 1 or window < 2:
        raise DomainError(f"fall {fall}, window {window}; expected at least 0.001 and 2")
    up = SLOPE * np.arange(1 - window, 1, dtype=np.int64)
    down = -speed * np.arange(1, window + 1, dtype=np.int64)
    close = 10**9 + np.concatenate([up, down])
    said = long_flat_hold(close, window, 0, np.arange(len(close)) >= window - 1)
    return int(np.flatnonzero(said == FLAT)[0]) - (window - 1)


def lags(windows: Sequence[int] = WINDOWS) -> Table:
    """What a mean of each of `windows` closes does on drawn lines, measured beside the formulas."""
    rows = tuple(
        (
            str(window),
            number(behind(window), 1),
            number((window - 1) / 2, 1),
            str(after_turn(window)),
            number(turn_share(1.0) * window, 1),
            str(after_turn(window, 0.25)),
        )
        for window in windows
    )
    head = (
        "window n, minutes", "behind a trend", "(n − 1) / 2", "flat after an equal turn", "0.293 n",
        "after a fall a quarter as steep",
    )  # fmt: skip
    return Table(head, rows)


def turn_share(fall: float) -> float:
    """The share of a long window that passes until the signal turns: 1 - sqrt(r / (1 + r)).

    r is the speed of the fall over that of the rise. With x of the window past the turn, in units of
    rise x window, the close stands at -r x and the mean at -(r x^2 + (1 - x)^2) / 2; solved for equality.
    """
    return 1 - (fall / (1 + fall)) ** 0.5


@dataclass(frozen=True, eq=False)
class Turns:
    """Highs of a history, and when the signal said flat after each; known as highs with hindsight only.

    minutes   window -> (k,) from the high to the first quarter hour that says flat
    given_up  window -> (k,) basis points that the price had fallen by then
    """

    minutes: dict[int, np.ndarray]
    given_up: dict[int, np.ndarray]

    @classmethod
    def of(cls, past: Past, windows: Sequence[int] = WINDOWS) -> Turns:
        """After every close that is the highest of the 12 hours before and after it."""
        close, end = past.candles.close, past.candles.open_ms + MINUTE_MS
        tops = _tops(past.candles)
        minutes, given_up, history = {}, {}, History(past.candles)
        for window in windows:
            said = Said.of(history, window)
            flat = np.flatnonzero(said.states == FLAT)
            at = np.searchsorted(said.at_ms[flat], end[tops])
            known = at < len(flat)
            row, top = flat[at[known]], tops[known]
            minutes[window] = (said.at_ms[row] - end[top]) / MINUTE_MS
            given_up[window] = (1 - close[said.rows[row]] / close[top]) * BPS
        return cls(minutes, given_up)

    @property
    def table(self) -> Table:
        rows = tuple(
            (
                str(window),
                str(len(late)),
                *(number(x, 0) if len(late) else "none" for x in _spread(late)),
                number(_middle(self.given_up[window]), 0) if len(late) else "none",
            )
            for window, late in self.minutes.items()
        )
        head = (
            "window, minutes", "highs", "minutes until flat, median", "1 in 10 within", "9 in 10 within",
            "given up, bps, median",
        )  # fmt: skip
        return Table(head, rows)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def _repr_markdown_(self) -> str:
        return self.table._repr_markdown_()


def _tops(candles: Candles) -> np.ndarray:
    """Rows of the closes that are the highest of `SIDE_MINUTES` before and after; one a UTC day at most."""
    at, close = candles.open_ms, candles.close
    found = []
    days = np.flatnonzero(np.diff(at // DAY_MS, prepend=-1))
    for first, last in zip(days, [*days[1:], len(at)], strict=True):
        top = first + int(close[first:last].argmax())
        side = SIDE_MINUTES * MINUTE_MS
        low, high = np.searchsorted(at, [at[top] - side, at[top] + side + 1])
        # near either end of the history nobody can say
        seen = at[top] - side >= at[0] and at[top] + side <= at[-1]
        if seen and close[top] >= close[low:high].max():
            found.append(top)
    return np.array(found, dtype=np.int64)


def _spread(values: np.ndarray) -> tuple[float, float, float]:
    if not len(values):
        return (np.nan,) * 3
    return tuple(float(x) for x in np.quantile(values, (0.5, 0.1, 0.9)))


def _middle(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else np.nan


# --- whipsaw ---


@dataclass(frozen=True, eq=False)
class Said:
    """What the signal says at each quarter hour; where it holds, it goes on saying what it said.

    rows    (q,) of the candle that closes on the quarter hour
    at_ms   (q,) times of the quarter hours
    states  (q,) int8: LONG, FLAT, or UNSAID before the first
    """

    rows: np.ndarray
    at_ms: np.ndarray
    states: np.ndarray

    @classmethod
    def of(cls, history: History, window: int, band_bps: int = 0) -> Said:
        candles = history.candles
        end = candles.open_ms + MINUTE_MS
        valid = history.contiguous(window)
        rows = np.flatnonzero(end % TICK_MS == 0)
        targets = long_flat_hold(candles.close, window, band_bps, valid)[rows]
        last = np.maximum.accumulate(np.where(np.isnan(targets), -1, np.arange(len(targets))))
        states = np.where(last < 0, UNSAID, targets[last]).astype(np.int8)
        return cls(rows, end[rows], states)

    @cached_property
    def flips(self) -> np.ndarray:
        """Places in `states` at which LONG becomes FLAT or the other way round."""
        changed = (np.diff(self.states) != 0) & (self.states[:-1] != UNSAID)
        return np.flatnonzero(changed) + 1

    @property
    def decided(self) -> int:
        """Quarter hours from the first that said something."""
        return int((self.states != UNSAID).sum())

    @property
    def flips_a_day(self) -> float:
        """Flips per 96 quarter hours decided; NaN without any."""
        return len(self.flips) * QUARTERS_A_DAY / self.decided if self.decided else np.nan

    @property
    def taken_back(self) -> float:
        """Share of flips whose next one comes within an hour; of those with an hour to come. NaN without."""
        at = self.at_ms[self.flips]
        if not len(at):
            return np.nan
        following = np.append(at[1:], np.iinfo(np.int64).max)
        seen = at + HOUR * TICK_MS <= self.at_ms[-1]
        return float((following - at <= HOUR * TICK_MS)[seen].mean()) if seen.any() else np.nan


def expected_flips(window: int) -> float:
    """Flips a day of a price that moves by chance alone: 96 arccos(rho) / pi.

    Close less mean is a weighted sum of the last moves, with weights (window - 1 - j) / window; rho is its
    correlation with itself a quarter hour later. For normal moves the sign of two such sums differs with
    probability arccos(rho) / pi (Sheppard 1899, Philosophical Transactions A 192).
    """
    weights = (window - 1 - np.arange(window)) / window
    shifted = np.append(weights[15:], np.zeros(min(15, window)))[:window]
    rho = float(weights @ shifted / (weights @ weights))
    return QUARTERS_A_DAY * float(np.arccos(rho)) / np.pi


def shuffled(past: Past, seed: int) -> Candles:
    """A history of the same minute moves in random order: what comes before says nothing of what follows."""
    candles = past.candles
    logs = np.log(candles.close.astype(np.float64))
    moves = np.diff(logs)[np.diff(candles.open_ms) == MINUTE_MS]
    walk = np.concatenate([[0.0], np.cumsum(np.random.default_rng(seed).permutation(moves))])
    close = np.maximum(np.rint(np.exp(logs[0] + walk)), 1).astype(np.int64)
    times = int(candles.open_ms[0]) + MINUTE_MS * np.arange(len(close), dtype=np.int64)
    zero = np.zeros(len(close), dtype=np.int64)
    return Candles(candles.symbol, candles.decimals, times, close, close, close, close, zero)


@dataclass(frozen=True, eq=False)
class Whipsaw:
    """Flips of a history beside those of shuffles of it.

    own    window -> what the signal says in the history
    lucks  window -> what it says in each shuffle
    """

    past: Past
    own: dict[int, Said]
    lucks: dict[int, tuple[Said, ...]]

    @classmethod
    def of(cls, past: Past, windows: Sequence[int] = WINDOWS, draws: int = DRAWS) -> Whipsaw:
        """Every window on `past` and on `draws` shuffles. Raises `DomainError` when a day is not there."""
        if past.days < 1:
            raise DomainError(
                f"{past.days:.2f} days are too few to count flips; expected 1 or more"
            )
        history = History(past.candles)
        own = {window: Said.of(history, window) for window in windows}
        walks = [History(shuffled(past, SEED + draw)) for draw in range(draws)]
        lucks = {w: tuple(Said.of(walk, w) for walk in walks) for w in windows}
        return cls(past, own, lucks)

    def chance(self, window: int) -> tuple[float, float]:
        """Fewest and most flips a day among the shuffles."""
        found = [said.flips_a_day for said in self.lucks[window]]
        return min(found), max(found)

    def taken_back_by_chance(self, window: int) -> float:
        """Mean share of flips taken back within an hour among the shuffles."""
        return float(np.mean([said.taken_back for said in self.lucks[window]]))

    @property
    def table(self) -> Table:
        rows = []
        for window, said in self.own.items():
            low, high = self.chance(window)
            rows.append(
                (
                    str(window),
                    number(said.flips_a_day, 2),
                    f"{number(low, 2)} to {number(high, 2)}",
                    number(expected_flips(window), 2),
                    f"{said.taken_back:.1%}",
                    f"{self.taken_back_by_chance(window):.1%}",
                )
            )
        head = (
            "window, minutes", "flips a day, history", "shuffled", "by formula",
            "taken back within an hour, history", "shuffled",
        )  # fmt: skip
        return Table(head, tuple(rows))

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def _repr_markdown_(self) -> str:
        return self.table._repr_markdown_()


# --- the slider ---


@dataclass(frozen=True, eq=False)
class Days:
    """The last days of a history to look at, one at a time.

    Raises `DomainError` when the history holds no whole UTC day.
    """

    past: Past

    def __post_init__(self) -> None:
        if not self.count:
            raise DomainError("the history holds no whole UTC day to look at; expected one or more")

    @cached_property
    def _ends(self) -> list[int]:
        """Ends of the days that begin and end within the history, newest first, ms."""
        at = self.past.candles.open_ms
        last = (int(at[-1]) + MINUTE_MS) // DAY_MS * DAY_MS
        first = -(-int(at[0]) // DAY_MS) * DAY_MS
        return list(range(last, first, -DAY_MS))

    @property
    def count(self) -> int:
        return len(self._ends)

    def draw(self, window: int = 60, band_bps: int = 0, day: int = 0) -> str:
        """HTML of the day `day` days before the last whole one: closes, mean, and where the signal flips.

        Raises `DomainError` for a day that is not there, or one without a minute.
        """
        if not 0 <= day < self.count:
            raise DomainError(f"day {day} is not there; expected 0 to {self.count - 1}")
        end = self._ends[day]
        at = self.past.candles.open_ms
        # a day before it, so that the mean is there from its first minute, and another for a state
        seen = self.past.candles[slice(*np.searchsorted(at, [end - 3 * DAY_MS, end]))]
        said = Said.of(History(seen), window, band_bps)
        today = np.flatnonzero(seen.open_ms >= end - DAY_MS)
        if len(today) < 2:
            raise DomainError(f"{utc_day(from_ms(end - DAY_MS))}: no candles; expected another day")
        valid = History(seen).contiguous(window)
        mean = trailing_sum(seen.close, window) / window
        own = today[valid[today]]
        return self._picture(seen, today, own, mean, said, window, band_bps, end)

    def _picture(self, seen, today, own, mean, said, window, band_bps, end) -> str:
        scale = 10.0**seen.decimals
        close, at = seen.close[today] / scale, seen.open_ms[today] + MINUTE_MS
        curves = [close, *([mean[own] / scale] if len(own) else [])]
        frame = Frame.around((float(end - DAY_MS), float(end)), curves)
        inside = frame.values() + frame.path(at, close, "blue")
        if len(own):
            times = seen.open_ms[own] + MINUTE_MS
            inside += frame.path(times, mean[own] / scale, "orange")
            for sign in (1, -1) if band_bps else ():
                edge = np.clip(mean[own] / scale * (1 + sign * band_bps / BPS), *frame.y)
                inside += frame.path(times, edge, "orange", "dot")
        flips = [i for i in said.flips.tolist() if said.at_ms[i] > end - DAY_MS]
        for i in flips:
            price = seen.close[said.rows[i]] / scale
            inside += _mark(frame, float(said.at_ms[i]), price, said.states[i] == LONG)
        legend = [
            ("— close", "blue"),
            (f"— mean of {window}" + (f", ⋯ ± {band_bps} bps" if band_bps else ""), "orange"),
            ("▲ says long", "green"),
            ("▼ says flat", "red"),
        ]
        title = f"{seen.symbol}, USDT: {counted(len(flips), 'flip')} on {utc_day(from_ms(end - 1))}"
        text = self._words(seen, said, flips, window, end)
        sketch = picture(title, legend, inside + frame.times(), f"{title}. {text}")
        return f"{sketch.svg}<p>{text}</p>"

    def _words(self, seen, said, flips, window, end) -> str:
        back = sum(1 for i, j in pairwise(flips) if said.at_ms[j] - said.at_ms[i] <= HOUR * TICK_MS)
        inside = np.flatnonzero(said.at_ms >= end - DAY_MS)  # midnight's state holds from there
        prices, states = seen.close[said.rows[inside]], said.states[inside[:-1]]
        moves = np.diff(prices) / prices[:-1] * BPS
        held = states == LONG
        whole = (prices[-1] / prices[0] - 1) * BPS if len(prices) else 0.0
        return (
            f"Of {counted(len(flips), 'flip')}, {back} {'was' if back == 1 else 'were'} taken back "
            f"within an hour. On a trend this mean is {number((window - 1) / 2, 1)} minutes behind. "
            f"Held for {number(held.sum() / HOUR, 2)} hours; the price moved "
            f"{number(whole, 0, sign=True)} bps over the day, of which "
            f"{number(float(moves[held].sum()), 0, sign=True)} bps while held, before costs."
        )


def _mark(frame: Frame, at: float, price: float, up: bool) -> str:
    x, y, way = frame.at_x(at), frame.at_y(price), -1 if up else 1
    points = (
        f"{x:.1f},{y + 6 * way:.1f} {x - 5:.1f},{y - 4 * way:.1f} {x + 5:.1f},{y - 4 * way:.1f}"
    )
    colour = "green" if up else "red"
    return f"<polygon points='{points}' style='fill:var(--{colour});stroke:var(--surface)'/>"


# --- exactness ---


def tie_of(close_steps: np.ndarray) -> np.ndarray:
    """Windows of closes, (h, n) int64, each made into a tie: n x last close equals the sum.

    The last close goes to the mean of the others, rounded down; the first one down by the steps left over.
    """
    tied = close_steps.copy()
    window = tied.shape[1]
    mean, left = np.divmod(tied[:, :-1].sum(axis=1), window - 1)
    tied[:, 0] -= left
    tied[:, -1] = mean
    return tied


@dataclass(frozen=True, eq=False)
class Ties:
    """Hours of a history, each made into an exact tie, and what three float means and whole steps say.

    window   closes in the mean
    decimals of the price steps
    hours    (h, n) int64 closes in steps
    means    way -> (h,) float64
    says     way -> (h,) 1 long, 0 flat, NaN hold
    natural  minutes of the history itself that are tied
    differ   minutes of the history itself at which the running float sum says something else than whole
             steps do; `minutes` of them were compared
    """

    window: int
    decimals: int
    hours: np.ndarray
    means: dict[str, np.ndarray]
    says: dict[str, np.ndarray]
    natural: int
    differ: int
    minutes: int

    EXACT = "whole steps: n × close against the sum"
    LOOP = "floats, added one by one"
    PAIRS = "floats, numpy's mean"
    RUNNING = "floats, a running sum from the first minute"

    @classmethod
    def of(cls, past: Past, window: int = 60, most: int = HOURS) -> Ties:
        """At most `most` windows spread over `past`. Raises `DomainError` when none is complete."""
        candles = past.candles
        valid = History(candles).contiguous(window)
        ends = np.flatnonzero(valid)
        if not len(ends):
            raise DomainError(f"no {window} minutes of the history are contiguous; expected some")
        chosen = ends[np.linspace(0, len(ends) - 1, min(most, len(ends))).astype(np.int64)]
        hours = tie_of(candles.close[chosen[:, None] + np.arange(1 - window, 1)])
        scale = 10**candles.decimals
        floats = hours / scale  # the nearest float to each decimal
        before = np.concatenate([[0.0], np.cumsum(candles.close / scale)])
        start = before[chosen + 1 - window]
        carried = np.cumsum(np.column_stack([start, floats]), axis=1)[:, -1]
        means = {
            cls.LOOP: np.cumsum(floats, axis=1)[:, -1] / window,
            cls.PAIRS: floats.mean(axis=1),
            cls.RUNNING: (carried - start) / window,
        }
        every = long_flat_hold(hours.ravel(), window, 0, np.ones(hours.size, dtype=bool))
        says = {cls.EXACT: every[window - 1 :: window]}
        says |= {way: _compared(floats[:, -1], mean) for way, mean in means.items()}
        exact = long_flat_hold(candles.close, window, 0, valid)[ends]
        running = (before[ends + 1] - before[ends + 1 - window]) / window
        floated = _compared(candles.close[ends] / scale, running)
        return cls(
            window=window,
            decimals=candles.decimals,
            hours=hours,
            means=means,
            says=says,
            natural=int(np.isnan(exact).sum()),
            differ=int((np.nan_to_num(exact, nan=2) != np.nan_to_num(floated, nan=2)).sum()),
            minutes=len(ends),
        )

    def wrong(self, way: str) -> int:
        """How many ties are not told as ties."""
        return int((~np.isnan(self.says[way])).sum())

    @property
    def table(self) -> Table:
        rows = tuple(
            (
                way,
                f"{np.isnan(said).sum():,}",
                f"{(said == 1).sum():,}",
                f"{(said == 0).sum():,}",
            )
            for way, said in self.says.items()
        )
        return Table((f"{len(self.hours):,} ties, compared in", "HOLD", "LONG", "FLAT"), rows)

    @property
    def example(self) -> Table:
        """One tie on which floats disagree most, with the figures that are compared."""
        odd = sum((~np.isnan(self.says[way])).astype(int) for way in self.means)
        row = int(np.argmax(odd))
        steps, window = self.hours[row], self.window
        close = int(steps[-1]) / 10**self.decimals
        names = {1.0: "LONG", 0.0: "FLAT"}
        rows = [
            (self.EXACT, f"{window * int(steps[-1])}", f"{int(steps.sum())}",
             names.get(float(self.says[self.EXACT][row]), "HOLD")),
        ]  # fmt: skip
        rows += [
            (
                way,
                repr(close),
                repr(float(mean[row])),
                names.get(float(self.says[way][row]), "HOLD"),
            )
            for way, mean in self.means.items()
        ]
        return Table(("one of them", "left side", "right side", "says"), tuple(rows))

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def _repr_markdown_(self) -> str:
        return self.table._repr_markdown_()


def _compared(close: np.ndarray, mean: np.ndarray) -> np.ndarray:
    return np.where(close > mean, 1.0, np.where(close < mean, 0.0, np.nan))


def tie_close(past: Past, window: int = 60) -> Table:
    """To which price the last close would have to go for a tie, and in how many hours a price can do that."""
    candles = past.candles
    valid = History(candles).contiguous(window)
    if not valid[-1]:
        raise DomainError(f"the last {window} minutes are not contiguous; expected them to be")
    others = int(candles.close[-window:-1].sum())
    mean, left = divmod(others, window - 1)
    sums = (trailing_sum(candles.close, window) - candles.close)[valid]
    share = float((sums % (window - 1) == 0).mean())
    rows = (
        ("last close, steps", f"{int(candles.close[-1])}"),
        (f"sum of the {window - 1} others, steps", f"{others}"),
        (f"over {window - 1}", f"{mean}, {left} left over"),
        ("so a tie of this hour", f"at {candles.price(mean)}" if not left else "is at no price"),
        (
            "hours with a price that ties",
            f"{share:.2%}, one in {window - 1} is {1 / (window - 1):.2%}",
        ),
    )
    return Table(("", candles.symbol), rows, prose=True)


# --- the answer ---


def answer(turns: Turns, whipsaw: Whipsaw, ties: Ties, window: int = 60) -> Answer:
    """What a moving average of `window` is and is not, from the figures of the same history."""
    lines = [
        f"A mean of {window} closes is late: on an even trend it shows the price of "
        f"{number(behind(window), 1)} minutes ago, and it says flat {after_turn(window)} minutes after a "
        "turn as steep as the rise before it."
    ]
    late, lost = turns.minutes[window], turns.given_up[window]
    if len(late):
        lines.append(
            f"After the {counted(len(late), 'high')} of this history it took {_middle(late):.0f} minutes "
            f"in the median, with {number(_middle(lost), 0)} bps given up."
        )
    said = whipsaw.own[window]
    low, high = whipsaw.chance(window)
    lines.append(
        f"It flipped {number(said.flips_a_day, 1)} times a day, and took {said.taken_back:.0%} of the "
        f"flips back within an hour. {_against_chance(said.flips_a_day, low, high)}; a price that moves "
        f"by chance alone would make it flip {number(expected_flips(window), 1)} times."
    )
    wrong = max(ties.wrong(way) for way in ties.means)
    lines.append(
        f"Of {len(ties.hours):,} exact ties floats misjudge up to {wrong:,}, whole steps "
        f"{ties.wrong(ties.EXACT):,}; of {ties.minutes:,} minutes as they were, {ties.natural:,} were ties "
        f"and {ties.differ:,} came out otherwise in floats. Rare, but only the comparison in whole steps "
        "is the same for an hour and for a year."
    )
    if whipsaw.past.made_up:
        lines.append(
            "The prices are made up, so agreement with chance is what one should see here."
        )
    return Answer(" ".join(lines))


def _against_chance(own: float, low: float, high: float) -> str:
    span = f"the same moves in random order make {number(low, 1)} to {number(high, 1)}"
    if low <= own <= high:
        return f"That is what chance does: {span}"
    if own > high:
        return f"That is more often than in any shuffle, as if moves tended to turn back: {span}"
    return f"That is less often than in any shuffle, as if moves tended to go on: {span}"
