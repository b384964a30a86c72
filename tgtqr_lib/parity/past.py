"""Every minute with both of its values: what the ticks saw of it, and what is known of it now.

Known now is what the candle lake holds; of a minute that it does not hold, what the newest tick saw that did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from tgtqr_lib.backtest.bars import Bars
from tgtqr_lib.clock import MINUTE, from_ms, iso, to_ms
from tgtqr_lib.domain import (
    MAX_DECIMALS,
    MINUTE_MS,
    QUOTE_UNREADABLE,
    BookFeatures,
    BookHistory,
    Candles,
    Funding,
    History,
    Inputs,
    Problem,
)
from tgtqr_lib.freeze import MARGIN
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.parity.findings import Evidence
from tgtqr_lib.risk.data_invalid import BESIDE
from tgtqr_lib.strategies import minutes_needed

LAKE = "the lake"
Row = tuple[int, ...]  # open, high, low, close and volume in 1e-6


@dataclass(frozen=True, slots=True)
class Known:
    """A minute as it is known now, and who knows it: the lake, or a tick."""

    row: Row
    source: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """A minute of one symbol that a tick saw otherwise (`revised`), or not at all (`late`)."""

    symbol: str
    ms: int
    late: bool
    evidence: tuple[Evidence, ...]


class Past:
    """What is known now of each symbol: `known[symbol][open_ms]`, and with how many decimals."""

    def __init__(self, lake: Lake, symbols: Sequence[str], start: datetime, end: datetime) -> None:
        self.known: dict[str, dict[int, Known]] = {}
        self.funding: dict[str, dict[int, tuple[int, int]]] = {}  # settlement -> rate, minutes
        self.book: dict[str, dict[int, BookFeatures]] = {}  # boundary -> look
        self.decimals: dict[str, int] = {}
        for symbol in symbols:
            candles = lake.read(symbol, start, end)
            self.known[symbol] = {ms: Known(row, LAKE) for ms, row in rows_of(candles).items()}
            self.decimals[symbol] = candles.decimals

    def see(self, inputs: Inputs) -> None:
        """Take what one more tick saw, later than those before it; the lake's minutes stand."""
        for view in inputs.markets:
            known = self.known.setdefault(view.symbol, {})
            finest = self.decimals.get(view.symbol, 0)
            self.decimals[view.symbol] = max(finest, view.candles.decimals)
            if view.funding is not None:
                columns = (view.funding.at_ms, view.funding.units, view.funding.minutes)
                rows = zip(*(column.tolist() for column in columns), strict=True)
                own = self.funding.setdefault(view.symbol, {})
                own.update((at, (units, minutes)) for at, units, minutes in rows)
            if view.book is not None:
                self.book.setdefault(view.symbol, {})[to_ms(inputs.boundary)] = view.book
            for ms, row in rows_of(view.candles).items():
                if ms not in known or known[ms].source != LAKE:
                    known[ms] = Known(row, f"tick {inputs.tick_id}")

    def bars(self, symbol: str) -> Bars:
        """The minutes of `symbol` as a backtest reads them."""
        rows = {ms: one.row for ms, one in sorted(self.known.get(symbol, {}).items())}
        candles = candles_of(symbol, rows, self.decimals.get(symbol, 0))
        settled = sorted(self.funding.get(symbol, {}).items())
        columns = zip(*((at, *figures) for at, figures in settled), strict=True)
        funding = Funding(*map(np.array, columns)) if settled else None
        looks = sorted(self.book.get(symbol, {}).items())
        book = BookHistory.of(looks) if looks else None
        return Bars.of(History(candles, funding, book))

    def ends(self, symbol: str) -> int:
        """The open of the newest known minute of `symbol`, ms; 0 without one."""
        return max(self.known.get(symbol, {}), default=0)

    def minutes(self, first_ms: int, end_ms: int) -> dict[str, int]:
        """How many minutes in [first_ms, end_ms) the lake knows, and how many only the ticks saw."""
        sources = [
            one.source == LAKE
            for rows in self.known.values()
            for ms, one in rows.items()
            if first_ms <= ms < end_ms
        ]
        return {"lake": sum(sources), "as_seen": len(sources) - sum(sources)}

    def doubts(self, inputs: Inputs) -> Iterator[Doubt]:
        """The minutes that the tick of `inputs` asked for and that are known otherwise now."""
        for view in inputs.markets:
            seen, known = rows_of(view.candles), self.known[view.symbol]
            first, end = asked_for(inputs)
            for ms in range(first, end, MINUTE_MS):
                if ms in seen and known[ms].row != seen[ms]:
                    facts = tuple(_fields(view.symbol, ms, seen[ms], known[ms]))
                    yield Doubt(view.symbol, ms, False, facts)
                elif ms in known and ms not in seen:
                    where = f"{view.symbol} {iso(from_ms(ms))}"
                    why = words_of(view.problems)
                    now = f"close {_text(known[ms].row[3])} ({known[ms].source})"
                    fact = Evidence(where, f"no candle{why and f' ({why})'}", now)
                    yield Doubt(view.symbol, ms, True, (fact,))


def _fields(symbol: str, ms: int, seen: Row, known: Known) -> Iterator[Evidence]:
    for name, before, after in zip(Candles.COLUMNS, seen, known.row, strict=True):
        if before != after:
            where = f"{symbol} {iso(from_ms(ms))} {name}"
            yield Evidence(where, _text(before), f"{_text(after)} ({known.source})")


def _text(millionths: int) -> str:
    whole, part = divmod(millionths, 10**MAX_DECIMALS)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".")


def words_of(problems: Sequence[Problem], *, of_quote: bool = False) -> str:
    """What was wrong with the candles of a view, or with its quote."""
    codes = (QUOTE_UNREADABLE,) if of_quote else {p.code for p in problems} - set(BESIDE)
    return "; ".join(problem.text for problem in problems if problem.code in codes)


def asked_for(inputs: Inputs) -> tuple[int, int]:
    """The minutes that a tick asked for: the open of the first one and the boundary, ms."""
    count = minutes_needed(inputs.plan) + MARGIN
    return to_ms(inputs.boundary - count * MINUTE), to_ms(inputs.boundary)


def rows_of(candles: Candles) -> dict[int, Row]:
    """Open time -> open, high, low, close and volume, all in 1e-6."""
    factor = 10 ** (MAX_DECIMALS - candles.decimals)
    prices = [(getattr(candles, name) * factor).tolist() for name in Candles.COLUMNS[:4]]
    rows = zip(*prices, candles.volume.tolist(), strict=True)
    return dict(zip(candles.open_ms.tolist(), rows, strict=True))


def candles_of(symbol: str, rows: Mapping[int, Row], decimals: int) -> Candles:
    """The candles with these rows, in steps of 10**-decimals."""
    factor = 10 ** (MAX_DECIMALS - decimals)
    times = sorted(rows)
    table = np.array([rows[ms] for ms in times], dtype=np.int64).reshape(-1, 5)
    prices = [table[:, i] // factor for i in range(4)]
    return Candles(symbol, decimals, np.array(times, dtype=np.int64), *prices, table[:, 4])
