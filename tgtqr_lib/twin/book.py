"""The arithmetic of the twin: a fold over the paper account's fills. Pure; exact decimals.

A purchase is made again at the smallest size that can be sold again, at the best recorded ask; the exchange
takes its fee in the coin, so less than a lot stays behind as dust. A sale sells every whole lot at the best
recorded bid, unless the exchange would refuse it as too small: then the twin goes on holding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from operator import sub

from tgtqr_lib.clock import utc_day
from tgtqr_lib.domain import ZERO, Level, Side
from tgtqr_lib.execution import BPS, fee_on, fees_on, round_down, round_up
from tgtqr_lib.portfolio import equity
from tgtqr_lib.sizing import floor_to
from tgtqr_lib.twin.nouns import Hand, Outcome, Refusal, Seen, Twin

# A sale's own limit lies 1 % under the price, and the price may have fallen by 2 % since the purchase.
ROOM = Decimal("0.03")
COUNTS = ("orders", "legal", "trims", "unmade")  # of a Twin
NONE = Hand()


def smallest(minimum: Decimal, price: Decimal, lot: Decimal, fee_bps: Decimal) -> Decimal:
    """The fewest base units, in lots, whose sale is still legal when the price has fallen by `ROOM`.

    The sale is of the whole lots that a fee of `fee_bps`, taken in the coin, leaves; it is legal from
    `minimum` quote units on.
    """
    kept = _at_least(minimum, lot * price * (1 - ROOM))
    return _at_least(kept, 1 - fee_bps / BPS) * lot


def _at_least(value: Decimal, of: Decimal) -> Decimal:
    """The smallest whole number whose product with `of` is not below `value`; both are positive."""
    whole, rest = divmod(value, of)
    return whole + (rest > 0)


@dataclass(frozen=True, slots=True)
class _State:
    """Both hands and the counts after some fill; `prices` are the last ones recorded with an order."""

    paper: Hand = NONE
    twin: Hand = NONE
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    counts: tuple[int, ...] = (0,) * len(COUNTS)


class Book:
    """Takes the fills of one paper account in their order; `span` tells what any days came to."""

    def __init__(self) -> None:
        self.minimum = ZERO
        self.refusals: list[Refusal] = []
        self._paper, self._twin = NONE, NONE
        self._counts = dict.fromkeys(COUNTS, 0)
        self._prices: dict[str, Decimal] = {}
        self._ends: dict[str, _State] = {}  # UTC day -> after its last fill
        self._long: set[str] = set()  # what the twin has bought and not sold

    def take(self, seen: Seen) -> None:
        """Do what `seen` did, in the twin's size. What the paper account did is kept beside it."""
        fill = seen.fill
        held = self._paper.portfolio.position(fill.symbol).quantity
        paper = self._paper.after(fill)  # refuses a sale of more than is held
        self.minimum = seen.minimum
        self._prices = {**self._prices, fill.symbol: seen.last}
        self._counts["orders"] += 1
        self._counts["legal"] += seen.legal
        if fill.side is Side.BUY:
            self._buy(seen)
        elif seen.quantity < held:
            self._counts["trims"] += 1
        elif fill.symbol in self._long:
            self._sell(seen)
        self._paper = paper
        self._ends[utc_day(fill.at)] = self._now()

    def span(
        self,
        prices: Mapping[str, Decimal],
        first: str = "",
        last: str = "",
        prices_before: Mapping[str, Decimal] | None = None,
    ) -> Twin:
        """Both books from the UTC day `first` to the end of `last`, by default all.

        Held is valued at `prices` at the end and at `prices_before` at the beginning; a symbol that they
        lack at the price last recorded with an order of it.
        """
        start = self._end_of(first, before=True) if first else _State()
        end = self._end_of(last) if last else self._now()
        at = ({**start.prices, **(prices_before or {})}, {**end.prices, **prices})
        days = [(utc_day(one.at), one) for one in self.refusals]
        return Twin(
            minimum=self.minimum,
            paper=_outcome(start.paper, end.paper, *at),
            twin=_outcome(start.twin, end.twin, *at),
            refusals=tuple(r for day, r in days if first <= day and (not last or day <= last)),
            **dict(zip(COUNTS, map(sub, end.counts, start.counts), strict=True)),
        )

    def _now(self) -> _State:
        return _State(self._paper, self._twin, self._prices, tuple(self._counts.values()))

    def _buy(self, seen: Seen) -> None:
        symbol = seen.fill.symbol
        if symbol in self._long:  # no top-ups, as on paper
            self._counts["unmade"] += 1
            return
        fees = fees_on(seen.fill.at.date())
        quantity = smallest(seen.minimum, seen.ask, seen.lot, fees.bps)
        taken = quantity * fees.bps / BPS  # not rounded: nothing says that the exchange does
        coin = symbol.removesuffix("USDT")
        self._trade(seen, quantity, seen.ask, round_up(quantity * seen.ask), taken, coin)
        self._long.add(symbol)

    def _sell(self, seen: Seen) -> None:
        symbol, at = seen.fill.symbol, seen.fill.at
        quantity = floor_to(self._twin.portfolio.position(symbol).quantity, seen.lot)
        worth = quantity * seen.limit
        if worth < seen.minimum:
            self.refusals.append(Refusal(at, symbol, quantity, worth, seen.minimum))
            return
        notional = round_down(quantity * seen.bid)
        fee = min(fee_on(quantity * seen.bid, fees_on(at.date())), notional)
        self._trade(seen, quantity, seen.bid, notional, fee, "USDT")
        self._long.discard(symbol)
        self.refusals = [
            replace(one, until=at) if one.symbol == symbol and one.until is None else one
            for one in self.refusals
        ]

    def _trade(
        self,
        seen: Seen,
        quantity: Decimal,
        price: Decimal,
        notional: Decimal,
        fee: Decimal,
        currency: str,
    ) -> None:
        made = replace(
            seen.fill,
            quantity=quantity,
            notional=notional,
            fee=fee,
            levels=(Level(price, quantity),),
            fee_currency=currency,
        )
        self._twin = self._twin.after(made)

    def _end_of(self, last: str, *, before: bool = False) -> _State:
        """After the last fill of the days up to `last`, or of those before it."""
        days = [day for day in self._ends if day < last or (day == last and not before)]
        return self._ends[max(days)] if days else _State()


def _outcome(
    start: Hand, end: Hand, first: Mapping[str, Decimal], last: Mapping[str, Decimal]
) -> Outcome:
    worth = equity(end.portfolio, last)
    return Outcome(
        **{
            name: getattr(end, name) - getattr(start, name)
            for name in ("buys", "sales", "bought", "sold", "fees", "realised")
        },
        result=worth - equity(start.portfolio, first),
        worth=worth - end.portfolio.cash,
        held=end.portfolio.held,
    )
