"""Notebook 03: its figures by hand, on made-up settlements and on those of a lake."""

from __future__ import annotations

import re
from decimal import Decimal

import numpy as np
import pytest

from tests.market.tables import ask
from tests.recorded import recorded
from tgtqr_lib.domain import DomainError, StoreError
from tgtqr_lib.home import Home
from tgtqr_lib.learn import Play, funding_rates
from tgtqr_lib.learn.funding_rates import Settled
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.market.funding_lake import FundingLake, FundingRates
from tgtqr_lib.market.importer import import_file
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.synthetic import SyntheticSource
from tgtqr_lib.signals.predicted_funding import rate_of

HOUR = 3_600_000
FIRST = 1_735_689_600_000  # 2025-01-01T00:00Z


def rates_of(*bps, minutes=480, symbol="BTCUSDT") -> FundingRates:
    """Settlements from 2025 on at rates in basis points."""
    at = [FIRST + n * minutes * 60_000 for n in range(len(bps))]
    units = [int(Decimal(str(one)) * 10**6) for one in bps]
    return FundingRates.of(symbol, at, units, minutes, "by hand")


def past_of(*bps, **other) -> Settled:
    return Settled(rates_of(*bps, **other), "by hand", False)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory) -> Settled:
    return funding_rates.settled(home=tmp_path_factory.mktemp("home"))


# one interval


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_an_interval_is_one_of_the_made_up_market_that_left_the_dead_zone(symbol):
    one = funding_rates.interval(symbol)
    assert len(one.premiums) == 480 and one.end_ms % (8 * HOUR) == 0
    assert not one.made.at_interest
    assert f"{symbol} linear, 480 made-up premiums" in one.label
    # the simulator, asked over HTTP, settled there at the same rate
    with running(SyntheticSource(1), SimulatorClock(one.end_ms + 60_000)) as simulator:
        query = f"category=linear&symbol={symbol}&limit=1"
        _, reply = ask(f"{simulator.url}/v5/market/funding/history?{query}")
    (newest,) = reply["result"]["list"]
    assert int(newest["fundingRateTimestamp"]) == one.end_ms
    assert Decimal(newest["fundingRate"]) == Decimal(one.made.rate).scaleb(-8)


def test_the_steps_of_an_interval_end_in_its_rate():
    one = funding_rates.interval()
    rows = {name: Decimal(value) for name, value, _ in one.steps.rows}
    assert rows["P, weighted 1 to n"] + rows["clamp(I - P)"] == rows["P + clamp(I - P)"]
    assert rows["I, interest"] - rows["P, weighted 1 to n"] == rows["I - P"]
    assert abs(rows["P + clamp(I - P)"] - rows["rate"]) <= Decimal("0.5e-8")
    weights = np.arange(1, 481)
    assert float(rows["P, weighted 1 to n"]) == pytest.approx(
        np.average(one.premiums, weights=weights), abs=2e-12
    )
    assert one.in_sight[-1] == float(rows["rate"])
    assert one.average[-1] == pytest.approx(float(rows["P, weighted 1 to n"]), abs=2e-12)
    assert "it settled at" in one.picture.text and "<svg" in one.picture.svg


# the curve


@pytest.mark.parametrize(
    "premium, doublings, words",
    [
        # 12 - 5 = 7 bps: 0.0007 a settlement, 3 a day, x 365 = 0.7665
        (12.0, 3, ["makes +7.00 bps", "longs pay shorts", "0.00070000", "3 settlements", "0.7665"]),
        (12.0, 0, ["makes +7.00 bps", "24 settlements", "6.1320"]),  # 0.0007 x 24 x 365
        (3.0, 3, ["makes +1.00 bps", "dead zone", "0.00010000"]),
        (3.0, 0, ["makes +0.12 bps", "dead zone", "0.00001250"]),
        (-5.0, 3, ["makes 0.00 bps", "nobody pays", "premium plus 5.00 bps"]),
        (
            -12.0,
            2,
            ["makes −7.00 bps", "shorts pay longs", "premium plus 5.00 bps", "6 settlements"],
        ),
        (60.0, 3, ["makes +37.50 bps", "the limit of 37.50 bps holds it"]),
    ],
)
def test_the_curve_tells_its_point_in_words(premium, doublings, words):
    html = funding_rates.curve(premium, doublings)
    assert all(word in html for word in words), html[html.index("<p>") :]


def test_the_curve_is_drawn_at_every_place_of_its_sliders():
    play = Play(
        funding_rates.curve,
        premium_bps=(12.0, -60.0, 60.0, 0.5, "premium"),
        doublings=(3, 0, 3, 1, "interval"),
    )
    pictures = {
        play.set(premium_bps=premium, doublings=doublings).html
        for premium in (-60.0, -4.0, 0.0, 6.0, 60.0)
        for doublings in range(4)
    }
    assert len(pictures) == 20
    assert not any("Not shown" in one for one in pictures)


# settlements


def test_without_a_lake_they_are_those_of_the_simulator(made_up):
    assert len(made_up.rates) == 1095 and made_up.made_up
    assert "1,095 made-up settlements, 2025-01-01 to 2025-12-31" in made_up.label
    assert "Nobody paid these" in made_up._repr_markdown_()
    assert made_up.years == 1.0
    assert 0 < made_up.at_interest.sum() < 1095
    assert funding_rates.recomputed(made_up).all() and funding_rates.came_back(made_up).all()


def test_a_settlement_that_its_premiums_do_not_make_is_noticed(made_up):
    units = made_up.rates.units.copy()
    units[7] += 100
    rates = FundingRates.of("BTCUSDT", made_up.rates.at_ms, units, 480, "altered")
    same = funding_rates.recomputed(Settled(rates, "", True))
    assert not same[7] and same.sum() == len(same) - 1


def test_a_lake_with_funding_goes_before_made_up_ones(tmp_path):
    home = Home(tmp_path)
    FundingLake(home.data / "funding").write(rates_of(*([1] * 9), 2.5))
    past = funding_rates.settled(home=home, days=2)
    assert not past.made_up and "6 recorded settlements" in past.label
    assert past.rates.units.tolist() == [1_000_000] * 5 + [2_500_000]
    assert "from by hand" in past._repr_markdown_()


def test_a_damaged_lake_is_told_and_not_passed_over(tmp_path):
    home = Home(tmp_path)
    FundingLake(home.data / "funding").write(rates_of(1, 2))
    (home.data / "funding" / "linear" / "BTCUSDT.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError):
        funding_rates.settled(home=home)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: funding_rates.settled("XRPUSDT"), "symbol 'XRPUSDT' is unknown"),
        (lambda: funding_rates.settled(days=0), "days 0 is out of range"),
        (lambda: funding_rates.interval("XRPUSDT"), "symbol 'XRPUSDT' is unknown"),
        (lambda: funding_rates.interval(minutes=100), "interval of 100 minutes"),
        (lambda: funding_rates.shorter(days=True), "days True is out of range"),
        (lambda: past_of(), "no settlement was given"),
    ],
)
def test_what_cannot_be_is_refused(call, sentence):
    with pytest.raises(DomainError, match=sentence):
        call()


# what a rate says


@pytest.mark.parametrize(
    "rate, minutes, low, high",
    [
        (10_000, 480, -400_000_000, 600_000_000),  # the interest: 0.01 % -+ 0.05 %
        (10_001, 480, 600_010_000, 600_010_000),
        (9_999, 480, -400_010_000, -400_010_000),
        (0, 480, -500_000_000, -500_000_000),
        (1_250, 60, -487_500_000, 512_500_000),
        (10_000, 60, 600_000_000, 600_000_000),  # no interest of an hour
        (375_000, 480, 4_250_000_000, 10**12),  # at the limit it may be anything above
        (-375_000, 480, -(10**12), -4_250_000_000),
    ],
)
def test_a_rate_implies_its_premium(rate, minutes, low, high):
    assert funding_rates.implied(rate, minutes) == (low, high)
    for premium in (low, high):
        assert rate_of(np.full(minutes, premium / 10**12), minutes) == rate


def test_rates_are_sorted_by_what_they_say():
    past = past_of(1, 1, 1, 3.5, -0.25)
    rows = {row[0]: row[2:] for row in funding_rates.says(past).rows}
    assert rows["exactly the interest"] == ("3", "60.0%", "+1.00 bps", "3 of 3")
    assert rows["above the interest"] == ("1", "20.0%", "+3.50 bps", "1 of 1")
    assert rows["below the interest"] == ("1", "20.0%", "−0.25 bps", "1 of 1")


def test_a_rate_of_more_than_eight_digits_does_not_come_back():
    past = Settled(FundingRates.of("BTCUSDT", [FIRST], [1_234_501], 480, "odd"), "odd", False)
    assert not funding_rates.came_back(past).any()


def test_rates_beyond_todays_limit_come_back_under_one_of_their_own():
    assert funding_rates.came_back(past_of(1, 60, -60, 37.5)).all()


# who pays


def test_payments_are_rounded_up_and_receipts_down_each_by_itself():
    rates = FundingRates.of("BTCUSDT", [FIRST, FIRST + 8 * HOUR, FIRST + 16 * HOUR],
                            [1_000_001, -1_000_001, 0], 480, "odd")  # fmt: skip
    # 0.0001000001: up to 0.00010001, down to 0.00010000
    each = [str(one) for one in funding_rates.charges(rates)]
    assert [Decimal(one) for one in each] == [
        Decimal("0.00010001"),
        Decimal("-0.0001"),
        Decimal("0"),
    ]
    one = funding_rates.paid(rates)
    assert (one.paid, one.received) == (Decimal("0.00010001"), Decimal("0.00010000"))
    assert one.net == Decimal("1E-8")
    # 0.33333333 x 0.0001000001 = 0.0000333336663...
    some = funding_rates.paid(rates, Decimal("0.33333333"))
    assert (some.paid, some.received) == (Decimal("0.00003334"), Decimal("0.00003333"))


def test_years_add_up_to_the_whole():
    past = past_of(*([1] * 1095), *([-2] * 3))  # all of 2025, and a day of 2026
    rows = {row[0]: row[1:] for row in funding_rates.years(past).rows}
    assert rows["2025"] == (
        "1,095",
        "100%",
        "0%",
        "0.10950000",
        "0.00000000",
        "+0.10950000",
        "10.95%",
    )
    assert rows["2026"][:5] == ("3", "0%", "100%", "0.00000000", "0.00060000")
    assert rows["all"][3:6] == ("0.10950000", "0.00060000", "+0.10890000")
    assert [row[0] for row in funding_rates.years(past_of(1, 1)).rows] == ["2025"]


@pytest.mark.parametrize(
    "bps, begins, has",
    [
        ([1, 1, 1, 2], "Holding a long cost money", "100% of them, shorts at 0%"),
        ([-1, -2, 1], "Holding a long was paid for", "33% of them, shorts at 67%"),
        ([1, -1], "Holding cost nothing on balance", "50% of the rates are the interest"),
    ],
)
def test_the_answer_follows_the_figures(bps, begins, has):
    text = str(funding_rates.answer(past_of(*bps)))
    assert text.startswith(begins) and has in text
    assert "made up" not in text


def test_the_answer_counts_in_digits_that_can_be_checked():
    text = str(funding_rates.answer(past_of(1, 1, 2, -4, 5)))
    # 0.0001 + 0.0001 + 0.0002 + 0.0005 paid, 0.0004 received; 5 bps in 5/3 days of 365
    assert (
        "paid 0.00090000 and received 0.00040000 USDT, net +0.00050000 USDT or 10.95% a year"
        in text
    )
    assert "took +5.00 bps" in text
    assert "11.00 bps, are as much as 11 settlements" in text  # at 1 bp in the mean


def test_the_answer_to_made_up_settlements_says_so(made_up):
    assert str(funding_rates.answer(made_up)).endswith("not its price.")


# exercises


def test_a_rate_has_several_yearly_figures():
    rows = {row[0]: row[1] for row in funding_rates.annualised(past_of(3, 1)).rows}
    assert rows["the last rate, as quoted"] == "+0.0100%"
    assert rows["the last rate, a year, simple"] == "+10.95%"  # 0.01 % x 1095
    assert rows["the last rate, a year, compounded"] == "+11.57%"  # 1.0001 ** 1095 - 1
    assert rows["what was settled, a year, simple"] == "+21.90%"  # 2 bps in the mean
    assert (
        rows["what was settled, a year, compounded"] == "+24.48%"
    )  # (1.0003 x 1.0001) ** 547.5 - 1


def test_the_days_to_break_even_are_the_fees_saved_over_the_funding_of_a_day():
    rows = {row[0]: row[1] for row in funding_rates.break_even(past_of(1, 1, 1)).rows}
    # 2 x 10 - 2 x 5.5 = 9 bps, at 3 bps a day
    assert rows["saved by the perpetual"] == "9.0 bps"
    assert rows["used up after"] == "3.0 days"
    rows = {row[0]: row[1] for row in funding_rates.break_even(past_of(-1)).rows}
    assert rows["used up after"] == "never: funding is received"


def test_shorter_intervals_cost_the_premium_more_often(made_up):
    rows = {row[0]: row[1:] for row in funding_rates.shorter().rows}
    assert [*rows] == ["8 h", "4 h", "2 h", "1 h"]
    assert [row[0] for row in rows.values()] == ["1,095", "2,190", "4,380", "8,760"]
    # 10 - 5 bps at each of 3, 6, 12 and 24 settlements
    assert [row[-1] for row in rows.values()] == ["15.00", "30.00", "60.00", "120.00"]
    # 0.03 % a day
    assert [row[1] for row in rows.values()] == ["1.000", "0.500", "0.250", "0.125"]
    one = funding_rates.paid(made_up.rates)
    assert rows["8 h"][3:5] == (f"{one.paid:.4f}", f"{one.received:.4f}")
    paid, received = ([float(row[i]) for row in rows.values()] for i in (3, 4))
    assert paid == sorted(paid) and received == sorted(received)


# recorded settlements


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_every_figure_holds_on_recorded_settlements(tmp_path, symbol):
    home = Home(tmp_path)
    path = recorded("funding_8h_bybit-linear.parquet")
    lake = FundingLake(home.data / "funding")
    import_file(path, Lake(home.candles), funding=lake)
    past = funding_rates.settled(symbol, days=3650, home=home)
    assert len(past.rates) == 4890 and not past.made_up
    assert funding_rates.came_back(past).all()
    assert past.rates.units.max() == 37_500_000  # at the limit, in 2021
    text = str(funding_rates.answer(past))
    shown = float(re.search(r"net \+([\d.]+) USDT", text).group(1))
    # the floats of the file, but for the rounding of each of 4,890 payments
    assert shown == pytest.approx(past.fractions.sum(), abs=4890e-8)
    assert "made up" not in text
    years = [row[0] for row in funding_rates.years(past).rows]
    assert years == ["2021", "2022", "2023", "2024", "2025", "all"]
