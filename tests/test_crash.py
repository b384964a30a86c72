"""`kill -9` at any moment: the ledger holds, nothing happens twice, and the next start puts all in order."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.stage import PROJECT, TGTQR, command, environment, moment, rise
from tgtqr_lib import audit, books, ledger, tick
from tgtqr_lib.clock import iso, tick_id
from tgtqr_lib.home import Home
from tgtqr_lib.standing import standing

FIRST = moment("2025-06-01T00:00")
QUARTER = timedelta(minutes=15)
KILLS = 25  # in each of two homes


def start_tick(home: Home, boundary) -> subprocess.Popen:
    return subprocess.Popen(
        [*TGTQR, "tick", "--at", iso(boundary)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(home),
        cwd=PROJECT,
    )


def armed_home(folder, seed: int) -> Home:
    """A fresh home on a made-up market of its own, armed just before its first tick."""
    home = Home(folder).make()
    home.settings.write_text(f"[simulator]\nseed = {seed}\n", "utf-8")
    environment(home)
    assert command(home, "watch", "--once", "--at", "2025-05-31T23:59:03").returncode == 0
    assert command(home, "arm", "--reason", "the crash test").returncode == 0
    return home


def killed_again_and_again(folder, seed: int) -> tuple[Home, int, int]:
    """A home whose ticks were killed `KILLS` times; ticks that began, and that got to their end."""
    home, chance = armed_home(folder, seed), random.Random(seed)
    boundary, kills, ended = FIRST, 0, 0
    began = time.monotonic()
    assert start_tick(home, boundary).wait(60) == 0
    whole_s = time.monotonic() - began
    count = 1
    while kills < KILLS:
        boundary, count = boundary + QUARTER, count + 1
        process, began = start_tick(home, boundary), time.monotonic()
        try:
            process.wait(chance.uniform(0, whole_s))
            ended, whole_s = ended + 1, min(whole_s, time.monotonic() - began)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            kills += 1
    return home, count, ended


@pytest.fixture(scope="module")
def ravaged(tmp_path_factory):
    """Two homes after twenty-five kills each, and one whole tick afterwards."""
    folders = [tmp_path_factory.mktemp("crash") / "home" for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(killed_again_and_again, folders, (1, 2)))
    homes = []
    for home, count, _ in found:
        last = FIRST + count * QUARTER
        done = command(home, "tick", "--at", iso(last), "--json", timeout_s=120)
        homes.append((home, last, done))
    return homes


def opened(home: Home):
    return ledger.connect(home.ledger, create=False)


@pytest.mark.slow
def test_after_fifty_kills_the_next_tick_works(ravaged):
    for _, last, done in ravaged:
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["state"] == "done"
        assert json.loads(done.stdout)["tick_id"] == tick_id(last)


@pytest.mark.slow
def test_after_fifty_kills_the_ledger_verifies(ravaged):
    for home, _, _ in ravaged:
        found = command(home, "ledger", "verify", "--json")
        assert (found.returncode, json.loads(found.stdout)["problems"]) == (0, [])


@pytest.mark.slow
def test_after_fifty_kills_every_tick_has_one_final_state(ravaged):
    for home, last, _ in ravaged:
        con = opened(home)
        wanted, moment_ = [], FIRST
        while moment_ <= last:
            wanted.append(tick_id(moment_))
            moment_ += QUARTER
        finals = [row for row in ledger.of_kind(con, "tick") if row.key.endswith("/final")]
        assert sorted(row.body["tick_id"] for row in finals) == wanted
        crashed = [row.body for row in finals if row.body["reason"] == "CRASHED"]
        assert crashed and {body["state"] for body in crashed} <= {"done", "failed"}
        rows = ledger.with_prefix(con, "tick/")
        claims = {row.body["tick_id"] for row in rows if row.key.endswith("/claim")}
        missed = {row.body["tick_id"] for row in finals if row.body["state"] == "missed"}
        assert claims and not claims & missed
        con.close()


@pytest.mark.slow
def test_after_fifty_kills_nothing_was_ordered_or_filled_twice_and_the_cash_adds_up(ravaged):
    for home, _, _ in ravaged:
        con = opened(home)
        orders = [row.body["order"] for row in ledger.of_kind(con, "order")]
        fills = [row.body for row in ledger.of_kind(con, "fill")]
        ids = [order["id"] for order in orders]
        assert len(ids) == len(set(ids)) and len({f["order_id"] for f in fills}) == len(fills)
        assert {f["order_id"] for f in fills} <= set(ids) and fills
        cash, held = Decimal(10), dict.fromkeys(("BTCUSDT", "ETHUSDT"), Decimal(0))
        for f in fills:
            sign = 1 if f["side"] == "SELL" else -1
            cash += sign * Decimal(f["notional"]) - Decimal(f["fee"])
            held[f["symbol"]] -= sign * Decimal(f["quantity"])
            assert held[f["symbol"]] >= 0
        account = books.account(con)
        folded = books.portfolio(con, account)
        assert folded.cash == cash
        assert {s: folded.position(s).quantity for s in held} == held
        con.close()


@pytest.mark.slow
def test_after_fifty_kills_what_was_acted_on_is_sealed(ravaged):
    for home, _, _ in ravaged:
        con = opened(home)
        acted = [row.body["tick_id"] for row in ledger.of_kind(con, "acted")]
        for name in acted:
            event = books.tick_event(con, name, "sealed")
            content = (home.root / event["notebook"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == event["sha256"]
        assert acted
        con.close()


# --- a kill at every point of the road ---

SCRIPT = """
import os, signal, sys
from tests.stage import decide_without_a_kernel, moment
from tgtqr_lib import archive, books, settings, tick
from tgtqr_lib.desk import open_desk
from tgtqr_lib.home import Home
from tgtqr_lib.standing import standing

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def first(module, name):
    setattr(module, name, die)

def after(module, name):
    whole = getattr(module, name)
    def then(*a, **k):
        whole(*a, **k)
        die()
    setattr(module, name, then)

tick.run_notebook = decide_without_a_kernel
{patch}
home = Home.find()
with open_desk(home, settings.load(home)) as desk:
    tick.run_tick(desk, None, moment("10:15"))
"""
HALF = """
def half(path, content, *_):
    path.with_name(f".{path.name}.{os.getpid()}").write_bytes(content[: len(content) // 2])
    die()
archive.sealing.write_whole = half
"""
# where the process dies -> the state that the next start gives the tick, and whether it was acted on
POINTS = {
    "after the claim": ("first(tick, 'safety_path')", "failed", False),
    "after the freeze": ("after(tick, 'freeze')", "failed", False),
    "after the notebook": ("after(tick, 'run_notebook')", "failed", False),
    "after the decision": ("first(tick, 'act')", "failed", False),
    "inside the transaction of an act": ("from tgtqr_lib import act; after(act, '_append')", "failed", False),
    "after the first act": ("after(tick, 'act')", "done", True),
    "after the acts": ("first(tick, '_finish')", "done", True),
    "before the seal": ("first(archive, 'seal')", "done", True),
    "with half a seal": (HALF, "done", True),
    "after the seal": ("after(archive, 'seal')", "done", True),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_tick_killed_at_this_point_is_settled_at_the_next_start(stage, point):
    patch, state, acted = POINTS[point]
    rise(stage)
    stage.arm()
    stage.at("10:15:03")
    script = SCRIPT.format(patch=patch)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(stage.home),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert books.open_claims(stage.desk.con) == (["20261122T1015Z"] if "seal" not in point else [])
    told = standing(stage.desk, stage.desk.exchange.time())["last_tick"]["state"]
    assert told == ("interrupted" if "seal" not in point else "done")

    tick.settle(stage.desk)
    assert stage.final("10:15")["state"] == state
    assert len(stage.events("fill")) == (1 if acted else 0)
    event = books.tick_event(stage.desk.con, "20261122T1015Z", "sealed")
    notebook = stage.home.ticks / "2026/11/22/20261122T1015Z.ipynb"
    if acted:
        content = notebook.read_bytes()
        assert hashlib.sha256(content).hexdigest() == event["sha256"]
        (told,) = json.loads(content)["metadata"]["tgtqr"]["outcome"]["acts"]
        assert (told["result"], told["price"], told["fee"]) == ("FILLED", "100105.1", "0.00090095")

    head = stage.head()
    tick.settle(stage.desk)
    assert stage.head() == head  # settling twice is settling once
    assert stage.tick("10:15").state == "already_done"
    stage.market.set("ETHUSDT", "10:29", "2502.50")
    stage.beat("10:29")
    following = stage.tick("10:30")
    assert following.state == "done"
    assert "ETHUSDT" in stage.held() and audit.verify(stage.desk.con, stage.home)[1] == []


def test_a_claim_is_settled_even_after_days_of_missed_ticks(stage):
    # a crash on Friday, the watch alone over the weekend: 288 missed ticks lie between
    stage.beat("2026-11-20T10:15:03")
    with ledger.writing(stage.desk.con):
        books.book_tick(stage.desk.con, "20261120T1015Z", "claim", {"at": None})
    stage.beat("2026-11-23T10:16:03")
    assert len(stage.events("tick")) == 3 * 96
    tick.settle(stage.desk)
    assert books.tick_event(stage.desk.con, "20261120T1015Z", "final")["state"] == "failed"


def test_a_safety_sale_in_the_ticks_minute_does_not_make_a_crashed_tick_done(stage):
    # the sale of a stop carries the minute of the tick, but the tick decided nothing
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    (stage.home.control / "STOP").touch()
    stage.at("10:30:03")
    with ledger.writing(stage.desk.con):
        books.book_tick(stage.desk.con, "20261122T1030Z", "claim", {"at": None})
    stage.beat("10:30:03")
    assert "20261122T1030Z-BTC-X" in [row.body["order"]["id"] for row in stage.events("order")]
    tick.settle(stage.desk)
    assert stage.final("10:30")["state"] == "failed"
