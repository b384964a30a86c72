"""What the code says of itself: limits, instruments, fees, parameters, rules, settings."""

from __future__ import annotations

import inspect
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np

from tgtqr_lib.backtest.metrics import METRICS
from tgtqr_lib.backtest.terms import LINEAR_FEES, LINEAR_LOT, SPOT, SPREAD_BPS
from tgtqr_lib.clock import FIRST_START_S, LAST_START_S, TICK
from tgtqr_lib.domain import MAX_DECIMALS, UNIT
from tgtqr_lib.execution import BPS, FEE_SOURCE, FEE_TABLE, fees_on
from tgtqr_lib.limits import (
    CLOCK_OFFSET_MS,
    COLLAR_BPS,
    DISK_FREE_MB,
    HARD,
    INITIAL_EQUITY,
    LEASE_S,
    MAX_JUMP_FRACTION,
    MAX_ORDERS_A_DAY,
    MAX_ORDERS_A_TICK,
    ORDER_TARGET_USDT,
    QUOTE_MAX_AGE_S,
    SYMBOLS,
    TICKER_FRACTION,
)
from tgtqr_lib.risk import (
    DATA_RULES,
    GATE_RULES,
    REDUCING_RULES,
    RULES,
    SIGNAL_RULES,
    STOPPED_RULES,
)
from tgtqr_lib.risk.decision_late import LATEST_S
from tgtqr_lib.settings import Settings
from tgtqr_lib.strategies import STRATEGIES
from tgtqr_lib.strategy_document.tex import Pages, escape, number, percent, scientific

SEED = "ma_trend"  # the strategy that the document is about
INT64_MAX = int(np.iinfo(np.int64).max)
YEARS = 5  # of minutes, whose sum must fit
MINUTES_A_YEAR = 365 * 24 * 60
FUNDING_BPS = Decimal(1)  # a settlement, in the example: Bybit's interest part, 0.01 %
SETTLEMENTS_A_DAY = 3


def add_limits(pages: Pages) -> None:
    """Hard limits, guards and times."""
    pages.define(
        PositionLimit=number(HARD.position_usdt),
        DailyLoss=number(HARD.daily_loss_usdt),
        TotalLoss=number(HARD.total_loss_usdt),
        TrimAt=number(HARD.trim_usdt),
        InitialEquity=number(INITIAL_EQUITY),
        TotalFloor=number(INITIAL_EQUITY - HARD.total_loss_usdt),
        OrderTarget=number(ORDER_TARGET_USDT),
        CollarBps=number(COLLAR_BPS),
        Collar=percent(Decimal(COLLAR_BPS) / BPS, 0),
        QuoteMaxAge=number(QUOTE_MAX_AGE_S),
        Lease=number(LEASE_S),
        ClockOffset=number(CLOCK_OFFSET_MS),
        DiskFree=number(DISK_FREE_MB),
        MaxJump=percent(MAX_JUMP_FRACTION, 0),
        TickerOff=percent(TICKER_FRACTION, 0),
        OrdersTick=number(MAX_ORDERS_A_TICK),
        OrdersDay=number(MAX_ORDERS_A_DAY),
        TickMinutes=number(TICK.total_seconds() // 60),
        TicksADay=number(24 * 60 * 60 // TICK.total_seconds()),
        FirstStart=number(FIRST_START_S),
        LastStart=number(LAST_START_S),
        LatestAct=number(LATEST_S),
        LateWait=number(Settings.model_fields["late_candle_wait_s"].default),
        MoneyUnit=scientific(UNIT.adjusted()),
        FirstSymbol=SYMBOLS[0],
        SecondSymbol=SYMBOLS[1],
        RuleCount=number(len(RULES)),
        ReducingCodes=_codes(REDUCING_RULES),
        StoppedCodes=_codes(STOPPED_RULES),
        StaleCode=_codes(DATA_RULES - SIGNAL_RULES),
    )


def _codes(codes: frozenset[str]) -> str:
    return ", ".join(rf"\texttt{{{escape(code)}}}" for code in RULES if code in codes)


def add_instruments(pages: Pages) -> None:
    """What the exchange allows, and why no order of this size could exist on it."""
    least = max(one.min_notional for one in SPOT.values())
    pages.define(
        MinNotional=number(least.quantize(Decimal("0.01"))),
        MinNotionalTimes=number(least / ORDER_TARGET_USDT, 1),
    )
    rows = [
        (
            symbol,
            one.market,
            rf"\texttt{{{one.price_step:f}}}",
            rf"\texttt{{{one.lot:f}}}",
            number(one.min_notional.quantize(Decimal("0.01"))),
            rf"\texttt{{{LINEAR_LOT[symbol]:f}}}",
        )
        for symbol, one in SPOT.items()
    ]
    head = ("symbol", "market", "price step", "lot", "minimum order, USDT", "lot of the perpetual")
    pages.table("instruments", "llrrrr", head, rows)


def add_fees(pages: Pages, on: date) -> None:
    """The dated tables, and what a round trip needs to break even."""
    rows = [
        (market, since.isoformat(), number(bps), escape(FEE_SOURCE))
        for market, dated in FEE_TABLE.items()
        for since, bps in dated
    ]
    rows.append(("linear", LINEAR_FEES.since, number(LINEAR_FEES.bps), escape(LINEAR_FEES.source)))
    pages.table("fees", "llrl", ("market", "since", "bps of the notional", "source"), rows)
    fee = fees_on(on).bps
    pages.define(
        FeeBps=number(fee),
        FeePercent=percent(fee / BPS, 1),
        LinearFeeBps=number(LINEAR_FEES.bps),
        SpreadBps=number(SPREAD_BPS),
        BreakEven=percent(break_even(fee, SPREAD_BPS), 4),
        RoundTripCost=number(float(ORDER_TARGET_USDT) * break_even(fee, SPREAD_BPS), 5),
        FundingExample=percent(FUNDING_BPS / BPS, 2),
        FundingYear=percent(FUNDING_BPS / BPS * SETTLEMENTS_A_DAY * 365, 2),
        FundingYearPosition=number(
            HARD.position_usdt * FUNDING_BPS / BPS * SETTLEMENTS_A_DAY * 365, 4
        ),
    )


def break_even(fee_bps: Decimal, spread_bps: Decimal) -> float:
    """The rise of the mid, as a fraction, that pays for buying and selling once.

    A buy pays mid x (1 + s/2) x (1 + f), a sale gets mid x (1 - s/2) x (1 - f).
    """
    fee, half = Fraction(fee_bps) / 10_000, Fraction(spread_bps) / 20_000
    return float((1 + half) * (1 + fee) / ((1 - half) * (1 - fee)) - 1)


def add_widths(pages: Pages) -> None:
    """What fits 64 bits."""
    strategy = STRATEGIES[SEED]
    window, band = (strategy.parameters[name] for name in ("window", "band_bps"))
    minutes = YEARS * MINUTES_A_YEAR
    mean = INT64_MAX // minutes
    widest = INT64_MAX // ((int(BPS) + band.high) * window.high)
    pages.define(
        IntMax=number(INT64_MAX),
        Years=number(YEARS),
        YearsMinutes=number(minutes),
        FinestStep=scientific(-MAX_DECIMALS),
        MoneyFinest=number(mean // int(1 / UNIT)),
        PriceFinest=number(mean // 10**MAX_DECIMALS),
        ComparisonPrice=number(widest // 10**MAX_DECIMALS),
        BpsUnit=number(int(BPS)),
    )


def add_parameters(pages: Pages) -> None:
    """The seed strategy's parameters, and the settings an owner can choose."""
    strategy = STRATEGIES[SEED]
    rows = [
        (
            rf"\texttt{{{escape(name)}}}", number(p.default), number(p.low), number(p.high),
            escape(p.unit), escape(p.text),
        )
        for name, p in strategy.parameters.items()
    ]  # fmt: skip
    head = ("parameter", "default", "lowest", "highest", "unit", "meaning")
    pages.table("parameters", "lrrrll", head, rows)
    pages.define(
        Window=number(strategy.parameters["window"].default),
        Band=number(strategy.parameters["band_bps"].default),
        SeedName=escape(SEED),
        SeedText=escape(strategy.text),
        WindowHigh=number(strategy.parameters["window"].high),
        BandHigh=number(strategy.parameters["band_bps"].high),
    )
    hard = (
        ("position, per symbol, at cost with fees", HARD.position_usdt),
        ("loss of a UTC day", HARD.daily_loss_usdt),
        ("loss of the account", HARD.total_loss_usdt),
        ("value above which a holding is trimmed", HARD.trim_usdt),
        ("paper cash at the start", INITIAL_EQUITY),
        ("order target (weight one)", ORDER_TARGET_USDT),
    )
    pages.table("limits", "lr", ("limit", "USDT"), [(text, number(v)) for text, v in hard])


def add_rules(pages: Pages) -> None:
    """Every rule in the order in which they give the reason."""
    rows = [
        (rf"\texttt{{{escape(code)}}}", _effect(code), escape(said(check)))
        for code, check in RULES.items()
    ]
    pages.table(
        "rules",
        r"ll>{\raggedright\arraybackslash}p{0.60\textwidth}",
        ("code", "on refusal", "rule"),
        rows,
    )


def said(function: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())


def _effect(code: str) -> str:
    if code in SIGNAL_RULES:
        return "signal holds"
    if code in GATE_RULES:
        return "gate shut" if code in STOPPED_RULES else "gate reducing"
    return "order refused"


def add_metrics(pages: Pages) -> None:
    """The definitions of everything that a result is measured by."""
    rows = [
        (rf"\texttt{{{escape(name)}}}", escape(one.unit), escape(f"{one.formula}{_yearly(one)}"))
        for name, one in METRICS.items()
    ]
    pages.table(
        "metrics",
        r"ll>{\raggedright\arraybackslash}p{0.60\textwidth}",
        ("metric", "unit", "definition"),
        rows,
    )


def _yearly(metric: object) -> str:
    text = metric.annualisation
    return "" if text == "none" else f"; {text}"
