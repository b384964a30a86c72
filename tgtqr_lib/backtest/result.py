"""What a backtest found: every trade, equity at every minute, and why it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np

from tgtqr_lib.backtest.bars import Gap
from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import UNIT

# columns of `Result.table`, one row a sale
COLUMNS = (
    "symbol",  # place in `Result.symbols`
    "entry_ms",  # open of the minute in which the entry filled
    "exit_ms",
    "quantity",  # units
    "entry_price",  # steps of the symbol's decimals
    "exit_price",
    "entry_fee",  # units; the part of the entry's fee that falls to this quantity
    "exit_fee",
    "pnl",  # units, after both fees
    "kind",  # place in KINDS
)
KINDS = ("signal", "trim", "stop")
SIGNALS = ("LONG", "FLAT", "HOLD")
BREACH, SPENT = "BREACH", "SPENT"


@dataclass(frozen=True, slots=True)
class Trade:
    """What was bought in one minute and sold in another; a trim makes a trade of its own.

    quantity      base units
    entry_price   quote per base, the spread in; so is `exit_price`
    fees, pnl     quote units; `pnl` is after both fees
    """

    symbol: str
    entry_at: datetime
    exit_at: datetime
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal
    fees: Decimal
    pnl: Decimal
    kind: str

    def plain(self) -> dict[str, str]:
        return {
            "symbol": self.symbol,
            "entry_at": iso(self.entry_at),
            "exit_at": iso(self.exit_at),
            **{
                name: f"{getattr(self, name):f}"
                for name in ("quantity", "entry_price", "exit_price", "fees", "pnl")
            },
            "kind": self.kind,
        }


@dataclass(frozen=True, slots=True)
class OpenPosition:
    """What is held at the end: marked at the last close, not sold.

    cost  quote units, the entry's fee in; value  quote units, rounded down
    """

    symbol: str
    entry_at: datetime
    quantity: Decimal
    entry_price: Decimal
    cost: Decimal
    value: Decimal

    def plain(self) -> dict[str, str]:
        figures = ("quantity", "entry_price", "cost", "value")
        return {
            "symbol": self.symbol,
            "entry_at": iso(self.entry_at),
            **{name: f"{getattr(self, name):f}" for name in figures},
        }


@dataclass(frozen=True, slots=True)
class Stop:
    """Why trading ended: `at` is the minute whose check stopped it, after its last closed candle."""

    at: datetime
    cause: str
    text: str

    def plain(self) -> dict[str, str]:
        return {"at": iso(self.at), "cause": self.cause, "text": self.text}


@dataclass(frozen=True, eq=False)
class Result:
    """A finished backtest; money is int64 units of 1e-8 inside and `Decimal` on demand.

    params        the strategy's parameters, complete
    decimals      per symbol: prices of `table` are steps of 10**-decimals
    bars          candles read, of all symbols
    table         (k, 10) int64, one row a sale, in the order of sale; see COLUMNS
    times_ms      (n,) int64, open times of the minutes with a candle
    equity_units  (n,) int64, cash plus what is held at the close of that minute
    decisions     quarter hours decided, of all symbols, up to the stop
    signals       how many of them said LONG, FLAT and HOLD
    incomplete    how many held because a minute of the window was missing
    spread, funding  units lost to half the spread at each fill, and to funding
    """

    symbols: tuple[str, ...]
    market: str
    strategy: str
    params: Mapping[str, int]
    decimals: tuple[int, ...]
    bars: int
    gaps: tuple[Gap, ...]
    table: np.ndarray
    times_ms: np.ndarray
    equity_units: np.ndarray
    decisions: int
    signals: Mapping[str, int]
    incomplete: int
    stop: Stop | None
    labels: tuple[str, ...]
    initial_units: int
    cash_units: int
    fees_units: int
    spread_units: int
    funding_units: int
    open_positions: tuple[OpenPosition, ...]

    @property
    def symbol(self) -> str:
        return "+".join(self.symbols)

    def column(self, name: str) -> np.ndarray:
        """(k,) int64: one column of the trades."""
        return self.table[:, COLUMNS.index(name)]

    @cached_property
    def trades(self) -> tuple[Trade, ...]:
        """Every trade in the order of sale, exact."""
        return tuple(self._trade(row) for row in self.table.tolist())

    def _trade(self, row: list[int]) -> Trade:
        symbol, entry_ms, exit_ms, quantity, entry, exit_, entry_fee, exit_fee, pnl, kind = row
        down = -self.decimals[symbol]
        return Trade(
            symbol=self.symbols[symbol],
            entry_at=from_ms(entry_ms),
            exit_at=from_ms(exit_ms),
            quantity=money(quantity),
            entry_price=Decimal(entry).scaleb(down),
            exit_price=Decimal(exit_).scaleb(down),
            fees=money(entry_fee + exit_fee),
            pnl=money(pnl),
            kind=KINDS[kind],
        )

    def _plain_trades(self) -> list[dict[str, str]]:
        """What `Trade.plain` says of each trade, from the table and without the objects between."""
        at = [
            np.datetime_as_string(self.column(name).astype("datetime64[ms]"), unit="s").tolist()
            for name in ("entry_ms", "exit_ms")
        ]
        found = []
        for row, entry_at, exit_at in zip(self.table.tolist(), *at, strict=True):
            symbol, _, _, quantity, entry, exit_, entry_fee, exit_fee, pnl, kind = row
            decimals = self.decimals[symbol]
            found.append(
                {
                    "symbol": self.symbols[symbol],
                    "entry_at": f"{entry_at}Z",
                    "exit_at": f"{exit_at}Z",
                    "quantity": fixed(quantity, 8),
                    "entry_price": fixed(entry, decimals),
                    "exit_price": fixed(exit_, decimals),
                    "fees": fixed(entry_fee + exit_fee, 8),
                    "pnl": fixed(pnl, 8),
                    "kind": KINDS[kind],
                }
            )
        return found

    @property
    def equity_end(self) -> Decimal:
        """Equity at the last close, quote units."""
        return money(int(self.equity_units[-1]))

    @property
    def pnl(self) -> Decimal:
        """What equity gained or lost, quote units, after all costs."""
        return self.equity_end - money(self.initial_units)

    @property
    def fees(self) -> Decimal:
        return money(self.fees_units)

    @property
    def spread(self) -> Decimal:
        """What half the spread took at each fill, quote units."""
        return money(self.spread_units)

    @property
    def funding(self) -> Decimal:
        """Funding paid less funding received, quote units."""
        return money(self.funding_units)

    @property
    def gross(self) -> Decimal:
        """PnL before fees, spread and funding, quote units."""
        return self.pnl + self.fees + self.spread + self.funding

    @cached_property
    def max_drawdown_units(self) -> int:
        """The largest fall of equity from an earlier peak, the start included, in units."""
        highest = np.maximum(np.maximum.accumulate(self.equity_units), self.initial_units)
        return int((highest - self.equity_units).max(initial=0))

    def to_frame(self) -> Any:
        """Trades as a pandas frame: times in UTC, figures as float64 for charts, not for accounts."""
        import pandas as pd  # here, because most of what uses a result does without it

        table = self.table
        scale = np.array([10.0**d for d in self.decimals])[table[:, 0]]
        frame = pd.DataFrame(
            {
                "symbol": np.array(self.symbols, dtype=object)[table[:, 0]],
                "entry_at": pd.to_datetime(self.column("entry_ms"), unit="ms", utc=True),
                "exit_at": pd.to_datetime(self.column("exit_ms"), unit="ms", utc=True),
                "quantity": self.column("quantity") / 1e8,
                "entry_price": self.column("entry_price") / scale,
                "exit_price": self.column("exit_price") / scale,
                "fees": (self.column("entry_fee") + self.column("exit_fee")) / 1e8,
                "pnl": self.column("pnl") / 1e8,
                "kind": np.array(KINDS, dtype=object)[self.column("kind")],
            }
        )
        return frame

    def as_dict(self) -> dict[str, Any]:
        """As `tgtqr backtest --json` tells it, without metrics."""
        return {
            "symbol": self.symbol,
            "market": self.market,
            "strategy": self.strategy,
            "params": dict(self.params),
            "bars": self.bars,
            "gaps": {
                "count": len(self.gaps),
                "minutes": sum(gap.minutes for gap in self.gaps),
                "list": [gap.plain() for gap in self.gaps],
            },
            "trades": self._plain_trades(),
            "open": [held.plain() for held in self.open_positions],
            "decisions": self.decisions,
            "signals": dict(self.signals),
            "incomplete": self.incomplete,
            "stop": self.stop.plain() if self.stop else None,
            "labels": list(self.labels),
            "gross": f"{self.gross:f}",
            "fees": f"{self.fees:f}",
            "spread": f"{self.spread:f}",
            "funding": f"{self.funding:f}",
            "pnl": f"{self.pnl:f}",
            "equity_end": f"{self.equity_end:f}",
        }


def fixed(whole: int, decimals: int) -> str:
    """`whole` steps of 10**-decimals as decimal text."""
    if decimals == 0:
        return str(whole)
    above, below = divmod(abs(whole), 10**decimals)
    return f"{'-' if whole < 0 else ''}{above}.{below:0{decimals}d}"


def money(amount_units: int) -> Decimal:
    """Whole units of 1e-8 as a `Decimal`, exact."""
    return Decimal(int(amount_units)) * UNIT
