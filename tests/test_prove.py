"""`make prove` in small: the run holds, and each of its judgements can fail."""

import json
import shutil
from decimal import Decimal

import pytest

from tests import prove
from tests.stage import raw
from tgtqr_lib import ledger
from tgtqr_lib.brokers.bybit_client import PrivateClient
from tgtqr_lib.desk import open_desk
from tgtqr_lib.home import Home
from tgtqr_lib.market.embedded import embedded_keys
from tgtqr_lib.settings import load

ORDERS, SEED = 30, 5
RECORD = "data/simulator_account.jsonl"


@pytest.fixture(scope="module")
def proven(tmp_path_factory):
    """A run, and the home that it leaves."""
    folder = tmp_path_factory.mktemp("prove") / "home"
    return prove.prove(ORDERS, SEED, folder, told=lambda text: None), folder


@pytest.fixture
def copy(proven, tmp_path):
    """A copy of that home, to be tampered with."""
    return Home(shutil.copytree(proven[1], tmp_path / "copy"))


def judged(home: Home, behind: tuple[str, ...] = ()) -> prove.Proof:
    """What the judge says of a home as it is; `behind` are ids of orders to place behind its back first."""
    with open_desk(home, load(home)) as desk:
        proof = prove.Proof(orders=ORDERS, requests=len(ledger.of_kind(desk.con, "intent")))
        for name in behind:
            url = desk.clock.simulator.url
            client = PrivateClient(url, embedded_keys(url), simulated=True)
            ask = Decimal(str(desk.exchange.quote("BTCUSDT").ask))
            client.tell(
                "order_create",
                category="spot",
                symbol="BTCUSDT",
                side="Buy",
                orderType="Limit",
                timeInForce="IOC",
                qty="0.0002",
                price=f"{ask + 1}",
                orderLinkId=name,
            )
            client.close()
        prove._judge(desk, proof)
    return proof


def test_the_run_holds_and_met_what_it_is_about(proven):
    proof, _ = proven
    assert proof.holds, proof
    assert proof.orders == ORDERS and proof.results["FILLED"] and proof.results["PARTIAL"]
    assert proof.known_at_once < ORDERS  # some outcomes were unknown at first
    assert proof.restarts >= 1 and len(proof.outcomes) >= 8


def test_an_untouched_copy_holds(copy):
    assert judged(copy).holds


def test_an_order_that_the_ledger_does_not_know_is_found(copy):
    proof = judged(copy, behind=("somebody-else",))
    assert not proof.holds and proof.forgotten == ["somebody-else"]
    # the coins of it are in the wallet, and what they cost is not
    assert {one.split(":")[0] for one in proof.differences} == {"BTC", "USDT"}


def changes(home: Home) -> list[dict]:
    return [json.loads(line) for line in (home.root / RECORD).read_text("utf-8").splitlines()]


def rewrite(home: Home, records: list[dict]) -> None:
    lines = [json.dumps(record, separators=(",", ":"), sort_keys=True) for record in records]
    (home.root / RECORD).write_text("\n".join(lines) + "\n", "utf-8")


def test_a_fill_that_the_exchange_does_not_have_is_found(copy):
    records = changes(copy)
    last = max(i for i, record in enumerate(records) if record.get("executions"))
    gone = records.pop(last)["orders"][0]["link_id"]
    rewrite(copy, records)
    proof = judged(copy)
    assert not proof.holds and any(one.startswith(gone) for one in proof.differences)


def test_a_figure_that_differs_in_its_last_digit_is_found(copy):
    records = changes(copy)
    record = next(record for record in reversed(records) if record.get("executions"))
    value = Decimal(record["executions"][-1]["value"])
    record["executions"][-1]["value"] = f"{value + Decimal(1).scaleb(value.as_tuple().exponent):f}"
    rewrite(copy, records)
    proof = judged(copy)
    assert not proof.holds and any(one.startswith("USDT: ") for one in proof.differences)


def test_an_order_that_is_there_twice_is_found(copy):
    records = changes(copy)
    first = next(record for record in records if record.get("orders"))
    again = json.loads(json.dumps(first))
    again["executions"] = []
    again["orders"][0]["order_id"] += "1"
    rewrite(copy, [*records, again])
    assert judged(copy).duplicates == [first["orders"][0]["link_id"]]


def opened(home: Home):
    """The ledger's file without the triggers that keep it append-only."""
    con = raw(home)
    for (name,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        con.execute(f"DROP TRIGGER {name}")
    return con


def test_a_fill_that_was_never_booked_is_found(copy):
    con = opened(copy)
    name = con.execute(
        "SELECT key FROM events WHERE kind = 'fill' ORDER BY seq DESC LIMIT 1"
    ).fetchone()[0]
    con.execute("DELETE FROM events WHERE key = ?", (name,))
    con.close()
    assert judged(copy).forgotten == [name.split("/")[-1]]


def test_a_false_rejection_is_found(copy):
    con = opened(copy)
    key = con.execute(
        "SELECT key FROM events WHERE kind = 'fill' ORDER BY seq DESC LIMIT 1"
    ).fetchone()[0]
    order = f"order/{key.split('/')[-1]}"
    text = con.execute("SELECT body FROM events WHERE key = ?", (order,)).fetchone()[0]
    body = json.loads(text) | {"result": "REJECTED"}
    con.execute("UPDATE events SET body = ? WHERE key = ?", (json.dumps(body), order))
    con.close()
    assert judged(copy).false_rejections == [f"{order.removeprefix('order/')}: REJECTED"]


def test_an_outcome_that_stays_unknown_is_found(copy):
    con = opened(copy)
    key = con.execute(
        "SELECT key FROM events WHERE kind = 'fill' ORDER BY seq DESC LIMIT 1"
    ).fetchone()[0]
    name = key.split("/")[-1]
    con.execute("DELETE FROM events WHERE key IN (?, ?)", (key, f"order/{name}"))
    con.close()
    assert judged(copy).unknown == [f"intent/{name}"]


def test_a_kit_that_stopped_itself_is_no_proof(copy):
    copy.control.joinpath("STOP").write_text("FOREIGN_ORDER: x", "utf-8")
    assert judged(copy).refused == ["the kit stopped itself: FOREIGN_ORDER: x"]


def test_a_request_too_many_is_found(copy):
    with open_desk(copy, load(copy)) as desk:
        sent = len(ledger.of_kind(desk.con, "intent"))
        proof = prove.Proof(orders=ORDERS, requests=sent + 1)
        prove._judge(desk, proof)
    assert proof.duplicates == [f"{sent} orders were sent by {sent + 1} requests"]


def test_a_run_without_orders_proves_nothing():
    assert not prove.Proof().holds
