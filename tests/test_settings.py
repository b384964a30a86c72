"""Settings: environment over file over defaults, and a sentence for everything that is wrong."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from tests.builders import HARD_LIMITS, limits
from tgtqr_lib import credentials
from tgtqr_lib.domain import DomainError
from tgtqr_lib.home import Home
from tgtqr_lib.settings import Settings, load


@pytest.fixture(autouse=True)
def a_process_that_knows_nothing(monkeypatch):
    """What a test reads of secrets is forgotten after it."""
    monkeypatch.setattr(credentials, "_known", {})
    monkeypatch.setattr(credentials, "_pattern", None)


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


# the account


def env_file(home, text, mode=0o600):
    path = home.root / ".env"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def test_orders_stay_on_paper_unless_another_account_is_asked_for(home):
    assert (load(home).account, load(home).demo_limits_scale) == ("paper", Decimal(1))
    for account in ("paper", "demo", "testnet"):
        write(home, f'account = "{account}"')
        assert load(home).account == account


@pytest.mark.parametrize("value", ["real", "live", "mainnet", "LIVE", "Real "])
def test_an_account_with_real_money_is_refused_in_those_words(home, monkeypatch, value):
    monkeypatch.setenv("TGTQR_ACCOUNT", value)
    assert refusal(home) == (
        f"environment: account {value} would be real money, which this kit never trades; "
        "expected paper, demo or testnet"
    )


@pytest.mark.parametrize("value", ["Demo", "bybit", "", "demo "])
def test_another_account_is_not_known(home, monkeypatch, value):
    monkeypatch.setenv("TGTQR_ACCOUNT", value)
    said = refusal(home)
    assert said.startswith(f"environment: account {value} is not known; expected paper, demo or")


@pytest.mark.parametrize("text", ["account = 1", "account = true", "account = []"])
def test_an_account_is_a_name(home, text):
    assert "is not known; expected paper, demo or testnet" in refusal(home, text)


@pytest.mark.parametrize("account", ["demo", "testnet"])
@pytest.mark.parametrize("scale", ["1", "1.5", "10", "100"])
def test_limits_are_scaled_on_demo_and_testnet(home, account, scale):
    write(home, f'account = "{account}"\ndemo_limits_scale = {scale}')
    assert load(home).demo_limits_scale == Decimal(scale)


@pytest.mark.parametrize("account", ["paper", "demo"])
@pytest.mark.parametrize("scale", ["0.99", "0", "-1", "100.01", "nan", "inf", '"ten"'])
def test_a_scale_lies_between_1_and_100(home, account, scale):
    said = refusal(home, f'account = "{account}"\ndemo_limits_scale = {scale}')
    assert said.startswith("settings.toml: demo_limits_scale ")


def test_limits_are_not_scaled_on_paper(home):
    write(home, "demo_limits_scale = 1")
    assert load(home).demo_limits_scale == 1
    assert refusal(home, "demo_limits_scale = 10") == (
        "settings.toml: demo_limits_scale 10 is for a demo or testnet account; "
        "expected 1 with account paper"
    )


# .env


def test_the_file_env_is_over_settings_toml_and_under_the_environment(home, monkeypatch):
    write(home, 'market = "bybit"\ncollar_bps = 50\n[limits]\nposition_usdt = 0.40\n')
    env_file(home, "TGTQR_COLLAR_BPS=25\nTGTQR_LIMITS__DAILY_LOSS_USDT=1.25\nBYBIT_API_KEY=\n")
    settings = load(home)
    assert (settings.market, settings.collar_bps) == ("bybit", 25)
    assert settings.limits.limits == limits(position="0.40", daily="1.25")
    monkeypatch.setenv("TGTQR_COLLAR_BPS", "10")
    monkeypatch.setenv("TGTQR_LIMITS__DAILY_LOSS_USDT", "1.00")
    assert load(home).collar_bps == 10
    assert load(home).limits.limits == limits(position="0.40", daily="1.00")


def test_json_and_nested_tables_of_the_file_env_are_taken(home):
    env_file(home, """TGTQR_SYMBOLS='["ETHUSDT"]'\nTGTQR_PARAMETERS={"window": 30}\n"""
             "TGTQR_SIMULATOR__SEED=7\n")  # fmt: skip
    write(home, "[simulator]\nspread_bps = 3\n")
    settings = load(home)
    assert settings.symbols == ("ETHUSDT",) and settings.parameters == {"window": 30}
    assert (settings.simulator.seed, settings.simulator.spread_bps) == (7, 3)


@pytest.mark.parametrize(
    "text, said",
    [
        ("TGTQR_COLAR_BPS=1", ".env: TGTQR_COLAR_BPS is not a setting; expected one of "),
        ("TGTQR_COLLAR_BPS=101", ".env: collar_bps 101 input should be less than"),
        ("TGTQR_LIMITS__DAILY=1", ".env: unknown key 'limits.daily'; expected one of "),
        ("TGTQR_LIMITS__TOTAL_LOSS_USDT=5.01", ".env: limits.total_loss_usdt 5.01 is above"),
        ("TGTQR_SYMBOLS=BTCUSDT", ".env: TGTQR_SYMBOLS BTCUSDT is not JSON; expected"),
        ("TGTQR_ACCOUNT=live", ".env: account live would be real money, which this kit never"),
        ("TGTQR_TRACEBACK=1", ".env: TGTQR_TRACEBACK is read from the environment alone"),
        ("TGTQR_HOME=/elsewhere", ".env: TGTQR_HOME is read from the environment alone"),
    ],
)
def test_what_is_wrong_in_the_file_env_is_named_so(home, text, said):
    env_file(home, text + "\n")
    assert refusal(home).startswith(said)


def test_the_home_may_name_itself(home):
    env_file(home, f"TGTQR_HOME={home.root}\nTGTQR_COLLAR_BPS=25\n")
    assert load(home).collar_bps == 25


def test_alerts_and_the_page_s_password_are_no_settings(home, monkeypatch):
    env_file(home, "TGTQR_ALERTS=json://127.0.0.1:9/\nTGTQR_PASSWORD_HASH='argon2:$argon2id$x'\n")
    assert load(home).collar_bps == 100
    monkeypatch.setenv("TGTQR_ALERTS", "json://127.0.0.1:9/")
    assert load(home).collar_bps == 100


def test_no_command_runs_on_a_file_env_that_others_may_read(home):
    env_file(home, "TGTQR_COLLAR_BPS=25\n", mode=0o644)
    assert f"chmod 600 {home.root / '.env'}" in refusal(home)


def test_the_example_is_a_file_env_and_names_only_what_there_is(home):
    example = (Path(__file__).parents[1] / ".env.example").read_text("utf-8")
    env_file(home, example)
    assert load(home) == Settings()
    named = re.findall(r"^#([A-Z_]+)=(.*)$", example, flags=re.MULTILINE)
    assert len(named) >= 8
    env_file(home, "".join(f"{n}={v}\n" for n, v in named if v and n != "TGTQR_DEMO_LIMITS_SCALE"))
    assert load(home).limits.daily_loss_usdt == Decimal("1.50")
    env_file(home, "TGTQR_ACCOUNT=demo\nTGTQR_DEMO_LIMITS_SCALE=10\n")
    assert ("TGTQR_DEMO_LIMITS_SCALE", "10") in named and load(home).demo_limits_scale == 10
    known = {f"TGTQR_{key.upper()}" for key in Settings.model_fields} | {
        "BYBIT_API_KEY", "BYBIT_API_SECRET", "TGTQR_ALERTS", "TGTQR_PASSWORD_HASH",
    }  # fmt: skip
    assert {name.split("__")[0] for name, _ in named} <= known
