"""Differences: every field by its place, a candle by its minute."""

import pytest

from tgtqr_lib.archive.differences import differences

CANDLES = {
    "symbol": "BTCUSDT", "market": "spot", "decimals": 1, "start": "2026-11-22T10:00:00Z", "minutes": "0-1 3-3",
    "open": "1.0 2.0 4.0", "high": "1.0 2.0 4.0", "low": "1.0 2.0 4.0", "close": "1.0 2.0 4.0", "volume": "1 1 1",
}  # fmt: skip


def told(before, after):
    return [str(one) for one in differences(before, after)]


@pytest.mark.parametrize(
    "before, after, expected",
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["a.b: 1 -> 2"]),
        ({"a": 1}, {}, ["a: 1 -> nothing"]),
        ({}, {"a": None}, ["a: nothing -> None"]),
        ([1, 2], [1], ["[1]: 2 -> nothing"]),
        ([{"symbol": "X", "v": 1}], [{"symbol": "X", "v": 2}], ["[X].v: 1 -> 2"]),
        ([{"symbol": "X", "v": 1}], [{"symbol": "Y", "v": 1}], ["[0].symbol: X -> Y"]),
        ({"a": True}, {"a": 1}, ["a: True -> 1"]),  # equal in Python, another value in JSON
        ("1.0", "1.00", [": 1.0 -> 1.00"]),
    ],
)
def test_every_field_is_named(before, after, expected):
    assert told(before, after) == expected


def test_a_candle_is_named_by_its_minute():
    edited = dict(CANDLES, close="1.0 2.0 4.1")
    assert told({"c": CANDLES}, {"c": edited}) == ["c 2026-11-22T10:03:00Z close: 4.0 -> 4.1"]


def test_a_minute_that_only_one_side_has_is_told_whole():
    shorter = {k: v.rsplit(" ", 1)[0] if " " in str(v) else v for k, v in CANDLES.items()}
    assert told({"c": CANDLES}, {"c": shorter}) == [
        "c 2026-11-22T10:03:00Z: 4.0 4.0 4.0 4.0 1 -> nothing"
    ]


def test_columns_that_do_not_fit_are_told_as_they_stand():
    broken = dict(CANDLES, close="1.0 2.0")
    assert told({"c": CANDLES}, {"c": broken}) == ["c.close: 1.0 2.0 4.0 -> 1.0 2.0"]


def test_a_long_value_is_cut():
    (one,) = differences("a" * 100, "b")
    assert (one.before, one.after) == ("a" * 80 + "…", "b")


def test_a_long_value_is_cut_around_what_differs():
    (one,) = differences("a" * 100 + "x" + "c" * 100, "a" * 100 + "y" + "c" * 100)
    assert one.before == "…" + "a" * 30 + "x" + "c" * 49 + "…"
    assert one.after == "…" + "a" * 30 + "y" + "c" * 49 + "…"
