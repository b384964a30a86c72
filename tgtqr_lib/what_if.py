"""A what-if: other parameters, another strategy or other limits in place of those a tick had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from tgtqr_lib.domain import DomainError, Inputs, Limits, MarketView
from tgtqr_lib.limits import ACCOUNT_COLLAR_BPS, COLLAR_BPS, HARD
from tgtqr_lib.settings import Settings
from tgtqr_lib.signals.book_features import features
from tgtqr_lib.strategies import strategy_named

LIMIT = "limits."
LIMITS = ("position_usdt", "daily_loss_usdt", "total_loss_usdt")
PLAN = ("order_target_usdt", "collar_bps")


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What is put in place of a tick's own plan and limits; what is not named stays as it was.

    strategy    another strategy; its parameters begin at their defaults
    of          only ticks of this strategy can tell; None for any
    parameters  name -> whole number
    plan        `order_target_usdt` and `collar_bps`
    limits      name -> USDT
    whole       whether `parameters` are all of them, so that none of the tick's own stays
    """

    strategy: str | None = None
    of: str | None = None
    parameters: Mapping[str, int] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Decimal] = field(default_factory=dict)
    whole: bool = False

    @property
    def text(self) -> str:
        """Everything that is changed, `strategy=ma_trend band_bps=5`."""
        named = {"strategy": self.strategy} if self.strategy else {}
        limits = {f"{LIMIT}{name}": value for name, value in self.limits.items()}
        found = {**named, **self.parameters, **self.plan, **limits}
        return " ".join(f"{name}={value}" for name, value in found.items())

    def __call__(self, inputs: Inputs) -> Inputs:
        """`inputs` with the changes; amounts are those of the settings, which an exchange account multiplies.

        Raises `DomainError` for a parameter that the strategy does not have, one out of range, and a
        tick that ran another strategy than the change is about, or that froze no funding for one that reads it.
        """
        plan = inputs.plan
        if self.of is not None and plan.strategy != self.of:
            raise DomainError(f"it ran strategy {plan.strategy}, not {self.of}")
        name = self.strategy or plan.strategy
        own = {} if self.whole or name != plan.strategy else plan.parameters
        parameters = strategy_named(name).checked({**own, **self.parameters})
        _expect_funding(inputs, name)
        changed, limits = dict(self.plan), dict(self.limits)
        if (account := inputs.account).venue is not None:
            limits = {short: value * account.scale for short, value in limits.items()}
            if "order_target_usdt" in changed:
                changed["order_target_usdt"] *= account.scale
            if "collar_bps" in changed:
                changed["collar_bps"] = min(changed["collar_bps"], ACCOUNT_COLLAR_BPS)
        plan = replace(plan, strategy=name, parameters=parameters, **changed)
        return replace(
            inputs,
            markets=tuple(_with_book(view, name) for view in inputs.markets),
            plan=plan,
            limits=replace(inputs.limits, **limits),
        )


def _expect_funding(inputs: Inputs, strategy: str) -> None:
    """Raise `DomainError` when `strategy` reads funding and the tick's own did not, so that none was frozen."""
    own = strategy_named(inputs.plan.strategy).needs
    if "funding" in strategy_named(strategy).needs and "funding" not in own:
        raise DomainError(
            f"strategy {strategy} reads funding, and this tick of {inputs.plan.strategy} froze none"
        )


def _with_book(view: MarketView, strategy: str) -> MarketView:
    """A strategy that reads the book reads it from the frozen quote, when the tick's own did not."""
    if "book" not in strategy_named(strategy).needs or view.book or view.quote is None:
        return view
    return replace(view, book=features(view.quote))


def from_words(words: Sequence[str], strategy: str | None = None) -> WhatIf | None:
    """The what-if of `--set` words such as `band_bps=5` and of `--strategy`; None when there are none.

    Raises `DomainError` naming the word and what is expected.
    """
    if strategy is not None:
        strategy_named(strategy)
    parameters: dict[str, int] = {}
    plan: dict[str, Any] = {}
    limits: dict[str, Decimal] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name or not value:
            raise DomainError(f"--set {word!r}: expected NAME=VALUE, such as band_bps=5")
        if name == "strategy":
            raise DomainError(f"--set {word}: a strategy is named by --strategy {value}")
        if name.startswith(LIMIT):
            short = _limit_name(name)
            limits[short] = _amount(name, value, getattr(HARD, short), least=Decimal(0))
        elif name == "order_target_usdt":
            plan[name] = _amount(name, value, HARD.position_usdt)
        elif name == "collar_bps":
            plan[name] = _whole(name, value, COLLAR_BPS)
        else:
            parameters[name.removeprefix("parameters.")] = _whole(name, value)
    if not (strategy or parameters or plan or limits):
        return None
    return WhatIf(strategy, None, parameters, plan, limits)


def from_settings(chosen: Settings) -> WhatIf:
    """The what-if that `chosen` had been the settings: strategy, parameters, order and limits."""
    strategy = strategy_named(chosen.strategy)
    limits: Limits = chosen.limits.limits
    return WhatIf(
        strategy=chosen.strategy,
        parameters=strategy.checked(chosen.parameters),
        plan={name: getattr(chosen, name) for name in PLAN},
        limits={name: getattr(limits, name) for name in LIMITS},
        whole=True,
    )


def _limit_name(name: str) -> str:
    short = name.removeprefix(LIMIT)
    if short not in LIMITS:
        known = ", ".join(f"{LIMIT}{one}" for one in LIMITS)
        raise DomainError(f"--set {name}: is no limit; expected one of {known}")
    return short


def _amount(name: str, value: str, most: Decimal, least: Decimal | None = None) -> Decimal:
    try:
        amount = Decimal(value)
    except InvalidOperation:
        amount = Decimal("NaN")
    low_enough = amount.is_finite() and amount <= most
    if not low_enough or amount < 0 or (least is None and amount == 0):
        low = "more than 0" if least is None else "0"
        raise DomainError(f"--set {name}={value}: expected {low} to {most} USDT")
    return amount


def _whole(name: str, value: str, most: int | None = None) -> int:
    digits = value.isascii() and value.removeprefix("-").isdigit() and len(value) < 10
    if not digits or (most is not None and not 0 <= int(value) <= most):
        told = "a whole number" if most is None else f"a whole number from 0 to {most}"
        raise DomainError(f"--set {name}={value}: expected {told}")
    return int(value)
