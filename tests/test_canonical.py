"""Canonical JSON: one spelling a value, back to the same value, and tampering named."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import (
    BOUNDARY,
    BTC,
    FEES,
    NOW,
    a_day,
    a_fill,
    a_portfolio,
    a_position,
    a_quote,
    a_sale,
    a_view,
    an_entry,
    candles,
    healthy,
    inputs,
    no_order,
)
from tgtqr_lib.canonical import dumps, load_inputs, plain, restore, sha256
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import (
    SCHEMA,
    Account,
    Candles,
    Choice,
    Day,
    Decision,
    DomainError,
    Fees,
    Fill,
    Health,
    Inputs,
    Instrument,
    Level,
    Limits,
    MarketView,
    NoOrder,
    Order,
    Plan,
    Portfolio,
    Position,
    Problem,
    Quote,
    Side,
    Signal,
    SignalState,
    Verdict,
)


def spelled(value):
    """JSON by the standard library alone, in the canonical form of the design."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# one spelling


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "null"),
        (True, "true"),
        (-7, "-7"),
        ("Zürich", '"Zürich"'),
        (Decimal("0.95"), '"0.95"'),
        (Decimal("1E+3"), '"1000"'),
        (Decimal("1E-8"), '"0.00000001"'),
        (Decimal("-12.50"), '"-12.50"'),
        (datetime(2026, 11, 22, 10, 15, tzinfo=UTC), '"2026-11-22T10:15:00Z"'),
        (Side.BUY, '"BUY"'),
        ((1, 2), "[1,2]"),
        ({"b": 1, "a": [2]}, '{"a":[2],"b":1}'),
        (Level(Decimal("99.5"), Decimal("1")), '{"price":"99.5","quantity":"1"}'),
        (
            (Level(Decimal("99.5"), Decimal("1")), Level(Decimal("99"), Decimal("1E-5"))),
            '"99.5:1 99:0.00001"',
        ),
    ],
)
def test_a_value_has_its_spelling(value, text):
    assert dumps(value) == text


@pytest.mark.parametrize(
    "value", [1.5, [1.0], {"a": float("nan")}, np.float64(1), np.int64(3), {1}]
)
def test_floats_and_strangers_have_no_spelling(value):
    with pytest.raises(DomainError, match="no spelling"):
        dumps(value)


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_a_decimal_that_is_not_finite_has_no_spelling(value):
    with pytest.raises(DomainError, match=f"{value} is not a finite decimal"):
        dumps({"price": Decimal(value)})


def test_a_time_without_a_zone_has_no_spelling():
    with pytest.raises(DomainError, match="no time zone"):
        dumps(datetime(2026, 11, 22))


def test_candles_are_columns_of_plain_decimals_and_runs_of_minutes():
    seen = candles(["104321.7", "104322.0", "9", "9.5"], missing=[1])
    assert plain(seen) == {
        "symbol": "BTCUSDT",
        "market": "spot",
        "decimals": 1,
        "start": "2026-11-22T10:11:00Z",
        "minutes": "0-0 2-3",
        "open": "104321.7 9.0 9.5",
        "high": "104321.7 9.0 9.5",
        "low": "104321.7 9.0 9.5",
        "close": "104321.7 9.0 9.5",
        "volume": "1.5 1.5 1.5",
    }


# hashes


def test_the_hash_is_sha256_of_the_utf8_text():
    text = '{"price":"1.10","symbol":"Ü"}'
    assert sha256({"symbol": "Ü", "price": Decimal("1.10")}) == (
        hashlib.sha256(text.encode("utf-8")).hexdigest()
    )


GOLDEN = {  # the inputs of `tiny_inputs`, written out by hand from the design
    "tick_id": "20261122T1015Z",
    "boundary": "2026-11-22T10:15:00Z",
    "exchange_time": "2026-11-22T10:15:03Z",
    "markets": [
        {
            "symbol": "BTCUSDT",
            "instrument": {
                "symbol": "BTCUSDT",
                "price_step": "0.1",
                "lot": "0.000001",
                "min_notional": "5",
                "market": "spot",
            },
            "candles": {
                "symbol": "BTCUSDT",
                "market": "spot",
                "decimals": 1,
                "start": "2026-11-22T10:12:00Z",
                "minutes": "0-2",
                "open": "104300.0 104310.0 104321.7",
                "high": "104300.0 104310.0 104321.7",
                "low": "104300.0 104310.0 104321.7",
                "close": "104300.0 104310.0 104321.7",
                "volume": "1.5 1.5 1.5",
            },
            "quote": {
                "symbol": "BTCUSDT",
                "at": "2026-11-22T10:15:03Z",
                "bids": "104321.6:2 104320:3.5",
                "asks": "104321.8:0.004",
                "last": "104321.7",
            },
            "problems": [{"code": "ODD", "text": "a problem"}],
        }
    ],
    "fees": {"bps": "10", "since": "2022-06-01", "source": "a table", "currency": "USDT"},
    "account": {"id": "paper-1", "initial_equity": "10.00", "opened_at": "2026-11-01T00:00:00Z"},
    "days": [
        {
            "date": "2026-11-22",
            "start_equity": "9.90",
            "start_cash": "9.00",
            "limits": {
                "position_usdt": "1.00",
                "daily_loss_usdt": "2.00",
                "total_loss_usdt": "5.00",
                "trim_usdt": "1.00",
            },
        }
    ],
    "portfolio": {
        "cash": "9.00",
        "positions": [{"symbol": "ETHUSDT", "quantity": "0.00037", "cost": "0.93"}],
        "reserved": "0",
        "pending": {"BTCUSDT": "0.5"},
    },
    "orders_today": 3,
    "used_ids": ["20261122T0000Z-ETH-B"],
    "health": {
        "last_beat_at": "2026-11-22T10:15:00Z",
        "clock_offset_ms": None,
        "disk_free_mb": 10000,
        "ledger_problem": None,
        "stopped": None,
    },
    "limits": {
        "position_usdt": "1.00",
        "daily_loss_usdt": "2.00",
        "total_loss_usdt": "5.00",
        "trim_usdt": "1.00",
    },
    "plan": {
        "strategy": "ma_trend",
        "parameters": {"window": 3},
        "order_target_usdt": "0.95",
        "collar_bps": 100,
    },
    "orders_this_tick": 0,
    "schema": 1,
}


def tiny_inputs():
    bids, asks = [("104321.6", "2"), ("104320", "3.5")], [("104321.8", "0.004")]
    view = a_view(
        seen=candles(["104300", "104310", "104321.7"]),
        quote=a_quote(bids=bids, asks=asks),
        problems=[Problem("ODD", "a problem")],
    )
    return inputs(
        view,
        days=(a_day("9.90", "9.00"),),
        portfolio=a_portfolio(
            a_position("ETHUSDT", "0.00037", "0.93"), cash="9.00", pending={"BTCUSDT": "0.5"}
        ),
        orders_today=3,
        used_ids=("20261122T0000Z-ETH-B",),
        plan=Plan("ma_trend", {"window": 3}, Decimal("0.95"), 100),
    )


def test_inputs_are_spelled_as_written_by_hand_and_their_hash_never_changes():
    # a changed literal means that every archived notebook's hash changes: raise the schema instead
    text = spelled(GOLDEN)
    assert dumps(tiny_inputs()) == text
    assert sha256(tiny_inputs()) == hashlib.sha256(text.encode()).hexdigest()
    assert (
        sha256(tiny_inputs()) == "73a59b01795cc6e395d47a93379861f6563e2e7fa1e325e4cda5dcb10e690b69"
    )
    assert restore(Inputs, GOLDEN) == tiny_inputs()


def test_a_different_value_has_a_different_hash():
    others = [
        replace(tiny_inputs(), orders_today=4),
        replace(tiny_inputs(), health=healthy(disk_free_mb=1)),
        replace(tiny_inputs(), markets=()),
        replace(tiny_inputs(), fees=replace(FEES, bps=Decimal("10.5"))),
    ]
    assert len({sha256(one) for one in [tiny_inputs(), *others]}) == 5


# there and back, for every noun

text = st.text(st.characters(codec="utf-8"), max_size=8)
amounts = st.decimals(Decimal("-1e9"), Decimal("1e9"), places=8) | st.sampled_from(
    [Decimal(0), Decimal("1E-8"), Decimal("0.10"), Decimal("1E+4")]
)
positive = st.decimals(Decimal("1e-8"), Decimal("1e6"), places=8)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
some_limits = st.builds(Limits, amounts, amounts, amounts, amounts)
instruments = st.builds(Instrument, text, positive, positive, amounts, text)
orders = st.builds(Order, text, text, st.sampled_from(Side), positive, positive, times, text)
levels = st.builds(Level, positive, positive)
fills = st.builds(
    Fill,
    text,
    text,
    st.sampled_from(Side),
    positive,
    amounts,
    amounts,
    times,
    st.lists(levels, min_size=1, max_size=3).map(tuple),
    positive,
    text,
)
verdicts = st.builds(
    Verdict,
    text,
    st.booleans(),
    amounts | st.none(),
    amounts | st.none(),
    amounts | st.none(),
    text,
)
signals = st.builds(Signal, text, st.sampled_from(SignalState), *[amounts | st.none()] * 3, text)
choices = st.builds(
    Choice,
    text,
    signals,
    orders | st.none(),
    st.lists(verdicts, max_size=3).map(tuple),
    st.booleans(),
    text,
    text,
)
positions = st.builds(Position, text, amounts, amounts)
portfolios = st.builds(
    Portfolio,
    amounts,
    st.lists(positions, max_size=2).map(tuple),
    amounts,
    st.dictionaries(text, amounts, max_size=2),
)
healths = st.builds(
    Health,
    times | st.none(),
    st.integers(-9999, 9999) | st.none(),
    st.integers(0, 10**6),
    text | st.none(),
    text | st.none(),
)


@st.composite
def quotes(draw):
    prices = sorted(draw(st.sets(positive, min_size=2, max_size=6)))
    cut = draw(st.integers(1, len(prices) - 1))
    sides = [list(reversed(prices[:cut])), prices[cut:]]
    bids, asks = [tuple(Level(price, draw(positive)) for price in side) for side in sides]
    return Quote(draw(text), draw(times), bids, asks, draw(positive))


@st.composite
def some_candles(draw):
    minutes = sorted(draw(st.sets(st.integers(0, 30), max_size=8)))
    times_ms = (27_000_000 + np.array(minutes, dtype=np.int64)) * 60_000
    columns = {
        name: np.array([draw(st.integers(1, 10**12)) for _ in minutes], dtype=np.int64)
        for name in Candles.COLUMNS
    }
    decimals = draw(st.integers(0, 6))
    return Candles(draw(text), decimals, times_ms, **columns, market=draw(text))


views = st.builds(
    MarketView,
    text,
    instruments | st.none(),
    some_candles(),
    quotes() | st.none(),
    st.lists(st.builds(Problem, text, text), max_size=2).map(tuple),
)
plans = st.builds(
    Plan, text, st.dictionaries(text, st.integers(), max_size=2), amounts, st.integers(0, 100)
)
days = st.builds(Day, text, amounts, amounts, some_limits)
every_inputs = st.builds(
    Inputs,
    tick_id=text,
    boundary=times,
    exchange_time=times,
    markets=st.lists(views, max_size=2).map(tuple),
    fees=st.builds(Fees, amounts, text, text, text),
    account=st.builds(Account, text, amounts, times),
    days=st.lists(days, max_size=2).map(tuple),
    portfolio=portfolios,
    orders_today=st.integers(0, 192),
    used_ids=st.lists(text, max_size=2).map(tuple),
    health=healths,
    limits=some_limits,
    plan=plans,
    orders_this_tick=st.integers(0, 2),
)

NOUNS = {
    Instrument: instruments,
    Candles: some_candles(),
    Quote: quotes(),
    MarketView: views,
    Order: orders,
    NoOrder: st.builds(NoOrder, text, text, text),
    Verdict: verdicts,
    Signal: signals,
    Choice: choices,
    Decision: st.builds(Decision, text, text, st.lists(choices, max_size=2).map(tuple)),
    Fill: fills,
    Position: positions,
    Portfolio: portfolios,
    Limits: some_limits,
    Day: days,
    Health: healths,
    Plan: plans,
    Inputs: every_inputs,
}


def no_floats(value):
    """Every leaf of a plain value; fails at a float."""
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value)
        value = list(value.values())
    if isinstance(value, list):
        return all(no_floats(item) for item in value)
    assert value is None or type(value) in (str, int, bool), value
    return True


@pytest.mark.parametrize("kind", NOUNS, ids=lambda kind: kind.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_every_noun_comes_back_from_its_json_as_it_was(kind, data):
    value = data.draw(NOUNS[kind])
    text = dumps(value)
    back = restore(kind, json.loads(text))
    assert back == value
    assert dumps(back) == text
    assert no_floats(json.loads(text))
    assert text == spelled(json.loads(text))  # sorted keys, no spaces, not escaped


def test_loading_inputs_gives_the_same_decision():
    for state in ("LONG", "FLAT", "TIE"):
        frozen = inputs(a_view(state=state), a_view("ETHUSDT"), portfolio=a_portfolio(a_position()))
        again = load_inputs(dumps(frozen))
        assert again == frozen
        assert dumps(decide(again)) == dumps(decide(frozen))


# tampering


def tampered(path, value):
    """The golden inputs with the item at `path` replaced, or removed when `value` is None."""
    changed = json.loads(spelled(GOLDEN))
    at = changed
    for key in path[:-1]:
        at = at[key]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return spelled(changed)


@pytest.mark.parametrize(
    "path, value, sentence",
    [
        (["extra"], 1, "inputs: unknown key 'extra'; expected"),
        (["portfolio", "bonus"], "1", "inputs.portfolio: unknown key 'bonus'; expected"),
        (["markets", 0, "quote", "ask"], "1", r"inputs.markets\[0\].quote: unknown key 'ask'"),
        (["portfolio"], None, "inputs: key 'portfolio' is missing; expected"),
        (["days", 0, "start_cash"], None, r"inputs.days\[0\]: key 'start_cash' is missing"),
        (["markets", 0, "candles", "close"], None, r"inputs.markets\[0\].candles: key 'close'"),
        (["markets", 0, "candles", "extra"], "1", r"inputs.markets\[0\].candles: key 'extra'"),
        (["portfolio", "cash"], 9, "inputs.portfolio.cash: 9 is not a str"),
        (["portfolio", "cash"], "nine", "inputs.portfolio.cash: 'nine' is not a decimal"),
        (["portfolio", "cash"], ["9"], "inputs.portfolio.cash: "),
        (["portfolio", "positions"], {}, "inputs.portfolio.positions: {} is not a list"),
        (["portfolio", "pending"], [], "inputs.portfolio.pending: .* is not a dict"),
        (["portfolio", "pending", "BTCUSDT"], 1, "inputs.portfolio.pending.BTCUSDT: 1 is not"),
        (["orders_today"], "3", "inputs.orders_today: '3' is not a int"),
        (["orders_today"], True, "inputs.orders_today: True is not a int"),
        (["used_ids", 0], 5, r"inputs.used_ids\[0\]: 5 is not a str"),
        (["boundary"], "soon", "inputs.boundary: .*'soon'"),
        (["boundary"], 1, "^inputs.boundary: 1 is not a str"),
        (["health"], "well", "inputs.health: 'well' is not a dict"),
        (
            ["plan", "parameters", "window"],
            "60",
            "inputs.plan.parameters.window: '60' is not a int",
        ),
        (["markets", 0, "quote", "bids"], "1", r"inputs.markets\[0\].quote.bids: .*price:quantity"),
        (["markets", 0, "quote", "bids"], "1:a", r"inputs.markets\[0\].quote.bids: "),
        (["markets", 0, "quote", "bids"], 7, r"inputs.markets\[0\].quote.bids: 7 is not a str"),
        (["markets", 0, "candles", "close"], "1 2 x", r"inputs.markets\[0\].candles: .* readable"),
        (["markets", 0, "candles", "close"], "1 2 NaN", r"inputs.markets\[0\].candles: "),
        (["markets", 0, "candles", "close"], "1 2 3.05", r"inputs.markets\[0\].candles: .*whole"),
        (["markets", 0, "candles", "close"], "1 2 1" + "0" * 30, r"inputs.markets\[0\].candles: "),
        (["markets", 0, "candles", "close"], "1 2", "close has shape"),
        (["markets", 0, "candles", "close"], [1, 2, 3], r"inputs.markets\[0\].candles"),
        (["markets", 0, "candles", "minutes"], 3, r"inputs.markets\[0\].candles"),
        (["markets", 0, "candles", "minutes"], "0-x", r"inputs.markets\[0\].candles"),
        (["markets", 0, "candles", "decimals"], "1", r"inputs.markets\[0\].candles"),
        (["markets", 0, "candles", "start"], 5, r"inputs.markets\[0\].candles"),
        (["markets", 0, "candles", "symbol"], 5, r"inputs.markets\[0\].candles"),
        (["schema"], 2, "schema 2 is unknown; expected 1"),
        (["schema"], "1", "schema '1' is unknown; expected 1"),
    ],
)
def test_tampered_inputs_are_named_where_they_differ(path, value, sentence):
    with pytest.raises(DomainError, match=sentence):
        load_inputs(tampered(path, value))


@pytest.mark.parametrize("number", ["1.5", "1e3", "-0.0", "NaN", "Infinity"])
def test_a_float_in_the_inputs_is_refused(number):
    text = spelled(GOLDEN).replace('"orders_today":3', f'"orders_today":{number}')
    assert number in text
    with pytest.raises(DomainError, match=r"orders_today|is a float"):
        load_inputs(text)


@pytest.mark.parametrize("number", ["9.00", "9e0"])
def test_a_float_where_a_decimal_belongs_is_refused(number):
    text = spelled(GOLDEN).replace('"cash":"9.00"', f'"cash":{number}')
    assert f'"cash":{number}' in text
    with pytest.raises(DomainError, match="is a float; expected decimals as strings"):
        load_inputs(text)


def test_a_wrong_side_is_named():
    value = plain(an_entry()) | {"side": "SHORT"}
    with pytest.raises(DomainError, match=r"order\.side: 'SHORT'"):
        restore(Order, value, "order")


def test_an_impossible_noun_is_not_restored():
    with pytest.raises(DomainError, match="quantity 0 is not positive"):
        restore(Order, plain(an_entry()) | {"quantity": "0"}, "order")


# loading


def test_inputs_load_from_text_and_from_a_file(tmp_path):
    file = tmp_path / "inputs.json"
    file.write_text(dumps(tiny_inputs()), encoding="utf-8")
    assert load_inputs(dumps(tiny_inputs())) == tiny_inputs()
    assert load_inputs("\n " + dumps(tiny_inputs())) == tiny_inputs()
    assert load_inputs(file) == load_inputs(str(file)) == tiny_inputs()


def test_the_golden_inputs_of_the_project_load_from_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_inputs("tests/golden/inputs-20250601T1015Z.json").tick_id == "20250601T1015Z"


@pytest.mark.parametrize("source", ["no/such/file.json", "", "[]", "x" * 5000])
def test_what_is_neither_json_nor_a_file_is_named(source):
    with pytest.raises(DomainError, match="neither canonical JSON nor a file of it"):
        load_inputs(source)


@pytest.mark.parametrize("source", ["{", "{]", '{"schema": 1'])
def test_broken_json_is_named(source):
    with pytest.raises(DomainError, match="not readable as JSON"):
        load_inputs(source)


def test_inputs_of_another_schema_are_refused():
    newer = spelled(GOLDEN | {"schema": SCHEMA + 1})
    with pytest.raises(DomainError, match=f"schema {SCHEMA + 1} is unknown; expected {SCHEMA}"):
        load_inputs(newer)
    older = {key: value for key, value in GOLDEN.items() if key != "schema"}
    with pytest.raises(DomainError, match="schema None is unknown"):
        load_inputs(spelled(older))


def test_nothing_of_one_noun_is_lost_in_its_text():
    assert json.loads(dumps(a_fill())).keys() == {
        "order_id", "symbol", "side", "quantity", "notional", "fee", "at", "levels", "mid",
        "fee_currency",
    }  # fmt: skip
    assert restore(Instrument, plain(BTC)) == BTC
    assert restore(NoOrder, plain(no_order())) == no_order()
    assert restore(Order, plain(a_sale(placed_at=BOUNDARY))) == a_sale()
    assert restore(datetime, plain(NOW)) == NOW
