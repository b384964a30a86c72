"""The gate: ACTIVE, REDUCING or STOPPED, who may open it, and what never does."""

from dataclasses import replace

import pytest

from tests.builders import a_position
from tests.stage import command, moment, open_stage, raw, rise
from tgtqr_lib import books, cli, gate, latch, ledger
from tgtqr_lib.domain import DomainError, GateRefused


def state(stage, at: str):
    stage.at(at)
    found, code, _ = gate.state_of(stage.situation())
    return str(found), code


def buy(stage) -> None:
    rise(stage)
    stage.arm()
    assert stage.tick("10:15").acts[0].result == "FILLED"


def test_a_fresh_home_is_stopped_and_arming_makes_it_active(stage):
    assert state(stage, "10:10") == ("STOPPED", "GATE_STOPPED")
    stage.arm("10:10")
    assert state(stage, "10:10:30") == ("ACTIVE", "")
    stage.desk.home.control.joinpath("STOP").touch()
    assert state(stage, "10:10:31") == ("STOPPED", "GATE_STOPPED")


@pytest.mark.parametrize(
    "at, expected",
    [("10:13:00", "ACTIVE"), ("10:13:00.001", "REDUCING"), ("12:00", "REDUCING")],
)
def test_the_lease_ends_180_s_after_the_last_beat(stage, at, expected):
    stage.arm("10:10:00")
    assert state(stage, at) == (expected, "MONITOR_LEASE" if expected == "REDUCING" else "")


def test_a_beat_renews_the_lease_and_a_tick_does_not(stage):
    stage.arm("10:13")
    stage.tick("10:15")
    assert state(stage, "10:16:01") == ("REDUCING", "MONITOR_LEASE")
    stage.beat("10:16:02")
    assert state(stage, "10:16:03") == ("ACTIVE", "")


def test_armed_without_any_beat_is_reducing(stage):
    stage.at("10:10")
    with latch.arming(stage.home):
        pass
    assert state(stage, "10:10") == ("REDUCING", "MONITOR_LEASE")


def test_a_beat_that_cannot_mark_what_is_held_is_none(stage):
    buy(stage)
    stage.simulator.faults.add("missing_minute", symbol="BTCUSDT")
    assert stage.beat("10:16").equity is None
    assert state(stage, "10:17:00.001") == ("REDUCING", "MONITOR_LEASE")  # 180 s after 10:14
    stage.simulator.faults.clear()
    assert stage.beat("10:17:01").equity is not None
    assert state(stage, "10:17:01") == ("ACTIVE", "")


@pytest.mark.parametrize("free_mb, expected", [(200, "ACTIVE"), (199, "REDUCING")])
def test_less_than_200_mb_of_disk_is_reducing(stage, monkeypatch, free_mb, expected):
    stage.arm("10:10")
    usage = type("usage", (), {"free": free_mb * 1_000_000 + 999_999})
    monkeypatch.setattr(gate.shutil, "disk_usage", lambda _: usage)
    assert state(stage, "10:10") == (expected, "DISK_SPACE" if expected == "REDUCING" else "")


@pytest.mark.parametrize(
    "offset, expected", [(500, "ACTIVE"), (501, "REDUCING"), (-501, "REDUCING")]
)
def test_a_clock_more_than_500_ms_off_is_reducing(stage, offset, expected):
    stage.arm("10:10")
    stage.desk._offset_ms[:] = [offset]
    assert state(stage, "10:10") == (expected, "CLOCK_OFFSET" if expected == "REDUCING" else "")


def test_a_ledger_that_disagrees_with_its_witness_is_reducing_and_an_exit_still_goes(stage):
    buy(stage)
    stage.beat("10:29")
    seq = stage.head()[0]
    stage.home.witness.write_text(f"{seq + 100} {'a' * 64}\n")
    assert state(stage, "10:29:30") == ("REDUCING", "LEDGER_WITNESS")
    stage.market.set("BTCUSDT", "10:29", "99900.0")
    stage.market.set("ETHUSDT", "10:29", "2502.50")
    result = stage.tick("10:30")
    assert [(a.order.id, a.result) for a in result.acts] == [("20261122T1030Z-BTC-S", "FILLED")]
    assert (result.state, result.reason) == ("refused", "LEDGER_WITNESS") and stage.held() == {}


# --- arming ---


@pytest.mark.parametrize("reason", [[], ["--reason", ""], ["--reason", "  "]])
def test_arming_needs_a_reason(stage, capsys, reason):
    assert cli.main(["arm", "--home", str(stage.home.root), *reason]) == 2
    assert "tgtqr arm needs a reason; expected tgtqr arm --reason 'why'" in capsys.readouterr().err
    assert latch.stopped_because(stage.home) is not None


def test_arming_is_refused_while_anything_is_held(stage, capsys):
    buy(stage)
    latch.stop(stage.home, "x")
    assert cli.main(["arm", "--home", str(stage.home.root), "--reason", "y"]) == 3
    assert "cannot arm while 0.000009 BTCUSDT is held" in capsys.readouterr().err
    assert latch.stopped_because(stage.home) == "x"


def test_arming_is_booked_with_its_reason(stage):
    stage.at("10:10")
    assert cli.main(["arm", "--home", str(stage.home.root), "--reason", " first day "]) == 0
    assert books.last_gate(stage.desk.con) == {
        "what": "armed",
        "at": "2026-11-22T10:10:00Z",
        "reason": "first day",
        "by": "the command line",
    }
    assert cli.main(["arm", "--home", str(stage.home.root), "--reason", "again"]) == 3


def end_account(stage) -> None:
    con = stage.desk.con
    with ledger.writing(con):
        books.book_end(con, books.account(con), "BREACH", moment("10:10"), "it is over")


def test_an_account_that_is_not_ended_cannot_be_swapped_for_fresh_limits(stage, capsys):
    stage.beat("10:10")
    code = cli.main(["account", "new", "--home", str(stage.home.root), "--reason", "again"])
    assert code == 3 and "only after a total stop" in capsys.readouterr().err
    assert len(stage.events("account")) == 1


def test_taking_the_stop_file_away_opens_nothing(stage):
    stage.arm("10:14")
    (stage.home.control / "STOP").touch()
    stage.beat("10:16")
    (stage.home.control / "STOP").unlink()
    assert stage.beat("10:17").stopped is not None
    assert [row.body["what"] for row in stage.events("gate")] == ["armed", "stopped"]


def test_an_armed_file_made_by_hand_opens_nothing(stage):
    stage.beat("10:13")
    (stage.home.control / "ARMED").touch()
    assert "did not put it there" in stage.beat("10:14").stopped
    assert latch.stopped_because(stage.home) is not None


def test_a_witness_that_is_gone_keeps_entries_back_until_somebody_arms_again(stage):
    stage.arm("10:14")
    stage.home.witness.unlink()
    assert gate.state_of(stage.situation())[:2] == ("REDUCING", "LEDGER_WITNESS")
    home = ["--home", str(stage.home.root)]
    assert cli.main(["ledger", "verify", *home]) == 5
    assert cli.main(["stop", *home]) == 0
    assert cli.main(["arm", *home, "--reason", "looked at it"]) == 0
    assert gate.state_of(stage.situation())[0] == "ACTIVE"
    assert cli.main(["ledger", "verify", *home]) == 0


def test_an_ended_account_is_not_armed_until_there_is_a_new_one(stage, capsys):
    stage.beat("10:10")
    end_account(stage)
    home = ["--home", str(stage.home.root)]
    assert cli.main(["arm", *home, "--reason", "hope"]) == 3
    assert (
        "account paper-1 was ended by BREACH; expected `tgtqr account new"
        in capsys.readouterr().err
    )
    assert cli.main(["account", "new", *home]) == 2
    assert cli.main(["account", "new", *home, "--reason", "a second life"]) == 0
    assert stage.situation().account.id == "paper-2" and stage.cash() == "10.00"
    assert latch.stopped_because(stage.home) is not None  # a new account is not armed by itself
    assert cli.main(["arm", *home, "--reason", "hope"]) == 0
    assert [row.key for row in stage.events("account")] == ["account/paper-1", "account/paper-2"]


def test_a_new_account_is_refused_while_anything_is_held(stage, capsys):
    buy(stage)
    end_account(stage)
    code = cli.main(["account", "new", "--home", str(stage.home.root), "--reason", "x"])
    assert code == 3 and "0.000009 BTCUSDT is held" in capsys.readouterr().err
    assert len(stage.events("account")) == 1


def test_arming_below_a_floor_is_refused(stage):
    stage.at("10:10")
    inputs = stage.situation()
    day = inputs.days[0]
    poor = type(inputs.portfolio)(cash=day.start_equity - 2)
    gate.arm(
        stage.desk.con,
        stage.home,
        type(inputs)(**{**vars(inputs), "portfolio": poor}),
        "on it",
        "x",
    )
    latch.stop(stage.home, "again")
    poorer = type(inputs.portfolio)(cash=day.start_equity - 2 - type(poor.cash)("0.00000001"))
    with pytest.raises(GateRefused, match=r"cannot arm with 7.99999999 USDT, below the floor 8.00"):
        gate.arm(
            stage.desk.con,
            stage.home,
            type(inputs)(**{**vars(inputs), "portfolio": poorer}),
            "y",
            "x",
        )
    assert latch.stopped_because(stage.home) == "again"


def test_a_reason_of_blanks_is_none_for_the_library_too(stage):
    stage.at("10:10")
    with pytest.raises(DomainError, match="needs a reason"):
        gate.arm(stage.desk.con, stage.home, stage.situation(), " \n", "x")


def test_a_ledger_that_cannot_be_told_keeps_the_gate_shut(stage, monkeypatch):
    stage.at("10:10")
    inputs = stage.situation()
    stage.desk.con.execute("PRAGMA busy_timeout=50")
    holder = raw(stage.home)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Exception, match="a transaction cannot begin"):
        gate.arm(stage.desk.con, stage.home, inputs, "x", "x")
    holder.execute("ROLLBACK")
    holder.close()
    assert latch.stopped_because(stage.home) is not None


def test_a_stop_while_arming_is_told_as_a_refusal(stage, monkeypatch):
    stage.at("10:10")
    usual = books.book_gate

    def stop_meanwhile(*arguments):
        usual(*arguments)
        (stage.home.control / "STOP").touch()

    monkeypatch.setattr(books, "book_gate", stop_meanwhile)
    with pytest.raises(GateRefused, match="not armed: a stop arrived while arming"):
        gate.arm(stage.desk.con, stage.home, stage.situation(), "x", "x")
    assert latch.stopped_because(stage.home) is not None


# --- what never arms ---


def test_neither_a_restart_nor_a_new_day_nor_a_missing_file_arms(tmp_path):
    with open_stage(tmp_path / "home") as stage:
        stage.arm("23:50")
        latch.stop(stage.home, "for good")
        stage.beat("23:59")
        stage.beat("2026-11-23T00:00:03")
        assert stage.tick("2026-11-23T00:15", 61).state == "missed"
        assert command(stage.home, "watch", "--once").returncode == 0
        assert latch.stopped_because(stage.home) == "for good"
    (tmp_path / "home" / "data" / "control" / "STOP").unlink()
    with open_stage(tmp_path / "home") as stage:
        stage.beat("2026-11-23T00:20")
        assert state(stage, "2026-11-23T00:20")[0] == "STOPPED"


def test_what_hands_did_to_the_latch_is_booked_by_the_next_beat(stage):
    stage.arm("10:10")
    (stage.home.control / "STOP").write_text("by hand")
    stage.beat("10:11")
    assert books.last_gate(stage.desk.con)["what"] == "stopped"
    assert books.last_gate(stage.desk.con)["reason"] == "by hand"
    count = len(stage.events("gate"))
    stage.beat("10:12")
    assert len(stage.events("gate")) == count


# --- an account at the exchange ---


def armed_with(stage, held=None, **facts) -> None:
    """Arm with these facts of the situation replaced."""
    inputs = stage.situation()
    health = replace(inputs.health, **{k: v for k, v in facts.items() if k == "unknown_orders"})
    portfolio = facts.get("portfolio", inputs.portfolio)
    inputs = replace(inputs, health=health, portfolio=portfolio)
    gate.arm(stage.desk.con, stage.home, inputs, "a test", "a test", held=held)


def test_what_cannot_be_sold_does_not_keep_the_gate_shut(stage):
    stage.at("10:10")
    dust = replace(stage.situation().portfolio, positions=(a_position(quantity="0.000000906"),))
    with pytest.raises(GateRefused, match=r"cannot arm while 0.000000906 BTCUSDT is held"):
        armed_with(stage, portfolio=dust)
    armed_with(stage, held=(), portfolio=dust)
    assert latch.stopped_because(stage.home) is None


def test_an_order_of_unknown_outcome_keeps_the_gate_shut(stage):
    stage.at("10:10")
    with pytest.raises(GateRefused) as told:
        armed_with(stage, unknown_orders=("20261122T1000Z-BTC-B", "20261122T1000Z-ETH-B"))
    assert str(told.value).startswith(
        "cannot arm while it is not known what came of 20261122T1000Z-BTC-B, 20261122T1000Z-ETH-B; "
    )
    assert latch.stopped_because(stage.home) is not None
    armed_with(stage, unknown_orders=())
    assert latch.stopped_because(stage.home) is None


def test_paper_homes_have_neither_unknown_orders_nor_an_account_to_read(stage):
    stage.at("10:10")
    health = stage.situation().health
    assert (health.unknown_orders, health.account_problem) == (None, None)
