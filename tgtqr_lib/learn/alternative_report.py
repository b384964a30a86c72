"""The tests of `docs/alternative_data.md` on recorded files, as the Markdown that stands there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tgtqr_lib.backtest.bootstrap import interval
from tgtqr_lib.backtest.luck import Luck, assess
from tgtqr_lib.backtest.report import Table
from tgtqr_lib.backtest.terms import LINEAR_FEES, SPREAD_BPS
from tgtqr_lib.clock import from_ms, utc_day
from tgtqr_lib.domain import MINUTE_MS, DataError
from tgtqr_lib.execution import fees_on
from tgtqr_lib.learn import alternative_tests as tests
from tgtqr_lib.learn.alternative_tests import Bars, Best, Family, Rates
from tgtqr_lib.market import duck
from tgtqr_lib.research.drawing import number

COLUMNS = {"candles": ("ts", "open", "close", "volume"), "funding": ("ts", "rate")}


def read(path: Path | str, symbol: str, kind: str) -> dict[str, np.ndarray]:
    """The rows of `symbol` in a Parquet file of recorded `candles` or `funding`, oldest first.

    ts is in ms since 1970, the other columns are float64, `venue` is a name in words. Raises `DataError`
    when there are fewer than two, or the file cannot be read.
    """
    values = ", ".join(f"{name}::double {name}" for name in COLUMNS[kind][1:])
    file = duck.literal(duck.pattern(Path(path)))
    query = (
        f"select epoch_ms(ts) ts, {values}, trim(split_part(source, ';', 1)) venue "
        f"from read_parquet({file}) where symbol = ? order by ts"
    )
    with duck.errors(DataError, path):
        found = duck.cursor().execute(query, [symbol]).fetchnumpy()
    if len(found["ts"]) < 2:
        raise DataError(
            f"{path}: {len(found['ts'])} rows of {kind} of {symbol}; expected 2 or more"
        )
    return {name: np.asarray(column) for name, column in found.items()}


def bars(path: Path | str, symbol: str, market: str) -> Bars:
    """Recorded candles of `market` (`spot` or `linear`), charged that market's taker fee and half a spread."""
    rows = read(path, symbol, "candles")
    step = int(np.diff(rows["ts"]).min())
    name = f"{symbol} {rows['venue'][0]}, {step // MINUTE_MS} min"
    return Bars(
        name, rows["ts"], rows["open"], rows["close"], rows["volume"], step,
        cost_bps(market, int(rows["ts"][-1])),
    )  # fmt: skip


def cost_bps(market: str, at_ms: int) -> float:
    """What a fill costs, in basis points: the taker fee and half the spread that backtests use."""
    fees = LINEAR_FEES if market == "linear" else fees_on(from_ms(at_ms).date())
    return float(fees.bps + SPREAD_BPS / 2)


def rates(path: Path | str, symbol: str) -> Rates:
    """Recorded funding settlements."""
    rows = read(path, symbol, "funding")
    return Rates(rows["ts"], rows["rate"])


@dataclass(frozen=True, eq=False)
class Finding:
    """A family and what chance says of it, before and after costs."""

    family: Family

    @cached_property
    def gross(self) -> Best:
        return tests.against_chance(self.family.gross)

    @cached_property
    def net(self) -> Best:
        return tests.against_chance(self.family.net)

    @property
    def what(self) -> str:
        return f"{self.family.idea}, {self.family.market}"


def a_year(daily: np.ndarray) -> str:
    """The mean of daily returns in percent of the position a year, not compounded."""
    return number(float(daily.mean()) * tests.YEAR * 100, 1, sign=True)


def chance(p: float) -> str:
    """A p-value for people."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def p_is(p: float) -> str:
    """`p = 0.034`, `p < 0.001`."""
    return f"p {'= ' if p >= 0.001 else ''}{chance(p)}".replace("<", "< ")


def span(at_ms: np.ndarray) -> str:
    """First and last day."""
    return f"{utc_day(from_ms(int(at_ms[0])))} to {utc_day(from_ms(int(at_ms[-1])))}"


def data_table(used: Sequence[Bars | tuple[str, Rates]]) -> Table:
    """What was tested on."""
    rows = []
    for one in used:
        if isinstance(one, Bars):
            drift = one.close[-1] / one.open[0] - 1
            cost = f"{one.cost_bps:g}"
            change = number(drift * 100, 0, sign=True) + " %"
            rows.append((one.name, span(one.at_ms), f"{len(one):,}", change, cost))
        else:
            name, found = one
            total = number(float(found.rate.sum()) * 100, 1, sign=True) + " %"
            rows.append((name, span(found.at_ms), f"{len(found.at_ms):,}", total, ""))
    return Table(
        ("series", "from, to", "rows", "price; funding paid by a long", "cost a fill, bps"),
        tuple(rows),
    )


def predicts(findings: Sequence[Finding]) -> Table:
    """Does anything predict? Before costs and funding, the drift of the price taken out."""
    lowest = [float(each.gross.corrected.min()) for each in findings]
    rows = []
    for each, all_tests in zip(findings, tests.holm(lowest), strict=True):
        family, best = each.family, each.gross.first
        gain, turned = family.gross[:, best], float(family.turnover[:, best].sum())
        rows.append(
            (
                each.what,
                f"{family.days:,}",
                f"{len(family.names)}",
                family.names[best],
                a_year(gain),
                number(float(gain.sum()) / turned * 1e4, 1, sign=True),
                chance(each.gross.alone[best]),
                chance(each.gross.corrected[best]),
                chance(all_tests),
            )
        )
    head = (
        "tested", "days", "tries", "best before costs", "% a year", "bps a fill",
        "p alone", "p, best of tries", "p, all tests",
    )  # fmt: skip
    return Table(head, tuple(rows))


def pays(findings: Sequence[Finding]) -> Table:
    """Does anything pay? After fee, half spread and funding."""
    trials = sum(len(each.family.names) for each in findings)
    rows = []
    for each in findings:
        family, best = each.family, each.net.first
        luck = judged(family.net[:, best], trials)
        rows.append(
            (
                each.what,
                family.names[best],
                a_year(family.net[:, best]),
                number(luck.sharpe.estimate, 2),
                f"{number(luck.sharpe.low, 2)} to {number(luck.sharpe.high, 2)}",
                chance(each.net.corrected[best]),
                f"{luck.deflated:.0%}",
                f"{int((family.net.sum(axis=0) > 0).sum())} of {len(family.names)}",
            )
        )
    head = (
        "tested", "best after costs", "% a year", "Sharpe", "95 % interval", "p, best of tries",
        f"deflated, {trials} tries", "tries above 0",
    )  # fmt: skip
    return Table(head, tuple(rows))


def judged(daily: np.ndarray, trials: int) -> Luck:
    """The kit's tests of luck on one variant, `trials` counted."""
    return assess(daily, trials=trials, resamples=tests.RESAMPLES)


def keeps(pairs: Sequence[tuple[Finding, Family]]) -> Table:
    """The best before costs on one stretch, judged as a single try on a later one."""
    names = [then.family.names[then.gross.first] for then, _ in pairs]
    places = [later.names.index(name) for name, (_, later) in zip(names, pairs, strict=True)]
    after = [
        float(tests.against_chance(later.gross[:, [place]]).alone[0])
        for place, (_, later) in zip(places, pairs, strict=True)
    ]
    rows = []
    for i, (then, later) in enumerate(pairs):
        best, place = then.gross.first, places[i]
        rows.append(
            (
                f"{then.family.idea}, {then.family.market.split()[0]}",
                span(then.family.at_ms),
                names[i],
                a_year(then.family.gross[:, best]),
                chance(then.gross.corrected[best]),
                span(later.at_ms),
                a_year(later.gross[:, place]),
                chance(after[i]),
                chance(tests.holm(after)[i]),
                a_year(later.net[:, place]),
            )
        )
    head = (
        "tested", "chosen on", "chosen", "% a year", "p, best of tries", "judged on",
        "% a year later", "p", "p, all tests", "net, % a year",
    )  # fmt: skip
    return Table(head, tuple(rows))


def delay_table(
    markets: Sequence[tuple[Bars, Rates]], waits: Sequence[int] = (0, 1, 2, 4)
) -> Table:
    """How fast the best of the signed volume is gone: the same positions, filled some candles later."""
    rows = []
    for market, settled in markets:
        place = Finding(tests.flow_family(market, settled)).gross.first
        for wait in waits:
            family = tests.flow_family(market, settled, wait=wait)
            gain, turned = family.gross[:, place], float(family.turnover[:, place].sum())
            rows.append(
                (
                    f"{market.name}: {wait * market.step_ms // MINUTE_MS} min later",
                    family.names[place],
                    a_year(gain),
                    number(float(gain.sum()) / turned * 1e4, 1, sign=True),
                    chance(tests.against_chance(gain[:, None]).alone[0]),
                )
            )
    head = ("signed volume, filled", "the best above", "% a year", "bps a fill", "p alone")
    return Table(head, tuple(rows))


def ahead_table(markets: Sequence[tuple[Bars, Rates]]) -> Table:
    """What the same funding rates seem to predict when they are read too early, in time, or late."""
    rows = []
    words = {1: "the one still to come", 0: "just settled", -1: "the one before"}
    for market, settled in markets:
        for ahead, which in words.items():
            found = Finding(tests.funding_family(market, settled, ahead=ahead))
            best = found.gross.first
            gain = found.family.gross[:, best]
            turned = float(found.family.turnover[:, best].sum())
            rows.append(
                (
                    f"{market.name}: {which}",
                    found.family.names[best],
                    a_year(gain),
                    number(float(gain.sum()) / turned * 1e4, 1, sign=True),
                    chance(found.gross.corrected[best]),
                )
            )
    head = ("settlement read", "best before costs", "% a year", "bps a fill", "p, best of tries")
    return Table(head, tuple(rows))


def volatility_table(markets: Sequence[Bars]) -> Table:
    """Something that does predict: how much a day moved, of how much the next one moves.

    The correlation of both days' logarithms of realised volatility, with its bootstrap interval.
    """
    rows = []
    for market in markets:
        day = market.at_ms // tests.DAY_MS
        starts = np.flatnonzero(np.diff(day, prepend=-1))
        moved = np.add.reduceat(np.log(market.close / market.open) ** 2, starts)
        whole = np.diff(starts, append=len(market)) == tests.DAY_MS // market.step_ms
        today, next_day = (
            np.log(np.sqrt(np.where(moved > 0, moved, np.nan)))[:, None].repeat(2, 1).T
        )
        pairs = (np.diff(day[starts]) == 1) & whole[:-1] & whole[1:]
        x, y = today[:-1][pairs], next_day[1:][pairs]
        product = (x - x.mean()) * (y - y.mean()) / (x.std() * y.std())
        found = interval(product, "mean", resamples=tests.RESAMPLES)
        rows.append(
            (
                market.name,
                f"{len(x):,}",
                number(found.estimate, 2),
                f"{number(found.low, 2)} to {number(found.high, 2)}",
            )
        )
    return Table(("series", "pairs of days", "correlation", "95 % interval"), tuple(rows))


def report(
    symbols: Sequence[str],
    funding: Path | str,
    candles: Path | str,
    perpetual: Path | str | None = None,
    spot: Path | str | None = None,
    hours: Path | str | None = None,
) -> str:
    """All tests as Markdown: a sentence and a table each.

    funding    settlements of the perpetuals
    candles    of the perpetuals, for funding, signed volume and calendar
    perpetual, spot  candles of both markets at the same times, for the basis
    hours      hourly candles of an earlier stretch, on which variants are chosen
    """
    used: list[Bars | tuple[str, Rates]] = []
    findings, pairs, markets = [], [], []
    for symbol in symbols:
        settled, market = rates(funding, symbol), bars(candles, symbol, "linear")
        markets.append((market, settled))
        used += [market, (f"{symbol} funding", settled)]
        families = [
            tests.funding_family(market, settled),
            tests.flow_family(market, settled),
            tests.calendar_family(market, settled),
        ]
        findings += [Finding(family) for family in families]
        if perpetual is not None and spot is not None:
            near, far = bars(perpetual, symbol, "linear"), bars(spot, symbol, "spot")
            used += [near, far]
            findings.append(Finding(tests.basis_family(near, far, settled)))
        if hours is not None:
            before = bars(hours, symbol, "spot")
            used.append(before)
            both = before.span(int(settled.at_ms[0]), int(market.at_ms[0]))
            earlier = [
                tests.funding_family(both, settled),
                tests.flow_family(before, Rates.none()),
                tests.calendar_family(before, Rates.none()),
            ]
            pairs += [(Finding(then), now) for then, now in zip(earlier, families, strict=True)]
    parts = [
        ("What was tested on", data_table(used)),
        ("Does it predict? Before costs, the drift of the price taken out", predicts(findings)),
        ("Does it pay? After fees, half the spread and funding", pays(findings)),
    ]
    if pairs:
        parts.append(("Does it last? Chosen on one stretch, judged on a later one", keeps(pairs)))
    parts.append(("How fast is it gone? The same positions, filled later", delay_table(markets)))
    parts.append(("What a look ahead would have promised", ahead_table(markets)))
    parts.append(
        ("What does predict: volatility of a day and of the next", volatility_table([m for m, _ in markets]))
    )  # fmt: skip
    return "\n\n".join(f"### {title}\n\n{table._repr_markdown_()}" for title, table in parts)
