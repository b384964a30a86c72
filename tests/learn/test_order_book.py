"""Notebook 04: a book's figures by hand, a method that finds what is planted and nothing else, real quotes once."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from math import atanh

import duckdb
import numpy as np
import pytest

from tests.builders import candles
from tests.recorded import recorded
from tgtqr_lib.clock import from_ms
from tgtqr_lib.domain import (
    BookFeatures,
    BookHistory,
    DataError,
    DomainError,
    History,
    Level,
    Quote,
)
from tgtqr_lib.learn import Play, order_book
from tgtqr_lib.learn.order_book import Book, Experiment, Looks
from tgtqr_lib.learn.order_book_study import NAMES, rank_correlations, ranks
from tgtqr_lib.market.book_lake import BookLake, Look
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.research.past import SYNTHETIC_END

MINUTE = 60_000
FIRST_MS = 1_735_689_600_000  # 2025-01-01T00:00Z
IMBALANCE = "book_imbalance_1"


def side(*levels) -> tuple[Level, ...]:
    return tuple(Level(Decimal(str(price)), Decimal(str(quantity))) for price, quantity in levels)


def a_book(bids=((100, 3), (99.9, 1)), asks=((100.2, 1), (100.3, 2))) -> Book:
    at = SYNTHETIC_END
    return Book(Quote("BTCUSDT", at, side(*bids), side(*asks), Decimal(100)))


def made_of(signal, moves_bps, *, fee=10.0, spread=1.0, made_up=False) -> Looks:
    """Looks of one figure, each followed by its move within the minute."""
    signal, moves = np.asarray(signal, float), np.asarray(moves_bps, float)
    price = 100 * np.concatenate([[1.0], np.cumprod(1 + moves[:-1] / 1e4)])
    at = FIRST_MS + np.arange(len(signal)) * MINUTE
    spreads = np.full(len(signal), spread)
    return Looks("BTCUSDT", "by hand", made_up, at, price, spreads, {IMBALANCE: signal}, fee)


def noise(n=2000, seed=1, sd=5.0) -> Looks:
    chance = np.random.default_rng(seed)
    return made_of(chance.uniform(-1, 1, n), chance.normal(0, sd, n))


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory):
    from tgtqr_lib.home import Home

    return Home(tmp_path_factory.mktemp("home") / "nothing")


@pytest.fixture(scope="module", params=["BTCUSDT", "ETHUSDT"])
def made_up(request, nowhere) -> Looks:
    return order_book.looks(request.param, days=2, home=nowhere)


# one book


def test_the_figures_of_a_book_are_shown_with_their_arithmetic():
    html = a_book().draw()
    # mid 100.1; 0.2 / 100.1 = 19.98 bps; (3 - 1) / 4; (100 x 1 + 100.2 x 3) / 4 = 100.15
    for words in (
        "Best bid 3.000 BTC at 100, best ask 1.000 at 100.2. Mid 100.1.",
        "Spread: 0.2 USDT, 19.980 bps of the mid.",
        "at 1 (3.000 − 1.000) / 4.000 = <b>+0.500</b>",
        "at 5 absent, because a side has only 2 levels",
        "both quantities = 100.2",
        "0.1 × +0.500 = +0.1 USDT from the mid, +4.995 bps",  # 0.05 / 100.1
    ):
        assert words in html, html[html.index("<p>") :]


@pytest.mark.parametrize(
    "moved, bids, asks",
    [
        # a level holds (3 + 1 + 1 + 2) / 4 = 1.75 on average
        ({"bids": 2}, [6.5, 1], [1, 2]),
        ({"asks": 2, "level": 2}, [3, 1], [1, 5.5]),
        ({"bids": 1, "asks": 1, "level": 2, "taken": 1}, [3, 2.75], [3.75]),
    ],
)
def test_sliders_add_quantity_and_take_asks_off(moved, bids, asks):
    quote = a_book().changed(**moved)
    assert [float(level.quantity) for level in quote.bids] == bids
    assert [float(level.quantity) for level in quote.asks] == asks


def test_a_book_without_asks_is_not_shown_and_the_sliders_stay():
    play = Play(a_book().draw, taken=(0, 0, 2, 1, "taken"))
    assert "Not shown: BTCUSDT: the order book has an empty side" in play.set(taken=2).html
    assert "<svg" in play.set(taken=1).html


def test_quantity_at_the_tenth_level_is_seen_by_the_deep_imbalance_alone():
    book = order_book.book("ETHUSDT")
    before, after = book.changed(), book.changed(bids=5, level=10)
    bids, more = before.bids, after.bids
    assert bids[:9] == more[:9] and more[9].quantity - bids[9].quantity == 5 * book.usual
    shown = [html[html.index("Imbalance") :] for html in (book.draw(), book.draw(5, 0, 10))]
    first, deep = ([text.split("; at ")[i] for text in shown] for i in (0, 2))
    assert first[0] == first[1] and deep[0] != deep[1]


def test_every_place_of_the_sliders_draws_the_made_up_book():
    book = order_book.book()
    assert len(book.quote.bids) == len(book.quote.asks) == 30
    shown = {book.draw(b, a, level, taken) for b in (0, 10.0) for a in (0, 10.0)
             for level in (1, 25) for taken in (0, 20, 29)}  # fmt: skip
    # Nothing added: 3 by what was taken. Bids alone: 6. Asks, with bids or without: 3 each, because what was
    # added to the first ask goes with 20, and what was added to the 25th with 29
    assert len(shown) == 3 + 6 + 3 + 3 and all("<svg" in one for one in shown)
    assert "at 25 absent, because a side has only 10 levels" in book.draw(taken=20)


def test_the_micro_price_never_leaves_the_spread():
    chance = np.random.default_rng(3)
    for _ in range(200):
        gap, below, above = chance.uniform(0.1, 9), *chance.uniform(0.001, 99, 2)
        html = a_book([(100, round(below, 4)), (99, 1)],
                      [(round(100 + gap, 2), round(above, 4)), (120, 1)]).draw()  # fmt: skip
        spread, micro = html.split("Spread: ")[1], html.split("from the mid, ")[1]
        bps = float(spread.split("USDT, ")[1].split(" bps")[0])
        assert abs(float(micro.split(" bps")[0].replace("−", "-"))) <= bps / 2 + 0.001


def test_the_made_up_book_is_the_one_that_its_looks_were_made_of(nowhere):
    looks = order_book.looks(days=1, home=nowhere)
    book = order_book.book(at=from_ms(int(looks.at_ms[-3])))
    bid, ask = book.quote.bids[0].quantity, book.quote.asks[0].quantity
    assert looks.signals[IMBALANCE][-3] == pytest.approx(float((bid - ask) / (bid + ask)), abs=1e-6)
    assert looks.price[-3] == pytest.approx(float(book.quote.mid), rel=2e-6)  # its open


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: order_book.book("XRPUSDT"), "symbol 'XRPUSDT' is unknown"),
        (lambda: order_book.book(at=from_ms(0)), "no book at 1970"),
        (lambda: order_book.looks("XRPUSDT"), "symbol 'XRPUSDT' is unknown"),
        (lambda: order_book.looks(days=0), "days 0 is out of range"),
        (lambda: order_book.study(noise(40)), "39 looks with book_imbalance_1"),
        (lambda: order_book.study(noise(), "depth"), "figure 'depth' is unknown"),
        (lambda: noise(2).planted(1, "depth"), "figure 'depth' is unknown"),
        (lambda: order_book.study(noise(100), minutes=60), "a move of 60 minutes after it"),
        (lambda: order_book.studies(noise(40)), "no figure has 50 looks"),
        (lambda: made_of(np.zeros(60), np.ones(60)).planted(1), "absent or never changes"),
        (lambda: order_book.a_day_kept(noise()), "no looks as a lake keeps them"),
    ],
)
def test_what_cannot_be_is_refused(call, sentence):
    with pytest.raises(DomainError, match=sentence):
        call()


# looks and prices


def test_a_look_stands_beside_the_open_of_its_minute_and_holes_stay_holes():
    rows = candles([1000, 1010, 1020, 1030])
    closed = rows.open_ms + MINUTE
    seen = {"levels": 9, "spread": 10_000, "micro": 30_000, "imbalance_5": 200_000,
            "imbalance_25": None, "depth": None}  # fmt: skip
    looks = [
        (int(at), BookFeatures(at=from_ms(int(at)), imbalance_1=part, **seen))
        for at, part in ((closed[0], 500_000), (closed[2], -250_000))
    ]
    found = Looks.of(History(rows, book=BookHistory.of(looks)), "by hand", False)

    assert found.at_ms.tolist() == closed.tolist()
    scale = 10.0**rows.decimals
    np.testing.assert_array_equal(found.price, [*(rows.open[1:] / scale), np.nan])
    np.testing.assert_array_equal(found.signals[IMBALANCE], [0.5, np.nan, -0.25, np.nan])
    assert np.isnan(found.signals["book_imbalance_25"]).all()
    assert found.half_spread_bps == 0.5 and found.fill_bps == 10.5  # 1e-4 x 10,000 = 1 bp
    rows = {row[0]: row[1:] for row in order_book.figures(found).rows}
    assert rows["book_imbalance_25"][1:] == ("absent",) * 4
    assert rows["spread, bps"][:3] == ("50%", "1.000", "1.000")


def test_without_a_single_look_there_is_nothing_to_study():
    with pytest.raises(DataError, match="no look at a book"):
        Looks.of(History(candles([1, 2, 3])), "by hand", False)


def test_moves_begin_after_the_wait_and_end_before_the_unknown():
    looks = replace(noise(6), price=np.array([100, 101, np.nan, 102, 104, 100]))
    # 101 / 100 and 104 / 102, in basis points
    np.testing.assert_allclose(looks.moves()[[0, 3]], [100, 196.078431], rtol=1e-6)
    assert np.isnan(looks.moves()[[1, 2, 5]]).all()
    np.testing.assert_allclose(looks.moves(2, wait=1)[2], (100 / 102 - 1) * 1e4)
    assert np.isnan(looks.moves(2, wait=1)[3:]).all() and np.isnan(looks.moves(9)).all()


def test_what_is_planted_is_added_to_the_minute_after_each_look():
    looks = noise(300)
    signal = looks.signals[IMBALANCE]
    z = (signal - signal.mean()) / signal.std()
    moved = looks.planted(2.0).moves()
    expected = ((1 + looks.moves() / 1e4) * (1 + 2e-4 * z) - 1) * 1e4
    np.testing.assert_allclose(moved[:-1], expected[:-1], rtol=0, atol=1e-7)


# the method


def test_equal_values_share_the_mean_of_their_ranks():
    assert ranks(np.array([7.0, 1, 7, 3, 7, 1])).tolist() == [5, 1.5, 5, 3, 5, 1.5]


def test_the_rank_correlation_is_spearmans_and_the_others_are_turned():
    a, b = [1, 2, 3, 4, 5], [2, 1, 4, 3, 5]
    # 1 - 6 sum d^2 / n (n^2 - 1) = 1 - 6 x 4 / 120
    assert rank_correlations(a, b)[0] == pytest.approx(0.8)
    chance = np.random.default_rng(5)
    for n in (7, 12):
        a, b = chance.integers(0, 5, n), chance.normal(size=n)
        x, y = ranks(a), ranks(b)
        every = [np.corrcoef(x, np.roll(y, -k))[0, 1] for k in range(n)]
        np.testing.assert_allclose(rank_correlations(a, b), every, atol=1e-12)
    assert np.isnan(rank_correlations([1, 1, 1], [1, 2, 3])).all()


def test_a_study_of_moves_that_are_the_figure_itself():
    chance = np.random.default_rng(2)
    signal = chance.permutation(np.arange(101)) / 50 - 1
    found = order_book.study(made_of(signal, 10 * signal))
    used = np.sort(signal[:-1])  # the last look has no move after it
    assert found.count == 100 and found.correlation == pytest.approx(1)
    assert found.p_value == 1 / 100  # better than each of 99 turns
    np.testing.assert_allclose(found.means, 10 * used.reshape(5, 20).mean(axis=1), atol=1e-9)
    spread = 10 * used[-20:].std(ddof=1) / np.sqrt(20)
    assert found.errors[-1] == pytest.approx(spread)
    assert found.timing == pytest.approx(10 * (used[-20:].mean() - used.mean()))
    # moves of 6 minutes do not overlap when every 6th look is used: 601 looks, 100 of them
    assert order_book.study(noise(601), minutes=6).count == 100


def test_a_figure_that_never_changes_predicts_nothing():
    found = order_book.study(made_of(np.zeros(80), np.arange(80.0)))
    assert np.isnan(found.correlation) and found.p_value == 1
    words = order_book.told(noise(80), found)
    assert "Rank correlation n/a" in words


def test_noise_is_called_something_about_as_often_as_it_must():
    p = np.array([order_book.study(noise(200, seed)).p_value for seed in range(400)])
    # 20 of 400 expected at 0.05, 4.4 their standard deviation; 200 below a half, +-10
    assert 7 <= (p <= 0.05).sum() <= 33
    assert 165 <= (p <= 0.5).sum() <= 235


def test_as_many_looks_as_are_said_to_be_needed_notice_it_four_times_in_five():
    looks = noise(1500, sd=5.0)
    (row,) = order_book.needed(looks, (0.7,)).rows
    r = 0.7 / np.hypot(0.7, np.nanstd(looks.moves()))
    count = (2.8 / atanh(r)) ** 2 + 3
    assert (row[1], row[2]) == (f"+{r:.3f}", f"{np.ceil(count):,.0f}")
    assert 300 < count < 600
    n = int(np.ceil(count)) + 1
    seen = sum(order_book.study(noise(n, s).planted(0.7)).p_value <= 0.05 for s in range(300))
    # 240 expected, 7 their standard deviation; ranks of uniform figures are worth a few per cent less
    assert 205 <= seen <= 265


@pytest.mark.parametrize("late, there", [(0, True), (1, False)])
def test_what_is_planted_is_found_at_once_and_gone_a_minute_later(made_up, late, there):
    rows = order_book.late(made_up, 1.0, waits=(late,)).rows
    assert (rows[0][2] == "<\u00a00.001") is there
    assert (float(rows[0][1].replace("−", "-")) > 0.15) is there


def test_made_up_books_know_nothing_of_the_next_minute(made_up):
    assert made_up.made_up and made_up.label.endswith("(synthetic market, seed 1)")
    assert "noise by construction" in made_up._repr_markdown_()
    assert [row[0] for row in order_book.predicts(made_up).rows] == [*NAMES]
    text = str(order_book.answer(made_up, 1.0))
    assert text.startswith("Nothing that luck would not show: of 4 figures")
    assert "is found by the same method (p < 0.001), and does not pay" in text


def test_a_planted_relation_is_seen_by_every_figure_that_holds_the_best_level(made_up):
    table = order_book.predicts(made_up.planted(3.0))
    first, five, deep, micro = (float(row[2]) for row in table.rows)
    assert first > five > deep > 0 and micro == pytest.approx(first, abs=0.01)
    assert {0, 1, 3} <= table.strong


def test_the_95_percent_of_the_table_and_of_the_picture_agree():
    looks = noise(3000)
    (row,) = order_book.predicts(looks).rows
    low, high = (float(one.replace("−", "-")) for one in row[-1].split("\u00a0to\u00a0"))
    found = order_book.study(looks)
    assert (high - low) / 2 == pytest.approx(1.96 * found.errors[-1], rel=0.15)
    assert low < found.top < high


# costs


def test_costs_are_paid_on_both_ways():
    signal = np.tile([-1.0, -0.5, 0.0, 0.5, 1.0], 41)
    looks = made_of(signal, 30 * signal, fee=10.0, spread=1.0)
    words = order_book.told(looks, order_book.study(looks))
    # +30 after the highest; 2 x (0.5 + 10) = 21; the average of all is 0, but for the look left out
    assert "moved +30.00 bps" in words and "21.0 bps in all: <b>+9.00 bps</b> are left" in words


def test_the_picture_is_drawn_at_every_place_of_its_sliders_or_says_why_not(made_up):
    draw = Experiment(made_up).draw
    play = Play(draw, strength=(1.0, 0.0, 25.0, 0.5, "planted"), minutes=(1, 1, 60, 1, "ahead"))
    shown = [play.set(strength=s, minutes=m).html for s in (0.0, 3.0, 25.0) for m in (1, 7, 30)]
    assert len(set(shown)) == 9 and all("<svg" in one for one in shown)
    assert "Not shown: 47 looks" in play.set(minutes=60).html  # two days have 48 hours


def test_strong_relations_pay_and_weak_ones_do_not(made_up):
    weak, strong = (str(order_book.answer(made_up, bps)) for bps in (1.0, 20.0))
    assert "does not pay: −" in weak and "pays: +" in strong


@pytest.mark.parametrize("strength, begins", [(0.0, "Nothing"), (4.0, "Something")])
def test_the_answer_follows_the_figures(strength, begins):
    looks = noise()
    text = str(order_book.answer(looks.planted(strength) if strength else looks, 2.0))
    assert text.startswith(begins) and "noise by construction" not in text
    assert ("older than the look" in text) is (strength > 0)


def test_a_lucky_made_up_market_is_called_lucky():
    looks = replace(noise().planted(4.0), made_up=True)
    assert "so this is luck" in str(order_book.answer(looks, 2.0))


def test_the_micro_price_is_not_worth_a_fill(made_up):
    rows = {row[0]: row[1] for row in order_book.micro_against_costs(made_up).rows}
    assert rows["looks where it is within half the spread"] == "100.0%"
    assert rows["looks where the micro-price is worth a fill"] == "0.0%"


# books that are not as they should be


def test_troubles_are_told_in_the_kits_own_words():
    rows = dict(order_book.troubles().rows)
    assert rows["no bids"] == "refused: BTCUSDT: the order book has an empty side"
    assert "is not below best ask" in rows["best bid above best ask"]
    assert "not sorted" in rows["bids not sorted"]
    assert "not positive" in rows["a quantity of 0"]
    assert "imbalance at 5 absent, imbalance at 25 absent" in rows["3 levels a side"]
    assert rows["20 asks, 30 bids"].count("absent") == 1
    assert rows["no look at that minute"].startswith("book_imbalance_1 is nan")
    assert rows["a strategy that needs the book"].startswith("SIGNAL_FILTERED")
    assert len(rows) == 8


# a home with looks of its own


def keep(home, looks: Looks, count: int) -> None:
    """Candles and looks of a made-up stretch as a home that recorded them would hold them."""
    kept = looks.book
    lake = BookLake(home.book)
    rows = [
        Look(
            looks.symbol,
            from_ms(int(at)),
            BookFeatures(
                at=from_ms(int(at)) + timedelta(seconds=3),
                **{name: int(kept.columns[name][i]) for name in BookHistory.NAMES},
            ),
            "watch",
        )
        for i, at in enumerate(kept.at_ms[:count])
    ]
    lake.write(rows)


@pytest.mark.parametrize("count, is_made_up", [(400, False), (300, True)])
def test_a_home_with_six_hours_of_looks_studies_them(home, nowhere, count, is_made_up):
    from tgtqr_lib import research

    made = order_book.looks("BTCUSDT", days=1, home=nowhere)
    Lake(home.candles).write(research.history("BTCUSDT", nowhere, days=1).candles, "an exchange")
    keep(home, made, count)

    found = order_book.looks("BTCUSDT", days=1, home=home)

    assert found.made_up is is_made_up
    if not is_made_up:
        assert "400 recorded looks" in found.label and "from an exchange" in found.label
        assert "noise" not in found._repr_markdown_()
        for name in NAMES:
            np.testing.assert_array_equal(found.signals[name][:400], made.signals[name][:400])
            assert np.isnan(found.signals[name][400:]).all()
        np.testing.assert_allclose(found.moves()[:400], made.moves()[:400], atol=1e-9)
        assert "noise by construction" not in str(order_book.answer(found, 1.0))


def test_a_day_of_looks_takes_some_twenty_kilobytes_and_leaves_the_home_alone(nowhere):
    looks = order_book.looks(days=1, home=nowhere)
    rows = {row[0]: row[1] for row in order_book.a_day_kept(looks).rows}
    assert rows["looks written, and read back"] == "1,440, 1,440"
    size = int(rows["bytes a day"].replace(",", ""))
    assert 10_000 < size < 40_000
    assert rows["bytes a look"] == f"{size / 1440:.1f}"
    assert not nowhere.root.exists()


# real quotes


def quotes(source: str) -> Looks:
    """The best quotes at the end of each minute of half a day of December 2022."""
    path = recorded("quotes_1m_bybit_BTCUSDT_20221213.parquet")
    names = "epoch_ms(ts) as at_ms, bid_close, bid_size, ask_close, ask_size"
    with duckdb.connect() as con:
        query = f"select {names} from '{path}' where source like ? order by ts"
        rows = con.execute(query, [f"bybit {source}%"]).fetchnumpy()
    at = rows["at_ms"] + MINUTE
    grid = np.arange(at[0], at[-1] + 1, MINUTE)
    bid, ask, below, above = (np.full(len(grid), np.nan) for _ in range(4))
    for column, name in zip((bid, ask, below, above),
                            ("bid_close", "ask_close", "bid_size", "ask_size"), strict=True):  # fmt: skip
        column[(at - grid[0]) // MINUTE] = rows[name]
    mid = (bid + ask) / 2
    micro = (bid * above + ask * below) / (below + above)
    signals = {
        IMBALANCE: (below - above) / (below + above),
        "micro_price_offset": (micro / mid - 1) * 1e4,
    }
    fee = 10.0 if source == "spot" else 5.5
    return Looks("BTCUSDT", f"Bybit {source}", False, grid, mid, (ask - bid) / mid * 1e4, signals, fee)  # fmt: skip


@pytest.mark.parametrize("source, count", [("spot", 720), ("linear", 339)])
def test_the_method_runs_on_real_quotes(source, count):
    looks = quotes(source)
    found = order_book.study(looks)
    assert found.count == count
    # the same correlation, computed by another engine
    signal, moves = looks.signals[IMBALANCE], looks.moves()
    there = np.isfinite(signal) & np.isfinite(moves)
    signal, moves = signal[there], moves[there]
    with duckdb.connect() as con:
        con.register("pairs", {"s": signal, "m": moves})
        (expected,) = con.execute(
            "select corr(s, m) from (select rank() over (order by s) + (count(*) over (partition by s)"
            " - 1) / 2 s, rank() over (order by m) + (count(*) over (partition by m) - 1) / 2 m from pairs)"
        ).fetchone()
    assert found.correlation == pytest.approx(expected, abs=1e-9)
    rows = {row[0]: row[1] for row in order_book.micro_against_costs(looks).rows}
    assert rows["looks where it is within half the spread"] == "100.0%"
    assert rows["looks where the micro-price is worth a fill"] == "0.0%"
    # whatever it predicts within the minute, it is not worth a round trip
    assert found.top + 1.96 * found.errors[-1] < 2 * looks.fill_bps
    assert "2 figures" in str(order_book.answer(looks, 1.0))
