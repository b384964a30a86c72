"""Fetching history into the lake: only what is missing is asked for, and twice before it counts as a gap.

What is there is read from the lake itself, so a fetch that was interrupted, killed or repeated goes on
where the lake ends, and no row can come twice. A series has one venue: where candles of another are in
the way, the fetch refuses, or replaces them when it is told to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from tgtqr_lib.clock import floor_minute, from_ms, iso, to_ms
from tgtqr_lib.domain import MINUTE_MS, DataError, DomainError, Problem
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.market.funding_lake import (
    INTERVALS,
    MARKET,
    RATE_DECIMALS,
    FundingLake,
    FundingRates,
    intervals_of,
    settlement_grid,
)
from tgtqr_lib.market.gaps import Gap
from tgtqr_lib.market.history import PAGE, ExchangeHistory, Settlement
from tgtqr_lib.market.klines import to_candles
from tgtqr_lib.market.reports import FetchReport
from tgtqr_lib.market.series_id import SeriesId

SETTLED_MS = 3_600_000  # younger than this a missing candle may only be late, and is no gap yet
OPEN_MS = (
    600_000  # of so young candles the newest that came may be open still, whatever the clock says
)
SAVE_EVERY_S = 15.0

Progress = Callable[[int, int], None]
Run = tuple[int, int]


def fetch_candles(
    history: ExchangeHistory,
    lake: Lake,
    symbol: str,
    start: datetime,
    end: datetime,
    now: datetime,
    *,
    mark: bool = False,
    revise: bool = False,
    retry: bool = False,
    progress: Progress | None = None,
) -> FetchReport:
    """Fetch the minutes of [start, end) that are closed at exchange time `now` and missing in the lake.

    mark      candles of the mark price instead of trades
    revise    let candles of another venue that are in the way be replaced; else they are a `DataError`
    retry     forget what is on record as absent in this span, and ask for it again
    progress  is called with minutes done and minutes in all

    The newest minute that came is kept only when a later one was seen, open or not: an exchange whose
    clock is ahead would else have us keep a candle that is not closed. A month at a time is asked for and
    written, so whatever ends this loses at most seconds of work.
    Raises what `ExchangeHistory` and `Lake.write` raise; what had come until then is in the lake.
    """
    series = SeriesId(symbol, history.market, mark=mark)
    source = _source(history)
    months = _Months(lake, series, source)
    first, last = _bounds(start, end, now)
    if retry:
        lake.forget_gaps(series, first, last, source)
    wanted = [(cut, months.wanted(*cut, revise)) for cut in _by_month(first, last)]
    job = _Job(history, lake, series, source, revise, now, last, months.newest)
    total, done = sum(int(need.sum()) for _, need in wanted), 0
    for cut, need in wanted:
        if not need.any():
            continue
        done += int(need.sum())
        job.fetch(cut, need)
        if progress is not None:
            progress(done, total)
    return job.report(sum(months.absent(*cut) for cut in _by_month(first, last)))


def fetch_funding(
    history: ExchangeHistory,
    lake: FundingLake,
    symbol: str,
    start: datetime,
    end: datetime,
    now: datetime,
    *,
    revise: bool = False,
) -> FetchReport:
    """Fetch the settlements of [start, end) that are over at `now` and missing in the lake.

    The interval is the one that the exchange names for the symbol today; where it had a longer one and
    nothing lies between two settlements, that one is noted. Errors are those of `fetch_candles`.
    """
    source = _source(history)
    minutes = history.funding_interval(symbol)
    if minutes not in INTERVALS:
        raise DataError(
            f"{symbol}: the exchange settles funding every {minutes} minutes; expected one of {INTERVALS}"
        )
    first, last = to_ms(start), min(to_ms(end), to_ms(now) + 1)
    there = lake.read(symbol, start, end)
    foreign = np.array([_venue(text) != _venue(source) for text in there.source], dtype=bool)
    if foreign.any() and not revise:
        _refuse(f"{symbol} funding", there.source[foreign][0], there.at_ms[foreign], source)
    grid = settlement_grid(first, last, minutes)
    missing = np.setdiff1d(grid, there.at_ms[~foreign])
    for gap in lake.gaps(symbol):
        if gap.source == source:
            missing = missing[(missing < gap.start_ms) | (missing >= gap.end_ms)]
    step_ms = minutes * MINUTE_MS
    found: dict[int, Settlement] = {}
    for _ in range(2):  # what does not come is asked for again
        left = np.setdiff1d(missing, [*found])
        for begin, stop in joined_runs(left, step_ms, PAGE * step_ms):
            found |= {one.at_ms: one for one in history.funding(symbol, begin, stop)}
    new = [found[at_ms] for at_ms in sorted(set(found) - set(there.at_ms[~foreign].tolist()))]
    intervals = intervals_of([one.at_ms for one in new], there.at_ms, minutes)
    rates = FundingRates.of(
        symbol,
        [one.at_ms for one in new],
        [round(one.rate.scaleb(RATE_DECIMALS)) for one in new],
        intervals,
        source,
    )
    write = lake.write(rates, revise=revise)
    settled = np.array([*there.at_ms[~foreign], *rates.at_ms], dtype=np.int64)
    silent = _covered(np.array(intervals, dtype=np.int64), rates.at_ms, minutes)
    left = np.setdiff1d(np.setdiff1d(missing, settled), silent)
    left = left[left < to_ms(now) - SETTLED_MS]
    gaps = [Gap(begin, stop, now, source) for begin, stop in joined_runs(left, step_ms, step_ms)]
    lake.note_gaps(symbol, gaps)
    return FetchReport(
        market=MARKET, symbol=symbol, kind="funding", asked=len(missing), added=write.added,
        revised=write.revised, gaps=tuple(str(gap) for gap in gaps), gap_rows=len(left), odd=(),
    )  # fmt: skip


@dataclass
class _Job:
    """One series on its way from the exchange into the lake."""

    history: ExchangeHistory
    lake: Lake
    series: SeriesId
    source: str
    revise: bool
    now: datetime
    last: int  # the minute after the newest one that may be kept
    newest: (
        int  # open time of the newest candle there is, in the lake or in an answer; -1 without one
    )
    asked: int = 0
    added: int = 0
    revised: int = 0
    gaps: list[Gap] = field(default_factory=list)
    odd: list[Problem] = field(default_factory=list)
    _rows: dict[int, Sequence[str]] = field(default_factory=dict)
    _damaged: set[int] = field(default_factory=set)
    _absent: list[np.ndarray] = field(default_factory=list)
    _saved: float = field(default_factory=time.monotonic)

    def fetch(self, cut: Run, need: np.ndarray) -> None:
        """Ask for the minutes of a month that are needed, again for those that did not come, and write.

        need  (minutes,) bool, of the month; those that came are False afterwards
        """
        self.asked += int(need.sum())
        try:
            self._ask(cut, need)
            self.odd += self._ask(cut, need)
        finally:  # whatever ended it: what has come is kept
            self._save()
        minutes = cut[0] + np.flatnonzero(need) * MINUTE_MS
        self._absent.append(minutes[minutes < to_ms(self.now) - SETTLED_MS])
        self._note_gaps()

    def _note_gaps(self) -> None:
        """Put on record what did not come and lies before something that did.

        A minute that came damaged exists, and a stale answer only ends too early: neither is a gap.
        """
        minutes = np.setdiff1d(np.concatenate(self._absent), sorted(self._damaged))
        known = minutes < self.newest
        self._absent = [minutes[~known]]
        found = [
            Gap(begin, stop, self.now, self.source)
            for begin, stop in joined_runs(minutes[known], MINUTE_MS, MINUTE_MS)
        ]
        self.lake.note_gaps(self.series, found)
        self.gaps += found

    def _ask(self, cut: Run, need: np.ndarray) -> list[Problem]:
        """Ask for the needed minutes; those that come are needed no more. Returns what was wrong."""
        minutes, problems = cut[0] + np.flatnonzero(need) * MINUTE_MS, []
        for begin, stop in joined_runs(minutes, MINUTE_MS, PAGE * MINUTE_MS):
            # the open one tells that those before it are closed
            stop += MINUTE_MS if stop == self.last else 0
            for page in self.history.pages(self.series.symbol, begin, stop, mark=self.series.mark):
                self.newest = max(self.newest, *page.rows, -1)
                for open_ms, row in page.rows.items():
                    place = (open_ms - cut[0]) // MINUTE_MS
                    if place < len(need) and need[place]:
                        need[place] = False
                        self._rows[open_ms] = row
                        self._damaged.discard(open_ms)
                self._damaged |= page.damaged
                problems += page.problems
                if time.monotonic() - self._saved > SAVE_EVERY_S:
                    self._save()
        return problems

    def _save(self) -> None:
        if self.newest > to_ms(self.now) - OPEN_MS:
            self._rows.pop(self.newest, None)
        if self._rows:
            candles = to_candles(self.series.symbol, self.series.market, self._rows)
            report = self.lake.write(
                candles, self.source, revise=self.revise, mark=self.series.mark
            )
            self.added += report.added
            self.revised += report.revised
        self._rows = {}
        self._saved = time.monotonic()

    def report(self, absent: int) -> FetchReport:
        """`absent` minutes of the span are on record as those that the exchange does not have."""
        return FetchReport(
            market=self.series.market,
            symbol=self.series.symbol,
            kind="mark" if self.series.mark else "candles",
            asked=self.asked,
            added=self.added,
            revised=self.revised,
            gaps=tuple(str(gap) for gap in self.gaps),
            gap_rows=sum((gap.end_ms - gap.start_ms) // MINUTE_MS for gap in self.gaps),
            odd=tuple(problem.text for problem in self.odd),
            absent=absent,
        )


@dataclass
class _Months:
    """What the lake holds of a series, seen by a fetch from `source`."""

    lake: Lake
    series: SeriesId
    source: str
    newest: int = -1

    def absent(self, start_ms: int, end_ms: int) -> int:
        """How many minutes of the span are on record as those that `source` does not have."""
        return sum(
            max(min(gap.end_ms, end_ms) - max(gap.start_ms, start_ms), 0) // MINUTE_MS
            for gap in self.lake.gaps(self.series)
            if gap.source == self.source
        )

    def wanted(self, start_ms: int, end_ms: int, revise: bool) -> np.ndarray:
        """(minutes,) bool: those to ask for. Raises `DataError` for candles of another venue, unless `revise`."""
        need = np.ones((end_ms - start_ms) // MINUTE_MS, dtype=bool)
        for gap in self.lake.gaps(self.series):
            if gap.source == self.source:
                first = max(gap.start_ms - start_ms, 0) // MINUTE_MS
                need[first : max(gap.end_ms - start_ms, 0) // MINUTE_MS] = False
        for source, open_ms in self.lake.origins(self.series, start_ms, end_ms):
            places = (open_ms - start_ms) // MINUTE_MS
            self.newest = max(self.newest, int(open_ms.max(initial=-1)))
            if _venue(source) == _venue(self.source):
                need[places] = False
            elif not revise and need[places].any():
                _refuse(str(self.series), source, open_ms, self.source)
        return need


def joined_runs(times: np.ndarray, step_ms: int, reach_ms: int) -> list[Run]:
    """[start, end) stretches that cover `times` (sorted), those joined that lie within `reach_ms`."""
    if not len(times):
        return []
    cuts = np.flatnonzero(np.diff(times) > reach_ms)
    starts = times[np.append(0, cuts + 1)]
    ends = times[np.append(cuts, len(times) - 1)] + step_ms
    return [(int(a), int(b)) for a, b in zip(starts, ends, strict=True)]


def _bounds(start: datetime, end: datetime, now: datetime) -> Run:
    """The whole minutes to fetch, in ms. Raises `DomainError` when there is none."""
    first = -(-to_ms(start) // MINUTE_MS) * MINUTE_MS
    last = to_ms(floor_minute(min(end, now)))
    if first >= last:
        raise DomainError(
            f"nothing is closed from {iso(start)} to {iso(min(end, now))}; the exchange's time is {iso(now)}"
        )
    return first, last


def _by_month(first: int, last: int) -> Iterable[Run]:
    while first < last:
        month = np.datetime64(first, "ms").astype("datetime64[M]") + 1
        turn = int(month.astype("datetime64[ms]").astype(np.int64))
        yield first, min(turn, last)
        first = turn


def _covered(intervals: np.ndarray, at_ms: np.ndarray, minutes: int) -> np.ndarray:
    """The times that today's interval would have inside longer ones of the past."""
    step = minutes * MINUTE_MS
    parts = [
        np.arange(end - interval * MINUTE_MS + step, end, step)
        for interval, end in zip(intervals.tolist(), at_ms.tolist(), strict=True)
        if interval > minutes
    ]
    return np.concatenate([np.empty(0, np.int64), *parts])


def _source(history: ExchangeHistory) -> str:
    """What the lake notes: the venue before the semicolon, then where exactly."""
    client = history.client
    where = "" if client.simulated else f"; {client.host.partition('//')[2]}"
    return f"{client.origin()} {history.market}{where}"


def _venue(source: str) -> str:
    """`bybit spot` of `bybit spot; api.bybit.com`."""
    return source.partition(";")[0].strip()


def _refuse(series: str, found: str, times: np.ndarray, source: str) -> None:
    raise DataError(
        f"{series}: {len(times):,} rows from {iso(from_ms(times[0]))} to {iso(from_ms(times[-1]))} came "
        f"from {found!r}, and this fetch is of {_venue(source)!r}; one series of two venues would be no "
        f"market. Say --revise to let the exchange's replace them, or fetch into another --home"
    )
