"""One rule a file; `review` runs all of them. The order of `RULES` is the order of primary reasons."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk import (
    account_trouble,
    below_exchange_minimum,
    client_id,
    clock_offset,
    daily_budget,
    data_book,
    data_funding,
    data_gap,
    data_invalid,
    data_jump,
    data_late,
    data_stale,
    data_ticker,
    data_unclosed,
    decision_late,
    disk_space,
    gate_stopped,
    ledger_witness,
    long_only,
    monitor_lease,
    order_unknown,
    orders_day,
    orders_tick,
    position_limit,
    price_collar,
    spot_only,
    symbol_known,
    total_budget,
)
from tgtqr_lib.strategies import strategy_named

Rule = Callable[[Order | NoOrder, Inputs, Limits], Verdict]

RULES: dict[str, Rule] = {
    gate_stopped.CODE: gate_stopped.check,
    ledger_witness.CODE: ledger_witness.check,
    disk_space.CODE: disk_space.check,
    clock_offset.CODE: clock_offset.check,
    monitor_lease.CODE: monitor_lease.check,
    decision_late.CODE: decision_late.check,
    symbol_known.CODE: symbol_known.check,
    spot_only.CODE: spot_only.check,
    data_invalid.CODE: data_invalid.check,
    data_late.CODE: data_late.check,
    data_unclosed.CODE: data_unclosed.check,
    data_gap.CODE: data_gap.check,
    data_jump.CODE: data_jump.check,
    data_stale.CODE: data_stale.check,
    data_ticker.CODE: data_ticker.check,
    client_id.CODE: client_id.check,
    long_only.CODE: long_only.check,
    price_collar.CODE: price_collar.check,
    orders_tick.CODE: orders_tick.check,
    orders_day.CODE: orders_day.check,
    position_limit.CODE: position_limit.check,
    daily_budget.CODE: daily_budget.check,
    total_budget.CODE: total_budget.check,
}

# what a strategy needs -> its rule, which runs for such strategies alone, after all others
NEED_RULES: dict[str, tuple[str, Rule]] = {
    "book": (data_book.CODE, data_book.check),
    "funding": (data_funding.CODE, data_funding.check),
}

# rules of accounts at the exchange, after all others; paper orders have no need of them
ACCOUNT_RULES: dict[str, Rule] = {
    order_unknown.CODE: order_unknown.check,
    account_trouble.CODE: account_trouble.check,
    below_exchange_minimum.CODE: below_exchange_minimum.check,
}

STOPPED_RULES = frozenset({gate_stopped.CODE})
REDUCING_RULES = frozenset(
    {
        ledger_witness.CODE,
        disk_space.CODE,
        clock_offset.CODE,
        monitor_lease.CODE,
        order_unknown.CODE,
        account_trouble.CODE,
    }
)
GATE_RULES = STOPPED_RULES | REDUCING_RULES
DATA_RULES = frozenset(code for code in RULES if code.startswith("DATA_"))
# those that make the signal hold; without a fresh quote the candles still say what to sell
SIGNAL_RULES = DATA_RULES - {data_stale.CODE}


def review(order: Order | NoOrder, inputs: Inputs) -> tuple[Verdict, ...]:
    """Every rule's verdict on `order`, in the order of `RULES`; then those of what the strategy needs, and
    those of an account at the exchange."""
    needed = (NEED_RULES[need][1] for need in strategy_named(inputs.plan.strategy).needs)
    at_exchange = ACCOUNT_RULES.values() if inputs.account.venue is not None else ()
    every = (*RULES.values(), *needed, *at_exchange)
    return tuple(check(order, inputs, inputs.limits) for check in every)


def approved(verdicts: Sequence[Verdict]) -> bool:
    """True when every rule allowed the order; an order no rule has seen is not approved."""
    return bool(verdicts) and all(v.allowed for v in verdicts)


def first_refusal(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The first verdict that refuses, which is the primary reason; None when all allow."""
    return next((v for v in verdicts if not v.allowed), None)
