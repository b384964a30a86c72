"""Everything that may come in wrong: each is answered by a sentence, never by an order."""

import json
import subprocess

import pytest

from tests.stage import PROJECT, TGTQR, command, environment, raw, rise
from tgtqr_lib import cli, ledger, tick
from tgtqr_lib.desk import one_at_a_time
from tgtqr_lib.home import Home

KLINE, BOOK, TICKERS = "/v5/market/kline", "/v5/market/orderbook", "/v5/market/tickers"


def run(capsys, home: Home, *words: str) -> tuple[int, str]:
    """Exit code and standard error of a command."""
    code = cli.main([*words, "--home", str(home.root)])
    return code, capsys.readouterr().err


# --- what the exchange may send: no order, a code in the ledger, and a next tick as good as ever ---

FAULTS = {
    "the last minute is missing": ([{"kind": "missing_minute"}], "DATA_LATE"),
    "an older minute is missing": ([{"kind": "missing_minute", "minute": "2026-11-22T09:40Z"}], "DATA_GAP"),
    "the first minute of the window is missing":
        ([{"kind": "missing_minute", "minute": "2026-11-22T09:15Z"}], "DATA_GAP"),
    "the last close is NaN": ([{"kind": "nan"}], "DATA_INVALID"),
    "an older close is NaN": ([{"kind": "nan", "minute": "2026-11-22T09:40Z"}], "DATA_INVALID"),
    "the last close is zero": ([{"kind": "zero"}], "DATA_INVALID"),
    "candles are stale": ([{"kind": "stale", "endpoint": KLINE, "age_s": 120}], "DATA_LATE"),
    "the book is stale": ([{"kind": "stale", "endpoint": BOOK, "age_s": 5.001}], "DATA_STALE"),
    "the book has a price of NaN": ([{"kind": "nan", "endpoint": BOOK}], "DATA_STALE"),
    "the book has a price of zero": ([{"kind": "zero", "endpoint": BOOK}], "DATA_STALE"),
    "the ticker says NaN": ([{"kind": "nan", "endpoint": TICKERS}], "DATA_STALE"),
    "the ticker says zero": ([{"kind": "zero", "endpoint": TICKERS}], "DATA_STALE"),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_bad_data_is_no_order_and_its_code_is_in_the_ledger(stage, what):
    faults, code = FAULTS[what]
    rise(stage)
    stage.arm()
    for fault in faults:
        stage.simulator.faults.add(
            fault["kind"], symbol="BTCUSDT", **{k: v for k, v in fault.items() if k != "kind"}
        )
    result = stage.tick("10:15")
    choice = result.decision.choice("BTCUSDT")
    assert (result.state, choice.reason, choice.approved) == ("done", code, False)
    assert result.acts == [] and stage.events("order", "fill") == []
    (row,) = stage.events("decision")
    reasons = {c["symbol"]: c["reason"] for c in row.body["choices"]}
    assert reasons == {"BTCUSDT": code, "ETHUSDT": "SIGNAL_TIE"}  # the other symbol is not held up
    stage.simulator.faults.clear()
    stage.beat("10:29")
    after = stage.tick("10:30")
    assert (after.state, after.acts[0].result) == ("done", "FILLED")


def test_a_window_is_exactly_its_sixty_minutes(stage):
    rise(stage)
    stage.arm()
    stage.simulator.faults.add(
        "missing_minute", minute="2026-11-22T09:14Z"
    )  # the 61st from the end
    assert stage.tick("10:15").acts[0].result == "FILLED"


def test_a_jump_is_doubted(stage):
    stage.market.set("BTCUSDT", "10:14", "120000.0")  # 20 % exactly, and the ticker agrees
    stage.arm()
    assert stage.tick("10:15").decision.choice("BTCUSDT").reason == "DATA_JUMP"


def test_a_ticker_that_tells_another_story_is_doubted(stage):
    rise(stage)
    stage.arm()
    stage.market.set("BTCUSDT", "10:15", "103000.0")  # since the close; over 2 % off
    assert stage.tick("10:15").decision.choice("BTCUSDT").reason == "DATA_TICKER"


@pytest.mark.parametrize("start_s", [3, 59.999])
def test_the_running_minute_is_never_a_candle(stage, start_s):
    rise(stage, since="10:15", price="100100.0")  # after the boundary: the decision must not see it
    stage.arm()
    result = stage.tick("10:15", start_s)
    view = json.loads((stage.home.root / result.notebook).read_text())["metadata"]["tgtqr"][
        "inputs"
    ]
    (btc,) = [m for m in view["markets"] if m["symbol"] == "BTCUSDT"]
    assert result.decision.choice("BTCUSDT").reason == "SIGNAL_TIE"
    assert "1001000" not in json.dumps(btc["candles"])


def test_a_late_minute_is_asked_for_again(stage):
    rise(stage)
    stage.arm()
    stage.desk.settings = stage.desk.settings.model_copy(update={"late_candle_wait_s": 10})
    stage.at("10:15:03")
    before = stage.simulator.state()["requests"][KLINE]
    stage.simulator.faults.add(
        "missing_minute", symbol="BTCUSDT", uses=2
    )  # the mark's request, and the first
    result = tick.run_tick(stage.desk, None)
    assert result.acts[0].result == "FILLED"
    assert stage.simulator.state()["requests"][KLINE] > before


@pytest.mark.parametrize("endpoint", [KLINE, BOOK, TICKERS, "/v5/market/instruments-info"])
def test_a_5xx_or_two_are_asked_again_and_harm_nothing(stage, endpoint):
    rise(stage)
    stage.arm()
    stage.desk._instruments.clear()  # as in a command of its own
    stage.simulator.faults.add("5xx", endpoint=endpoint, uses=2)
    assert stage.tick("10:15").acts[0].result == "FILLED"
    assert stage.simulator.faults.active() == []


def test_5xx_for_good_fails_the_tick_and_the_next_one_is_fine(stage):
    rise(stage)
    stage.arm()
    stage.desk.exchange._budget_s = 0.3
    stage.simulator.faults.add("5xx", endpoint=KLINE)
    result = stage.tick("10:15")
    assert (result.state, result.reason) == ("failed", "EXCHANGE_UNREACHABLE")
    assert stage.final("10:15")["reason"] == "EXCHANGE_UNREACHABLE" and stage.events("order") == []
    stage.simulator.faults.clear()
    stage.beat("10:29")
    assert stage.tick("10:30").acts[0].result == "FILLED"


def test_a_reply_later_than_the_budget_is_none(stage):
    rise(stage)
    stage.arm()
    stage.desk.exchange._budget_s = 0.3
    stage.desk.exchange._client.timeout = 200
    stage.simulator.faults.add("delay", endpoint=KLINE, seconds=1)
    result = stage.tick("10:15")
    assert (result.state, result.reason) == ("failed", "EXCHANGE_UNREACHABLE")


@pytest.mark.parametrize(
    "words", [("tick", "--at", "2026-11-22T10:15Z"), ("watch", "--once"), ("arm", "--reason", "x")]
)
def test_an_unreachable_exchange_exits_4_and_claims_nothing(home, capsys, words):
    home.settings.write_text('exchange_timeout_s = 0.3\n[simulator]\nurl = "http://127.0.0.1:9"\n')
    code, said = run(capsys, home, *words)
    assert code == 4
    assert "exchange http://127.0.0.1:9: no usable answer within 0.3 s" in said
    con = ledger.connect(home.ledger)
    assert ledger.head(con)[0] == 0
    con.close()


def test_a_tick_whose_exchange_dies_under_it_exits_4(stage, capsys, monkeypatch):
    stage.arm()
    stage.configure("")
    stage.home.settings.write_text(
        stage.home.settings.read_text().replace("timeout_s = 5", "timeout_s = 0.3")
    )
    stage.simulator.faults.add("5xx", endpoint=KLINE)
    stage.at("10:15:03")
    code, said = run(capsys, stage.home, "tick", "--at", "2026-11-22T10:15Z")
    assert code == 4 and "no usable answer within 0.3 s" in said
    assert stage.final("10:15")["state"] == "failed"


# --- settings ---


@pytest.mark.parametrize(
    "text, named",
    [
        ("colour = 'red'", ("settings.toml", "colour", "expected one of")),
        ("limits = { daily_loss_usdt = '2.01' }", ("limits.daily_loss_usdt", "2.01", "at most 2.00")),
        ("limits = { position_usdt = '1.01' }", ("limits.position_usdt", "1.01", "at most 1.00")),
        ("limits = { total_loss_usdt = '-1' }", ("limits.total_loss_usdt", "-1", "0 to 5.00")),
        ("limits = { total_loss_usdt = 'NaN' }", ("limits.total_loss_usdt", "NaN")),
        ("limits = { weekly = '1' }", ("limits.weekly", "expected one of")),
        ("strategy = 'moon'", ("moon", "ma_trend")),
        ("parameters = { windw = 60 }", ("windw", "window")),
        ("parameters = { window = 1 }", ("window", "1")),
        ("symbols = ['XRPUSDT']", ("XRPUSDT", "BTCUSDT, ETHUSDT")),
        ("market = 'mainnet'", ("market", "mainnet", "simulator")),
        ("order_target_usdt = '1.01'", ("order_target_usdt", "1.01")),
        ("collar_bps = 101", ("collar_bps", "101")),
        ("this is no toml", ("settings.toml", "not readable as TOML")),
    ],
)  # fmt: skip
def test_a_wrong_setting_exits_2_and_names_key_value_and_expectation(home, capsys, text, named):
    home.settings.write_text(text + "\n")
    code, said = run(capsys, home, "watch", "--once")
    assert code == 2, said
    assert [word for word in named if word not in said] == []
    assert said.count("\n") == 1 and "Traceback" not in said


def test_a_wrong_variable_of_the_environment_is_named(home, capsys, monkeypatch):
    monkeypatch.setenv("TGTQR_LIMITS__DAILY_LOSS_USDT", "3")
    code, said = run(capsys, home, "watch", "--once")
    assert code == 2 and "environment: limits.daily_loss_usdt 3 is above the hard limit" in said
    monkeypatch.delenv("TGTQR_LIMITS__DAILY_LOSS_USDT")
    monkeypatch.setenv("TGTQR_LIMTS", "3")
    code, said = run(capsys, home, "watch", "--once")
    assert code == 2 and "TGTQR_LIMTS is not a setting" in said


# --- the ledger and the disk ---


@pytest.fixture
def lived_in(stage):
    """A home with a bought tick in its ledger."""
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    return stage


def test_an_edited_row_is_named_and_exits_5(lived_in, capsys):
    with raw(lived_in.home) as con:
        con.execute("DROP TRIGGER events_are_not_edited")
        con.execute(
            "UPDATE events SET body = replace(body, '0.90094590', '0.80094590') WHERE kind = 'fill'"
        )
    con.close()
    (row,) = lived_in.events("fill")
    code = cli.main(["ledger", "verify", "--home", str(lived_in.home.root)])
    shown = capsys.readouterr().out
    assert code == 5
    assert (
        f"event {row.seq} (fill fill/paper-1/20261122T1015Z-BTC-B): its hash does not match"
        in shown
    )
    assert shown.splitlines()[-1].endswith(": 1 problem")


@pytest.mark.parametrize(
    "words", [("status",), ("watch", "--once"), ("ledger", "verify"), ("account", "show")]
)
def test_a_newer_ledger_is_refused_with_a_sentence(lived_in, capsys, words):
    with raw(lived_in.home) as con:
        con.execute("PRAGMA user_version=7")
    con.close()
    code, said = run(capsys, lived_in.home, *words)
    assert code == 1 and "version 7 is newer than this kit's 1; update the kit" in said


@pytest.mark.parametrize(
    "words", [("status",), ("ledger", "verify"), ("ledger", "show"), ("account",)]
)
def test_without_a_ledger_reading_commands_say_so_and_make_none(home, capsys, words):
    code, said = run(capsys, home, *words)
    assert code == 1 and "there is none; a tick, a beat or `tgtqr arm` makes it" in said
    assert not home.ledger.exists()


@pytest.mark.parametrize("place", ["data", "outputs", "data/control", "outputs/ticks"])
def test_a_file_where_a_folder_is_needed_is_a_sentence(tmp_path, capsys, place):
    home = Home(tmp_path / "home")
    (home.root / place).parent.mkdir(parents=True, exist_ok=True)
    (home.root / place).write_text("in the way")
    code, said = run(capsys, home, "watch", "--once")
    assert code == 1 and f"{home.root / place}" in said
    assert said.count("\n") == 1 and "fault of the kit" not in said


@pytest.mark.parametrize("place", ["data", "outputs", "outputs/ticks"])
def test_a_tick_into_a_home_that_cannot_be_made_is_a_sentence(tmp_path, capsys, place):
    home = Home(tmp_path / "home")
    (home.root / place).parent.mkdir(parents=True, exist_ok=True)
    (home.root / place).write_text("in the way")
    code, said = run(capsys, home, "tick", "--at", "2026-11-22T10:15Z")
    assert code == 1 and f"{home.root / place}" in said
    assert "fault of the kit" not in said


def test_a_notebook_that_cannot_be_written_fails_the_tick_without_an_order(real_stage):
    stage = real_stage
    rise(stage)
    stage.arm()
    (stage.home.ticks / "2026").write_text("a file where the year should be")
    result = stage.tick("10:15")
    assert result.state == "failed" and stage.events("order") == []
    (stage.home.ticks / "2026").unlink()
    stage.beat("10:29")
    assert stage.tick("10:30").acts[0].result == "FILLED"


def test_a_seal_that_cannot_be_written_is_made_up_for_at_the_next_start(stage, monkeypatch):
    from tgtqr_lib.archive import sealing
    from tgtqr_lib.domain import StoreError

    rise(stage)
    stage.arm()
    usual = sealing.write_whole

    def full(path, content, *_):
        raise StoreError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr(sealing, "write_whole", full)
    result = stage.tick("10:15")
    assert (result.state, result.notebook) == ("done", None) and stage.held()
    monkeypatch.setattr(sealing, "write_whole", usual)
    stage.beat("10:29")
    stage.tick("10:30")
    assert [row.body["tick_id"] for row in stage.events("sealed")] == [
        "20261122T1015Z",
        "20261122T1030Z",
    ]


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path, capsys):
    home = Home(tmp_path / "home").make()
    home.log.mkdir()
    assert run(capsys, home, "watch", "--once")[0] == 0


# --- two at once ---


@pytest.mark.parametrize("lock, words", [("tick", ("tick",)), ("watch", ("watch", "--once"))])
def test_a_second_run_exits_75(stage, capsys, lock, words):
    stage.at("10:15:03")
    with one_at_a_time(stage.home.control / f"{lock}.lock", lock):
        code, said = run(capsys, stage.home, *words)
    assert code == 75 and "is running; expected one at a time" in said


@pytest.mark.slow
def test_two_ticks_started_at_once_make_one(stage):
    rise(stage)
    stage.arm()
    stage.at("10:15:03")
    words = [*TGTQR, "tick", "--at", "2026-11-22T10:15Z", "--json"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": PROJECT}
    both = [subprocess.Popen(words, env=environment(stage.home), **options) for _ in range(2)]
    told = [process.communicate(timeout=60) for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 0], [0, 75]), told
    states = [json.loads(out)["state"] for out, _ in told if out]
    assert states.count("done") == 1
    assert (
        len(stage.events("claim")) == len(stage.events("fill")) == len(stage.events("sealed")) == 1
    )


# --- the command line itself ---


@pytest.mark.parametrize(
    "words, named",
    [
        (("tick", "--at", "yesterday"), ("yesterday", "not ISO 8601")),
        (("tick", "--at", "2026-11-22T10:14Z"), ("2026-11-22T10:14:00Z", "minute 00, 15, 30 or 45")),
        (("tick", "--at", "9999-01-01T00:00Z"), ("99990101T0000Z", "in the future")),
        (("demo", "--ticks", "0"), ("--ticks 0", "expected 1 or more")),
        (("demo", "--candles", "/nowhere.parquet"), ("/nowhere.parquet", "there is no such file")),
        (("demo", "--seed", "1", "--candles", "x"), ("--seed", "--candles", "expected one of them")),
        (("demo", "--from", "2025-06-01T00:01"), ("2025-06-01T00:01", "minute 00, 15, 30 or 45")),
        (("account", "new"), ("tgtqr account new needs a reason",)),
    ],
)  # fmt: skip
def test_wrong_usage_exits_2_with_a_sentence(home, capsys, words, named):
    code, said = run(capsys, home, *words)
    assert code == 2, said
    assert [word for word in named if word not in said] == []


def test_a_tick_in_the_future_of_a_running_exchange_exits_2(stage, capsys):
    stage.at("10:14:30")
    code, said = run(capsys, stage.home, "tick", "--at", "2026-11-22T10:30Z")
    assert (
        code == 2 and "tick 20261122T1030Z is in the future" in said and stage.events("claim") == []
    )


def test_a_tick_too_late_exits_4(stage, capsys):
    stage.at("10:16:00.001")
    code, said = run(capsys, stage.home, "tick", "--at", "2026-11-22T10:15Z")
    assert code == 4 and "more than 60 s after its boundary" in said
    assert stage.final("10:15")["state"] == "missed"


def test_the_clock_of_a_real_exchange_cannot_be_moved(stage, capsys):
    code, said = run(capsys, stage.home, "watch", "--once", "--at", "2026-11-22T12:00Z")
    assert code == 2 and "this exchange has its own" in said


def test_no_word_of_this_is_a_traceback(home):
    done = command(home, "tick", "--at", "no time at all")
    assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr
