"""The safety path of every tick and beat: mark, look for a breach, sell what a stop left.

It uses the library alone, no notebook, and runs before anything else can go wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from tgtqr_lib import books, gate, journal, ledger, orders
from tgtqr_lib.act import Act, act
from tgtqr_lib.clock import floor_minute
from tgtqr_lib.desk import Desk, bare_view, situation
from tgtqr_lib.domain import (
    BrokerError,
    DataError,
    DomainError,
    Inputs,
    MarketView,
    Order,
    Position,
    TgtqrError,
)
from tgtqr_lib.portfolio import equity
from tgtqr_lib.risk.budget import cash_after, daily_floor, total_floor
from tgtqr_lib.sizing import entry, floor_to, safety_sale

BREACH, SPENT = "BREACH", "SPENT"


@dataclass(frozen=True, slots=True)
class Safety:
    """What the safety path saw and did; `equity` is None while a held symbol has no close.

    notes  trouble of an account at the exchange and sales that wait, a sentence each
    """

    inputs: Inputs
    closes: Mapping[str, Decimal]
    equity: Decimal | None
    sales: tuple[Act, ...]
    stopped: str | None
    notes: tuple[str, ...] = ()


def safety_path(desk: Desk, at: datetime) -> Safety:
    """Mark what is held at exchange time `at`, stop on a breach or a spent budget, sell after a stop."""
    gate.note_latch(desk.con, desk.home, at)
    orders.attend(desk, at)
    inputs = situation(desk, at)
    closes = _closes(desk, at)
    held = {position.symbol for position in inputs.portfolio.held}
    worth = equity(inputs.portfolio, closes) if held <= set(closes) else None
    if worth is not None:
        _stop_if_ended(desk, inputs, closes, worth, at)
    stopped = gate.note_latch(desk.con, desk.home, at)
    sales, waits = _sell_all(desk, at) if stopped is not None and held else ((), ())
    return Safety(inputs, closes, worth, sales, stopped, (*_troubles(desk, inputs), *waits))


def _troubles(desk: Desk, inputs: Inputs) -> Iterator[str]:
    """What keeps entries back on an account at the exchange, and a home whose settings name another one."""
    if desk.differs is not None:
        journal.event("account_differs", text=desk.differs)
        yield desk.differs
    if (problem := inputs.health.account_problem) is not None:
        yield problem
    if unknown := inputs.health.unknown_orders:
        yield f"not known yet what came of {', '.join(unknown)}"


def _closes(desk: Desk, at: datetime) -> dict[str, Decimal]:
    try:
        return desk.exchange.last_closes(desk.settings.symbols, at)
    except (DataError, BrokerError) as error:
        journal.event("no_mark", text=str(error))
        return {}


def _stop_if_ended(
    desk: Desk, inputs: Inputs, closes: Mapping[str, Decimal], worth: Decimal, at: datetime
) -> None:
    """Stop when equity is below a floor (on it is not), or when no entry can ever pass again.

    Of a kit that is stopped already only the account ends.
    """
    # a limit that was tightened during the day binds entries; it never forces a sale
    limits = inputs.days[0].limits if inputs.days else inputs.limits
    lowest = total_floor(inputs.account, limits)
    floors = {"total": lowest, **{d.date: daily_floor(d, limits) for d in inputs.days}}
    broken = [name for name, floor in floors.items() if worth < floor]
    if broken:
        text = f"equity {worth:f} is below the floor {floors[broken[0]]:f} ({broken[0]})"
        # below a floor that somebody tightened only, the kit stops, but that is not the end of the account
        ended = worth < total_floor(inputs.account, desk.ceiling)
        _stop(desk, inputs, BREACH, text, at, total=ended)
    elif is_spent(desk, inputs, closes):
        text = f"cash {inputs.portfolio.cash:f} allows no entry over the total floor {lowest:f}"
        # a budget that is spent only because somebody tightened it is not the end of the account
        ended = is_spent(desk, replace(inputs, limits=desk.ceiling), closes)
        _stop(desk, inputs, SPENT, text, at, total=ended)


def is_spent(desk: Desk, inputs: Inputs, closes: Mapping[str, Decimal]) -> bool:
    """True when nothing is held and no symbol's entry would pass the total floor."""
    if desk.sellable(inputs.portfolio) or set(closes) != set(desk.settings.symbols):
        return False
    floor = total_floor(inputs.account, inputs.limits)
    for symbol, close in closes.items():
        instrument = desk.instruments().get(symbol)
        if instrument is None:
            return False
        order = entry(symbol, close, instrument, inputs.plan, inputs.boundary)
        if not isinstance(order, Order) or cash_after(order, inputs) >= floor:
            return False
    return True


def _stop(desk: Desk, inputs: Inputs, cause: str, text: str, at: datetime, *, total: bool) -> None:
    if inputs.health.stopped is None:
        gate.stop(desk.home, f"{cause}: {text}", "the safety path")
        journal.event("stopped", cause=cause, text=text)
    if total:
        with ledger.writing(desk.con):
            books.book_end(desk.con, inputs.account, cause, at, text)


def _sell_all(desk: Desk, at: datetime) -> tuple[tuple[Act, ...], tuple[str, ...]]:
    """One sale a symbol and minute of all that is held, at the collar below a fresh bid; and why others wait."""
    minute = floor_minute(at)
    now = situation(desk, at)
    views = tuple(bare_view(desk, position.symbol) for position in now.portfolio.held)
    now = replace(now, markets=views)
    sales, waits = [], []
    for view, position in zip(views, now.portfolio.held, strict=True):
        try:
            order = _sale(desk, view, position, now, minute)
            if order is not None:
                sales.append(act(desk, order, now))
        # doubt never sells at a price it does not know; without keys, say, the beat must go on
        except (DataError, BrokerError, DomainError, Waits) as error:
            journal.event("sale_waits", symbol=view.symbol, text=str(error))
            waits.append(f"the sale of {view.symbol} waits: {error}")
    return tuple(sales), tuple(waits)


class Waits(TgtqrError):
    """A safety sale that cannot be made now; the text says why."""


def _sale(
    desk: Desk, view: MarketView, position: Position, now: Inputs, minute: datetime
) -> Order | None:
    """The sale of all that is held of a symbol; None when it is less than a lot. Raises `Waits`."""
    quote = desk.exchange.quote(view.symbol)
    if view.instrument is None:
        raise Waits("the exchange does not list it")
    quantity = floor_to(position.quantity, view.instrument.lot)
    if quantity <= 0:  # what a fee taken in the coin has left: it cannot be sold
        return None
    order = safety_sale(quantity, quote, view.instrument, now.plan.collar_bps, minute)
    least = view.instrument.min_notional
    if now.account.venue is not None and order.notional < least:
        raise Waits(f"worth {order.notional:f} USDT, the exchange needs {least:f}")
    if (why := orders.not_ours(desk, order)) is not None:
        raise Waits(why)
    return order
