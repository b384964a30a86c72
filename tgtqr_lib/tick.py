"""One tick: lock, claim, safety path, freeze, notebook, decide, verify, act, seal.

This is the only module that knows the sequence. A tick run twice equals a tick run once, and whatever a
crash leaves is settled at the next start: booked acts stay, nothing is tried again.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tgtqr_lib import archive, books, gate, journal, leaks, ledger, orders, recording, tick_page
from tgtqr_lib.act import REFUSED, Act, act
from tgtqr_lib.canonical import dumps, plain, restore
from tgtqr_lib.clock import (
    FIRST_START_S,
    LAST_START_S,
    TICK,
    boundary_of,
    check_boundary,
    iso,
    tick_id,
)
from tgtqr_lib.credentials import redact
from tgtqr_lib.decide import decide, decision_sha256
from tgtqr_lib.desk import TICK_LOCK, Desk, money_facts, one_at_a_time
from tgtqr_lib.domain import (
    DataError,
    Decision,
    DomainError,
    Fill,
    Inputs,
    Order,
    Portfolio,
    TgtqrError,
    VenueUnavailable,
)
from tgtqr_lib.freeze import freeze
from tgtqr_lib.home import PROJECT
from tgtqr_lib.kernel import Kernels, NotebookFailed, run_notebook
from tgtqr_lib.portfolio import equity
from tgtqr_lib.risk import GATE_RULES
from tgtqr_lib.safety import Safety, safety_path
from tgtqr_lib.watch import play_to

NOTEBOOK = PROJECT / "notebooks" / "tick.ipynb"
ALREADY_DONE = "already_done"
LONGEST_WAIT_S = 10.0


@dataclass
class TickResult:
    """What came of a tick; `state` is one of the final states or `already_done`."""

    tick_id: str
    state: str
    text: str
    reason: str = ""
    duration_s: str = "0.000"
    notebook: str | None = None
    decision: Decision | None = None
    acts: list[Act] = field(default_factory=list)
    safety: Safety | None = None
    sales: list[Act] = field(default_factory=list)  # of the safety path, before the decision

    def plain(self) -> dict[str, Any]:
        """What `tgtqr tick --json` prints."""
        return {
            "tick_id": self.tick_id,
            "state": self.state,
            "reason": self.reason,
            "text": self.text,
            "decisions": decision_rows(self.decision),
            "acts": [one.plain() for one in self.acts],
            "safety_sales": [one.plain() for one in self.sales],
            "notebook": self.notebook,
            "duration_s": float(self.duration_s),
        }


def decision_rows(decision: Decision | None) -> list[dict[str, Any]]:
    """One plain row a symbol: tick, signal, close, mean, order and the one reason."""
    return [
        {
            "tick_id": decision.tick_id,
            "symbol": c.symbol,
            "signal": str(c.signal.state),
            "close": None if c.signal.close is None else f"{c.signal.close:f}",
            "mean": None if c.signal.mean is None else f"{c.signal.mean:f}",
            "reason": c.reason,
            "text": c.reason_text,
            "order": c.order_text,
            "approved": c.approved,
        }
        for c in (decision.choices if decision else ())
    ]


def run_tick(desk: Desk, pool: Kernels, at: datetime | None = None) -> TickResult:
    """Run the tick at `at` (a quarter hour; the latest one without it) to one of its final states.

    Raises `Busy` while another tick runs, `DomainError` for a time in the future or off the quarter
    hour, `VenueUnavailable` when the exchange cannot be asked for its time; then nothing is claimed.
    """
    began = time.monotonic()
    if at is not None and (known := _ended(desk, tick_id(check_boundary(at)))):
        return known
    with one_at_a_time(desk.home.control / TICK_LOCK, "tick"):
        settle(desk)
        sales: list[Act] = []
        if desk.clock is not None:
            at = at or next_boundary(desk)
            sales = _let_time_pass(desk, at)
        boundary = _boundary(desk, at)
        name = tick_id(boundary)
        if known := _ended(desk, name):
            return known
        if (late := _missed(desk, boundary)) is not None:
            return late
        claim = {"at": desk.exchange.time()}
        with ledger.writing(desk.con):
            # the watch may have recorded it as missed since this tick looked at the clock
            if books.tick_event(desk.con, name, "final") is None:
                books.book_tick(desk.con, name, "claim", claim)
        if known := _ended(desk, name):
            return known
        result = _run_claimed(desk, pool, boundary, began)
        result.sales = [*sales, *(result.safety.sales if result.safety else ())]
        gate.bear_witness(desk.con, desk.home)
        return result


def _let_time_pass(desk: Desk, at: datetime) -> list[Act]:
    """Bring the embedded simulator's clock to `at` + 3 s; the safety sales of the beats on the way.

    A tick behind the clock leaves it alone. Raises `DomainError` for one in the future.
    """
    now, moment = desk.clock.now(), at + timedelta(seconds=FIRST_START_S)
    if at > max(datetime.now(UTC), now + TICK):
        raise DomainError(
            f"tick {tick_id(at)} is in the future; the simulator's clock shows {iso(now)}"
        )
    if moment <= now and desk.clock.started:
        return []
    return [sale for seen in play_to(desk, moment) for sale in seen.sales]


def _boundary(desk: Desk, at: datetime | None) -> datetime:
    """The boundary to run, waited for until 3 s after it."""
    now = desk.exchange.time()
    boundary = boundary_of(now) if at is None else at
    opens = boundary + timedelta(seconds=FIRST_START_S)
    waits = (opens - now).total_seconds()
    if waits > FIRST_START_S:
        raise DomainError(
            f"tick {tick_id(boundary)} is in the future; the exchange's clock shows {iso(now)}"
        )
    deadline = time.monotonic() + LONGEST_WAIT_S
    while now < opens:
        if time.monotonic() > deadline:
            raise DataError(f"the exchange's clock stands at {iso(now)}, expected {iso(opens)}")
        time.sleep(min(0.25, (opens - now).total_seconds()))
        now = desk.exchange.time()
    return boundary


def _ended(desk: Desk, name: str) -> TickResult | None:
    final = books.tick_event(desk.con, name, "final")
    if final is None:
        return None
    sealed = books.tick_event(desk.con, name, "sealed")
    text = f"already ran: {final['state']} ({final['text']})"
    return TickResult(name, ALREADY_DONE, text, notebook=sealed and sealed["notebook"])


def _missed(desk: Desk, boundary: datetime) -> TickResult | None:
    """The result `missed`, booked, when it is too late for `boundary`; None when it is not."""
    now = desk.exchange.time()
    last = books.last_boundary(desk.con)
    name = tick_id(boundary)
    if now > boundary + timedelta(seconds=LAST_START_S):
        text = f"started {iso(now)}, more than {LAST_START_S} s after its boundary"
    elif last is not None and last > boundary:
        text = f"tick {tick_id(last)} ran before it"
    else:
        with ledger.writing(desk.con):
            books.record_missed(desk.con, boundary, books.MISSED_TEXT)
        return None
    account = books.account(desk.con)
    if account is not None and boundary < account.opened_at - timedelta(days=1):
        raise DomainError(f"tick {name} lies before the account was opened; {text}")
    with ledger.writing(desk.con):
        books.record_missed(desk.con, boundary, books.MISSED_TEXT)
        final = {"state": books.MISSED, "reason": "MISSED", "text": text}
        books.book_tick(desk.con, name, "final", final)
    journal.event("tick", tick_id=name, state=books.MISSED, text=text)
    return TickResult(name, books.MISSED, text, "MISSED")


def _run_claimed(desk: Desk, pool: Kernels, boundary: datetime, began: float) -> TickResult:
    """From the safety path to the seal; an error on the way makes the tick `failed`."""
    result = TickResult(tick_id(boundary), books.FAILED, "", "TICK_FAILED")
    log_end = leaks.begin(desk.home)
    try:
        desk.look_at_chain()
        result.safety = safety_path(desk, desk.exchange.time())
        inputs = freeze(desk, boundary)
        result.decision = _decide_in_notebook(desk, pool, inputs)
        for order in result.decision.orders:
            result.acts.append(act(desk, order, inputs))
        recording.frozen(desk, inputs)
        with ledger.writing(desk.con):
            acted = {"orders": [one.order.id for one in result.acts]}
            books.book_tick(desk.con, result.tick_id, "acted", acted)
        result.state, result.reason, result.text = _conclusion(result)
    except VenueUnavailable as error:
        result.reason, result.text = "EXCHANGE_UNREACHABLE", str(error)
    except NotebookFailed as error:
        result.reason, result.text = "NOTEBOOK_FAILED", str(error)
    except DataError as error:
        result.reason, result.text = "DATA_TROUBLE", str(error)
    except TgtqrError as error:
        result.text = str(error)
    except Exception as error:  # anything unforeseen fails this tick, never the next
        result.text = f"{type(error).__name__}: {error}"
        journal.event("unforeseen", text=result.text)
    result.duration_s = f"{time.monotonic() - began:.3f}"
    result.text = redact(result.text)  # the ledger keeps it for good
    _finish(desk, result)
    leaks.sweep_log(desk.home, log_end)
    return result


def _decide_in_notebook(desk: Desk, pool: Kernels, inputs: Inputs) -> Decision:
    """The decision of the executed notebook, verified against `decide` in this process, and booked."""
    running = archive.running_path(desk.home, inputs.tick_id)
    running.parent.mkdir(parents=True, exist_ok=True)
    run_notebook(
        NOTEBOOK,
        running,
        {"inputs": dumps(inputs)},
        pool,
        cell_timeout_s=desk.settings.cell_timeout_s,
    )
    executed = archive.read_executed(running)
    if executed is None:
        raise NotebookFailed(f"{NOTEBOOK.name}: the executed copy cannot be read")
    found = tick_page.read_sentinel(executed)
    if found is None:
        raise NotebookFailed(f"{NOTEBOOK.name}: it ended without its decision")
    decision = decide(inputs)
    ours = (decision.inputs_sha256, decision_sha256(decision))
    theirs = (found["inputs_sha256"], found["decision_sha256"])
    if ours != theirs or found["decision"] != plain(decision):  # its words are sealed as evidence
        raise NotebookFailed(
            f"{NOTEBOOK.name}: its decision {str(theirs[1])[:12]} is not ours {ours[1][:12]}"
        )
    with ledger.writing(desk.con):
        body = {"inputs_sha256": ours[0], "decision_sha256": ours[1], "choices": decision.choices}
        books.settings_in_force(
            desk.con, inputs.exchange_time, {"plan": inputs.plan, "limits": inputs.limits}
        )
        books.book_tick(desk.con, inputs.tick_id, "decision", body)
    return decision


def _conclusion(result: TickResult) -> tuple[str, str, str]:
    """Final state, reason and sentence of a tick that ran through."""
    refusals = [one for one in result.acts if one.result == REFUSED and one.reason in GATE_RULES]
    kept_back = [c for c in result.decision.choices if c.reason in GATE_RULES]
    if refusals:
        return books.REFUSED, refusals[0].reason, refusals[0].text
    if kept_back:
        return books.REFUSED, kept_back[0].reason, kept_back[0].reason_text
    told = [f"{one.order.symbol} {one.result}: {one.text}" for one in result.acts]
    quiet = [
        f"{c.symbol} {c.reason}"
        for c in result.decision.choices
        if c.order is None or not c.approved
    ]
    reasons = [one.result for one in result.acts] + [c.reason for c in result.decision.choices]
    return books.DONE, reasons[0], "; ".join(told + quiet)


def _finish(desk: Desk, result: TickResult) -> None:
    """Book the final state, seal the notebook, book the seal, and tell the log."""
    final = {
        "state": result.state,
        "reason": result.reason,
        "text": result.text,
        "duration_s": result.duration_s,
    }
    with ledger.writing(desk.con):
        books.book_tick(desk.con, result.tick_id, "final", final)
    result.notebook = seal_tick(desk, result.tick_id, final, [one.plain() for one in result.acts])
    _log(desk, result)


def seal_tick(
    desk: Desk, name: str, final: dict[str, Any], acts: list[dict[str, Any]]
) -> str | None:
    """Seal the executed notebook of tick `name`; its path from the home, or None when there is none.

    One that holds a secret goes to quarantine instead, and is gone from here: no later start seals it.
    """
    try:
        leaks.sweep(desk.home, archive.running_path(desk.home, name))
    except OSError as error:  # it can be neither looked at nor moved: the next start tries again
        journal.event("not_sealed", tick_id=name, text=str(error))
        return None
    executed = archive.read_executed(archive.running_path(desk.home, name))
    if executed is None:
        return None
    account = books.account(desk.con)
    held = books.portfolio(desk.con, account)
    seq, head = ledger.head(desk.con)
    outcome = {
        "tick_id": name,
        "state": final["state"],
        "reason": final["reason"],
        "text": final["text"],
        "acts": acts,
        "account": account.id,
        "cash": f"{held.cash:f}",
        "equity": _equity_text(held, archive.embedded_inputs(executed)),
        "positions": [
            {"symbol": p.symbol, "quantity": f"{p.quantity:f}", "cost": f"{p.cost:f}"}
            for p in held.positions
        ],
        "sealed_at": _time_text(desk),
        "duration_s": final.get("duration_s", "-"),
        "ledger": {"seq": seq, "head": head},
    }
    try:
        facts = archive.seal(desk.home, executed, outcome, (seq, head))
    except TgtqrError as error:  # the acts are booked; the next start seals
        journal.event("not_sealed", tick_id=name, text=str(error))
        return None
    with ledger.writing(desk.con):
        books.book_tick(desk.con, name, "sealed", facts)
    archive.running_path(desk.home, name).unlink(missing_ok=True)  # only now: a crash seals again
    return facts["notebook"]


def _equity_text(held: Portfolio, inputs: Inputs | None) -> str:
    """Cash plus what is held at the closes the decision saw, or a dash when it saw none."""
    views = inputs.markets if inputs else ()
    closes = {view.symbol: view.candles.last_close for view in views if len(view.candles)}
    known = all(position.symbol in closes for position in held.held)
    return f"{equity(held, closes):f}" if known else "-"


def _time_text(desk: Desk) -> str:
    """The exchange's time, or a dash when it does not answer."""
    try:
        return iso(desk.exchange.time())
    except TgtqrError:
        return "-"


def settle(desk: Desk) -> None:
    """Give every tick that a crash left a final state, and seal what was acted on.

    A tick whose act was booked becomes `done`, any other `failed`; nothing of it is tried again. Must
    run under the tick lock.
    """
    orders.look_up(desk)  # a crash may have left an order on its way
    for name in books.open_claims(desk.con):
        ids = books.own_order_ids(desk.con, name)
        sent = ids or books.own_intent_ids(desk.con, name)
        acted = books.tick_event(desk.con, name, "acted") is not None or bool(sent)
        state = books.DONE if acted else books.FAILED
        text = "ended by a crash after its act was booked" if acted else "ended by a crash"
        final = {"state": state, "reason": "CRASHED", "text": text}
        with ledger.writing(desk.con):
            if acted and books.tick_event(desk.con, name, "acted") is None:
                books.book_tick(desk.con, name, "acted", {"orders": list(ids)})
            books.book_tick(desk.con, name, "final", final)
        journal.event("tick", tick_id=name, state=state, text=text)
        if not acted:
            seal_tick(desk, name, final, [])
    for name in books.unsealed(desk.con):
        final = books.tick_event(desk.con, name, "final")
        ids = books.own_order_ids(desk.con, name)
        seal_tick(desk, name, final, [_booked_act(desk, one) for one in ids])


def _booked_act(desk: Desk, order_id: str) -> dict[str, Any]:
    """What the ledger knows of an act, as `Act.plain` would tell it."""
    body = ledger.get(desk.con, f"order/{order_id}").body
    row = ledger.get(desk.con, f"fill/{body['account']}/{order_id}")
    order = restore(Order, body["order"], f"order {order_id}")
    filled = restore(Fill, row.body, f"event {row.seq}") if row else None
    return Act(order, body["result"], body["reason"], body["text"], filled).plain()


def _log(desk: Desk, result: TickResult) -> None:
    with contextlib.suppress(TgtqrError):  # a log line is never worth a tick
        facts: dict[str, Any] = {
            "state": result.state,
            "reason": result.reason,
            "text": result.text,
        }
        for c in result.decision.choices if result.decision else ():
            facts[f"{c.symbol}_signal"] = c.signal.state
            facts[f"{c.symbol}_close"] = c.signal.close
            facts[f"{c.symbol}_reason"] = c.reason
        if result.safety is not None:
            facts |= money_facts(desk, result.safety.inputs, result.safety.closes)
        journal.event("tick", tick_id=result.tick_id, duration_s=result.duration_s, **facts)


def next_boundary(desk: Desk) -> datetime:
    """The quarter hour that the exchange's clock reaches next, or the latest one while it can be run."""
    now = desk.exchange.time()
    latest = boundary_of(now)
    last = books.last_boundary(desk.con)
    too_late = now > latest + timedelta(seconds=LAST_START_S)
    return latest + TICK if too_late or (last is not None and last >= latest) else latest
