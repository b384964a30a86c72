"""The watch: a beat every minute that marks, holds the limits, renews the lease and notes missed ticks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tgtqr_lib import books, gate, journal, ledger, recording
from tgtqr_lib.act import Act
from tgtqr_lib.clock import FIRST_START_S, LAST_START_S, MINUTE, TICK, floor_minute, iso, to_ms
from tgtqr_lib.desk import Desk, beat_minute, money_facts
from tgtqr_lib.execution import round_down
from tgtqr_lib.ledger import Mark
from tgtqr_lib.portfolio import equity
from tgtqr_lib.safety import safety_path


@dataclass(frozen=True, slots=True)
class Beat:
    """What a beat saw: exchange time, equity (None while a held symbol has no close), what it did.

    looks  at the order books, None when they are not recorded
    notes  trouble of an account at the exchange and sales that wait, a sentence each
    """

    at: datetime
    equity: Decimal | None
    cash: Decimal
    sales: tuple[Act, ...]
    missed: tuple[str, ...]
    stopped: str | None
    looks: recording.Looks | None = None
    notes: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """What `tgtqr watch --once --json` prints."""
        return {
            "at": iso(self.at),
            "equity": None if self.equity is None else f"{self.equity:f}",
            "cash": f"{self.cash:f}",
            "sales": [sale.plain() for sale in self.sales],
            "missed": list(self.missed),
            "stopped": self.stopped,
            "looks": None if self.looks is None else self.looks.plain(),
            "notes": list(self.notes),
        }


def beat(desk: Desk) -> Beat:
    """One beat at the exchange's time.

    The lease is renewed only when everything held could be marked: a watch that cannot see is none.
    Raises `VenueUnavailable` when the exchange does not answer.
    """
    at = desk.exchange.time()
    desk.forget_clock_offset()
    safety = safety_path(desk, at)
    account = safety.inputs.account
    held = books.portfolio(desk.con, account)
    worth = safety.equity
    if worth is not None and safety.sales:
        worth = equity(held, safety.closes)
    with ledger.writing(desk.con):
        late = at - timedelta(seconds=LAST_START_S)
        missed = tuple(books.record_missed(desk.con, late, books.MISSED_TEXT))
        if worth is not None:
            closes = {symbol: f"{close:f}" for symbol, close in sorted(safety.closes.items())}
            minute = to_ms(beat_minute(at))
            # an exchange's own figures can be finer than the unit of the marks
            cash = round_down(held.cash)
            mark = Mark(account.id, minute, to_ms(at), cash, round_down(worth), closes)
            ledger.put_mark(desk.con, mark)
    gate.bear_witness(desk.con, desk.home)
    looks = recording.look(desk, at) if desk.settings.record_book else None
    journal.event(
        "beat",
        at=iso(at),
        **money_facts(desk, safety.inputs, safety.closes),
        **({"missed": ",".join(missed)} if missed else {}),
        **({"stopped": safety.stopped} if safety.stopped else {}),
        **({"looks": looks.kept} if looks is not None else {}),
    )
    return Beat(at, worth, held.cash, safety.sales, missed, safety.stopped, looks, safety.notes)


def play_to(desk: Desk, moment: datetime) -> Iterator[Beat]:
    """Let the embedded simulator's time pass to `moment`, with a beat in each minute before it.

    Of a longer time only the last quarter hour is watched; what lies before it was missed.
    """
    clock = desk.clock
    minute = floor_minute(moment) - MINUTE
    if clock.started:
        minute = max(floor_minute(clock.now()) + MINUTE, floor_minute(moment) - TICK + MINUTE)
    while minute < floor_minute(moment):
        clock.move_to(minute + timedelta(seconds=FIRST_START_S))
        yield beat(desk)
        minute += MINUTE
    clock.move_to(moment)
