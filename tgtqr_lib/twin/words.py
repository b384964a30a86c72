"""What the twin came to in plain sentences, the same on the page, in the report and in the terminal."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from tgtqr_lib.clock import iso
from tgtqr_lib.tick_page import coin
from tgtqr_lib.twin.nouns import Outcome, Refusal, Twin

MINUS = "\N{MINUS SIGN}"
CENT = Decimal("0.0001")  # what amounts are rounded to
TOLD = 6  # refused sales that are told one by one

HOW = (
    "Computed, nothing was sent: each trade again at the best ask or bid that was recorded with it (how much "
    "there was at that price is not recorded). The fee of a purchase is taken in the coin, as the exchange does, so "
    "less than a lot stays behind each time and counts at its price. A purchase is made so large that the exchange "
    "would still take its sale after a fall of 2 %."
)


def sentences(found: Twin) -> list[str]:
    """Whether the exchange would have taken the trades, and what they would have made at its smallest size."""
    if not found.orders:
        return ["Nothing was traded, so there is nothing to make again."]
    least = f"{found.minimum:.2f} USDT"
    if not found.legal:
        lines = [
            f"The exchange takes no order below {least}, so none of these trades was possible."
        ]
    else:
        lines = [
            f"The exchange takes no order below {least}: {found.legal} of {found.orders} of these trades "
            "were possible."
        ]
    size = "" if found.twin.purchase is None else f", {found.twin.purchase:.2f} USDT a purchase,"
    lines.append(
        f"At the smallest size that works{size} the same decisions would have "
        f"{_made(found.twin, ' of what was traded')}; on paper they {_made(found.paper)}."
    )
    return lines


def line(found: Twin) -> str:
    """The same in a line of a terminal."""
    if not found.orders:
        return "nothing was traded yet"
    size = "-" if found.twin.purchase is None else f"{found.twin.purchase:.2f}"
    return (
        f"Bybit would take {size} USDT a purchase: {_made(found.twin, ' of what was traded')}; "
        f"paper {_made(found.paper)}"
    )


def _made(outcome: Outcome, share: str = "") -> str:
    """`lost 0.0671 USDT (−8.1 bps)`."""
    amount = abs(outcome.result).quantize(CENT, ROUND_HALF_EVEN)
    verb = "made" if outcome.result >= 0 or not amount else "lost"
    per = "" if outcome.bps is None else f" ({bps(outcome.bps)}{share})"
    return f"{verb} {amount:,f} USDT{per}"


def differences(found: Twin, moment: str = "%H:%M") -> list[str]:
    """What the twin could not do or left out: refused sales, purchases not made, trims."""
    lines = [_refused(one, moment) for one in found.refusals[:TOLD]]
    if (more := len(found.refusals) - TOLD) > 0:
        lines.append(f"{more} more {_plural(more, 'sale')} would have been refused.")
    if found.unmade:
        lines.append(
            f"{_count(found.unmade, 'purchase')} {_was(found.unmade)} left out, for the twin still held what a refused "
            "sale had left."
        )
    if found.trims:
        lines.append(
            f"{_count(found.trims, 'sale')} of a part {_was(found.trims)} left out: the limit of 1.00 USDT that "
            "asked for it is the paper account's."
        )
    return lines


def _refused(one: Refusal, moment: str) -> str:
    until = "it is still held"
    if one.until is not None:
        same = one.until.date() == one.at.date()
        until = f"held until {one.until:{'%H:%M' if same else '%Y-%m-%d %H:%M'}}"
    return (
        f"The sale of {coin(one.symbol)} at {one.at:{moment}} was worth {one.worth:.2f} USDT at its limit, below "
        f"{one.minimum:.2f}: it would have been refused; {until}."
    )


def bps(value: Decimal | None) -> str:
    """`−8.1 bps`; a dash for None."""
    if value is None:
        return "-"
    text = f"{value.quantize(Decimal('0.1'), ROUND_HALF_EVEN):+,f}"
    return f"{text.replace('-', MINUS) if text.strip('+-0.') else '0.0'} bps"


def plain(found: Twin) -> dict[str, Any]:
    """As `--json` tells it: decimals as text."""
    return {
        "minimum_usdt": f"{found.minimum:f}",
        "orders": found.orders,
        "legal_orders": found.legal,
        "paper": _plain(found.paper),
        "twin": _plain(found.twin),
        "refused_sales": [_plain_refusal(one) for one in found.refusals],
        "trims_left_out": found.trims,
        "purchases_left_out": found.unmade,
    }


def _plain(one: Outcome) -> dict[str, Any]:
    names = ("bought", "sold", "fees", "realised", "worth", "result")
    return {
        "buys": one.buys,
        "sales": one.sales,
        **{name: f"{getattr(one, name):f}" for name in names},
        "bps_of_traded": None if one.bps is None else f"{one.bps:.2f}",
        "held": {held.symbol: f"{held.quantity:f}" for held in one.held},
    }


def _plain_refusal(one: Refusal) -> dict[str, str | None]:
    def told(at: datetime | None) -> str | None:
        return at and iso(at)

    return {
        "at": told(one.at),
        "symbol": one.symbol,
        "quantity": f"{one.quantity:f}",
        "worth_usdt": f"{one.worth:f}",
        "minimum_usdt": f"{one.minimum:f}",
        "until": told(one.until),
    }


def _count(number: int, noun: str) -> str:
    return f"{number:,} {_plural(number, noun)}"


def _plural(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
