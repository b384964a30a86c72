"""The terms of a backtest as whole numbers, checked before anything is computed with them.

Money and quantities are units of 1e-8; prices are steps of 10**-decimals, fine enough for both the
candles and the exchange's price step. So quantity x price is a whole number of 10**-decimals units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

import numpy as np

from tgtqr_lib.backtest.bars import Bars
from tgtqr_lib.backtest.exact import extremes
from tgtqr_lib.clock import from_ms
from tgtqr_lib.domain import (
    ABSENT,
    MINUTE_MS,
    UNIT,
    DomainError,
    Fees,
    Instrument,
    Limits,
    Plan,
)
from tgtqr_lib.execution import fees_on
from tgtqr_lib.limits import COLLAR_BPS
from tgtqr_lib.signals.indicator import book_column
from tgtqr_lib.signals.settled import known, weeks
from tgtqr_lib.strategies import strategy_named

WIDE = Decimal(10) ** 9  # USDT; more than any backtest of this kit can move
OFF = Limits(WIDE, WIDE, WIDE, WIDE)  # `--limits off`: nothing binds
SPREAD_BPS = Decimal(1)
BPS = 10_000
QUARTER_MS = 15 * MINUTE_MS
INT64_MAX = int(np.iinfo(np.int64).max)

SPOT = {
    "BTCUSDT": Instrument("BTCUSDT", Decimal("0.1"), Decimal("0.000001"), Decimal(5)),
    "ETHUSDT": Instrument("ETHUSDT", Decimal("0.01"), Decimal("0.00001"), Decimal(5)),
}
# A perpetual's own smallest lot is 0.001 BTC or 0.01 ETH; a backtest at 1x divides down to the unit.
LINEAR = {
    "BTCUSDT": Instrument("BTCUSDT", Decimal("0.1"), UNIT, Decimal(5), "linear"),
    "ETHUSDT": Instrument("ETHUSDT", Decimal("0.01"), UNIT, Decimal(5), "linear"),
}
LINEAR_LOT = {"BTCUSDT": Decimal("0.001"), "ETHUSDT": Decimal("0.01")}
LINEAR_FEES = Fees(Decimal("5.5"), "2022-06-01", "Bybit VIP 0 linear taker")


@dataclass(frozen=True, slots=True)
class Terms:
    """What one symbol is traded at.

    scale             price steps per quote unit, 10**decimals
    step, lot         the exchange's price step in price steps, its lot in units
    ask, bid, half    a buy pays open x ask / half, a sale gets open x bid / half
    fee, fee_per      the fee is notional x fee / fee_per
    target, position  units
    trim              units x scale, so that it compares with quantity x price
    collar            basis points; the highest one is what the rule PRICE_COLLAR allows
    """

    scale: int
    step: int
    lot: int
    ask: int
    bid: int
    half: int
    fee: int
    fee_per: int
    target: int
    position: int
    trim: int
    collar: int
    highest_collar: int

    @property
    def decimals(self) -> int:
        return len(str(self.scale)) - 1

    def array(self) -> np.ndarray:
        """(13,) int64 in the order of the fields."""
        return np.array([getattr(self, name) for name in self.__slots__], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything but the candles and the strategy: exact decimals, as `decide` wants them.

    limits_bind  False with `--limits off`
    labels       what a reader of the result must know
    """

    plan: Plan
    limits: Limits
    fees: Fees
    instruments: Mapping[str, Instrument]
    spread_bps: Decimal
    initial: Decimal
    market: str
    limits_bind: bool
    labels: tuple[str, ...]

    @classmethod
    def of(
        cls,
        series: tuple[Bars, ...],
        plan: Plan,
        limits: Limits | None,
        fees: Fees | None,
        instrument: Instrument | Mapping[str, Instrument] | None,
        spread_bps: Decimal | int,
        initial: Decimal,
    ) -> Setting:
        """The terms with their defaults. Raises `DomainError` for those that cannot be."""
        market = series[0].market
        known = {"spot": SPOT, "linear": LINEAR}.get(market)
        if known is None:
            raise DomainError(f"market {market!r} is unknown; expected spot or linear")
        if isinstance(instrument, Instrument):
            instrument = {instrument.symbol: instrument}
        rules = {bars.symbol: (instrument or known).get(bars.symbol) for bars in series}
        if lacking := [symbol for symbol, rule in rules.items() if rule is None]:
            raise DomainError(f"{lacking[0]}: no instrument was given")
        if fees is None:
            last = from_ms(max(int(bars.open_ms[-1]) for bars in series)).date()
            fees = LINEAR_FEES if market == "linear" else fees_on(last)
        spread = Decimal(spread_bps)
        if not 0 <= spread <= 1000:
            raise DomainError(f"spread_bps {spread} is out of range; expected 0 to 1000")
        for name in ("position_usdt", "daily_loss_usdt", "total_loss_usdt", "trim_usdt"):
            if limits is not None and getattr(limits, name) < 0:
                raise DomainError(f"limit {name} {getattr(limits, name)} is below zero")
        labels = [*_labels(series, plan, limits, rules, market), *_beside(series, plan)]
        bind = limits is not None
        initial = Decimal(initial)
        return cls(plan, limits or OFF, fees, rules, spread, initial, market, bind, tuple(labels))

    def terms(self, bars: Bars) -> Terms:
        """The whole numbers for one symbol, all products of which fit 64 bits.

        Raises `DomainError` when they do not, or for money finer than 1e-8.
        """
        instrument = self.instruments[bars.symbol]
        exponent = instrument.price_step.normalize().as_tuple().exponent
        decimals = max(bars.decimals, -exponent, 0)
        scale = 10**decimals
        ask = 1 + Fraction(self.spread_bps) / (2 * BPS)
        bid = 2 - ask
        half = max(ask.denominator, bid.denominator)
        fee = Fraction(self.fees.bps) / BPS
        terms = Terms(
            scale=scale,
            step=int(instrument.price_step * scale),
            lot=units(instrument.lot, f"{bars.symbol}: lot"),
            ask=int(ask * half),
            bid=int(bid * half),
            half=half,
            fee=fee.numerator,
            fee_per=fee.denominator,
            target=units(self.plan.order_target_usdt, "order_target_usdt"),
            position=units(self.limits.position_usdt, "position_usdt"),
            trim=min(units(self.limits.trim_usdt, "trim_usdt") * scale, INT64_MAX // 2),
            collar=self.plan.collar_bps,
            highest_collar=min(self.plan.collar_bps, COLLAR_BPS),
        )
        _check_width(bars, terms)
        return terms

    def with_spot_rules(self) -> Mapping[str, Instrument]:
        """The instruments as the rules may see them: NOT_SPOT guards ticks, not backtests."""
        return {name: replace(one, market="spot") for name, one in self.instruments.items()}

    def as_spot(self, bars: Bars) -> Bars:
        """The candles as the rules may see them."""
        return replace(bars, market="spot")


def units(amount: Decimal, name: str) -> int:
    """`amount` in units of 1e-8. Raises `DomainError` when it is finer or does not fit 64 bits."""
    whole = amount / UNIT
    if whole != int(whole) or not abs(whole) < INT64_MAX // 4:
        raise DomainError(f"{name} {amount} is not a whole number of {UNIT:f} below 64 bits")
    return int(whole)


def steps_of(bars: Bars, terms: Terms) -> tuple[np.ndarray, np.ndarray]:
    """Opens and closes in steps of `terms`, (n,) int64 each."""
    factor = terms.scale // 10**bars.decimals
    return (bars.open, bars.close) if factor == 1 else (bars.open * factor, bars.close * factor)


def _check_width(bars: Bars, terms: Terms) -> None:
    """Every product of the loops stays below 2**63: quantity is largest at the lowest price."""
    factor = terms.scale // 10**bars.decimals
    lowest, highest = (int(price) * factor for price in extremes(bars.open, bars.close))
    price = highest * 2 + terms.step  # a limit or an ask may lie above
    limit = lowest * (BPS + terms.collar) // (BPS * terms.step) * terms.step
    quantity = terms.target * terms.scale // max(limit, terms.step)
    widest = max(
        quantity * price * terms.fee,
        quantity * terms.target * 4,  # the cost of what is left after a trim
        price * max(terms.ask, BPS + terms.collar),
        terms.target * terms.scale,
        terms.scale * terms.fee_per,
        max(highest, lowest + terms.step) * max(terms.lot, 50),
    )
    # the sweep divides by multiplying floats, which is exact below 2**50 units
    if widest > INT64_MAX // 4 or quantity * price // terms.scale > 2**50:
        raise DomainError(
            f"{bars.symbol}: prices from {lowest} to {highest} steps of 1e-{terms.decimals} and a "
            f"target of {terms.target} units do not fit 64 bits; coarser steps do"
        )


def _beside(series: tuple[Bars, ...], plan: Plan) -> Iterator[str]:
    """What a strategy reads beside closes and is not there at every decision."""
    for bars in series:
        for need in strategy_named(plan.strategy).needs:
            closed = bars.open_ms + MINUTE_MS
            at = np.flatnonzero(closed % QUARTER_MS == 0)
            there = _known(bars, need)[at]
            if not there.all():
                yield (
                    f"{bars.symbol}: {need} is known at {int(there.sum()):,} of {len(at):,} decisions; "
                    "at the others nothing is bought"
                )


def _known(bars: Bars, need: str) -> np.ndarray:
    """(n,) bool: whether what a strategy needs is there when each candle closes."""
    history = bars.history()
    if need == "book":
        return book_column(history, "levels") != ABSENT
    if history.funding is None or not len(history.funding):
        return np.zeros(len(bars), dtype=bool)
    place, latest = known(history)
    return latest & weeks(history.funding).whole[place]


def _labels(
    series: tuple[Bars, ...],
    plan: Plan,
    limits: Limits | None,
    rules: Mapping[str, Instrument],
    market: str,
) -> tuple[str, ...]:
    labels = [] if limits is not None else ["limits off: no position, daily or total limit binds"]
    least = min(rule.min_notional for rule in rules.values())
    if market == "linear":
        lots = ", ".join(f"{LINEAR_LOT[bars.symbol]:f} {bars.symbol}" for bars in series)
        labels.append(f"infeasible at this size: the smallest lots are {lots}")
    elif plan.order_target_usdt < least:
        labels.append(f"infeasible at this size: the exchange's smallest order is {least:f} USDT")
    return tuple(labels)
