"""`tgtqr account`: show, open a new one, switch between paper and exchange, accept what moved on the account."""

import json
from decimal import Decimal

import pytest

from tests import canary
from tests.account_stage import KEYS, OPENING, check_books, exchange, machine
from tests.canary import CANARY_KEY, CANARY_SECRET
from tests.stage import PATIENCE, rise
from tgtqr_lib import books, cli, latch, ledger

BUY = "20261122T1015Z-BTC-B"
DEMO = "account = 'demo'\ndemo_limits_scale = '10'"


@pytest.fixture
def keys(monkeypatch, tmp_path):
    """The account's keys in the environment; at the end no file holds them."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    yield
    assert canary.main([str(tmp_path)]) == 0


@pytest.fixture
def account(capsys):
    """`tgtqr account ...` in this process: exit code, and what was printed."""

    def run(stage, *words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = cli.main(["account", *words, "--home", str(stage.home.root)])
        heard = capsys.readouterr()
        return code, heard.out + heard.err

    return run


def opened(stage, balances=OPENING) -> None:
    """The stage's exchange gets an account, and the settings ask for it."""
    stage.simulator.accounts.open(CANARY_KEY, CANARY_SECRET, balances=balances)
    stage.configure(DEMO)


def buy(stage) -> None:
    rise(stage)
    stage.arm()
    assert stage.tick("10:15").acts[0].result == "FILLED"


# --- switching ---


def test_a_paper_home_that_traded_stays_a_paper_home(stage, account, keys):
    buy(stage)
    opened(stage)
    sentence = (
        "account demo at scale 10: the account of this home is paper-1, paper; expected a home of its own "
        "(TGTQR_HOME), or `tgtqr account new --reason ...` when the old one is ended or never traded"
    )
    assert stage.beat("10:16").notes == (sentence,)
    (failed,) = [stage.tick("10:30")]
    assert (failed.state, failed.text) == ("failed", sentence)
    # what the stop leaves is sold all the same, on the ledger's own account
    assert cli.main(["stop", "--home", str(stage.home.root)]) == 0
    (sold,) = stage.beat("10:31").sales
    assert sold.result == "FILLED" and stage.held() == {}
    code, text = account(stage, "new", "--reason", "x")
    code, text = account(stage, "new", "--reason", "the real thing")
    assert code == 3 and "account paper-1 is not ended" in text
    assert (
        len(stage.events("account")) == 1 and stage.simulator.accounts.account("demo").orders == {}
    )


def test_a_paper_home_that_never_traded_may_become_an_exchange_home_and_go_back(
    stage, account, keys
):
    stage.beat("10:10")
    opened(stage)
    code, text = account(stage, "new", "--reason", "the demo account")
    assert code == 0 and "account demo-2 is open with 100.00" in text
    assert stage.beat("10:11").stopped is not None  # nothing is armed by a new account
    assert books.opening_wallet(stage.desk.con, books.account(stage.desk.con)) == OPENING
    code, text = account(stage, "new", "--reason", "again")
    assert code == 3 and "account demo-2 is not ended" in text
    stage.configure("")
    assert account(stage, "new", "--reason", "paper after all")[0] == 0
    assert [row.key for row in stage.events("account")] == [
        "account/paper-1",
        "account/demo-2",
        "account/paper-3",
    ]
    assert stage.beat("10:12").cash == 10


def test_another_scale_needs_another_account(account_stage, account):
    stage = account_stage
    buy(stage)
    text = stage.home.settings.read_text("utf-8").replace("'10'", "'20'")
    stage.home.settings.write_text(text, "utf-8")
    code, told = account(stage, "new", "--reason", "more")
    assert code == 3 and "account demo-1 is not ended" in told
    assert cli.main(["watch", "--once", "--home", str(stage.home.root)]) == 0
    assert cli.main(["arm", "--reason", "x", "--home", str(stage.home.root)]) != 0


def test_an_account_with_too_little_is_not_opened(stage, keys, account):
    opened(stage, {"USDT": "99.99"})
    sentence = "account demo: it holds 99.99 USDT; expected at least 100.00"
    assert cli.main(["watch", "--once", "--home", str(stage.home.root)]) == 4
    code, text = account(stage, "new", "--reason", "x")
    assert code == 4 and sentence in text
    assert stage.events("account") == []


def test_an_account_that_is_there_is_shown_with_its_cash(account_stage, account):
    stage = account_stage
    buy(stage)
    code, text = account(stage, "show", "--json")
    (one,) = json.loads(text)["accounts"]
    assert code == 0 and (one["id"], one["fills"]) == ("demo-1", 1)
    assert Decimal(one["cash"]) == Decimal("90.5901206")
    # 0.000000094 BTC at 100105.1: 0.0094098794 USDT, rounded up
    assert Decimal(one["fees"]) == Decimal("0.00940988")


def test_no_new_account_while_an_order_of_the_old_one_is_open(account_stage, account):
    # a first order whose outcome is unknown is no fill, and yet it may have been traded
    stage = account_stage
    rise(stage)
    stage.arm()
    stage.fault("ack_lost", uses=1)
    stage.fault("not_found_at_first", seconds=3600)
    stage.tick("10:15")
    paper = f'{PATIENCE}[simulator]\nurl = "{stage.simulator.url}"\n'
    kept = stage.home.settings.read_text("utf-8")
    stage.home.settings.write_text(paper, "utf-8")
    code, text = account(stage, "new", "--reason", "back to paper")
    assert code == 3 and f"it is not known yet what came of {BUY}; the next beat" in text
    assert len(stage.events("account")) == 1
    stage.home.settings.write_text(kept, "utf-8")
    stage.well()
    stage.beat("10:16")
    assert stage.result(BUY) == "FILLED"
    check_books(stage)


# --- accept ---


@pytest.mark.parametrize("words", [[], ["--reason", " "]])
def test_accepting_needs_a_reason(account_stage, account, words):
    code, text = account(account_stage, "accept", *words)
    assert code == 2 and "tgtqr account accept needs a reason" in text


def test_on_paper_there_is_nothing_to_accept(stage, account):
    stage.beat("10:10")
    code, text = account(stage, "accept", "--reason", "x")
    assert code == 3 and "expected a demo or testnet account" in text


def test_what_was_paid_in_is_accepted_and_booked_with_who_and_why(account_stage, account):
    stage = account_stage
    buy(stage)
    stage.there.wallet["USDT"] += 500
    stage.beat("10:16")
    assert stage.state() == ("REDUCING", "ACCOUNT_TROUBLE")
    assert "the account holds USDT 1490.5901206 instead of 990.5901206" in stage.sentence()
    code, text = account(stage, "accept", "--reason", " demo funds ", "--json")
    assert code == 0 and json.loads(text) == {
        "account": "demo-1",
        "moved": {"USDT": "+500.0000000"},
    }
    (row,) = stage.events("accepted")
    assert (row.body["reason"], row.body["by"]) == ("demo funds", "the command line")
    # at once, and with the next beat still: neither cash nor limits know of it
    assert stage.state() == ("ACTIVE", "")
    stage.beat("10:17")
    assert stage.state() == ("ACTIVE", "") and Decimal(stage.cash()) == Decimal("90.5901206")
    code, text = account(stage, "accept", "--reason", "twice")
    assert code == 0 and "(nothing had moved)" in text


@pytest.mark.parametrize(
    "coin, taken, sentence",
    [
        (
            "BTC",
            "0.50001",
            "the account holds 0.000083906 BTC, and 0.000093 of it are this ledger's",
        ),
        (
            "USDT",
            "950",
            "the account holds 40.5901206 USDT, and 90.5901206 of it are this ledger's",
        ),
    ],
)
def test_what_the_ledger_would_sell_or_spend_must_be_there(
    account_stage, account, coin, taken, sentence
):
    # accepted, every later sale would be refused by the exchange for good
    stage = account_stage
    buy(stage)
    stage.there.wallet[coin] -= Decimal(taken)
    code, text = account(stage, "accept", "--reason", "it is gone")
    assert code == 3 and sentence in text and "bring back what is missing" in text
    assert stage.events("accepted") == []


def test_dust_that_was_turned_into_something_else_is_accepted(account_stage, account):
    stage = account_stage
    buy(stage)
    stage.market.set("BTCUSDT", "10:29", "99900.0")
    stage.beat("10:29")
    stage.tick("10:30")
    stage.there.wallet["BTC"] = Decimal(0)  # the 0.5 that was there, and 0.000000906 of ours
    assert account(stage, "accept", "--reason", "converted")[0] == 0
    stage.beat("10:31")
    assert stage.state() == ("ACTIVE", "")


def test_an_order_without_a_trace_is_given_up_when_somebody_answers_for_the_wallet(
    account_stage, account
):
    # it never arrived, but the wallet moved for another reason: nobody but a person can tell the two apart
    stage = account_stage
    rise(stage)
    stage.arm()
    stage.fault("ack_lost", carried_out=False, uses=1)
    stage.tick("10:15")
    stage.by_hand("Buy", "0.0001", "100300.0", "by-hand")
    for at in ("10:17", "11:15:03"):
        stage.beat(at)
        assert stage.unknown() == [BUY]
        code, text = account(stage, "accept", "--reason", "I bought something")
        assert code == 3 and f"not known yet what came of {BUY}" in text
    stage.beat("11:15:04")  # an hour later the wallet alone still does not end it
    assert stage.unknown() == [BUY]
    assert account(stage, "accept", "--reason", "I bought something")[0] == 0
    assert stage.result(BUY) == "NEVER_ARRIVED" and stage.unknown() == []
    stage.beat("11:16")
    assert stage.state() == ("ACTIVE", "") and latch.stopped_because(stage.home) is None


def test_nothing_is_accepted_while_the_account_cannot_be_read(account_stage, account):
    stage = account_stage
    stage.beat("10:10")
    stage.simulator.faults.add("403", endpoint="/v5/account/wallet-balance")
    code, text = account(stage, "accept", "--reason", "x")
    assert code == 4 and "Bybit refuses this address" in text
    assert ledger.of_kind(stage.desk.con, "accepted") == []


def test_two_homes_accept_each_other_and_their_ledgers_stay_their_own(account_home, account):
    with (
        exchange() as (market, simulator),
        machine(account_home / "first", market, simulator) as first,
        machine(account_home / "second", market, simulator) as second,
    ):
        rise(first)
        first.arm()
        second.arm()
        first.tick("10:15")
        assert account(second, "accept", "--reason", "that is the first one")[0] == 0
        market.set("BTCUSDT", "10:29", "100200.0")
        first.beat("10:29")
        second.beat("10:29")
        assert [a.result for a in second.tick("10:30").acts] == ["FILLED"]
        second.beat("10:31")
        assert second.state() == ("ACTIVE", "")
        first.beat("10:31")
        assert first.state() == ("REDUCING", "ACCOUNT_TROUBLE")
