"""A fetch asks for what is missing, keeps what came, and knows what there is not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tgtqr_lib.cli import main
from tgtqr_lib.clock import parse_time, to_ms
from tgtqr_lib.domain import Candles, DataError, DomainError, VenueUnavailable
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.market.client import Client
from tgtqr_lib.market.fetch import fetch_candles, fetch_funding, joined_runs
from tgtqr_lib.market.funding_lake import FundingLake, FundingRates
from tgtqr_lib.market.gaps import Gap
from tgtqr_lib.market.history import ExchangeHistory, Settlement
from tgtqr_lib.market.series_id import SeriesId
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.synthetic import SyntheticSource

MINUTE = 60_000
START = parse_time("2025-05-31T12:00Z")
END = parse_time("2025-06-02T12:00Z")  # 2880 minutes in two months
NOW = parse_time("2025-06-10T12:00:03Z")
SPOT = SeriesId("BTCUSDT")
KLINE = "/v5/market/kline"


class Holes(SyntheticSource):
    """The synthetic market of seed 7 without some minutes, given as (from, to) texts."""

    def __init__(self, *holes: tuple[str, str]) -> None:
        super().__init__(7)
        self.holes = [(to_ms(parse_time(a)), to_ms(parse_time(b))) for a, b in holes]

    def candles(self, symbol: str, start_ms: int, end_ms: int) -> np.ndarray:
        rows = super().candles(symbol, start_ms, end_ms)
        for first, end in self.holes:
            rows = rows[(rows["open_ms"] < first) | (rows["open_ms"] >= end)]
        return rows


HOLED = Holes(
    ("2025-05-31T23:50Z", "2025-06-01T00:10Z"),  # over the turn of the month
    ("2025-06-01T06:00Z", "2025-06-01T06:01Z"),
)
HOLES = (
    "2025-05-31 23:50 to 2025-06-01 00:10 UTC",
    "2025-06-01 06:00 to 2025-06-01 06:01 UTC",
)


@pytest.fixture(scope="module")
def market():
    with running(HOLED, SimulatorClock(to_ms(NOW))) as simulator:
        client = Client(simulator.url, timeout_s=2, simulated=True)
        client.simulator = simulator
        yield client
        client.close()


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "candles")


def fetch(market, lake, start=START, end=END, now=NOW, symbol="BTCUSDT", category="spot", **how):
    history = ExchangeHistory(market, category)
    return fetch_candles(history, lake, symbol, start, end, now, **how)


def asked(market) -> int:
    return market.simulator.state()["requests"].get(KLINE, 0)


def whole(lake: Lake, market="spot", **how) -> Candles:
    return lake.read("BTCUSDT", START - timedelta(days=99), NOW, market, **how)


def source_of(lake: Lake, series=SPOT) -> list[str]:
    return [source for source, _ in lake.origins(series, to_ms(START), to_ms(END))]


# candles


def test_what_was_fetched_is_what_the_source_has(market, lake):
    report = fetch(market, lake)
    rows = HOLED.candles("BTCUSDT", to_ms(START), to_ms(END))
    candles = whole(lake)
    assert candles.open_ms.tolist() == rows["open_ms"].tolist()
    for name in ("open", "high", "low", "close", "volume"):
        assert getattr(candles, name).tolist() == rows[name].tolist()
    # 2880 minutes without the 21 of the holes
    assert (report.asked, report.added, report.gap_rows) == (2880, 2859, 21)
    assert report.gaps == HOLES and report.odd == ()
    assert source_of(lake) == ["simulator (synthetic market, seed 7) spot"]
    assert lake.verify().ok


def test_a_second_fetch_asks_for_nothing_and_gaps_are_listed(market, lake):
    fetch(market, lake)
    before, files = asked(market), {p: p.read_bytes() for p in lake.root.rglob("*.*")}
    report = fetch(market, lake)
    assert (asked(market), report.asked, report.added) == (before, 0, 0)
    assert {p: p.read_bytes() for p in lake.root.rglob("*.*")} == files
    assert str(report) == (
        "BTCUSDT spot: nothing new; 21 minutes are on record as those the exchange does not have "
        "(--retry asks again)."
    )
    (figures,) = lake.verify().series
    assert (figures.missing, figures.known_missing) == (21, 21)
    assert "the exchange has none from 2025-06-01 06:00 to 2025-06-01 06:01 UTC" in str(figures)


def test_a_gap_is_asked_for_twice_before_it_counts(market, lake):
    market.simulator.faults.add("missing_minute", minute="2025-06-01T15:00Z", uses=1)
    report = fetch(market, lake)
    assert (report.added, report.gaps) == (2859, HOLES)
    assert market.simulator.faults.active() == []


def test_only_the_missing_part_is_asked_for(market, lake):
    fetch(market, lake, end=START + timedelta(hours=40))
    before = asked(market)
    report = fetch(market, lake, start=START - timedelta(hours=1))
    # an hour before, and the eight hours after: each a page in a month of its own
    assert (report.asked, report.added, asked(market) - before) == (9 * 60, 9 * 60, 2)
    assert len(whole(lake)) == 49 * 60 - 21


def test_a_candle_that_cannot_be_is_left_out_and_named(market, lake):
    number = market.simulator.faults.add("nan", minute="2025-06-01T15:00Z", endpoint=KLINE)
    report = fetch(market, lake)
    market.simulator.faults.clear(number)
    assert report.added == 2858
    (text,) = report.odd
    assert text.startswith("BTCUSDT: the candle of 2025-06-01T15:00:00Z has a value that is not")
    assert report.gaps == HOLES  # it came, so the exchange has it
    assert f"left out: {text}" in str(report)
    again = fetch(market, lake)  # the fault is over
    assert (again.asked, again.added, again.odd) == (1, 1, ())


def test_a_stale_answer_is_no_gap(market, lake):
    # the exchange answers as it would have two hours before, so the last hundred minutes do not come
    number = market.simulator.faults.add("stale", age_s=7200, endpoint=KLINE)
    start = NOW - timedelta(hours=6)
    report = fetch(market, lake, start=start, end=NOW)
    market.simulator.faults.clear(number)
    assert report.gaps == () and report.added < 6 * 60 - 100
    assert fetch(market, lake, start=start, end=NOW).added == 359 - report.added  # from 06:01 on
    assert lake.verify().series[0].missing == 0


def test_what_is_on_record_as_absent_is_asked_for_again_when_told(market, lake):
    number = market.simulator.faults.add("missing_minute", minute="2025-06-01T15:00Z")
    assert fetch(market, lake).gap_rows == 22
    market.simulator.faults.clear(number)
    assert fetch(market, lake).added == 0
    report = fetch(market, lake, retry=True)
    assert (report.asked, report.added, report.gap_rows) == (22, 1, 21)
    assert lake.verify().series[0].known_missing == 21


def test_an_open_candle_is_not_kept_when_the_clock_is_ahead(market, lake):
    # the clock says 12:01:03, the minute of 12:00 runs since three seconds
    ahead, start = NOW + timedelta(minutes=1), NOW - timedelta(hours=2)
    report = fetch(market, lake, start=start, end=ahead, now=ahead)
    rows = HOLED.candles("BTCUSDT", to_ms(start), to_ms(NOW))["open_ms"]
    assert whole(lake).open_ms.tolist() == rows.tolist()[: 60 * 2 - 1]
    assert report.added == 119


def test_the_running_minute_is_not_fetched_and_a_late_one_is_no_gap(market, lake):
    now = NOW - timedelta(seconds=30)  # 11:59:33: the last closed minute is 11:58
    market.simulator.faults.add("missing_minute", minute="2025-06-10T11:57Z")
    report = fetch(
        market, lake, start=NOW - timedelta(hours=2), end=NOW + timedelta(days=9), now=now
    )
    market.simulator.faults.clear()
    assert (report.asked, report.added, report.gaps) == (118, 117, ())  # from 10:01 on
    assert whole(lake).open_ms[-1] == to_ms(parse_time("2025-06-10T11:58Z"))
    again = fetch(market, lake, start=NOW - timedelta(hours=2), end=NOW)
    assert (again.asked, again.added) == (2, 2)
    with pytest.raises(DomainError, match="nothing is closed from 2025-06-11"):
        fetch(market, lake, start=NOW + timedelta(days=1), end=NOW + timedelta(days=2))


def test_spot_linear_and_mark_are_kept_apart(market, lake):
    end = START + timedelta(hours=3)
    for category, mark in (("spot", False), ("linear", False), ("linear", True)):
        report = fetch(market, lake, end=end, category=category, mark=mark)
        assert (report.market, report.kind) == (category, "mark" if mark else "candles")
        assert report.added == 180
    spot, linear, mark = whole(lake), whole(lake, "linear"), whole(lake, "linear", mark=True)
    assert spot.close.tolist() != linear.close.tolist() != mark.close.tolist()
    assert (linear.market, set(mark.volume.tolist())) == ("linear", {0})
    assert lake.verify().ok and len(lake.verify().series) == 3


def test_progress_is_told_in_minutes(market, lake):
    told = []
    fetch(market, lake, progress=lambda done, total: told.append((done, total)))
    assert told == [(720, 2880), (2880, 2880)]  # half a day in May, two days less that in June


def test_what_came_before_an_error_is_kept(market, lake):
    class Failing(ExchangeHistory):
        def pages(self, *given, **how):
            for number, page in enumerate(super().pages(*given, **how)):
                if number == 1:
                    raise KeyboardInterrupt
                yield page

    june = parse_time("2025-06-01")
    with pytest.raises(KeyboardInterrupt):
        fetch_candles(Failing(market), lake, "BTCUSDT", june, END, NOW)
    assert len(whole(lake)) == 1000 - 11  # a page, without its holes
    assert lake.gaps(SPOT) == ()
    report = fetch(market, lake, start=june)
    assert report.added == 2160 - 1000 and len(whole(lake)) == 2160 - 11


def test_an_exchange_that_does_not_answer_is_told(market, lake):
    with Client("http://127.0.0.1:9", timeout_s=0.2)._client.session:
        history = ExchangeHistory(Client("http://127.0.0.1:9", timeout_s=0.2))
        with pytest.raises(VenueUnavailable, match=r"no usable answer .* check the network"):
            fetch_candles(history, lake, "BTCUSDT", START, END, NOW)
    assert len(whole(lake)) == 0


# another venue in the way


def other_rows(hours: int, source: str, lake: Lake) -> None:
    open_ms = to_ms(START) + MINUTE * np.arange(hours * 60)
    flat = np.full(len(open_ms), 1_000_000)
    lake.write(Candles("BTCUSDT", 1, open_ms, flat, flat, flat, flat, flat * 0), source)


def test_candles_of_another_venue_are_not_mixed_with_the_exchanges(market, lake):
    other_rows(3, "kucoin spot; somewhere", lake)
    before = asked(market)
    with pytest.raises(DataError) as caught:
        fetch(market, lake)
    assert str(caught.value) == (
        "BTCUSDT spot: 180 rows from 2025-05-31T12:00:00Z to 2025-05-31T14:59:00Z came from "
        "'kucoin spot; somewhere', and this fetch is of 'simulator (synthetic market, seed 7) spot'; "
        "one series of two venues would be no market. Say --revise to let the exchange's replace them, "
        "or fetch into another --home"
    )
    assert asked(market) == before and len(whole(lake)) == 180


def test_revising_replaces_the_other_venues_candles(market, lake):
    other_rows(3, "kucoin spot; somewhere", lake)
    report = fetch(market, lake, revise=True)
    assert (report.added, report.revised) == (2859 - 180, 180)
    assert "180 of another venue replaced" in str(report)
    assert source_of(lake) == ["simulator (synthetic market, seed 7) spot"]
    assert fetch(market, lake).asked == 0


def test_the_same_venue_from_elsewhere_is_not_asked_for_again(market, lake):
    other_rows(3, "simulator (synthetic market, seed 7) spot; a friend's copy", lake)
    assert fetch(market, lake).asked == 2880 - 180


@pytest.mark.parametrize(
    "times, reach, runs",
    [
        ([], 1, []),
        ([5], 1, [(5, 6)]),
        ([1, 2, 3, 7, 8], 1, [(1, 4), (7, 9)]),
        ([1, 2, 3, 7, 8], 4, [(1, 9)]),
        ([1, 2, 3, 7, 8], 3, [(1, 4), (7, 9)]),
    ],
)
def test_runs_cover_their_times(times, reach, runs):
    assert joined_runs(np.array(times, dtype=np.int64), 1, reach) == runs


# funding


def test_funding_is_fetched_once_and_to_the_grid(market, tmp_path):
    lake, history = FundingLake(tmp_path), ExchangeHistory(market, "linear")
    begin = parse_time("2025-03-01")  # 101 days and noon: 304 settlements, more than a page
    report = fetch_funding(history, lake, "BTCUSDT", begin, NOW, NOW)
    assert (report.kind, report.added, report.gaps) == ("funding", 101 * 3 + 2, ())
    rates = lake.read("BTCUSDT", begin, NOW)
    assert set(np.diff(rates.at_ms).tolist()) == {8 * 60 * MINUTE}
    known = {one.at_ms: one.rate for one in history.funding("BTCUSDT", to_ms(begin), to_ms(NOW))}
    assert [units / 10**10 for units in rates.units] == [
        float(known[t]) for t in rates.at_ms.tolist()
    ]
    again = fetch_funding(history, lake, "BTCUSDT", begin, NOW, NOW)
    assert str(again) == "BTCUSDT linear funding: nothing was missing."
    assert lake.verify().ok


class Funding:
    """An exchange with a list of settlements (hour, rate) of 2025-06-01 and an interval."""

    market = "linear"

    def __init__(self, minutes: int, *hours: float) -> None:
        self.minutes, self.hours, self.asked = minutes, hours, 0
        self.client = self
        self.simulated = True

    def origin(self) -> str:
        return "bybit"

    def funding_interval(self, symbol: str) -> int:
        return self.minutes

    def funding(self, symbol: str, start_ms: int, end_ms: int) -> tuple[Settlement, ...]:
        self.asked += 1
        day = to_ms(parse_time("2025-06-01"))
        times = [day + round(hour * 60) * MINUTE for hour in self.hours]
        rate = parse_decimal("0.0001")
        return tuple(Settlement(symbol, t, rate) for t in times if start_ms <= t < end_ms)


def parse_decimal(text: str):
    from decimal import Decimal

    return Decimal(text)


DAY = parse_time("2025-06-01"), parse_time("2025-06-02")


def test_a_settlement_that_does_not_come_twice_is_on_record(tmp_path):
    exchange, lake = Funding(480, 0, 16), FundingLake(tmp_path)
    report = fetch_funding(exchange, lake, "BTCUSDT", *DAY, NOW)
    assert (report.added, report.gaps, exchange.asked) == (
        2,
        ("2025-06-01 08:00 to 2025-06-01 16:00 UTC",),
        2,
    )
    assert fetch_funding(exchange, lake, "BTCUSDT", *DAY, NOW).asked == 0
    assert exchange.asked == 2
    (figures,) = lake.verify().series
    assert (figures.gaps, figures.missing, figures.known) == (1, 1, report.gaps)


def test_an_hourly_spell_that_is_over_keeps_its_intervals(tmp_path):
    # by 8 hours until 08:00, hourly until 16:00, by 8 hours again
    lake = FundingLake(tmp_path)
    hours = (0, 8, *range(9, 17), 24)
    span = DAY[0], DAY[1] + timedelta(hours=1)
    report = fetch_funding(Funding(480, *hours), lake, "BTCUSDT", *span, NOW)
    assert (report.added, report.gaps) == (11, ())
    assert lake.read("BTCUSDT", *span).minutes.tolist() == [480, 480, *[60] * 8, 480]
    assert lake.verify().ok and lake.verify().series[0].missing == 0


def test_a_longer_interval_of_the_past_is_no_gap(tmp_path):
    # by 8 hours until 16:00, hourly since
    lake = FundingLake(tmp_path)
    report = fetch_funding(
        Funding(60, 0, 8, 16, 17, 18, 19, 20, 21, 22, 23), lake, "BTCUSDT", *DAY, NOW
    )
    assert (report.added, report.gaps) == (10, ())
    rates = lake.read("BTCUSDT", *DAY)
    assert rates.minutes.tolist() == [60, 480, 480] + [60] * 7
    assert lake.verify().ok and lake.verify().series[0].missing == 0


def test_another_venues_rates_are_not_mixed_in(tmp_path):
    lake = FundingLake(tmp_path)
    at_ms = to_ms(DAY[0])
    lake.write(FundingRates.of("BTCUSDT", [at_ms], [7], 480, "binance usdm; x"))
    with pytest.raises(DataError, match=r"BTCUSDT funding: 1 rows .* 'binance usdm; x'.*--revise"):
        fetch_funding(Funding(480, 0, 8, 16), lake, "BTCUSDT", *DAY, NOW)
    report = fetch_funding(Funding(480, 0, 8, 16), lake, "BTCUSDT", *DAY, NOW, revise=True)
    assert (report.added, report.revised) == (2, 1)
    assert set(lake.read("BTCUSDT", *DAY).source) == {"bybit linear"}


# the command


def run(capsys, *words) -> tuple[int, str, str]:
    code = main(["data", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def at_noon(home):
    """A home whose embedded simulator stands at 2025-06-10 12:00:03."""
    (home.data / "simulator.json").write_text('{"time": "2025-06-10T12:00:03Z"}')
    return home


def test_fetch_goes_up_to_the_homes_clock(at_noon, capsys):
    words = ("fetch", "--from", "2025-06-10T09:00Z", "--json")
    code, out, _ = run(capsys, *words)
    found = json.loads(out)["series"]
    assert code == 0
    assert [(s["symbol"], s["kind"], s["added"]) for s in found] == [
        ("BTCUSDT", "candles", 180),
        ("ETHUSDT", "candles", 180),
    ]
    candles = Lake(at_noon.candles).read("BTCUSDT", START, NOW + timedelta(days=9))
    assert candles.open_ms[-1] == to_ms(parse_time("2025-06-10T11:59Z"))
    assert [s["added"] for s in json.loads(run(capsys, *words)[1])["series"]] == [0, 0]


def test_fetch_with_funding_and_mark_means_linear(at_noon, capsys):
    code, out, _ = run(
        capsys,
        "fetch",
        "--from",
        "2025-06-09",
        "--to",
        "2025-06-10",
        "--symbol",
        "ETHUSDT",
        "--funding",
        "--mark",
    )
    assert code == 0
    assert out.splitlines() == [
        "ETHUSDT linear: 1,440 minutes added.",
        "ETHUSDT linear mark: 1,440 minutes added.",
        "ETHUSDT linear funding: 3 settlements added.",
    ]
    code, out, _ = run(capsys, "verify", "--json")
    report = json.loads(out)
    assert code == 0 and report["ok"] is True
    assert [s["rows"] for s in report["series"]] == [1440, 1440, 3]


def test_funding_alone_is_fetched_from_the_perpetuals_first_day(at_noon, capsys):
    code, out, _ = run(capsys, "fetch", "--funding", "--symbol", "ETHUSDT")
    # the simulator lists it since 2020-10-20 00:00; to noon of 2025-06-10 these are 1,694 days of three
    # settlements, and those of 00:00 and 08:00
    assert code == 0 and out == "ETHUSDT linear funding: 5,084 settlements added.\n"
    assert not list(at_noon.candles.rglob("*.parquet"))
    rates = FundingLake(at_noon.funding).read("ETHUSDT", parse_time("2020-01-01"), NOW)
    assert rates.at_ms[0] == to_ms(parse_time("2020-10-20"))
    assert set(np.diff(rates.at_ms)) == {8 * 3_600_000} and set(rates.minutes) == {480}


@pytest.mark.parametrize(
    "words, code, sentence",
    [
        (("fetch",), 2, "expected --from DATE, the first minute to fetch"),
        (("fetch", "--funding", "--mark"), 2, "expected --from DATE, the first minute to fetch"),
        (("fetch", "--from", "2025-06-09", "--market", "spot", "--mark"), 2, "say --market linear"),
        (("fetch", "--from", "yesterday"), 2, "time 'yesterday' is not ISO 8601"),
        (("fetch", "--from", "2025-07-01"), 2, "nothing is closed from 2025-07-01"),
        (("fetch", "--from", "2025-06-09", "--symbol", "btc"), 2, "symbol 'btc' is not a symbol"),
        (("fetch", "--from", "2025-06-09", "--symbol", "XRPUSDT"), 4, "Not supported symbols"),
        (("import",), 2, "no file was named"),
        (("import", "nowhere.csv"), 4, "there is no such file"),
    ],
)
def test_wrong_words_are_refused_in_a_sentence(at_noon, capsys, words, code, sentence):
    found, out, err = run(capsys, *words)
    assert (found, out) == (code, "")
    assert err.startswith("tgtqr data: ") and sentence in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "words", [(), ("drop",), ("fetch", "--from", "2025-06-09", "--market", "swap")]
)
def test_wrong_usage_exits_2(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["data", *words])
    assert caught.value.code == 2


def test_an_unreachable_exchange_exits_4_and_says_what_to_do(home, capsys):
    home.settings.write_text('exchange_timeout_s = 0.3\n[simulator]\nurl = "http://127.0.0.1:9"\n')
    code, _, err = run(capsys, "fetch", "--from", "2025-06-09")
    assert code == 4 and "no usable answer within 0.3 s" in err
    assert err.rstrip().endswith("check the network, or whether the host is right")


def test_a_damaged_lake_exits_5(at_noon, capsys):
    run(capsys, "fetch", "--from", "2025-06-10", "--symbol", "BTCUSDT")
    assert run(capsys, "verify")[0] == 0
    (month,) = at_noon.candles.rglob("*.parquet")
    month.write_bytes(month.read_bytes()[:-1])
    code, out, _ = run(capsys, "verify")
    assert code == 5 and "FILE_ALTERED" in out


# killed at any moment

FETCH = [
    sys.executable,
    "-m",
    "tgtqr_lib.cli",
    "data",
    "fetch",
    "--from",
    "2025-04-20",
    "--to",
    "2025-06-05",
]
FETCH += ["--symbol", "BTCUSDT", "--market", "linear", "--funding"]


def start_fetch(home: Path, stop_after: int | None = None) -> subprocess.Popen:
    home.mkdir(exist_ok=True)
    (home / "data").mkdir(exist_ok=True)
    (home / "data" / "simulator.json").write_text('{"time": "2025-06-10T12:00:03Z"}')
    return subprocess.Popen(
        [*FETCH, "--home", str(home)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows_of(home: Path) -> tuple:
    lake, funding = Lake(home / "data" / "candles"), FundingLake(home / "data" / "funding")
    early, late = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    candles = lake.read("BTCUSDT", early, late, "linear")
    rates = funding.read("BTCUSDT", early, late)
    gaps: tuple[Gap, ...] = lake.gaps(SeriesId("BTCUSDT", "linear"))
    return (
        candles,
        rates.at_ms.tolist(),
        rates.units.tolist(),
        gaps,
        (lake.verify() + funding.verify()),
    )


@pytest.mark.slow
def test_a_fetch_that_is_killed_again_and_again_ends_in_the_same_lake(tmp_path):
    began = time.monotonic()
    whole_run = start_fetch(tmp_path / "whole")
    out, err = whole_run.communicate(timeout=120)
    took = time.monotonic() - began
    assert whole_run.returncode == 0, err
    assert "minutes added" in out
    expected = rows_of(tmp_path / "whole")
    # 2025-04-20 to 2025-06-05 are 46 days
    assert len(expected[0]) == 46 * 1440 and len(expected[1]) == 46 * 3 and expected[4].ok

    chance, killed = random.Random(1), 0
    home = tmp_path / "killed"
    for kind in (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        fetching = start_fetch(home)
        time.sleep(chance.uniform(0.3, 1.0) * took)
        if fetching.poll() is None:
            os.kill(fetching.pid, kind)
            killed += 1
        fetching.communicate(timeout=60)
        codes = {problem.code for problem in rows_of(home)[4].problems}
        assert codes <= {"WRITE_CUT_SHORT"}
    assert killed
    last = start_fetch(home)
    _, err = last.communicate(timeout=120)
    assert last.returncode == 0, err
    candles, *rest, report = rows_of(home)
    assert candles == expected[0] and rest == list(expected[1:4])
    assert report.ok and report.series == expected[4].series
