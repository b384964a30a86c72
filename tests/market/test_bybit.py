"""The exchange through ccxt: strings become values, oddities become problems, silence becomes an error."""

import subprocess
import sys
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.stage import PROJECT, HandMarket, moment, ms
from tgtqr_lib.domain import DataError, VenueUnavailable
from tgtqr_lib.market.bybit import Exchange
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock

KLINE, BOOK, TICKERS = "/v5/market/kline", "/v5/market/orderbook", "/v5/market/tickers"
OPENED = ms("10:00")


@pytest.fixture
def market():
    made = HandMarket()
    made.set("BTCUSDT", "10:14", "100100.5")
    with running(made, SimulatorClock(ms("10:15:03"))) as simulator:
        exchange = Exchange(simulator.url, timeout_s=5, simulated=True)
        exchange.simulator = simulator
        yield exchange
        exchange.close()


def tamper(market, path: str, change) -> None:
    """Let `change` have its way with every answer of the endpoint at `path`, as ccxt reads it."""
    question = "public_get_" + path.strip("/").replace("/", "_")
    usual = getattr(market._client, question)
    setattr(market._client, question, lambda parameters: change(usual(parameters)))


def test_the_time_is_the_exchanges(market):
    assert market.time() == moment("10:15:03")
    market.simulator.clock.step(0.25)
    assert market.time() == moment("10:15:03") + timedelta(milliseconds=250)


def test_instruments_say_step_lot_and_least(market):
    found = market.instruments(("BTCUSDT", "ETHUSDT"))
    assert (found["BTCUSDT"].price_step, found["BTCUSDT"].lot) == (
        Decimal("0.1"),
        Decimal("0.000001"),
    )
    assert (found["ETHUSDT"].price_step, found["ETHUSDT"].lot) == (
        Decimal("0.01"),
        Decimal("0.00001"),
    )
    assert {i.min_notional for i in found.values()} == {5} and {
        i.market for i in found.values()
    } == {"spot"}


def test_a_symbol_that_is_not_listed_is_left_out_or_refused(market):
    try:
        assert market.instruments(("DOGEUSDT",)) == {}
    except DataError as error:
        assert "exchange http://127.0.0.1" in str(error)


def test_candles_are_the_last_closed_minutes_oldest_first(market):
    candles, problems = market.candles("BTCUSDT", 60, moment("10:15"), 1)
    assert problems == () and len(candles) == 60 and candles.market == "spot"
    assert list(candles.open_ms) == [ms("09:15") + 60_000 * i for i in range(60)]
    assert list(candles.close) == [1_000_000] * 59 + [1_001_005] and candles.decimals == 1


@pytest.mark.parametrize("now, last", [("10:15:00", "10:14"), ("10:14:59.999", "10:13")])
def test_a_candle_counts_from_its_sixtieth_second_on(market, now, last):
    candles, _ = market.candles("BTCUSDT", 3, moment(now), 1)
    assert candles.open_ms[-1] == ms(last)


def test_more_than_a_page_of_candles_is_fetched_page_by_page(market):
    candles, _ = market.candles("ETHUSDT", 2100, moment("10:15"), 2)
    assert len(candles) == 2100
    assert set(candles.open_ms[1:] - candles.open_ms[:-1]) == {60_000}


@pytest.mark.parametrize(
    "kind, code", [("nan", "CANDLE_NOT_FINITE"), ("zero", "CANDLE_NOT_POSITIVE")]
)
def test_a_row_that_cannot_be_is_a_gap_and_a_problem_that_names_it(market, kind, code):
    market.simulator.faults.add(kind, minute="2026-11-22T10:05Z")
    candles, (problem,) = market.candles("BTCUSDT", 60, moment("10:15"), 1)
    assert problem.code == code and "BTCUSDT: the candle of 2026-11-22T10:05:00Z" in problem.text
    assert len(candles) == 59 and ms("10:05") not in candles.open_ms


@pytest.mark.parametrize(
    "change, code",
    [
        ({1: "inf"}, "CANDLE_NOT_FINITE"),
        ({5: "nan"}, "CANDLE_NOT_FINITE"),
        ({3: "0"}, "CANDLE_NOT_POSITIVE"),
        ({4: "-1"}, "CANDLE_NOT_POSITIVE"),
        ({5: "-0.1"}, "CANDLE_NOT_POSITIVE"),
        ({2: "99999.9"}, "CANDLE_CONTRADICTS"),
        ({3: "100000.1"}, "CANDLE_CONTRADICTS"),
        ({0: str(OPENED + 1)}, "CANDLE_OFF_GRID"),
        ({1: "abc"}, "CANDLE_UNREADABLE"),
        ({1: None}, "CANDLE_UNREADABLE"),
        ({0: "x"}, "CANDLE_UNREADABLE"),
    ],
)
def test_a_row_of_candles_is_checked(market, change, code):
    def spoil(body):
        for row in body["result"]["list"]:
            if row[0] == str(OPENED):
                for place, text in change.items():
                    row[place] = text
        return body

    tamper(market, KLINE, spoil)
    candles, (problem,) = market.candles("BTCUSDT", 60, moment("10:15"), 1)
    assert problem.code == code and len(candles) == 59 and OPENED not in candles.open_ms


@pytest.mark.parametrize("row", [[], ["1"], None, "text"])
def test_a_row_that_is_no_row_is_unreadable(market, row):
    def spoil(body):
        body["result"]["list"][5] = row
        return body

    tamper(market, KLINE, spoil)
    candles, (problem,) = market.candles("BTCUSDT", 60, moment("10:15"), 1)
    assert problem.code == "CANDLE_UNREADABLE" and len(candles) == 59


def test_a_bad_row_in_a_full_page_does_not_end_the_history(market):
    market.simulator.faults.add("nan", minute="2026-11-22T09:00Z")
    candles, problems = market.candles("ETHUSDT", 2100, moment("10:15"), 2)
    assert len(candles) == 2099 and {problem.code for problem in problems} == {"CANDLE_NOT_FINITE"}


def test_history_that_begins_later_ends_the_fetching(market):
    # the market begins on 10 November at 00:00: 12 days, 10 hours and 15 minutes before
    candles, _ = market.candles("ETHUSDT", 20_000, moment("10:15"), 2)
    assert len(candles) == 12 * 1440 + 615


def test_prices_finer_than_the_step_raise_the_decimals_and_are_exact(market):
    def refine(body):
        for row in body["result"]["list"]:
            if row[0] == str(OPENED):
                row[1:5] = ["100000.5", "100000.75", "100000.125", "100000.5"]
        return body

    tamper(market, KLINE, refine)
    candles, _ = market.candles("BTCUSDT", 60, moment("10:15"), 1)
    (place,) = (candles.open_ms == OPENED).nonzero()[0]
    assert (candles.decimals, candles.low[place], candles.open[0]) == (3, 100000125, 100000000)


def test_a_quote_is_book_and_ticker_at_exchange_time(market):
    quote = market.quote("BTCUSDT")
    # 100100.5 +- half of 1 bp: 100095.49.. down to 100095.4, 100105.50.. up to 100105.6
    assert (quote.bid, quote.ask, quote.last) == (
        Decimal("100095.4"),
        Decimal("100105.6"),
        Decimal("100100.5"),
    )
    assert quote.at == moment("10:15:03") and len(quote.bids) == len(quote.asks) == 25


@pytest.mark.parametrize("endpoint", [BOOK, TICKERS])
@pytest.mark.parametrize("kind", ["nan", "zero"])
def test_a_quote_with_a_figure_that_cannot_be_is_refused(market, endpoint, kind):
    market.simulator.faults.add(kind, endpoint=endpoint)
    with pytest.raises(DataError, match=r"BTCUSDT: .*is not finite and positive"):
        market.quote("BTCUSDT")


@pytest.mark.parametrize("text", ["NaN", "inf", "0", "-1", "", "1,5"])
def test_a_last_price_that_is_no_price_is_named(market, text):
    def spoil(body):
        body["result"]["list"][0]["lastPrice"] = text
        return body

    tamper(market, TICKERS, spoil)
    with pytest.raises(DataError, match="BTCUSDT: last price"):
        market.quote("BTCUSDT")


def test_the_close_of_a_minute_and_the_last_closes(market):
    assert market.close_at("BTCUSDT", moment("10:13")) == 100000
    found = market.last_closes(("BTCUSDT", "ETHUSDT"), moment("10:15:03"))
    assert found == {"BTCUSDT": Decimal("100100.5"), "ETHUSDT": 2500}
    market.simulator.faults.add("missing_minute", symbol="BTCUSDT")
    assert market.close_at("BTCUSDT", moment("10:14")) is None
    assert market.last_closes(("BTCUSDT", "ETHUSDT"), moment("10:15:03")) == {"ETHUSDT": 2500}


def test_trouble_is_asked_again_within_the_budget(market):
    market.simulator.faults.add("5xx", endpoint=KLINE, uses=2)
    assert len(market.candles("BTCUSDT", 5, moment("10:15"), 1)[0]) == 5


def test_trouble_for_good_is_unavailable_and_says_what_to_check(market):
    market._budget_s = 0.2
    market.simulator.faults.add("5xx")
    with pytest.raises(
        VenueUnavailable, match=r"no usable answer within 0.2 s .*check the network"
    ):
        market.quote("BTCUSDT")


def test_a_dead_port_is_unavailable():
    exchange = Exchange("http://127.0.0.1:9", timeout_s=0.2, simulated=True)
    with pytest.raises(VenueUnavailable):
        exchange.time()


@pytest.mark.parametrize("answer", [{}, {"result": None}, "text", None])
def test_an_answer_that_is_not_bybits_is_refused(market, answer):
    tamper(market, KLINE, lambda _: answer)
    with pytest.raises(DataError, match="the answer is not Bybit's"):
        market.candles("BTCUSDT", 5, moment("10:15"), 1)


def test_the_book_of_another_symbol_is_refused(market):
    tamper(market, BOOK, lambda body: {**body, "result": {**body["result"], "s": "ETHUSDT"}})
    with pytest.raises(DataError, match="BTCUSDT: the exchange answered the book of ETHUSDT"):
        market.quote("BTCUSDT")


@pytest.mark.parametrize("change", [{"symbol": "ETHUSDT"}, {"category": "linear"}])
def test_candles_of_another_symbol_or_category_are_refused(market, change):
    tamper(market, KLINE, lambda body: {**body, "result": {**body["result"], **change}})
    with pytest.raises(DataError, match="expected spot BTCUSDT"):
        market.candles("BTCUSDT", 5, moment("10:15"), 1)


def test_a_simulated_exchange_has_no_clock_offset_and_a_real_one_does(market):
    assert market.clock_offset_ms() is None
    real = Exchange(market.host, timeout_s=5)
    assert abs(real.clock_offset_ms()) > 500  # this machine's clock is not the simulator's
    real.close()


def test_no_key_is_ever_given_to_ccxt(market):
    assert not any((market._client.apiKey, market._client.secret, market._client.password))


@pytest.mark.slow
def test_whoever_imports_ccxt_afterwards_gets_the_whole_of_it():
    code = (
        "from tgtqr_lib.market.bybit import Exchange; Exchange('http://127.0.0.1:9'); "
        "import ccxt; assert len(ccxt.exchanges) > 50 and ccxt.NetworkError and ccxt.bybit"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT)
