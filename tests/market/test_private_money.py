"""The simulated account's book: no coin comes or goes but by executions and their fees, and a crash loses none."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.market.signed import KEY, SECRET, Signed
from tests.market.tables import Table, at, flat
from tgtqr_lib.domain import StoreError
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.synthetic import SyntheticSource

OPENING = {"USDT": "1000000", "BTC": "50", "ETH": "500"}
START = "2025-06-01T10:15:03Z"
COINS = {"BTCUSDT": "BTC", "ETHUSDT": "ETH"}
STEPS = {"BTCUSDT": (6, 1), "ETHUSDT": (5, 2)}  # decimals of quantity and price


@pytest.fixture(scope="module")
def served():
    accounts = Accounts()
    accounts.open(KEY, SECRET, balances=OPENING)
    with running(SyntheticSource(7), SimulatorClock(START), accounts=accounts) as simulator:
        client = Signed(simulator)
        yield client
        client.close()


actions = st.one_of(
    st.tuples(
        st.just("place"),
        st.sampled_from(["BTCUSDT", "ETHUSDT"]),
        st.sampled_from(["Buy", "Sell"]),
        st.sampled_from(["IOC", "GTC", "FOK", "PostOnly", "Market"]),
        st.integers(1, 40_000),  # thousandths of the book's first level or so
        st.integers(-40, 45),  # hundredths of a percent from the last price
        st.sampled_from([None, None, None, "partial", "rejected", "ack_lost"]),
    ),
    st.tuples(st.just("cancel_all")),
    st.tuples(st.just("step"), st.integers(1, 3000)),
)


def every(client, path: str) -> list[dict]:
    """All pages of a list, oldest first."""
    found, cursor = [], ""
    start = client.simulator.clock.now_ms() - 6 * 86_400_000
    while True:
        asked = {"cursor": cursor} if cursor else {}
        page = client.ask(
            path,
            category="spot",
            limit=50 if path.startswith("order") else 100,
            startTime=start,
            **asked,
        )
        found += page["list"]
        if not (cursor := page["nextPageCursor"]):
            return found[::-1]


def added_up(client) -> dict[str, Fraction]:
    """What the wallet must hold by the executions it is told of, in exact fractions."""
    held = defaultdict(Fraction, {coin: Fraction(amount) for coin, amount in OPENING.items()})
    for one in every(client, "execution/list"):
        base, sign = COINS[one["symbol"]], 1 if one["side"] == "Buy" else -1
        quantity, price = Fraction(one["execQty"]), Fraction(one["execPrice"])
        fee = Fraction(1, 1000) * (quantity if sign > 0 else quantity * price)
        assert Fraction(one["execValue"]) == quantity * price
        assert (Fraction(one["execFee"]), one["feeCurrency"]) == (fee, base if sign > 0 else "USDT")
        held[base] += sign * quantity
        held["USDT"] -= sign * quantity * price
        held[one["feeCurrency"]] -= fee
    return held


def place(client, symbol, side, in_force, size, hundredths, fault) -> None:
    lots, ticks = STEPS[symbol]
    last = client.simulator.venue.spot.mid(symbol, client.simulator.clock.now_ms())
    price = Decimal(int(last) * (10_000 + hundredths) // 10_000) / 10**ticks
    qty = Decimal(size) / 10 ** (lots - 2)
    order = {"symbol": symbol, "timeInForce": in_force, "marketUnit": "baseCoin"}
    if fault:
        client.simulator.faults.add(
            fault, uses=1, **{"answer": "10016"} if fault == "ack_lost" else {}
        )
    client.place(side, f"{qty}", None if in_force == "Market" else f"{price}", **order)
    client.simulator.faults.clear()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(todo=st.lists(actions, min_size=12, max_size=25))
def test_the_wallet_is_what_it_was_opened_with_and_every_execution_and_fee(served, todo):
    for what, *rest in todo:
        if what == "place":
            place(served, *rest)
        elif what == "cancel_all":
            served.post("order/cancel-all", category="spot")
        else:
            served.simulator.clock.step(rest[0])
    held = added_up(served)
    wallet = served.wallet()
    assert {coin: Fraction(wallet.get(coin, 0)) for coin in OPENING} == held
    assert all(amount >= 0 for amount in held.values())
    orders = (
        every(served, "order/history")
        + served.ask("order/realtime", category="spot", limit=50)["list"]
    )
    filled, fees = defaultdict(Fraction), defaultdict(Fraction)
    for one in every(served, "execution/list"):
        filled[one["orderId"]] += Fraction(one["execQty"])
        fees[one["orderId"]] += Fraction(one["execFee"])
    for order in orders:
        assert Fraction(order["cumExecQty"]) == filled[order["orderId"]] <= Fraction(order["qty"])
        assert Fraction(order["cumExecFee"]) == fees[order["orderId"]]


# --- the file ---


def shown(accounts: Accounts) -> tuple:
    account = accounts.account()
    return account.wallet, account.orders, account.executions


def traded(path, number: int) -> Accounts:
    """An account in `path` after `number` more orders, one of them still open."""
    accounts = Accounts(path)
    accounts.open(KEY, SECRET, balances={"USDT": "1000"})
    with running(Table(flat(0, 1000)), SimulatorClock(at(0, 3)), accounts=accounts) as simulator:
        client = Signed(simulator)
        for _ in range(number):
            client.placed("Buy", "0.1", "100.1")
        client.placed("Buy", "0.1", "99.9", timeInForce="GTC")
        client.close()
    return accounts


def test_an_account_goes_on_where_it_was(tmp_path):
    path = tmp_path / "accounts.jsonl"
    first = shown(traded(path, 2))
    again = Accounts(path)
    account = again.open("another-key", "another-secret", balances={"USDT": "5"})
    assert shown(again) == first
    # 1000 - 2 x 10.01, and 9.99 of it locked
    assert (account.wallet["USDT"], account.free("USDT")) == (Decimal("979.98"), Decimal("969.99"))
    second = shown(traded(path, 1))
    assert len(second[1]) == len(first[1]) + 2 == 5
    assert len(set(second[1])) == 5 and shown(Accounts(path)) == second


def test_the_file_is_its_owners_and_holds_neither_key_nor_secret(tmp_path):
    path = tmp_path / "accounts.jsonl"
    traded(path, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert KEY not in text and SECRET not in text
    kinds = [json.loads(line).get("kind") for line in text.splitlines()]
    assert kinds == [None, "account", "key", "change", "change"]


@pytest.mark.parametrize("bytes_lost", [1, 2, 40, 400])
def test_a_torn_last_line_is_dropped_and_the_rest_goes_on(tmp_path, bytes_lost):
    path = tmp_path / "accounts.jsonl"
    before = shown(traded(path, 2))
    whole = path.read_bytes()
    path.write_bytes(whole[:-bytes_lost])
    after = shown(Accounts(path))
    assert after[0] == before[0] and after[2] == before[2]  # the last one was an order that rests
    assert len(after[1]) == len(before[1]) - 1
    assert path.read_bytes() == whole[: whole[:-1].rfind(b"\n") + 1]
    assert len(shown(traded(path, 1))[1]) == len(after[1]) + 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: [b"{}\n", *lines[1:]],
        lambda lines: [*lines[:2], b"garbage\n", *lines[2:]],
        lambda lines: [lines[0], *lines[2:]],  # changes of an account that was never opened
        lambda lines: [
            *lines[:3],
            lines[3].replace(b'"price":"100.1"', b'"price":"x"'),
            *lines[4:],
        ],
    ],
)
def test_a_file_that_is_something_else_is_refused_and_left_alone(tmp_path, spoil):
    path = tmp_path / "accounts.jsonl"
    traded(path, 1)
    path.write_bytes(b"".join(spoil(path.read_bytes().splitlines(keepends=True))))
    spoiled = path.read_bytes()
    with pytest.raises(StoreError, match="not a file of the simulator's accounts at byte"):
        Accounts(path)
    assert path.read_bytes() == spoiled


def test_a_place_where_no_file_can_be_is_refused(tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        Accounts(tmp_path / "nowhere" / "accounts.jsonl")


def test_two_simulators_over_one_file_are_one_account(tmp_path):
    path = tmp_path / "accounts.jsonl"
    both = [Accounts(path), Accounts(path)]
    for accounts in both:
        accounts.open(KEY, SECRET, balances={"USDT": "30"})
    source = Table(flat(0, 1000))
    with (
        running(source, SimulatorClock(at(0, 3)), accounts=both[0]) as one,
        running(source, SimulatorClock(at(0, 3)), accounts=both[1]) as two,
    ):
        a, b = Signed(one), Signed(two)
        assert a.placed("Buy", "0.1", "100.1", orderLinkId="x")["orderStatus"] == "Filled"
        assert b.wallet() == a.wallet() == {"USDT": Decimal("19.99"), "BTC": Decimal("0.0999")}
        assert b.place("Buy", "0.1", "100.1", orderLinkId="x")["retCode"] == 170141
        assert b.placed("Buy", "0.1", "100.1", orderLinkId="y")["orderId"] != ""
        assert a.place("Buy", "0.1", "100.1", orderLinkId="z")["retCode"] == 170131  # 9.98 are left
        assert len(a.ask("order/history", category="spot")["list"]) == 2
        a.close()
        b.close()
    assert shown(both[0]) == shown(both[1])


PLACES_UNTIL_KILLED = """
import sys
from tests.market.signed import KEY, SECRET, Signed
from tests.market.tables import Table, at, flat
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock

accounts = Accounts(sys.argv[1])
accounts.open(KEY, SECRET, balances={"USDT": "100000"})
with running(Table(flat(0, 1000)), SimulatorClock(at(0, 3)), accounts=accounts) as simulator:
    client, number = Signed(simulator), int(sys.argv[2])
    while True:
        number += 1
        client.place("Buy", "0.1", "100.1", orderLinkId=f"n{number}")
        print(number, flush=True)
"""


def test_killed_in_the_middle_it_has_every_order_that_was_acknowledged(tmp_path):
    path, told = tmp_path / "accounts.jsonl", 0
    for round_ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", PLACES_UNTIL_KILLED, str(path), str(told)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(20 + 7 * round_):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        acknowledged = [int(line) for line in process.stdout.read().splitlines() if line]
        process.wait()
        process.stdout.close()
        accounts = Accounts(path)
        account = accounts.account()
        links = [order.link_id for order in account.orders.values()]
        least = told + 20 + 7 * round_
        assert links == [f"n{n}" for n in range(1, len(links) + 1)]
        assert len(links) >= max([least, *acknowledged])
        # each order has its one execution: 100000 - 10.01 each, and 0.0999 BTC each
        assert len(account.executions) == len(links)
        assert account.wallet["USDT"] == 100_000 - len(links) * Decimal("10.01")
        assert account.wallet["BTC"] == len(links) * Decimal("0.0999")
        told = len(links)
