"""Looks at an order book beside prices, and whether one of their figures goes before the next moves.

The correlation is Spearman's. Its p-value turns the moves against the looks by every number of rows on a circle,
which keeps what each of them has to do with itself, as the `shift` of `tgtqr_lib.backtest.significance` does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from tgtqr_lib import research
from tgtqr_lib.backtest.significance import p_value
from tgtqr_lib.clock import from_ms, utc_day
from tgtqr_lib.domain import MINUTE_MS, BookHistory, Candles, DataError, DomainError, History
from tgtqr_lib.execution import fees_on
from tgtqr_lib.home import Home
from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.market import made_up
from tgtqr_lib.market.book_lake import BookLake
from tgtqr_lib.market.synthetic import SyntheticSource
from tgtqr_lib.research.past import SEED
from tgtqr_lib.signals import SIGNALS

NAMES = ("book_imbalance_1", "book_imbalance_5", "book_imbalance_25", "micro_price_offset")
FIRST = NAMES[0]
LEAST_LOOKS = 360  # six hours; with fewer recorded ones the market is made up
FEWEST = 50  # looks that a rank correlation is computed of
MADE_UP_DAYS = 3
FIFTHS = 5
BASIS = 1e4


@dataclass(frozen=True, eq=False)
class Looks:
    """Looks at a book, one a minute without a hole, and the price that stood there.

    at_ms       (n,) int64, whole minutes, a minute apart
    price       (n,) float64, at which one could act after the look; NaN where unknown
    spread_bps  (n,) float64, NaN without a book
    signals     name -> (n,) float64, NaN where it is absent
    fee_bps     of a fill
    book        the looks as they are kept in a lake; None when there are only the figures above
    """

    symbol: str
    source: str
    made_up: bool
    at_ms: np.ndarray
    price: np.ndarray
    spread_bps: np.ndarray
    signals: dict[str, np.ndarray]
    fee_bps: float
    book: BookHistory | None = None

    @classmethod
    def of(cls, history: History, source: str, made_up: bool) -> Looks:
        """From candles and book: the price of a look is the open of the candle that begins then.

        Raises `DataError` when there is no look at the close of any candle.
        """
        candles = history.candles
        spread = SIGNALS["spread"](history)
        known = np.flatnonzero(np.isfinite(spread))
        if not len(known):
            raise DataError(f"{candles.symbol}: no look at a book when any of the candles closed")
        closed = history.closed_ms
        first, last = int(closed[known[0]]), int(closed[-1])
        at = np.arange(first, last + MINUTE_MS, MINUTE_MS)

        def on_grid(times: np.ndarray, values: np.ndarray) -> np.ndarray:
            out = np.full(len(at), np.nan)
            inside = (times >= first) & (times <= last)
            out[(times[inside] - first) // MINUTE_MS] = values[inside]
            return out

        return cls(
            candles.symbol,
            source,
            made_up,
            at,
            on_grid(candles.open_ms, candles.open / 10.0**candles.decimals),
            on_grid(closed, spread),
            {name: on_grid(closed, SIGNALS[name](history)) for name in NAMES},
            float(fees_on(from_ms(last).date()).bps),
            history.book,
        )

    @property
    def half_spread_bps(self) -> float:
        """Half the median spread."""
        return float(np.nanmedian(self.spread_bps)) / 2

    @property
    def fill_bps(self) -> float:
        """What a market order costs: half the spread and the fee."""
        return self.half_spread_bps + self.fee_bps

    def moves(self, minutes: int = 1, wait: int = 0) -> np.ndarray:
        """(n,) the price `wait + minutes` later over that `wait` later, less one, bps; NaN where unknown."""
        n = len(self.price)
        out = np.full(n, np.nan)
        if wait + minutes < n:
            early, late = self.price[wait : n - minutes], self.price[wait + minutes :]
            out[: n - minutes - wait] = (late / early - 1) * BASIS
        return out

    def figure(self, name: str) -> np.ndarray:
        """(n,) the figure `name`. Raises `DomainError` for one that is not of these looks."""
        if name not in self.signals:
            raise DomainError(
                f"figure {name!r} is unknown; expected one of {', '.join(self.signals)}"
            )
        return self.signals[name]

    def standardised(self, name: str) -> np.ndarray:
        """(n,) the figure `name` less its mean, in its standard deviations. Raises `DomainError` when it
        is absent or always the same."""
        values = self.figure(name)
        known = values[np.isfinite(values)]
        if not len(known) or not np.ptp(known) > 0:
            raise DomainError(f"{self.symbol}: {name} is absent or never changes in these looks")
        return (values - known.mean()) / known.std()

    def planted(self, strength_bps: float, name: str = FIRST) -> Looks:
        """The same looks in a market where `name` is followed, within the minute, by so many basis points
        of move for each of its standard deviations, on top of what was there."""
        z = np.nan_to_num(self.standardised(name))
        shift = np.concatenate([[0.0], np.cumsum(np.log1p(strength_bps / BASIS * z[:-1]))])
        return replace(self, price=self.price * np.exp(shift))

    @property
    def label(self) -> str:
        """Symbol, number of looks, span and origin, in a line."""
        first, last = (utc_day(from_ms(int(self.at_ms[row]))) for row in (0, -1))
        span = first if first == last else f"{first} to {last}"
        kind = "made-up" if self.made_up else "recorded"
        return (
            f"{self.symbol}, {np.isfinite(self.spread_bps).sum():,} {kind} looks at its book, {span} UTC "
            f"({self.source})"
        )

    def _repr_markdown_(self) -> str:
        if not self.made_up:
            return f"**{self.label}.**"
        return (
            f"**{self.label}.** What waits at each of its prices is noise by construction: it knows nothing "
            "of what the price does next. The setting `record_book = true` keeps real ones."
        )


def looks(symbol: str = SYMBOLS[0], days: int = 30, home: Home | None = None) -> Looks:
    """The home's looks of the last `days` when it has six hours of them with candles; else made-up ones.

    Made-up ones are of 3 days at most, the same every time. Raises `DomainError` for a symbol or number of
    days that cannot be, `StoreError` for a damaged lake.
    """
    home = Home.find() if home is None else home
    past = research.history(symbol, home, days)
    if not past.made_up:
        start = from_ms(int(past.candles.open_ms[0]))
        end = from_ms(int(past.candles.open_ms[-1])) + timedelta(minutes=2)
        kept = BookLake(home.book).read(symbol, start, end)
        closed = past.candles.open_ms + MINUTE_MS
        if np.isin(closed, kept.at_ms).sum() >= LEAST_LOOKS:
            return Looks.of(History(past.candles, book=kept), past.source, False)
    candles = _made_up_candles(symbol, min(days, MADE_UP_DAYS), home)
    source = SyntheticSource(SEED)
    return Looks.of(made_up.history(source, candles, ("book",)), source.name, True)


def _made_up_candles(symbol: str, days: int, home: Home) -> Candles:
    # a home without a lake gives the made-up days
    return research.history(symbol, Home(home.root / "nothing here"), days).candles


def ranks(values: np.ndarray) -> np.ndarray:
    """(n,) ranks from 1 to n; equal values share the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def rank_correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) Spearman's correlation of `a` with `b`, and then of `a` with `b` turned by 1, 2, ... rows
    as on a circle; NaN when one of them is constant, empty when there is nothing."""
    x, y = (ranks(np.asarray(one)) for one in (a, b))
    if not len(x):
        return np.zeros(0)
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    if scale < 1e-12:
        return np.full(len(x), np.nan)
    return np.fft.irfft(np.conj(np.fft.rfft(x)) * np.fft.rfft(y), len(x)) / scale


@dataclass(frozen=True, eq=False)
class Found:
    """Whether a figure goes before moves of so many minutes.

    count        looks used, as far apart as the moves are long, so that no move counts twice
    correlation  Spearman's, of the figure with the move after it
    p_value      two-sided, against the same moves on a circle, turned by every other number of rows
    means        (5,) bps, of the moves after the lowest to the highest fifth of the figure
    errors       (5,) their standard errors; NaN for fewer than 2 moves
    highest      bps, every move after the highest fifth
    average      bps, of all moves
    """

    name: str
    minutes: int
    count: int
    correlation: float
    p_value: float
    means: np.ndarray
    errors: np.ndarray
    highest: np.ndarray
    average: float

    @property
    def top(self) -> float:
        """Mean move after the highest fifth, bps."""
        return float(self.means[-1])

    @property
    def timing(self) -> float:
        """What it is worth to wait for the highest fifth with a purchase made in any case, bps."""
        return self.top - self.average


def study(looks: Looks, name: str = FIRST, minutes: int = 1, wait: int = 0) -> Found:
    """Compare the figure `name` with the move over `minutes` after it, entered `wait` minutes late.

    The fifths are cut with all looks in sight, which flatters whoever would have had to guess the cuts.
    Raises `DomainError` for fewer than 50 looks with a move, or a figure that is not there.
    """
    signal, moves = _pairs(looks, name, minutes, wait)
    n = len(moves)
    if n < FEWEST:
        raise DomainError(
            f"{n} looks with {name} and a move of {minutes_text(minutes)} after it; expected at least {FEWEST}"
        )
    turned = rank_correlations(signal, moves)
    varies = np.isfinite(turned[0])
    fifth = np.minimum(((ranks(signal) - 0.5) / n * FIFTHS).astype(int), FIFTHS - 1)
    parts = [moves[fifth == i] for i in range(FIFTHS)]  # equal figures share a fifth
    return Found(
        name=name,
        minutes=minutes,
        count=n,
        correlation=float(turned[0]),
        p_value=p_value(abs(float(turned[0])), np.abs(turned[1:])) if varies else 1.0,
        means=np.array([part.mean() if len(part) else np.nan for part in parts]),
        errors=np.array([_error(part) for part in parts]),
        highest=parts[-1],
        average=float(moves.mean()),
    )


def _pairs(looks: Looks, name: str, minutes: int, wait: int) -> tuple[np.ndarray, np.ndarray]:
    """Figures and the moves after them, where both are known."""
    signal, moves = looks.figure(name)[::minutes], looks.moves(minutes, wait)[::minutes]
    there = np.isfinite(signal) & np.isfinite(moves)
    return signal[there], moves[there]


def _error(moves: np.ndarray) -> float:
    return float(moves.std(ddof=1) / np.sqrt(len(moves))) if len(moves) > 1 else float("nan")


def studies(looks: Looks, minutes: int = 1) -> tuple[Found, ...]:
    """`study` of every figure that has 50 looks with a move. Raises `DomainError` when none has."""
    found = tuple(
        study(looks, name, minutes)
        for name in looks.signals
        if len(_pairs(looks, name, minutes, 0)[0]) >= FEWEST
    )
    if not found:
        raise DomainError(f"{looks.label}: no figure has {FEWEST} looks with a move after them")
    return found


def minutes_text(count: int) -> str:
    """`1 minute`, `15 minutes`."""
    return f"{count} minute{'' if count == 1 else 's'}"
