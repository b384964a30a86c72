"""Bringing a file of candles or funding rates into the lake: every row is judged, none is repaired."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tgtqr_lib.domain import MAX_DECIMALS, DataError, DomainError
from tgtqr_lib.market import duck
from tgtqr_lib.market.candles import Lake, Progress
from tgtqr_lib.market.funding_lake import INTERVALS as FUNDING_INTERVALS
from tgtqr_lib.market.funding_lake import (
    MARKET,
    RATE_DECIMALS,
    FundingLake,
    FundingRates,
    intervals_of,
)
from tgtqr_lib.market.merge import Batch
from tgtqr_lib.market.reports import ImportReport, Refusal
from tgtqr_lib.market.sanity import (
    MINUTE_US,
    MISSING,
    NOT_CLOSED,
    OTHER_UNIT,
    REASONS,
    REPEATED,
    UNREADABLE,
    faults,
    numbers,
    reason,
    when,
)
from tgtqr_lib.market.series_id import INTERVALS, MARKETS, SYMBOL, SeriesId
from tgtqr_lib.market.source import PRICES
from tgtqr_lib.market.steps import rounded_to
from tgtqr_lib.market.table import FUNDING, Rows, Table, open_table

LISTED_REFUSALS = 20
MARKET_WORDS = {"spot": "spot", "linear": "linear", "usdm": "linear"}
OTHER_INTERVALS = {3, 10, 30, 120, 240, 360, 480, 720, 1440, 4320, 10080}  # minutes


def import_file(
    path: Path | str,
    lake: Lake,
    *,
    funding: FundingLake | None = None,
    symbol: str | None = None,
    market: str | None = None,
    source: str | None = None,
    revise: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Import a Parquet or CSV file of candles or funding rates, and say what came of it.

    The columns are ts (a timestamp, UTC when it has no zone; in a CSV ISO 8601 or a Unix time), then
    open, high, low, close and volume, or rate, and when they are there symbol and source. Candles may
    be of 1 minute, 5 or 15 minutes or an hour: each interval is a series of its own.

    funding   where funding rates go; without it they are refused
    symbol    the name to store a file of one symbol under. Without it symbols keep their own: BTCUSD,
              priced in dollars, is another series than BTCUSDT
    market    `spot` or `linear`. Without it the column `source` says so before its first semicolon
              (`bybit linear; ...`), or else the file's name; the word `usdm` means linear
    source    what the lake notes as every row's origin, instead of the column `source`
    revise    let rows that the lake has with other values be replaced
    progress  is called with rows done and rows in all

    Wrong rows are refused and the others imported; of rows with the same time the first good one
    counts. Numbers with more than 6 decimals are rounded to 6, and counted. Raises `DataError` for a
    file that is not what was expected or contradicts the lake, and whatever `Lake.write` raises: the
    lake is as it was then.
    """
    path = Path(path)
    with duck.errors(DataError, path.name):
        table = open_table(path)
        if table.kind == FUNDING:
            parts, writes, notes = _import_funding(table, funding, symbol, market, source, revise)
        else:
            parts, writes, notes = _import_candles(
                table, lake, symbol, market, source, revise, progress
            )
    odd = table.unfit()
    refusals = [refusal for part in parts for refusal in part.refusals]
    refusals += [Refusal(row, "", text) for row, text in odd[:LISTED_REFUSALS]]
    reasons = sum((part.reasons for part in parts), Counter())
    if odd:
        reasons["the line does not fit the header"] = len(odd)
    return ImportReport(
        file=path.name,
        rows=table.rows,
        writes=tuple(writes),
        refused=reasons.total(),
        reasons=dict(reasons),
        refusals=tuple(sorted(refusals, key=lambda r: r.row)[:LISTED_REFUSALS]),
        rounded_prices=sum(part.rounded_prices for part in parts),
        rounded_volumes=sum(part.rounded_volumes for part in parts),
        notes=notes,
    )


@dataclass(frozen=True)
class _Part:
    """The rows of one symbol, judged."""

    batch: Batch | FundingRates
    reasons: Counter[str]
    refusals: list[Refusal]
    rounded_prices: int = 0
    rounded_volumes: int = 0


def _import_candles(
    table: Table,
    lake: Lake,
    symbol: str | None,
    market: str | None,
    source: str | None,
    revise: bool,
    progress: Progress | None,
) -> tuple[list[_Part], list, tuple[str, ...]]:
    market, notes = _market(table, market)
    stored = _stored_names(table, symbol)
    parts = [_judge(table, name, stored[name], market, source) for name in stored]
    batches = [part.batch for part in parts if len(part.batch)]
    return parts, lake.store(batches, revise=revise, progress=progress), notes


def _market(table: Table, given: str | None) -> tuple[str, tuple[str, ...]]:
    """The market of the file's candles, and what to note of it."""
    origins = {(source or "").partition(";")[0] for source in table.sources}
    named = markets_named(origins) or markets_named({table.path.stem})
    if given is not None and given not in MARKETS:
        raise DomainError(f"market {given!r} is unknown; expected one of {', '.join(MARKETS)}")
    if given is not None:
        others = [name for name in sorted(named) if name != given]
        note = f"The file calls its candles {', '.join(others)}; stored as {given}, as you said."
        return given, (note,) if others else ()
    if len(named) != 1:
        found = f"names {' and '.join(sorted(named))}" if named else "does not say"
        raise DataError(
            f"{table.path.name}: the market is not clear, the file {found}; add --market spot or --market linear"
        )
    return named.pop(), ()


def markets_named(texts: set[str]) -> set[str]:
    """The markets that are named in `texts`."""
    found = {word for text in texts for word in re.findall("[a-z]+", text.lower())}
    return {market for word, market in MARKET_WORDS.items() if word in found}


def _stored_names(table: Table, given: str | None) -> dict[str | None, str]:
    """A symbol in the file -> its name in the lake; None stands for rows that name no symbol."""
    names = [name for name in table.symbols if name is not None]
    if given is None and not names:
        raise DataError(
            f"{table.path.name}: names no symbol; say which one it is, such as --symbol BTCUSDT"
        )
    if given is not None and len(names) > 1:
        raise DataError(
            f"{table.path.name}: holds {', '.join(names)}; expected one to store as {given}"
        )
    stored: dict[str | None, str] = {name: given or name for name in names}
    if len(names) < len(table.symbols) or not names:
        stored[None] = given or names[0]  # its rows are refused when the others name theirs
    if odd := [name for name in stored.values() if not SYMBOL.fullmatch(name)]:
        raise DataError(
            f"{table.path.name}: {odd[0]!r} is no symbol; say --symbol BTCUSDT, or whatever it is"
        )
    return stored


def _judge(table: Table, name: str | None, symbol: str, market: str, source: str | None) -> _Part:
    """The good rows of a symbol in order of time, and why the others are not good."""
    rows = _read(table, name, source)
    time_us, reasons = rows.time_us, rows.reasons
    readable = reasons == 0
    interval = _interval(f"{table.path.name}, {symbol}", time_us[readable])
    found = faults(time_us, rows.values, INTERVALS[interval] * MINUTE_US)
    reasons[readable] = found[readable]
    closed_us = time_us + INTERVALS[interval] * MINUTE_US <= time.time_ns() // 1000
    reasons[(reasons == 0) & ~closed_us] = NOT_CLOSED
    good = _in_order(time_us, reasons)

    values, rounded = {}, {}
    for column, given in rows.values.items():
        values[column], rounded[column] = rounded_to(given[good], MAX_DECIMALS)
    series = SeriesId(symbol, market, interval)
    batch = Batch(series, time_us[good] // 1000, values, rows.origin[good], rows.sources)
    return _Part(
        batch,
        *_refused(table, rows, name and symbol, interval),
        rounded_prices=sum(rounded[column] for column in PRICES),
        rounded_volumes=rounded["volume"],
    )


def _read(table: Table, name: str | None, source: str | None) -> Rows:
    rows = table.read(name, table.path.name)
    if source is None:
        return rows
    none = np.zeros(len(rows.row), dtype=np.int64)
    return Rows(rows.row, rows.time_us, rows.values, rows.reasons, none, (source,))


def _in_order(time_us: np.ndarray, reasons: np.ndarray) -> np.ndarray | slice:
    """The rows without a reason in order of time; a time that came before gets its reason here."""
    if not reasons.any() and (np.diff(time_us) > 0).all():
        return slice(None)  # as in nearly every file
    good = np.flatnonzero(reasons == 0)
    good = good[np.argsort(time_us[good], kind="stable")]
    again = np.zeros(len(good), dtype=bool)
    again[1:] = np.diff(time_us[good]) == 0
    reasons[good[again]] = REPEATED
    return good[~again]


def _refused(
    table: Table, rows: Rows, symbol: str | None, interval: str
) -> tuple[Counter[str], list[Refusal]]:
    """How many rows were refused for each reason, and the first of them by number."""
    wrong = np.flatnonzero(rows.reasons)
    kinds, counts = np.unique(rows.reasons[wrong], return_counts=True)
    refusals = []
    for i in wrong[:LISTED_REFUSALS]:
        code, number = int(rows.reasons[i]), int(rows.row[i])
        if code in (MISSING, UNREADABLE, OTHER_UNIT):
            text = table.text(number)
        else:
            text = f"{when(rows.time_us[i])}, {numbers(rows.values, i)}"
        refusals.append(Refusal(number, symbol or "no symbol", f"{reason(code, interval)}: {text}"))
    found = {reason(k, interval): int(n) for k, n in zip(kinds, counts, strict=True)}
    return Counter(found), refusals


def _interval(what: str, time_us: np.ndarray) -> str:
    """The interval of candles: a minute, or what the most frequent distance between them says.

    Raises `DataError` for an interval that the lake does not have.
    """
    distances = np.diff(time_us)
    if (distances < 0).any():
        distances = np.diff(np.sort(time_us))
    if np.count_nonzero(distances == MINUTE_US) * 2 > len(distances):
        return (
            "1m"  # as in nearly every file; to count all distances would take as long as the import
        )
    found, counts = np.unique(distances[distances > 0], return_counts=True)
    if not len(found):
        return "1m"
    apart_us = int(found[np.argmax(counts)])
    minutes, rest = divmod(apart_us, MINUTE_US)
    name = next((name for name, m in INTERVALS.items() if m == minutes and not rest), None)
    on_grid = name is not None and (time_us % apart_us == time_us[0] % apart_us).all()
    if name is not None and (on_grid or np.max(counts) * 2 > len(distances)):
        return name
    if apart_us < MINUTE_US or (minutes in OTHER_INTERVALS and not rest):
        apart = f"{minutes} minutes" if minutes else f"{apart_us / 1e6:g} s"
        raise DataError(
            f"{what}: the candles are {apart} apart; expected one of {', '.join(INTERVALS)}"
        )
    return "1m"


def _import_funding(
    table: Table,
    lake: FundingLake | None,
    symbol: str | None,
    market: str | None,
    source: str | None,
    revise: bool,
) -> tuple[list[_Part], list, tuple[str, ...]]:
    """Funding rates are of perpetuals, whatever the file calls them."""
    if lake is None:
        raise DataError(f"{table.path.name}: holds funding rates, expected candles")
    if market not in (None, MARKET):
        raise DomainError(f"{table.path.name}: {market} has no funding; expected {MARKET}")
    stored = _stored_names(table, symbol)
    parts = [_judge_funding(table, name, stored[name], source) for name in stored]
    good = [part.batch for part in parts if len(part.batch)]
    for rates in good:  # a contradiction in one symbol leaves all as they were
        lake.check(rates, revise=revise)
    return parts, [lake.write(rates, revise=revise) for rates in good], ()


def _judge_funding(table: Table, name: str | None, symbol: str, source: str | None) -> _Part:
    rows = _read(table, name, source)
    readable = rows.reasons == 0
    usual = _funding_interval(f"{table.path.name}, {symbol}", rows.time_us[readable])
    minutes = _own_intervals(rows.time_us, readable, usual)
    with np.errstate(invalid="ignore"):
        units = np.rint(rows.values["rate"] * 10.0**RATE_DECIMALS)
        possible = np.abs(units) < 10**RATE_DECIMALS  # also false for NaN
    texts = {
        1: "the rate is not a finite fraction below 1",
        2: f"the time is not a whole {usual} minutes, nor of another interval",
    }
    odd = np.where(rows.time_us % (minutes * MINUTE_US) != 0, 2, 0)
    odd[~possible] = 1
    odd[~readable] = 0
    judged = np.where(odd > 0, np.int8(-1), rows.reasons)  # -1: a reason of funding alone
    good = _in_order(rows.time_us, judged)
    reasons: Counter[str] = Counter()
    refusals: list[Refusal] = []
    for i in np.flatnonzero(judged):
        code = int(judged[i])
        kind = texts[int(odd[i])] if code < 0 else REASONS[code]
        reasons[kind] += 1
        if len(refusals) < LISTED_REFUSALS:
            number = int(rows.row[i])
            shown = f"{when(rows.time_us[i])}, rate {float(rows.values['rate'][i])!r}"
            if code in (MISSING, UNREADABLE, OTHER_UNIT):
                shown = table.text(number)
            refusals.append(Refusal(number, (name and symbol) or "no symbol", f"{kind}: {shown}"))
    given = rows.values["rate"][good]
    whole = np.rint(given * 10.0**RATE_DECIMALS)
    sources = np.array(rows.sources, dtype=object)[rows.origin[good]]
    rates = FundingRates.of(symbol, rows.time_us[good] // 1000, whole, minutes[good], sources)
    rounded = int(np.count_nonzero(whole / 10.0**RATE_DECIMALS != given))
    return _Part(rates, reasons, refusals, rounded_prices=rounded)


def _own_intervals(time_us: np.ndarray, readable: np.ndarray, usual: int) -> np.ndarray:
    """(n,) int64 the interval that ended with each row, which may have changed inside the file."""
    times = np.unique(time_us[readable]) // 1000
    known = intervals_of(times.tolist(), np.empty(0, dtype=np.int64), usual)
    found = np.full(len(time_us), usual, dtype=np.int64)
    found[readable] = np.array(known)[np.searchsorted(times, time_us[readable] // 1000)]
    return found


def _funding_interval(what: str, time_us: np.ndarray) -> int:
    """Minutes between most settlements. Raises `DataError` when no perpetual has that."""
    distances = np.diff(np.sort(time_us))
    found, counts = np.unique(distances[distances > 0], return_counts=True)
    minutes = int(found[np.argmax(counts)]) / MINUTE_US if len(found) else FUNDING_INTERVALS[-1]
    if minutes not in FUNDING_INTERVALS:
        raise DataError(
            f"{what}: the settlements are {minutes:g} minutes apart; expected one of "
            f"{', '.join(map(str, FUNDING_INTERVALS))}"
        )
    return int(minutes)
