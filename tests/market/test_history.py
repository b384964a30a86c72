"""Pages of an exchange's past become values; what cannot be is refused by name."""

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest

from tests.market.tables import MINUTE, Table, at, flat
from tgtqr_lib.clock import parse_time, to_ms
from tgtqr_lib.domain import DataError, DomainError, Side
from tgtqr_lib.market.client import Client
from tgtqr_lib.market.history import ExchangeHistory
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.synthetic import SyntheticSource

NOW = to_ms(parse_time("2025-06-10T12:00:03Z"))
START, END = to_ms(parse_time("2025-06-01")), to_ms(parse_time("2025-06-02T17:00Z"))  # 2460 minutes
DAY = 1440 * MINUTE


@pytest.fixture(scope="module")
def served():
    with running(SyntheticSource(7), SimulatorClock(NOW)) as simulator:
        client = Client(simulator.url, simulated=True)
        client.simulator = simulator
        yield client
        client.close()


class Answers:
    """A client that answers what it is told."""

    def __init__(self, *answers: dict) -> None:
        self.answers, self.asked = list(answers), []

    def ask(self, question: str, **parameters):
        self.asked.append((question, parameters))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def kline_answer(*rows, category="spot", symbol="BTCUSDT") -> dict:
    return {"category": category, "symbol": symbol, "list": [list(row) for row in rows]}


def a_row(at_ms: int, close="2") -> list[str]:
    return [str(at_ms), "2", "3", "1", close, "1.5", "3"]


def times(pages) -> list[int]:
    return [open_ms for page in pages for open_ms in sorted(page.rows)]


@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_cover_every_minute_once_in_either_direction(served, newest_first):
    pages = [*ExchangeHistory(served).pages("BTCUSDT", START, END, newest_first=newest_first)]
    assert [len(page.rows) for page in pages] == [1000, 1000, 460]
    in_order = pages[::-1] if newest_first else pages
    assert times(in_order) == list(range(START, END, MINUTE))
    assert in_order[0].start_ms == START and in_order[-1].end_ms == END
    assert all(a.end_ms == b.start_ms for a, b in pairwise(in_order))


def test_rows_are_the_sources_own_digits(served):
    (page,) = ExchangeHistory(served).pages("BTCUSDT", START, START + 3 * MINUTE)
    source = SyntheticSource(7).candles("BTCUSDT", START, START + 3 * MINUTE)
    closes = [Decimal(page.rows[open_ms][4]) for open_ms in sorted(page.rows)]
    assert closes == [Decimal(int(close)) / 10 for close in source["close"]]


def test_spot_linear_and_mark_are_different_prices(served):
    def closes(market, mark=False):
        (page,) = ExchangeHistory(served, market).pages(
            "BTCUSDT", START, START + DAY // 2, mark=mark
        )
        return [row[4] for row in page.rows.values()], [row[5] for row in page.rows.values()]

    (spot, _), (linear, volume), (mark, none) = (
        closes("spot"),
        closes("linear"),
        closes("linear", True),
    )
    assert len(spot) == len(linear) == len(mark) == 720
    assert spot != linear and linear != mark and spot != mark
    assert set(none) == {"0"} and "0" not in volume


@pytest.mark.parametrize("newest_first", [False, True])
def test_years_without_a_candle_cost_a_question_or_two(newest_first):
    # noon, then nothing for four years around it
    with running(Table(flat(0, 1000), flat(1, 1001)), SimulatorClock(at(3 * 525_600))) as simulator:
        client = Client(simulator.url, simulated=True)
        history = ExchangeHistory(client)
        start, end = at(-2 * 525_600), at(2 * 525_600)
        pages = [*history.pages("BTCUSDT", start, end, newest_first=newest_first)]
        asked = simulator.state()["requests"]["/v5/market/kline"]
        client.close()
    in_order = pages[::-1] if newest_first else pages
    assert times(in_order) == [at(0), at(1)]
    assert (in_order[0].start_ms, in_order[-1].end_ms) == (start, end)
    assert all(a.end_ms == b.start_ms for a, b in pairwise(in_order))
    assert asked < 12  # a page a question would be 2102 of them


@pytest.mark.parametrize(
    "answer, sentence",
    [
        (kline_answer(a_row(START), category="linear"), "answered of linear, expected spot"),
        (kline_answer(a_row(START), symbol="ETHUSDT"), "candles of ETHUSDT, expected BTCUSDT"),
        (
            kline_answer(a_row(START - MINUTE)),
            "2025-05-31T23:59:00Z, expected times from 2025-06-01",
        ),
        (kline_answer(a_row(START + 5 * MINUTE)), "to before 2025-06-01T00:05:00Z"),
        ({"category": "spot", "symbol": "BTCUSDT", "list": None}, "answered no rows of candles"),
        ({"category": "spot", "symbol": "BTCUSDT", "list": [None]}, "answered no rows of candles"),
    ],
)
def test_an_answer_to_another_question_is_refused(answer, sentence):
    history = ExchangeHistory(Answers(answer))
    with pytest.raises(DataError, match=f"BTCUSDT: the exchange answered.*{sentence}|{sentence}"):
        [*history.pages("BTCUSDT", START, START + 5 * MINUTE)]


def test_a_row_that_cannot_be_is_left_out_and_named():
    rows = [a_row(START), a_row(START + MINUTE, close="NaN"), a_row(START + 2 * MINUTE)]
    twice = [a_row(START + 2 * MINUTE), a_row(START + 2 * MINUTE, close="2.5")]
    history = ExchangeHistory(Answers(kline_answer(*rows, *twice)))
    (page,) = history.pages("BTCUSDT", START, START + 5 * MINUTE)
    assert sorted(page.rows) == [START, START + 2 * MINUTE]
    assert [problem.code for problem in page.problems] == ["CANDLE_NOT_FINITE", "CANDLE_TWICE"]
    assert "BTCUSDT: the candle of 2025-06-01T00:01:00Z" in page.problems[0].text


def test_the_question_names_the_category_and_closed_bounds():
    client = Answers(kline_answer(a_row(START), category="linear"))
    [*ExchangeHistory(client, "linear").pages("BTCUSDT", START, START + 5 * MINUTE)]
    (question, asked), *_ = client.asked
    assert question == "market_kline"
    assert asked == {
        "category": "linear", "symbol": "BTCUSDT", "interval": "1",
        "start": START, "end": START + 5 * MINUTE - 1, "limit": 5,
    }  # fmt: skip


def test_funding_is_paged_to_its_end(served):
    history = ExchangeHistory(served, "linear")
    begin = to_ms(parse_time("2025-02-01"))
    found = history.funding("BTCUSDT", begin, START)  # 120 days of three
    assert [one.at_ms for one in found] == list(range(begin, START, DAY // 3))
    assert len(found) == 360 and all(isinstance(one.rate, Decimal) for one in found)
    assert len({one.rate for one in found}) > 10
    assert history.funding("BTCUSDT", START + 1, START + DAY // 3) == ()
    assert history.funding_interval("BTCUSDT") == 480


@pytest.mark.parametrize(
    "entry, sentence",
    [
        ({"symbol": "ETHUSDT"}, "answered of ETHUSDT, expected BTCUSDT"),
        ({"fundingRate": "nan"}, "fundingRate 'nan' is not finite"),
        ({"fundingRate": "1.5"}, "is no rate; expected a fraction below 1"),
        ({"fundingRate": ""}, "fundingRate '' is not a number"),
        ({"fundingRateTimestamp": "soon"}, "fundingRateTimestamp 'soon' is not"),
        ({"fundingRateTimestamp": str(END)}, "expected times from"),
    ],
)
def test_a_settlement_that_cannot_be_is_refused(entry, sentence):
    good = {"symbol": "BTCUSDT", "fundingRate": "0.0001", "fundingRateTimestamp": str(START)}
    client = Answers({"category": "linear", "list": [{**good, **entry}]})
    with pytest.raises(DataError, match=sentence):
        ExchangeHistory(client, "linear").funding("BTCUSDT", START, END)


@pytest.mark.parametrize("interval", [None, "", 0, "8h", -480])
def test_an_interval_that_is_none_is_refused(interval):
    entry = {"symbol": "BTCUSDT", "fundingInterval": interval}
    client = Answers({"category": "linear", "list": [entry]})
    with pytest.raises(DataError, match=r"fundingInterval .* is not a positive whole number"):
        ExchangeHistory(client, "linear").funding_interval("BTCUSDT")


def test_spot_has_no_funding(served):
    for question in (
        lambda h: h.funding("BTCUSDT", START, END),
        lambda h: h.funding_interval("BTCUSDT"),
    ):
        with pytest.raises(DomainError, match="spot has no funding; expected linear"):
            question(ExchangeHistory(served))
    with pytest.raises(DomainError, match="market 'swap' is unknown"):
        ExchangeHistory(served, "swap")


@pytest.mark.parametrize("market, most", [("spot", 60), ("linear", 1000)])
def test_trades_come_oldest_first_and_not_after_now(served, market, most):
    trades = ExchangeHistory(served, market).trades("ETHUSDT")
    assert len(trades) == most and len({trade.id for trade in trades}) == most
    moments = np.array([to_ms(trade.at) for trade in trades])
    assert (np.diff(moments) >= 0).all() and moments[-1] <= NOW
    assert {trade.side for trade in trades} == {Side.BUY, Side.SELL}


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"side": "None"}, "side is 'None'"),
        ({"price": "0"}, "at 0, expected more than nothing"),
        ({"size": "x"}, "size 'x' is not a number"),
        ({"symbol": "ETHUSDT"}, "answered of ETHUSDT"),
    ],
)
def test_a_trade_that_cannot_be_is_refused(change, sentence):
    good = {
        "execId": "1", "symbol": "BTCUSDT", "price": "2", "size": "1", "side": "Buy", "time": str(START),
    }  # fmt: skip
    client = Answers({"category": "spot", "list": [{**good, **change}]})
    with pytest.raises(DataError, match=sentence):
        ExchangeHistory(client).trades("BTCUSDT")
