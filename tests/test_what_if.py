"""What-ifs: words, settings and proposals become the same change, and nothing else changes."""

from decimal import Decimal

import pytest

from tests.builders import a_view, inputs
from tgtqr_lib import settings
from tgtqr_lib.domain import DomainError, Plan
from tgtqr_lib.what_if import WhatIf, from_settings, from_words


def test_nothing_asked_is_no_what_if():
    assert from_words([]) is None


def test_words_change_what_they_name_and_nothing_else():
    change = from_words(
        ["band_bps=5", "limits.position_usdt=0.50", "order_target_usdt=0.40", "collar_bps=7"]
    )
    before = inputs()
    after = change(before)
    assert after.plan.parameters == {**before.plan.parameters, "window": 60, "band_bps": 5}
    assert (after.plan.order_target_usdt, after.plan.collar_bps) == (Decimal("0.40"), 7)
    assert after.limits.position_usdt == Decimal("0.50")
    assert after.limits.daily_loss_usdt == before.limits.daily_loss_usdt
    assert (after.markets, after.portfolio, after.account) == (
        before.markets, before.portfolio, before.account,
    )  # fmt: skip
    assert change.text == "band_bps=5 order_target_usdt=0.40 collar_bps=7 limits.position_usdt=0.50"


def test_parameters_may_carry_their_prefix():
    assert from_words(["parameters.window=30"]).parameters == {"window": 30}


def test_settings_stand_for_all_of_the_plan(tmp_path):
    path = tmp_path / "try.toml"
    path.write_text("order_target_usdt = 0.5\n[parameters]\nwindow = 90\n", "utf-8")
    after = from_settings(settings.load_file(path))(inputs())
    assert after.plan.parameters == {"window": 90, "band_bps": 0}
    assert after.plan.order_target_usdt == Decimal("0.5")


def test_a_change_for_another_strategy_is_refused():
    with pytest.raises(DomainError, match="it ran strategy ma_trend, not other"):
        WhatIf(of="other", parameters={"window": 30})(inputs())


@pytest.mark.parametrize(
    "word, words",
    [
        ("band_bps", "expected NAME=VALUE"),
        ("=5", "expected NAME=VALUE"),
        ("band_bps=", "expected NAME=VALUE"),
        ("band_bps=1.5", "expected a whole number"),
        ("band_bps=٣", "expected a whole number"),
        ("limits.leverage=2", "is no limit; expected one of limits.position_usdt"),
        ("limits.position_usdt=1.01", "expected 0 to 1.00 USDT"),
        ("limits.position_usdt=-1", "expected 0 to 1.00 USDT"),
        ("limits.daily_loss_usdt=nan", "expected 0 to 2.00 USDT"),
        ("order_target_usdt=0", "expected more than 0 to 1.00 USDT"),
        ("collar_bps=101", "expected a whole number from 0 to 100"),
    ],
)
def test_a_word_that_cannot_be_is_named(word, words):
    with pytest.raises(DomainError, match=words) as error:
        from_words([word])
    assert word.split("=")[0] in str(error.value)


@pytest.mark.parametrize(
    "word, words", [("window=1", "out of range"), ("x=1", "unknown parameter 'x'")]
)
def test_a_parameter_that_the_strategy_refuses_is_named(word, words):
    with pytest.raises(DomainError, match=words):
        from_words([word])(inputs())


def test_an_unknown_strategy_is_named():
    with pytest.raises(DomainError, match="strategy 'x' is unknown"):
        from_words([], "x")


def test_a_strategy_that_reads_funding_cannot_be_told_by_a_tick_that_froze_none():
    with pytest.raises(
        DomainError, match="ma_trend_filtered reads funding, and this tick of ma_trend"
    ):
        WhatIf(strategy="ma_trend_filtered")(inputs())


def test_a_strategy_that_reads_the_book_reads_it_from_the_frozen_quote():
    plan = Plan("funding_carry_paper", {}, Decimal("0.95"), 100)
    before = inputs(a_view(), plan=plan)
    after = WhatIf(strategy="ma_trend_filtered")(before)
    quote = before.markets[0].quote
    assert after.markets[0].book.levels == len(quote.bids)
    assert before.markets[0].book is None
