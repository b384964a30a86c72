"""`tgtqr settings`: what is shown, what is changed, what is refused, and who is said to have asked."""

import getpass
import json

import pytest

from tests.stage import book_fill, files, rise
from tgtqr_lib import books, cli, ledger


@pytest.fixture(autouse=True)
def somebody(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "somebody")


def run(stage, *words: str) -> int:
    return cli.main([*words, "--home", str(stage.home.root)])


def said(capsys, stage, *words: str) -> dict:
    """What `tgtqr settings` prints with --json; nothing else may be on standard output."""
    assert run(stage, "settings", *words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, stage, *words: str) -> str:
    """The one line with which `tgtqr settings` refuses; the ledger stays as it is."""
    head = stage.head()
    assert run(stage, "settings", *words) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and stage.head() == head
    return shown.err.removeprefix("tgtqr settings: ").rstrip()


def shown(capsys, stage) -> dict[str, dict]:
    return {row["name"]: row for row in said(capsys, stage, "show")["settings"]}


def test_show_tells_value_range_and_origin_of_each_name(stage, capsys):
    facts = said(capsys, stage, "show")
    assert (facts["at"], facts["strategy"]) == ("2026-11-22T10:00:00Z", "ma_trend")
    rows = {row["name"]: row for row in facts["settings"]}
    assert list(rows) == [
        "parameters.window", "parameters.band_bps", "limits.position_usdt", "limits.daily_loss_usdt",
        "limits.total_loss_usdt", "order_target_usdt",
    ]  # fmt: skip
    assert rows["parameters.window"] == {
        "name": "parameters.window", "value": "60", "low": "2", "high": "1440", "unit": "minutes",
        "text": "closes in the mean", "source": "default", "coming": None,
    }  # fmt: skip
    assert run(stage, "settings", "show") == 0
    text = capsys.readouterr().out
    assert "limits.total_loss_usdt" in text and "0.00 to 5.00 USDT" in text and "(default)" in text
    assert stage.head()[0] == 0


def test_change_is_kept_in_the_ledger_and_shown_with_its_origin(stage, capsys):
    facts = said(capsys, stage, "change", "parameters.window=30", "limits.daily_loss_usdt=1.5")
    assert facts["changes"] == [
        {"name": "parameters.window", "old": "60", "new": "30"},
        {"name": "limits.daily_loss_usdt", "old": "2.00", "new": "1.50"},
    ]
    assert (facts["from"], facts["key"], facts["seq"]) == ("next tick", "control/1", 1)
    (row,) = stage.events("control")
    assert (row.body["who"], row.body["by"]) == ("somebody", "the command line")
    rows = shown(capsys, stage)
    assert rows["parameters.window"]["value"] == "30"
    assert rows["parameters.window"]["source"] == "the command line at 2026-11-22T10:00:00Z"
    assert run(stage, "ledger", "verify") == 0
    log = stage.home.log.read_text("utf-8")
    assert 'changes="parameters.window 60 to 30; limits.daily_loss_usdt 2.00 to 1.50"' in log


def test_the_page_calls_the_same_command_and_is_named(stage, capsys):
    said(capsys, stage, "change", "parameters.window=30", "--by", "page")
    assert stage.events("control")[0].body["by"] == "the page"
    with pytest.raises(SystemExit) as left:
        cli.main(["settings", "change", "parameters.window=31", "--by", "somebody else"])
    assert left.value.code == 2


@pytest.mark.parametrize("command", ["settings", "arm", "account"])
def test_the_help_does_not_show_who_asks(command, capsys):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert "--by" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["change", "parameters.window"], "parameters.window: expected NAME=VALUE"),
        (["change", "parameters.window=60"], "nothing would change: parameters.window is 60 already"),
        (["change", "parameters.window=1"], "parameters.window '1': expected a whole number from 2 to 1440"),
        (["change", "parameters.window="], "parameters.window '': expected a whole number"),
        (["change", "parameters.window=30=31"], "parameters.window '30=31': expected a whole number"),
        (["change", "parameters.window=30", "parameters.window=31"], "parameters.window stands twice"),
        (["change", "parameters.window=30", "parameters.speed=9"], "'parameters.speed' cannot be changed"),
        (["change", "limits.position_usdt=1.01"], "limits.position_usdt '1.01': expected an amount"),
        (["change", "limits.position_usdt=nan"], "limits.position_usdt 'nan': expected an amount"),
        (["change", "limits.position_usdt=1e400"], "limits.position_usdt '1e400': expected an amount"),
        (["change", "limits.position_usdt=0.5", "--reason", "a\nb"], "reason 'a\\nb': expected one line"),
        (["change", "=5"], "'' cannot be changed"),
        (["loosen", "limits.position_usdt=1", "--reason", "x"], "nothing would change"),
        (["loosen", "parameters.window=30", "--reason", "x"], "parameters.window is not a limit"),
        (["reset", "parameters.window"], "parameters.window is as the settings file has it"),
        (["reset", "parameters.window=60"], "'parameters.window=60' cannot be changed"),
        (["change", "parameters.window=1", "--preview"], "parameters.window '1': expected"),
    ],
)  # fmt: skip
def test_wrong_input_exits_2_with_one_sentence(stage, capsys, words, sentence):
    assert refused(capsys, stage, *words).startswith(sentence)


@pytest.mark.parametrize("words", [["change"], ["reset"], ["show", "parameters.window"]])
def test_names_belong_to_a_change_and_only_there(stage, capsys, words):
    with pytest.raises(SystemExit) as ended:
        cli.main(["settings", *words])
    assert ended.value.code == 2 and "arguments" in capsys.readouterr().err


def test_options_and_names_stand_in_any_order(stage, capsys):
    facts = said(capsys, stage, "change", "--preview", "parameters.window=30")
    assert facts["changes"] == [{"name": "parameters.window", "old": "60", "new": "30"}]


def test_loosening_needs_a_reason_and_waits_for_the_next_utc_day(stage, capsys):
    said(capsys, stage, "change", "limits.position_usdt=0.5")
    assert "loosened by `tgtqr settings loosen" in refused(
        capsys, stage, "change", "limits.position_usdt=0.6"
    )
    assert "needs a reason" in refused(capsys, stage, "loosen", "limits.position_usdt=0.6")
    facts = said(capsys, stage, "loosen", "limits.position_usdt=0.6", "--reason", "a quieter week")
    assert (facts["from"], facts["loosens"]) == ("2026-11-23", True)
    row = shown(capsys, stage)["limits.position_usdt"]
    assert (row["value"], row["coming"]) == ("0.50", "0.60 from 2026-11-23")
    stage.at("2026-11-23T00:00:00")
    assert shown(capsys, stage)["limits.position_usdt"]["value"] == "0.60"


def test_reset_lets_the_file_decide_again(stage, capsys):
    said(capsys, stage, "change", "parameters.window=30", "order_target_usdt=0.5")
    stage.configure("parameters = { window = 45 }")
    facts = said(capsys, stage, "reset", "parameters.window", "order_target_usdt")
    assert [(c["old"], c["new"]) for c in facts["changes"]] == [("30", "45"), ("0.50", "0.95")]
    rows = shown(capsys, stage)
    assert (rows["parameters.window"]["value"], rows["parameters.window"]["source"]) == (
        "45",
        "settings",
    )
    assert rows["order_target_usdt"]["source"] == "default"


def test_preview_shows_before_after_and_the_last_day_and_changes_nothing(stage, capsys):
    # the close of 10:14 is 9.83 bps above its mean: 100100.0 to (59 x 100000.0 + 100100.0) / 60
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    before = files(stage.home.root)
    facts = said(capsys, stage, "change", "parameters.band_bps=20", "--preview")
    told = facts["impact"]
    assert facts["changes"] == [{"name": "parameters.band_bps", "old": "0", "new": "20"}]
    assert (facts["key"], facts["seq"]) == (None, None)
    assert (told["ticks"], told["ticks_changed"], told["without_notebook"]) == (1, 1, 95)
    (one,) = told["changed"]
    assert (one["tick_id"], one["symbol"]) == ("20261122T1015Z", "BTCUSDT")
    assert (one["before"]["signal"], one["after"]["reason"]) == ("LONG", "SIGNAL_IN_BAND")
    assert run(stage, "settings", "change", "parameters.band_bps=20", "--preview") == 0
    text = capsys.readouterr().out
    assert "parameters.band_bps  0 -> 20" in text and "1 ticks from" in text
    assert "Nothing was changed." in text and "portfolio it had" in text
    ours = {path for path in files(stage.home.root).items() if "trading_data" not in path[0]}
    assert ours == {path for path in before.items() if "trading_data" not in path[0]}


def test_a_tightening_works_while_the_exchange_does_not_answer(stage, capsys):
    stage.beat("10:05")
    stage.simulator.faults.add("5xx")
    toml = stage.home.settings.read_text("utf-8").replace("timeout_s = 5", "timeout_s = 0.2")
    stage.home.settings.write_text(toml, "utf-8")
    facts = said(capsys, stage, "change", "limits.position_usdt=0.5", "parameters.window=30")
    assert facts["at"] == "2026-11-22T10:05:00Z"  # of the newest mark
    assert run(stage, "settings", "loosen", "limits.position_usdt=1", "--reason", "x") == 4
    assert len(stage.events("control")) == 1
    capsys.readouterr()
    assert shown(capsys, stage)["limits.position_usdt"]["value"] == "0.50"


def test_without_a_mark_either_it_has_no_time(stage, capsys):
    stage.simulator.faults.add("5xx")
    toml = stage.home.settings.read_text("utf-8").replace("timeout_s = 5", "timeout_s = 0.2")
    stage.home.settings.write_text(toml, "utf-8")
    assert said(capsys, stage, "change", "limits.position_usdt=0.5")["at"] is None
    stage.simulator.faults.clear()
    row = shown(capsys, stage)["limits.position_usdt"]
    assert (row["value"], row["source"]) == ("0.50", "the command line at a time not known")


def test_a_machine_without_a_name_for_the_user_says_so(stage, capsys, monkeypatch):
    def nobody():
        raise OSError("no user")

    monkeypatch.setattr(getpass, "getuser", nobody)
    said(capsys, stage, "change", "parameters.window=30")
    assert stage.events("control")[0].body["who"] == "unknown"


def test_a_locked_ledger_is_not_changed_and_told_in_one_line(stage, capsys, monkeypatch):
    monkeypatch.setattr(ledger, "LOCK_TIMEOUT_S", 0.1)
    monkeypatch.setattr(ledger.connect, "__kwdefaults__", {"create": True, "timeout_s": 0.1})
    with ledger.writing(stage.desk.con):
        assert run(stage, "settings", "change", "parameters.window=30") == 1
    assert "a transaction cannot begin" in capsys.readouterr().err
    assert stage.events("control") == []


def test_arm_and_account_new_are_booked_as_asked_by_the_page(stage, capsys):
    stage.beat("10:14")
    assert run(stage, "arm", "--reason", "begin", "--by", "page") == 0
    assert books.last_gate(stage.desk.con)["by"] == "the page"
    book_fill(stage, "BUY", "0.00001", "6")
    book_fill(stage, "SELL", "0.00001", "0.9")  # cash 4.90: below the total floor of 5.00
    stage.beat("10:16")
    assert run(stage, "account", "new", "--reason", "again", "--by", "page") == 0
    first, second = (row.body["by"] for row in stage.events("account"))
    assert (first, second) == ("the kit", "the page")
    assert run(stage, "arm", "--reason", "begin") == 0
    assert books.last_gate(stage.desk.con)["by"] == "the command line"
    capsys.readouterr()


def test_a_gate_that_refuses_the_page_exits_3(stage, capsys):
    stage.arm()
    assert run(stage, "arm", "--reason", "again", "--by", "page") == 3
    assert run(stage, "account", "new", "--reason", "again", "--by", "page") == 3
    assert capsys.readouterr().out == ""


def test_a_change_by_the_command_reaches_the_next_tick_of_a_kit_at_work(stage):
    stage.arm()
    done = stage.run("settings", "change", "parameters.window=30", "order_target_usdt=0.5")
    assert done.returncode == 0 and "60 -> 30" in done.stdout, done.stderr
    rise(stage)
    result = stage.tick("10:15")
    # 0.5 at 101101.0 x 0.000001 a lot: four
    assert result.decision.choice("BTCUSDT").order_text == "BUY 0.000004 at most 101101.0"
    assert stage.situation().plan.parameters["window"] == 30
