"""`make prove`: a thousand orders on a bad exchange, and what the ledger says of them beside what was done.

Each order is decided by the rules, sent by signed requests to the simulator's account, and meets at random what an
exchange can do to it: the acknowledgement lost before or after it was carried out, 10000, 10016, a cut or closed
connection, a duplicate's answer, a part of it filled, executions twice, late and out of order, nothing shown at first.
The process is thrown away and begun anew between orders, also while an order's outcome is unknown. The simulator's
own record is the judge.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from tgtqr_lib import books, gate, journal, ledger, orders
from tgtqr_lib.act import act
from tgtqr_lib.canonical import restore
from tgtqr_lib.clock import FIRST_START_S, MINUTE, TICK
from tgtqr_lib.desk import Desk, open_desk, situation
from tgtqr_lib.domain import Fill, Order
from tgtqr_lib.freeze import freeze
from tgtqr_lib.home import Home
from tgtqr_lib.settings import load
from tgtqr_lib.sizing import entry, floor_to, sale
from tgtqr_lib.watch import beat

FIRST = datetime(2025, 6, 1, tzinfo=UTC)
SCALE = 100  # a part of an order is then still large enough to be sold
KEPT_BACK = {"ORDER_UNKNOWN", "DAILY_BUDGET"}  # what rules are right to refuse on such days
SETTINGS = """account = "demo"
demo_limits_scale = "{scale}"
late_candle_wait_s = 0.0
post_mortem_after_stop = false
exchange_timeout_s = 1.0
[simulator]
seed = {seed}
"""
# what may happen to an order, each with its weight: (name of the outcome, faults that make it)
CREATE = "/v5/order/create"
OUTCOMES: list[tuple[int, str, tuple[dict, ...]]] = [
    (30, "well", ()),
    (8, "cut after", ({"kind": "ack_lost", "answer": "cut"},)),
    (4, "closed after", ({"kind": "ack_lost", "answer": "closed"},)),
    (6, "504 after", ({"kind": "ack_lost", "answer": "504"},)),
    (6, "10000 after", ({"kind": "ack_lost", "answer": "10000"},)),
    (6, "10016 after", ({"kind": "ack_lost", "answer": "10016"},)),
    (4, "cut before", ({"kind": "ack_lost", "answer": "cut", "carried_out": False},)),
    (4, "10000 before", ({"kind": "ack_lost", "answer": "10000", "carried_out": False},)),
    (4, "10016 before", ({"kind": "ack_lost", "answer": "10016", "carried_out": False},)),
    (8, "duplicate", ({"kind": "duplicate_answer"},)),
    (10, "partial", ({"kind": "partial"},)),
    (3, "partial, cut after", ({"kind": "partial"}, {"kind": "ack_lost", "answer": "cut"})),
    (3, "too many", ({"kind": "10006", "endpoint": CREATE},)),
]
SHOWN: list[tuple[int, tuple[dict, ...]]] = [
    (50, ()),
    (10, ({"kind": "executions_twice"}, {"kind": "executions_unordered"})),
    (10, ({"kind": "not_found_at_first", "count": 2},)),
    (8, ({"kind": "not_found_at_first", "seconds": 90},)),
    (10, ({"kind": "executions_late", "count": 3},)),
    (6, ({"kind": "executions_late", "seconds": 70},)),
    (6, ({"kind": "10016", "endpoint": "/v5/order/realtime", "uses": 3},)),
]


@dataclass
class Proof:
    """What was found; every list but `outcomes` has to stay empty."""

    orders: int = 0
    sent: int = 0
    known_at_once: int = 0
    kept_back: Counter = field(default_factory=Counter)  # by a rule, before anything was sent
    outcomes: Counter = field(default_factory=Counter)
    results: Counter = field(default_factory=Counter)
    restarts: int = 0
    requests: int = 0  # to create an order, as the simulator counted them
    duplicates: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    false_rejections: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    wall_s: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        found = (
            self.duplicates, self.forgotten, self.false_rejections, self.differences, self.unknown,
            self.refused,
        )  # fmt: skip
        return self.orders > 0 and not any(found)


def prove(count: int, seed: int, folder: Path, told=print) -> Proof:
    """`count` orders with outcomes drawn from `seed`, in a home in `folder`."""
    began = time.monotonic()
    chance, proof = random.Random(seed), Proof()
    home = Home(folder).make()
    home.settings.write_text(SETTINGS.format(scale=SCALE, seed=seed), "utf-8")
    with ExitStack() as stack:
        desk = _open(stack, home)
        desk.clock.move_to(FIRST - MINUTE + timedelta(seconds=FIRST_START_S))
        beat(desk)
        gate.arm(desk.con, home, situation(desk, desk.exchange.time()), "a proof", "a proof")
        boundary, shown = FIRST, 0
        while proof.orders < count:
            _pass_time(desk, boundary)
            for order, inputs in _wanted(desk, boundary, chance):
                if proof.orders < count:
                    _one(desk, order, inputs, chance, proof)
            if chance.random() < 0.1:  # as after a crash: nothing but the files is left
                proof.requests += _creates(desk)
                stack.close()
                desk = _open(stack, home)
                proof.restarts += 1
            boundary += TICK
            if proof.orders - shown >= 100:
                shown = proof.orders
                told(f"{proof.orders} orders, {proof.known_at_once} of them known at once")
        proof.requests += _creates(desk)
        desk.clock.simulator.faults.clear()
        for _ in range(4):
            boundary += MINUTE
            _pass_time(desk, boundary)
        _judge(desk, proof)
    proof.wall_s = round(time.monotonic() - began, 1)
    return proof


def _open(stack: ExitStack, home: Home) -> Desk:
    journal.start(home)
    return stack.enter_context(open_desk(home, load(home)))


def _creates(desk: Desk) -> int:
    """How many orders the simulator that runs now was asked to create."""
    return desk.clock.simulator.state()["requests"].get(CREATE, 0)


def _pass_time(desk: Desk, boundary: datetime) -> None:
    """A beat a minute before the boundary, and the clock at its tick."""
    for minute in (boundary - 2 * MINUTE, boundary - MINUTE):
        at = minute + timedelta(seconds=FIRST_START_S)
        if at > desk.clock.now():
            desk.clock.move_to(at)
            beat(desk)
    desk.clock.move_to(max(boundary + timedelta(seconds=FIRST_START_S), desk.clock.now()))


def _wanted(desk: Desk, boundary: datetime, chance: random.Random):
    """Orders as a strategy without a memory would want them: what is held is sold, else it is bought."""
    inputs = freeze(desk, boundary)
    for view in inputs.markets:
        rule, close = view.instrument, view.candles.last_close
        held = floor_to(inputs.portfolio.position(view.symbol).quantity, rule.lot)
        if held * close >= rule.min_notional * Decimal("1.1"):
            yield (
                sale(view.symbol, held, close, rule, inputs.plan.collar_bps, boundary, "S"),
                inputs,
            )
        elif chance.random() < 0.8:
            yield entry(view.symbol, close, rule, inputs.plan, boundary), inputs


def _one(desk: Desk, order: Order, inputs, chance: random.Random, proof: Proof) -> None:
    """One order with its outcome; the faults of what is shown stay until the next order."""
    faults = desk.clock.simulator.faults
    faults.clear()
    (weights, names, made) = zip(*OUTCOMES, strict=True)
    (chosen,) = chance.choices(range(len(OUTCOMES)), weights)
    for fault in made[chosen]:
        more = (
            {"fraction": round(chance.uniform(0.2, 0.9), 2)} if fault["kind"] == "partial" else {}
        )
        faults.add(fault["kind"], uses=1, **{k: v for k, v in fault.items() if k != "kind"}, **more)
    (shown,) = chance.choices([one for _, one in SHOWN], [weight for weight, _ in SHOWN])
    for fault in shown:
        faults.add(fault["kind"], **{k: v for k, v in fault.items() if k != "kind"})
    done = act(desk, order, inputs)
    if done.result == "REFUSED":
        if done.reason not in KEPT_BACK:
            proof.refused.append(f"{order.id}: {done.reason}")
        proof.kept_back[done.reason] += 1
        return
    proof.orders += 1
    proof.outcomes[names[chosen]] += 1
    proof.known_at_once += done.result != "UNKNOWN"


def _judge(desk: Desk, proof: Proof) -> None:
    """The simulator's own record beside the ledger."""
    account = books.account(desk.con)
    there = desk.clock.simulator.accounts.account("demo")
    by_id: dict[str, list] = {}
    for one in there.orders.values():
        by_id.setdefault(one.link_id, []).append(one)
    proof.duplicates = [name for name, found in by_id.items() if len(found) > 1]
    executed: dict[str, Decimal] = {}
    spent: dict[str, Decimal] = {}
    for one in there.executions:
        name = there.orders[one.order_id].link_id
        executed[name] = executed.get(name, Decimal(0)) + one.quantity
        spent[name] = spent.get(name, Decimal(0)) + one.value
    fills = {
        row.key.split("/")[-1]: restore(Fill, row.body)
        for row in ledger.with_prefix(desk.con, f"fill/{account.id}/")
    }
    for name in sorted(set(executed) | set(fills)):
        mine = fills.get(name)
        if mine is None:
            proof.forgotten.append(name)
        elif (mine.quantity, mine.notional) != (executed.get(name), spent.get(name)):
            proof.differences.append(f"{name}: {mine.quantity} in the ledger, {executed.get(name)}")
    for row in ledger.of_kind(desk.con, "order"):
        name, result = row.key.removeprefix("order/"), row.body["result"]
        if result != "REFUSED":
            proof.results[result] += 1
            proof.sent += name in by_id
        if (
            result in ("REJECTED", "NEVER_ARRIVED", "OUTSIDE_COLLAR", "FOREIGN")
            and name in executed
        ):
            proof.false_rejections.append(f"{name}: {result}")
    intents = len(ledger.of_kind(desk.con, "intent"))
    if proof.requests != intents:
        proof.duplicates.append(f"{intents} orders were sent by {proof.requests} requests")
    proof.unknown = [row.key for row in books.open_intents(desk.con)]
    compared = orders.compare(desk, account)
    proof.differences += [f"{coin}: {by:+f}" for coin, by in compared.differences.items()]
    if (why := desk.home.control / "STOP").exists():
        proof.refused.append(f"the kit stopped itself: {why.read_text('utf-8').strip()}")


def main(words: list[str] | None = None) -> int:
    """Print what was found; 0 when the proof holds, else 5."""
    parser = argparse.ArgumentParser(prog="make prove", description=__doc__)
    parser.add_argument("--orders", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--seed", type=int, default=8, help="of the outcomes (8)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="tgtqr-prove-") as folder:
        quiet = (lambda text: None) if options.json else print
        proof = prove(options.orders, options.seed, Path(folder), quiet)
    facts = vars(proof) | {"holds": proof.holds}
    if options.json:
        print(json.dumps(facts))
    else:
        print(f"\n{proof.orders} orders with seed {options.seed} in {proof.wall_s} s")
        print(f"  {proof.sent} reached the exchange, {proof.restarts} restarts on the way")
        print(f"  {proof.known_at_once} known at once, the others by a later beat")
        for name, number in sorted(proof.outcomes.items()):
            print(f"  {number:>5}  {name}")
        kept = ", ".join(f"{n} {name}" for name, n in sorted(proof.kept_back.items()))
        print(f"  kept back by a rule, not counted: {kept or 'none'}")
        print("  in the ledger: " + ", ".join(f"{n} {r}" for r, n in sorted(proof.results.items())))
        for name in (
            "duplicates", "forgotten", "false_rejections", "differences", "unknown", "refused",
        ):  # fmt: skip
            found = getattr(proof, name)
            print(
                f"{len(found)} {name.replace('_', ' ')}" + "".join(f"\n    {x}" for x in found[:9])
            )
        print("the proof holds" if proof.holds else "THE PROOF DOES NOT HOLD")
    return 0 if proof.holds else 5


if __name__ == "__main__":
    sys.exit(main())
