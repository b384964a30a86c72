"""Every endpoint served has Bybit's field names and types, all the way down."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.market.tables import ask
from tgtqr_lib.market.bybit_v5 import ENDPOINTS
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.synthetic import SyntheticSource

GOLDEN = Path(__file__).parents[1] / "golden"
SYMBOL = "symbol=BTCUSDT"
# category -> name of the example in Bybit's documentation -> what to ask
QUERIES = {
    "spot": {
        "v5_market_time": "time?",
        "v5_market_instruments-info.spot": "instruments-info?",
        "v5_market_kline": f"kline?{SYMBOL}&interval=1&limit=3",
        "v5_market_tickers.spot": f"tickers?{SYMBOL}",
        "v5_market_orderbook": f"orderbook?{SYMBOL}&limit=1",
        "v5_market_recent-trade": f"recent-trade?{SYMBOL}",
    },
    "linear": {
        "v5_market_time": "time?",
        "v5_market_instruments-info.linear.1": "instruments-info?",
        "v5_market_kline": f"kline?{SYMBOL}&interval=5",
        "v5_market_mark-price-kline": f"mark-price-kline?{SYMBOL}&interval=1",
        "v5_market_index-price-kline": f"index-price-kline?{SYMBOL}&interval=60",
        "v5_market_tickers.inverse": "tickers?",
        "v5_market_orderbook": f"orderbook?{SYMBOL}&limit=500",
        "v5_market_recent-trade": f"recent-trade?{SYMBOL}",
        "v5_market_funding_history": f"funding/history?{SYMBOL}",
    },
}
CASES = [(category, name) for category, queries in QUERIES.items() for name in queries]


@pytest.fixture(scope="module")
def served():
    with running(SyntheticSource(7), SimulatorClock("2025-06-01T10:15:33Z")) as simulator:
        yield simulator


def shape(value: Any) -> Any:
    """Field names and types of a JSON value; a list has the shapes its members have."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in sorted(value.items())}
    if isinstance(value, list):
        shapes = [shape(member) for member in value]
        return [s for n, s in enumerate(shapes) if s not in shapes[:n]]
    return type(value).__name__


def reply_of(served, category: str, name: str) -> Any:
    status, reply = ask(f"{served.url}/v5/market/{QUERIES[category][name]}&category={category}")
    assert (status, reply["retMsg"]) == (200, "OK")
    return reply


def test_no_endpoint_is_forgotten():
    asked = {q.split("?")[0] for queries in QUERIES.values() for q in queries.values()}
    assert {f"/v5/market/{path}" for path in asked} == set(ENDPOINTS)


@pytest.mark.parametrize("category, name", CASES)
def test_replies_have_bybits_field_names_and_types(served, category, name):
    golden = json.loads((GOLDEN / f"bybit-v5-{category}-fields.json").read_text())
    assert set(golden["shapes"]) == set(QUERIES[category])
    assert shape(reply_of(served, category, name)) == golden["shapes"][name]


@pytest.mark.parametrize("category, name", CASES)
def test_replies_look_like_the_examples_of_bybits_documentation(
    served, recorded_data, category, name
):
    example = json.loads((recorded_data / f"fixtures/bybit-docs/{name}.json").read_text())
    assert shape(reply_of(served, category, name)) == shape(example)
