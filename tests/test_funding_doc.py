"""docs/funding_rates.md: every number in its tables, computed again from the ones before it.

The example is worked with fractions from the premiums that the page names, and by the library. What recorded
rates say needs the recorded data; without it those tests are skipped.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction as F
from math import ceil, floor

import duckdb
import numpy as np
import pytest

from tests.recorded import recorded
from tests.stage import PROJECT
from tgtqr_lib.backtest import kernel, money, run
from tgtqr_lib.clock import to_ms
from tgtqr_lib.domain import Candles
from tgtqr_lib.execution import mark_value, round_down, round_up
from tgtqr_lib.learn import funding_rates
from tgtqr_lib.market.funding_lake import FundingRates
from tgtqr_lib.market.recorded import RecordedSource
from tgtqr_lib.research import plan
from tgtqr_lib.signals.predicted_funding import made_of, rate_of

PAGE = (PROJECT / "docs" / "funding_rates.md").read_text("utf-8")
SYMBOLS = ("BTCUSDT", "ETHUSDT")
PLACES = [*enumerate(SYMBOLS)]  # column and symbol of the recorded tables
HOURS_8 = 8 * 3_600_000
UNIT, TRILLION = F(1, 10**8), 10**12
INTEREST, CLAMP = F(1, 10_000), F(5, 10_000)
FUNDING = "funding_8h_bybit-linear.parquet"


def table(head: str) -> dict[str, list[str]]:
    """The table whose first column is called `head`: name -> the other cells."""
    rows = re.findall(
        rf"^\| {re.escape(head)} \|.*\n\|[-| :]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE
    )
    assert len(rows) == 1, f"{len(rows)} tables with the head {head}, expected one"
    cells = [[c.strip() for c in line.strip("|\n ").split("|")] for line in rows[0].splitlines()]
    return {name: rest for name, *rest in cells}


def exact(text: str) -> F:
    return F(text.replace(",", ""))


def numbers(head: str) -> dict[str, F]:
    return {name: exact(cells[0]) for name, cells in table(head).items()}


def cut(value: F) -> F:
    """Twelve decimals and no more, toward zero, as the page writes long numbers."""
    return F(floor(abs(value) * TRILLION), TRILLION) * (1 if value >= 0 else -1)


def formula(premiums, interest=INTEREST, cap=F(375, 100_000)) -> F:
    """The rate by the formulas of the page, not by the library; premiums in 1e-12, oldest first."""
    weights = range(1, len(premiums) + 1)
    total = sum(w * p for w, p in zip(weights, premiums, strict=True))
    average = F(total, sum(weights) * TRILLION)
    free = average + min(max(interest - average, -CLAMP), CLAMP)
    return min(max(F(floor(free / UNIT + F(1, 2))) * UNIT, -cap), cap)


def by_library(premiums, minutes=480) -> F:
    return rate_of(np.array(premiums) / TRILLION, minutes) * UNIT


def whole(fraction: F) -> int:
    """A fraction of twelve decimals at most, in 1e-12."""
    assert (fraction * TRILLION).denominator == 1
    return int(fraction * TRILLION)


# the worked example


def test_the_premium_of_the_example_comes_from_its_book():
    book = numbers("book")
    index, bid, ask = book["index"], book["impact bid"], book["impact ask"]
    assert cut((max(0, bid - index) - max(0, index - ask)) / index) == book["premium"]


def test_every_step_of_the_example_follows_from_the_premiums_that_it_names():
    step = numbers("step")
    early, late = step["premium, minutes 1 to 240"], step["premium, minutes 241 to 480"]
    weights = [sum(range(1, 241)), sum(range(241, 481))]
    average = (weights[0] * early + weights[1] * late) / sum(weights)
    assert step["weights 1 + ... + 240"] == weights[0]
    assert step["weights 241 + ... + 480"] == weights[1]
    assert step["weights together"] == sum(weights)
    assert step["P"] == cut(average)
    assert f"{average.numerator} / {average.denominator:,}" in PAGE
    assert step["I"] == F(3, 10_000) / (24 / F(8)) == INTEREST
    assert step["I - P"] == cut(INTEREST - average)
    assert step["clamp(I - P)"] == -CLAMP
    assert step["F"] == cut(average - CLAMP)
    assert step["rate"] == formula([whole(early)] * 240 + [whole(late)] * 240)
    worth = step["quantity held, BTC"] * step["mark price"]
    assert step["position, USDT"] == worth
    assert step["position x rate, USDT"] == worth * step["rate"]
    assert step["the long pays, USDT"] == ceil(worth * step["rate"] / UNIT) * UNIT
    assert step["the short receives, USDT"] == floor(worth * step["rate"] / UNIT) * UNIT


def test_the_library_takes_every_step_of_the_example():
    cells = {name: Decimal(one[0].replace(",", "")) for name, one in table("step").items()}
    halves = [cells["premium, minutes 1 to 240"], cells["premium, minutes 241 to 480"]]
    made = made_of(np.repeat([float(p) for p in halves], 240))
    trillionth = Decimal("1e-12")
    assert made.average * trillionth == cells["P"]
    assert made.interest * trillionth == cells["I"]
    assert made.pulled * trillionth == cells["clamp(I - P)"]
    assert made.free * trillionth == cells["F"]
    assert made.rate == int(cells["rate"].scaleb(8))
    owed = cells["quantity held, BTC"] * cells["mark price"] * cells["rate"]
    assert round_up(owed) == cells["the long pays, USDT"]
    assert round_down(owed) == cells["the short receives, USDT"]
    assert mark_value(cells["quantity held, BTC"], cells["mark price"]) == cells[
        "position, USDT"
    ].quantize(Decimal("1e-8"))


def test_what_the_example_varies_is_computed_both_ways():
    step, said = numbers("step"), numbers("variant")
    early, late = (whole(step[f"premium, minutes {n}"]) for n in ("1 to 240", "241 to 480"))
    halves = [early] * 240 + [late] * 240
    cases = {
        "rate if every minute weighed the same": ([(early + late) // 2] * 480, 480),
        "rate if the halves came the other way round": (halves[::-1], 480),
        "rate if every premium were negative": ([-p for p in halves], 480),
        "rate in sight after the first half": (halves[:240], 480),
        "rate of the last hour, at an interval of 1 hour": (halves[-60:], 60),
        "8 hours at its premium, at an interval of 8 hours": ([late] * 480, 480),
        "rate at a premium of 1 %": ([TRILLION // 100] * 480, 480),
    }
    for name, (premiums, minutes) in cases.items():
        interest = F(3, 10_000) * minutes / 1440
        assert said[name] == formula(premiums, interest) == by_library(premiums, minutes), name
    negative = said["rate if every premium were negative"] * step["position, USDT"]
    assert said["then the long receives, USDT"] == floor(-negative / UNIT) * UNIT
    assert said["then the short pays, USDT"] == ceil(-negative / UNIT) * UNIT
    hourly = said["rate of the last hour, at an interval of 1 hour"]
    assert said["eight such hours"] == 8 * hourly
    assert said["the rate of the example for a year, simple"] == step["rate"] * 3 * 365
    assert len(said) == len(cases) + 4  # nothing on the page is left out here


def test_the_figures_in_the_prose_follow_too():
    assert "10.95 % a year" in PAGE and 3 * 365 * F("0.01") == F("10.95")
    assert "for 1 hour is 87.6 %" in PAGE and 24 * 365 * F("0.01") == F("87.6")
    line = re.search(r"8 h: (\S+) +4 h: (\S+) +2 h: (\S+) +1 h: (\S+)", PAGE)
    for hours, said in zip((8, 4, 2, 1), line.groups(), strict=True):
        assert exact(said) == F(3, 10_000) / (24 / F(hours))


# what recorded rates say


@pytest.fixture(scope="module")
def settled() -> dict[str, list[tuple[int, F]]]:
    """Symbol -> (settlement, rate), rates as the short decimals that they were; read without the kit."""
    with duckdb.connect() as con:
        rows = con.execute(
            "select symbol, epoch_ms(ts), cast(rate as varchar) from read_parquet(?) order by ts",
            [str(recorded(FUNDING))],
        ).fetchall()
    return {s: [(at, F(rate)) for name, at, rate in rows if name == s] for s in SYMBOLS}


def uneven(average: F, seed: int) -> list[int]:
    """480 premiums, many different by chance, whose weighted average is exactly `average`; in 1e-12.

    What minute 2k is moved down, minute k is moved up twice: k x 2d = 2k x d.
    """
    moved = np.random.default_rng(seed).integers(1, 10**9, 120).tolist()
    premiums = [whole(average)] * 480
    for k, d in enumerate(moved, 121):
        premiums[k - 1] += 2 * d
        premiums[2 * k - 1] -= d
    return premiums


def averages(rate: F) -> list[F]:
    """The average premiums that a rate admits: both edges of the dead zone, or the one beside it."""
    if rate == INTEREST:
        return [INTEREST - CLAMP, INTEREST, INTEREST + CLAMP]
    return [rate + CLAMP if rate > INTEREST else rate - CLAMP]


@pytest.mark.parametrize("place, symbol", PLACES)
def test_every_recorded_rate_comes_back_from_premiums_with_the_average_that_it_implies(
    settled, place, symbol
):
    back = 0
    for row, (_, rate) in enumerate(settled[symbol]):
        found = set()
        for average in averages(rate):
            premiums = uneven(average, row)
            found |= {by_library(premiums), formula(premiums)}
        back += found == {rate}
    said = table("recorded")["the formula gives the rate back, to the eighth digit"][place]
    assert back == len(settled[symbol]) == exact(said)


def test_at_least_300_recorded_rates_lie_right_beside_the_clamp_and_tell_its_sides_apart(settled):
    rates = {rate for symbol in SYMBOLS for _, rate in settled[symbol]} - {INTEREST}
    near = sorted(rates, key=lambda rate: abs(rate - INTEREST))[:400]
    assert len(near) >= 300 and abs(near[-1] - INTEREST) < CLAMP
    assert min(near) < INTEREST < max(near)
    for rate in near:
        (average,) = averages(rate)
        outward = 1 if rate > INTEREST else -1
        assert by_library(uneven(average, 1)) == formula(uneven(average, 1)) == rate
        # one hundred-millionth further out is another rate; inside the zone none of them is
        assert by_library([whole(average + outward * UNIT)] * 480) == rate + outward * UNIT
        edge = INTEREST + outward * CLAMP
        assert by_library([whole(edge)] * 480) == INTEREST
        assert by_library([whole(edge - outward * UNIT)] * 480) == INTEREST


@pytest.mark.parametrize("place, symbol", PLACES)
def test_the_table_of_recorded_rates_is_counted_from_the_file(settled, place, symbol):
    said = {name: exact(cells[place]) for name, cells in table("recorded").items()}
    rates = [rate for _, rate in settled[symbol]]
    assert said["settlements"] == len(rates)
    assert said["rate exactly 0.0001: P within 0.05 % of I"] == rates.count(INTEREST)
    assert said["above: P = rate + 0.05 %"] == sum(rate > INTEREST for rate in rates)
    assert said["below: P = rate - 0.05 %"] == sum(rate < INTEREST for rate in rates)
    assert said["below zero: shorts paid"] == sum(rate < 0 for rate in rates)
    assert (said["highest rate"], said["lowest rate"]) == (max(rates), min(rates))


def test_more_than_two_rates_of_five_are_the_interest(settled):
    rates = [rate for symbol in SYMBOLS for _, rate in settled[symbol]]
    assert f"{len(rates):,} settlements of Bybit's" in PAGE
    assert F(2, 5) < F(rates.count(INTEREST), len(rates)) < F(1, 2)


def lake_rates(symbol: str, rows: list[tuple[int, F]]) -> FundingRates:
    units = [int(rate * 10**10) for _, rate in rows]
    return FundingRates.of(symbol, [at for at, _ in rows], units, 480, "recorded")


def settled_by_the_kernel(rates: FundingRates) -> tuple[int, int]:
    """Units of 1e-8 paid and received by 1.00 USDT, by the compiled code that settles a backtest.

    A price that stands at one step, and a scale at which the quantity is worth 1.00 of it.
    """
    terms = np.zeros((1, 13), np.int64)
    terms[0, money.SCALE] = 1
    account, held = np.zeros(6, np.int64), np.zeros((1, 5), np.int64)
    held[0, kernel.QUANTITY] = 10**8
    rows = np.column_stack([np.zeros(len(rates), np.int64), rates.at_ms, rates.units])
    done, paid, received, before = np.zeros(1, np.int64), 0, 0, 0
    for at in rates.at_ms.tolist():
        kernel.settle(at, 0, 1, terms, rows, done, account, held)
        charge = int(account[kernel.FUNDING]) - before
        paid, received = paid + max(charge, 0), received + max(-charge, 0)
        before += charge
    assert account[kernel.CASH] == -before and done[0] == len(rates)
    return paid, received


@pytest.mark.parametrize("place, symbol", PLACES)
def test_the_sum_of_2024_is_the_same_three_ways_to_the_eighth_digit(settled, place, symbol):
    first, last = (to_ms(datetime(year, 1, 1, tzinfo=UTC)) for year in (2024, 2025))
    rows = [(at, rate) for at, rate in settled[symbol] if first <= at < last]
    said = {name: cells[place] for name, cells in table("recorded").items()}
    assert exact(said["settlements of 2024"]) == len(rows) == 366 * 3

    # by hand: 1.00 x rate, each payment up, each receipt down
    paid = sum(ceil(rate / UNIT) for _, rate in rows if rate > 0)
    received = sum(floor(-rate / UNIT) for _, rate in rows if rate < 0)
    assert exact(said["a long of 1.00 USDT paid in 2024, USDT"]) == paid * UNIT
    assert exact(said["and received, USDT"]) == received * UNIT
    assert exact(said["net, USDT"]) == (paid - received) * UNIT

    rates = lake_rates(symbol, rows)
    one = funding_rates.paid(rates)
    assert (one.paid, one.received) == (Decimal(paid).scaleb(-8), Decimal(received).scaleb(-8))
    assert settled_by_the_kernel(rates) == (paid, received)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_a_backtest_over_recorded_candles_is_charged_the_same_by_hand(settled, symbol):
    source = RecordedSource(recorded("candles_1m_bybit-linear.parquet"))
    rows = source.candles(symbol, 0, 2**60)
    columns = [rows[name] for name in ("open_ms", "open", "high", "low", "close", "volume")]
    candles = Candles(symbol, source.price_decimals(symbol), *columns, "linear")
    rates = lake_rates(symbol, settled[symbol])
    found = run(candles, plan(), None, funding={symbol: rates})
    minute = {int(at): row for row, at in enumerate(candles.open_ms)}
    total, times = 0, 0
    for trade in found.trades:
        opened, closed = (to_ms(at) for at in (trade.entry_at, trade.exit_at))
        for at, rate in settled[symbol]:
            if opened < at <= closed:  # decided on after the settlement of the same moment
                close = F(candles.price(candles.close[minute[at - 60_000]]))
                owed = F(trade.quantity) * close * rate
                total += ceil(owed / UNIT) if owed > 0 else -floor(-owed / UNIT)
                times += 1
    assert times > 10
    assert F(found.funding) == total * UNIT


# the formula against recorded rates, by premiums of closes


@pytest.mark.parametrize("place, symbol", PLACES)
def test_rates_made_of_recorded_closes_are_as_near_as_the_page_says(settled, place, symbol):
    linear, spot = (recorded(f"candles_5m_bybit-{name}.parquet") for name in ("linear", "spot"))
    with duckdb.connect() as con:
        found = con.execute(
            "select epoch_ms(l.ts) as at, l.close / s.close - 1 as premium from read_parquet(?) l "
            "join read_parquet(?) s on l.ts = s.ts and l.symbol = s.symbol where l.symbol = ? order by 1",
            [str(linear), str(spot), symbol],
        ).fetchnumpy()
    rates = {at: float(rate) for at, rate in settled[symbol]}
    made: dict[str, list[float]] = {name: [] for name in table("rate made by")}
    for start in range(int(found["at"][0]) // HOURS_8 * HOURS_8, int(found["at"][-1]), HOURS_8):
        end = start + HOURS_8
        seen = found["premium"][(found["at"] >= start) & (found["at"] < end)]
        if len(seen) < 96 or end + HOURS_8 not in rates:
            continue
        premiums = np.repeat(seen, 5)
        weighted = float(premiums @ np.arange(1, 481)) / 115_440
        for name, rate, settled_at in (
            ("the formula", rate_of(premiums) / 1e8, end),
            ("the formula, every minute weighing the same",
             rate_of(np.full(480, premiums.mean())) / 1e8, end),
            ("the formula, the oldest minute weighing most", rate_of(premiums[::-1]) / 1e8, end),
            ("the formula, but paid one interval later", rate_of(premiums) / 1e8, end + HOURS_8),
            ("P alone, without the clamp", weighted, end),
            ("the last rate once more", rates[start], end),
            ("0.0001 always", 0.0001, end),
        ):  # fmt: skip
            made[name].append(abs(rate - rates[settled_at]))
    for name, distances in made.items():
        assert f"over {len(distances)} settlements" in PAGE
        said = table("rate made by")[name][place]
        assert f"{np.mean(distances) * 1e4:.2f}" == said, name
