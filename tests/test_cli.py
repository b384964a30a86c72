"""The command line: help everywhere, one JSON object with the promised keys, exit codes that mean something."""

import json
import subprocess
import sys

import pytest

from tests.stage import PROJECT, TGTQR, command, environment, rise
from tgtqr_lib import __version__, cli, latch
from tgtqr_lib.domain import (
    BrokerError,
    Busy,
    DataError,
    DomainError,
    GateRefused,
    LedgerConflict,
    OrderRejected,
    StaleData,
    StoreError,
    TgtqrError,
    VenueUnavailable,
)


@pytest.fixture
def bought(stage):
    """A home that bought BTC at 10:15, beat at 10:16, and whose clock stands there."""
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    stage.beat("10:16:03")
    return stage


def said(capsys, stage, *words: str) -> dict:
    """What a command prints with --json; nothing else may be on standard output."""
    assert cli.main([*words, "--home", str(stage.home.root), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_that_tells_its_options_and_the_exit_codes(name, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main([name, "--help"])
    text = capsys.readouterr().out
    assert left.value.code == 0
    assert text.startswith(f"usage: tgtqr {name}") and "exit codes: 0 done" in text
    assert "--home" in text and len(text.splitlines()) > 8


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert left.value.code == 0
    assert [name for name in cli.COMMANDS if f"  {name} " not in text] == []


def test_without_a_command_the_help_is_shown_and_it_exits_2(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main([])
    assert left.value.code == 2 and "tgtqr COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["fly"], ["tick", "--fly"], ["ledger"], ["ledger", "burn"], ["account", "close"]]
)
def test_wrong_usage_exits_2(words, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert left.value.code == 2 and "usage: tgtqr" in capsys.readouterr().err


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert (left.value.code, capsys.readouterr().out) == (0, f"tgtqr {__version__}\n")


@pytest.mark.parametrize(
    "error, code",
    [
        (TgtqrError, 1),
        (StoreError, 1),
        (LedgerConflict, 1),
        (ValueError, 1),
        (DomainError, 2),
        (GateRefused, 3),
        (DataError, 4),
        (StaleData, 4),
        (BrokerError, 4),
        (VenueUnavailable, 4),
        (OrderRejected, 4),
        (Busy, 75),
        (KeyboardInterrupt, 130),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_one_line(monkeypatch, capsys, error, code):
    from tgtqr_lib.commands import status

    def fail(_):
        raise error("a sentence")

    monkeypatch.setattr(status, "run", fail)
    assert cli.main(["status"]) == code
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and shown.err.startswith("tgtqr")


def test_status_tells_what_the_design_promises(bought, capsys):
    facts = said(capsys, bought, "status")
    promised = {
        "gate", "gate_reason", "equity", "cash", "day_pnl", "total_pnl", "positions", "limits",
        "last_tick", "missed_ticks", "ledger", "data_age_s",
    }  # fmt: skip
    assert promised <= set(facts)
    assert (facts["gate"], facts["missed_ticks"]) == ("ACTIVE", 0)
    # cash 9.09815315 and 0.000009 * 100100.0 = 0.9009; it cost 0.90184685
    assert (facts["cash"], facts["equity"]) == ("9.09815315", "9.99905315")
    assert facts["day_pnl"] == facts["total_pnl"] == "-0.00094685"
    (held,) = facts["positions"]
    assert {"symbol", "quantity", "entry", "mark", "value", "unrealised_pnl"} <= set(held)
    assert (held["symbol"], held["quantity"]) == ("BTCUSDT", "0.000009")
    assert (held["value"], held["unrealised_pnl"]) == ("0.90090000", "-0.00094685")
    limits = {row["name"]: row for row in facts["limits"]}
    assert all({"name", "value", "limit", "distance"} <= set(row) for row in facts["limits"])
    assert limits["position BTCUSDT"]["distance"] == "0.09815315"  # 1.00 - 0.90184685
    assert limits["day floor"]["limit"] == "8.00" and limits["total floor"]["limit"] == "5.00"
    assert (
        facts["last_tick"]["tick_id"] == "20261122T1015Z" and facts["last_tick"]["state"] == "done"
    )
    assert "duration_s" in facts["last_tick"]
    assert set(facts["ledger"]) >= {"seq", "head"} and facts["ledger"]["seq"] == bought.head()[0]
    assert facts["data_age_s"] == 3.0


def test_status_for_a_person_says_the_same(bought, capsys):
    assert cli.main(["status", "--home", str(bought.home.root)]) == 0
    text = capsys.readouterr().out
    expected = ("ACTIVE", "9.99905315", "BTCUSDT  0.000009", "20261122T1015Z done")
    assert [words for words in expected if words not in text] == []


def test_status_works_with_an_exchange_that_does_not_answer(bought, capsys):
    bought.simulator.faults.add("5xx")
    toml = bought.home.settings.read_text().replace("timeout_s = 5", "timeout_s = 0.2")
    bought.home.settings.write_text(toml)
    facts = said(capsys, bought, "status")
    assert facts["cash"] == "9.09815315" and "no usable answer" in facts["exchange_problem"]


@pytest.mark.slow
def test_a_tick_tells_what_the_design_promises(bought, capsys):
    bought.beat("10:29")
    bought.at("10:30:03")
    facts = said(capsys, bought, "tick", "--at", "2026-11-22T10:30Z")
    assert {"tick_id", "state", "decisions", "notebook", "duration_s"} <= set(facts)
    assert (facts["tick_id"], facts["state"]) == ("20261122T1030Z", "done")
    for row in facts["decisions"]:
        assert {"tick_id", "symbol", "signal", "close", "mean", "reason", "order"} <= set(row)
    signals = {row["symbol"]: (row["signal"], row["reason"]) for row in facts["decisions"]}
    assert signals == {"BTCUSDT": ("LONG", "ALREADY_LONG"), "ETHUSDT": ("HOLD", "SIGNAL_TIE")}
    # (44 * 100000 + 16 * 100100) / 60
    assert {row["mean"] for row in facts["decisions"]} == {"100026.66666667", "2500.00000000"}
    assert (bought.home.root / facts["notebook"]).is_file() and facts["duration_s"] > 0
    again = said(capsys, bought, "tick", "--at", "2026-11-22T10:30Z")
    assert (again["state"], again["notebook"]) == ("already_done", facts["notebook"])


def test_verify_tells_what_the_design_promises(bought, capsys):
    facts = said(capsys, bought, "ledger", "verify")
    assert (facts["ok"], facts["problems"], facts["events"]) == (True, [], bought.head()[0])


def test_show_tells_the_events(bought, capsys):
    facts = said(capsys, bought, "ledger", "show", "--kind", "fill")
    (event,) = facts["events"]
    assert (
        event["key"] == "fill/paper-1/20261122T1015Z-BTC-B" and event["body"]["fee"] == "0.00090095"
    )
    assert len(said(capsys, bought, "ledger", "show", "--last", "3")["events"]) == 3
    assert cli.main(["ledger", "show", "--home", str(bought.home.root)]) == 0
    assert "fill/paper-1/20261122T1015Z-BTC-B" in capsys.readouterr().out


def test_account_tells_cash_and_fees(bought, capsys):
    (one,) = said(capsys, bought, "account", "show")["accounts"]
    assert (one["id"], one["cash"], one["fees"], one["fills"]) == (
        "paper-1",
        "9.09815315",
        "0.00090095",
        1,
    )


def test_stop_and_arm_tell_what_they_did(stage, capsys):
    stage.beat("10:10")
    assert said(capsys, stage, "arm", "--reason", "go")["gate"] == "armed"
    assert said(capsys, stage, "stop", "--reason", "enough") == {
        "gate": "STOPPED",
        "home": str(stage.home.root),
        "before": None,
        "in_ledger": True,
    }
    assert said(capsys, stage, "stop")["before"] == "enough (by the command line)"
    assert latch.stopped_because(stage.home) == "enough (by the command line)"
    assert [row.body["what"] for row in stage.events("gate")] == ["armed", "stopped"]


def test_the_home_is_the_option_or_the_variable(stage):
    stage.beat("10:10")
    done = command(stage.home, "account", "show")  # TGTQR_HOME
    assert done.returncode == 0 and "paper-1" in done.stdout


def test_a_reader_that_leaves_early_is_no_failure(bought):
    words = [*TGTQR, "ledger", "show"]
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$@" | head -1', "bash", *words],
        capture_output=True,
        text=True,
        env=environment(bought.home),
        cwd=PROJECT,
        timeout=60,
    )
    assert done.returncode == 0 and done.stderr == "" and done.stdout.count("\n") == 1


def test_the_command_is_installed_under_its_name():
    script = [sys.executable.replace("/python", "/tgtqr"), "--version"]
    assert subprocess.run(script, capture_output=True, text=True).stdout == f"tgtqr {__version__}\n"
