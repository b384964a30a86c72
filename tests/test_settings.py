"""Settings: environment over file over defaults, and a sentence for everything that is wrong."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.builders import HARD_LIMITS, limits
from tgtqr_lib.domain import DomainError
from tgtqr_lib.home import Home
from tgtqr_lib.settings import load


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def write(home, text):
    home.settings.write_text(text, encoding="utf-8")


def refusal(home, text=""):
    """The sentence with which these settings are refused."""
    write(home, text)
    with pytest.raises(DomainError) as caught:
        load(home)
    return str(caught.value)


def test_without_a_file_the_defaults_are_those_of_the_design(home):
    settings = load(home)
    assert settings.market == "simulator"
    assert settings.symbols == ("BTCUSDT", "ETHUSDT")
    assert settings.strategy == "ma_trend" and settings.parameters == {}
    assert settings.order_target_usdt == Decimal("0.95")
    assert settings.collar_bps == 100
    assert settings.limits.limits == HARD_LIMITS
    assert settings.simulator.spread_bps == 1
    assert settings.late_candle_wait_s == 20


def test_the_file_is_over_the_defaults_and_the_environment_over_the_file(home, monkeypatch):
    write(home, 'market = "bybit"\ncollar_bps = 50\n[limits]\ndaily_loss_usdt = 1.50\n')
    assert (load(home).market, load(home).collar_bps) == ("bybit", 50)
    monkeypatch.setenv("TGTQR_COLLAR_BPS", "25")
    assert (load(home).market, load(home).collar_bps) == ("bybit", 25)


def test_a_nested_key_of_the_environment_leaves_its_neighbours_in_the_file_alone(home, monkeypatch):
    write(home, "[limits]\ndaily_loss_usdt = 1.50\nposition_usdt = 0.40\n")
    monkeypatch.setenv("TGTQR_LIMITS__DAILY_LOSS_USDT", "1.25")
    assert load(home).limits.limits == limits(position="0.40", daily="1.25")


def test_numbers_of_the_file_are_decimals_to_the_last_digit(home):
    write(home, "order_target_usdt = 0.123456789012345678\n[limits]\ndaily_loss_usdt = 0.1\n")
    settings = load(home)
    assert settings.order_target_usdt == Decimal("0.123456789012345678")
    assert settings.limits.daily_loss_usdt == Decimal("0.1")


def test_the_trim_value_is_always_the_hard_one(home):
    write(home, "[limits]\nposition_usdt = 0.10\n")
    assert load(home).limits.limits.trim_usdt == Decimal("1.00")


def test_symbols_come_in_the_order_of_the_hard_limits(home):
    write(home, 'symbols = ["ETHUSDT", "BTCUSDT"]')
    assert load(home).symbols == ("BTCUSDT", "ETHUSDT")
    write(home, 'symbols = ["ETHUSDT"]')
    assert load(home).symbols == ("ETHUSDT",)


def test_parameters_simulator_and_times_can_be_chosen(home):
    write(
        home,
        "exchange_timeout_s = 2.5\nparameters = { window = 30 }\n"
        '[simulator]\nseed = 7\nspread_bps = 2.5\ncandles = "some/file.parquet"\n',
    )
    settings = load(home)
    assert settings.exchange_timeout_s == 2.5 and settings.parameters == {"window": 30}
    assert (settings.simulator.seed, settings.simulator.spread_bps) == (7, Decimal("2.5"))
    assert settings.simulator.candles == Path("some/file.parquet")


# what is refused


@pytest.mark.parametrize(
    "key, hard",
    [("position_usdt", "1.00"), ("daily_loss_usdt", "2.00"), ("total_loss_usdt", "5.00")],
)
def test_a_limit_is_at_most_the_hard_one(home, key, hard):
    write(home, f"[limits]\n{key} = {hard}\n")
    assert getattr(load(home).limits, key) == Decimal(hard)
    above = str(Decimal(hard) + Decimal("0.01"))
    sentence = refusal(home, f"[limits]\n{key} = {above}\n")
    assert sentence == (
        f"settings.toml: limits.{key} {above} is above the hard limit; expected at most {hard}"
    )


@pytest.mark.parametrize("value", ["-0.01", "nan", "inf", "true", '"much"', "[]"])
def test_a_limit_is_an_amount(home, value):
    sentence = refusal(home, f"[limits]\ndaily_loss_usdt = {value}\n")
    assert sentence.startswith("settings.toml: limits.daily_loss_usdt ")
    assert "expected" in sentence or "should be" in sentence


def test_a_limit_above_the_hard_one_in_the_environment_is_named_so(home, monkeypatch):
    monkeypatch.setenv("TGTQR_LIMITS__TOTAL_LOSS_USDT", "5.01")
    assert refusal(home) == (
        "environment: limits.total_loss_usdt 5.01 is above the hard limit; expected at most 5.00"
    )


@pytest.mark.parametrize(
    "text, key, value, expectation",
    [
        ('market = "binance"', "market", "binance", "'simulator' or 'bybit'"),
        ("collar_bps = 101", "collar_bps", "101", "less than or equal to 100"),
        ("collar_bps = -1", "collar_bps", "-1", "greater than or equal to 0"),
        ('collar_bps = "wide"', "collar_bps", "wide", "valid integer"),
        ("collar_bps = 1.5", "collar_bps", "1.5", "integer"),
        ("order_target_usdt = 1.01", "order_target_usdt", "1.01", "less than or equal to 1.00"),
        ("order_target_usdt = 0", "order_target_usdt", "0", "greater than 0"),
        ('symbols = ["XRPUSDT"]', "symbols", "XRPUSDT", "expected some of BTCUSDT, ETHUSDT"),
        ("symbols = []", "symbols", "[]", "no symbol"),
        ('symbols = ["BTCUSDT", "BTCUSDT"]', "symbols", "BTCUSDT", "one twice"),
        ("late_candle_wait_s = 21", "late_candle_wait_s", "21", "less than or equal to 20"),
        ("parameters = { window = 1.5 }", "parameters.window", "1.5", "integer"),
        ("limits = 3", "limits", "3", "dictionary"),
        ("[simulator]\nseed = -1", "simulator.seed", "-1", "greater than or equal to 0"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_was_expected(
    home, text, key, value, expectation
):
    sentence = refusal(home, text)
    assert sentence.startswith(f"settings.toml: {key} ")
    assert value in sentence and expectation in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "text, key, known",
    [
        ("colar_bps = 50", "colar_bps", "collar_bps"),
        ("[limits]\ndaily = 1", "limits.daily", "daily_loss_usdt"),
        ("[simulator]\nsed = 1", "simulator.sed", "seed"),
    ],
)
def test_an_unknown_key_is_named_with_the_known_ones(home, text, key, known):
    sentence = refusal(home, text)
    assert sentence.startswith(f"settings.toml: unknown key '{key}'; expected one of ")
    assert known in sentence


@pytest.mark.parametrize("name", ["TGTQR_COLAR_BPS", "TGTQR_LIMIT__DAILY", "tgtqr_colar_bps"])
def test_an_unknown_variable_is_named(home, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    sentence = refusal(home)
    assert sentence.startswith(f"environment: {name} is not a setting; expected one of ")
    assert "collar_bps" in sentence


def test_an_unknown_nested_variable_is_named(home, monkeypatch):
    monkeypatch.setenv("TGTQR_LIMITS__DAILY", "1")
    sentence = refusal(home)
    assert sentence.startswith("environment: unknown key 'limits.daily'; expected one of ")


@pytest.mark.parametrize("name", ["TGTQR_HOME", "TGTQR_RECORDED_DATA"])
def test_variables_that_only_say_where_things_lie_are_no_settings(home, monkeypatch, name):
    monkeypatch.setenv(name, "somewhere")
    assert load(home).collar_bps == 100


@pytest.mark.parametrize(
    "name, value",
    [
        ("TGTQR_SYMBOLS", "BTCUSDT"),
        ("TGTQR_PARAMETERS", "window=30"),
        ("TGTQR_LIMITS", "{bad"),
    ],
)
def test_a_variable_that_must_be_json_is_named_with_its_value(home, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    sentence = refusal(home)
    assert sentence.startswith(f"environment: {name} ") and value in sentence
    assert "JSON" in sentence


def test_json_of_the_environment_is_taken(home, monkeypatch):
    monkeypatch.setenv("TGTQR_SYMBOLS", '["ETHUSDT"]')
    monkeypatch.setenv("TGTQR_PARAMETERS", '{"window": 30}')
    assert load(home).symbols == ("ETHUSDT",) and load(home).parameters == {"window": 30}


def test_a_broken_file_is_named(home):
    assert refusal(home, "collar_bps = = 3").startswith("settings.toml: not readable as TOML (")
    home.settings.write_bytes(b"market = '\xff'")
    with pytest.raises(DomainError, match=r"settings\.toml: not readable as TOML"):
        load(home)


def test_settings_do_not_change(home):
    with pytest.raises(Exception, match="frozen"):
        load(home).collar_bps = 1
