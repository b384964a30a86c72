"""The gate: ACTIVE, REDUCING or STOPPED, from the latch, the watch's lease and the other causes."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal

from tgtqr_lib import books, latch, ledger
from tgtqr_lib.clock import from_ms
from tgtqr_lib.domain import (
    GateRefused,
    GateState,
    Health,
    Inputs,
    Order,
    Position,
    Side,
    StoreError,
)
from tgtqr_lib.home import Home
from tgtqr_lib.risk import GATE_RULES, STOPPED_RULES, first_refusal, review
from tgtqr_lib.risk.budget import daily_floor, total_floor

MB = 1_000_000


def health(
    con: sqlite3.Connection,
    home: Home,
    clock_offset_ms: int | None,
    chain_problem: str | None = None,
) -> Health:
    """The facts that can close the gate, read now; `chain_problem` is what a look at the chain found."""
    beat = ledger.newest_mark(con)
    account = books.account(con)
    at_exchange = account is not None and account.venue is not None
    look = books.account_look(con, account) if at_exchange else None
    return Health(
        last_beat_at=from_ms(beat.beat_ms) if beat else None,
        clock_offset_ms=clock_offset_ms,
        disk_free_mb=shutil.disk_usage(home.data).free // MB,
        ledger_problem=chain_problem or witness_problem(con, home),
        stopped=latch.stopped_because(home),
        unknown_orders=(
            tuple(row.key.removeprefix("intent/") for row in books.open_intents(con))
            if at_exchange
            else None
        ),
        account_problem=look["problem"] if look else None,
    )


def state_of(inputs: Inputs) -> tuple[GateState, str, str]:
    """State, reason code and sentence: what the gate's rules would say to any entry."""
    probe = Order("probe", "BTCUSDT", Side.BUY, Decimal(1), Decimal(1), inputs.exchange_time)
    refusal = first_refusal([v for v in review(probe, inputs) if v.code in GATE_RULES])
    if refusal is None:
        return GateState.ACTIVE, "", "armed, and watched"
    stopped = refusal.code in STOPPED_RULES
    return GateState.STOPPED if stopped else GateState.REDUCING, refusal.code, refusal.text


def witness_problem(con: sqlite3.Connection, home: Home) -> str | None:
    """What ledger and witness disagree about, or None.

    The witness keeps the head that was last seen: a ledger that lost its newest rows (a deleted
    `-wal` file, an old copy) opens without a word, and only this notices.
    """
    try:
        seq_text, digest = home.witness.read_text("ascii").split()
        seq = int(seq_text)
    except FileNotFoundError:
        armed = any(row.body["what"] == "armed" for row in ledger.of_kind(con, "gate"))
        return f"the ledger's witness {home.witness.name} is gone" if armed else None
    except (OSError, ValueError) as error:
        return f"the ledger's witness {home.witness.name} is not readable ({error})"
    rows = ledger.between(con, seq, seq)
    if not rows:
        last = ledger.head(con)[0]
        return f"the ledger ends at event {last}, but its witness has seen event {seq}"
    if rows[0].hash != digest:
        return f"event {seq} of the ledger is not the one its witness has seen"
    return None


def bear_witness(con: sqlite3.Connection, home: Home, *, anew: bool = False) -> None:
    """Keep the ledger's head beside it. While the two disagree the old witness stays, unless `anew`."""
    if not anew and witness_problem(con, home) is not None:
        return
    seq, digest = ledger.head(con)
    seen = f"{seq} {digest}\n"
    if seq == 0 or (home.witness.is_file() and home.witness.read_text("ascii") == seen):
        return
    fresh = home.witness.with_suffix(f".{os.getpid()}")
    fresh.write_text(seen, "ascii")
    os.replace(fresh, home.witness)


def note_latch(con: sqlite3.Connection, home: Home, at: datetime) -> str | None:
    """Make a stop by hand a latch, and book it; why the kit is stopped, or None.

    A STOP file takes ARMED with it, so that removing the file opens nothing, and an ARMED file counts only
    when the ledger has heard of the arming and its reason.
    """
    last = books.last_gate(con)
    known = last["what"] if last else "stopped"
    reason = latch.stopped_because(home)
    if reason is None and known == "stopped":
        reason = "data/control/ARMED is there, but `tgtqr arm` did not put it there"
        latch.stop(home, reason)
    elif reason is not None and latch.is_armed(home):
        latch.stop(home, reason)
    if reason is not None and known == "armed":
        with ledger.writing(con):
            books.book_gate(con, "stopped", at, reason, "control files")
    return reason


def stop(home: Home, reason: str, by: str) -> None:
    """Latch the kit, then tell the ledger if it can be told at once."""
    latch.stop(home, f"{reason} (by {by})")
    tell_ledger_of_stop(home, reason, by)


def tell_ledger_of_stop(home: Home, reason: str, by: str) -> bool:
    """Book a stop that is latched; False when the ledger is locked or cannot be written.

    Then the next beat or tick books it. It has no time: stopping does not ask the exchange for one.
    """
    with suppress(StoreError, sqlite3.Error, OSError):
        con = ledger.connect(home.ledger, create=False, timeout_s=0.2)
        try:
            last = books.last_gate(con)
            if last is None or last["what"] != "stopped":
                with ledger.writing(con):
                    books.book_gate(con, "stopped", None, reason, by)
            return True
        finally:
            con.close()
    return False


def arm(
    con: sqlite3.Connection,
    home: Home,
    inputs: Inputs,
    reason: str,
    by: str,
    *,
    held: Sequence[Position] | None = None,
) -> None:
    """Open the gate: the ledger hears of it first, then the latch is armed.

    `held` is what counts as held, without it all that is: less than a lot of a coin cannot be sold.
    The witness is made anew: a person has looked, and answers for the ledger as it is.
    Raises `GateRefused` while anything is held, an order is open, a floor is broken or the account was
    ended, and `DomainError` without a reason.
    """
    reason = books.check_reason(reason, "tgtqr arm")
    if latch.stopped_because(home) is None:
        raise GateRefused("the gate is armed already")
    held = inputs.portfolio.held if held is None else held
    if held:
        raise GateRefused(f"cannot arm while {held_text(held)}; expected nothing held")
    if unknown := inputs.health.unknown_orders:
        raise GateRefused(
            f"cannot arm while it is not known what came of {', '.join(unknown)}; "
            "the next beat of `tgtqr watch` looks it up"
        )
    if cause := books.last_stop_cause(con):
        raise GateRefused(
            f"account {inputs.account.id} was ended by {cause}; "
            "expected `tgtqr account new --reason ...` first"
        )
    cash, floor = (
        inputs.portfolio.cash,
        max(
            total_floor(inputs.account, inputs.limits),
            *(daily_floor(day, day.limits) for day in inputs.days),
        ),
    )
    if cash < floor:
        raise GateRefused(f"cannot arm with {cash:f} USDT, below the floor {floor:f}")
    try:
        with latch.arming(home), ledger.writing(con):
            books.book_gate(con, "armed", inputs.exchange_time, reason, by)
    except latch.ArmRefused as error:
        raise GateRefused(f"not armed: {error}") from None
    bear_witness(con, home, anew=True)


def held_text(held: Sequence[Position]) -> str:
    """What is held, in words."""
    parts = [f"{position.quantity:f} {position.symbol}" for position in held]
    return " and ".join(parts) + " is held" if parts else "nothing is held"
