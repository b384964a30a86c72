"""What a research connection can be asked: every view, every column, its type, unit and meaning."""

from __future__ import annotations

from dataclasses import dataclass

MONEY = "DECIMAL(18, 8)"
TIME = "TIMESTAMP WITH TIME ZONE"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, its DuckDB type, and its unit or meaning."""

    name: str
    type: str
    text: str


@dataclass(frozen=True, slots=True)
class View:
    """A view: what one row is, and its columns."""

    text: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


TICK_ID = Column("tick_id", "VARCHAR", "the quarter hour as a name, 20261122T1015Z")
BOUNDARY = Column("boundary", TIME, "the quarter hour, UTC")
SYMBOL = Column("symbol", "VARCHAR", "such as BTCUSDT")
MARKET = Column("market", "VARCHAR", "spot or linear (perpetual)")
SOURCE = Column("source", "VARCHAR", "where the row came from")
SEQ = Column("seq", "BIGINT", "number of the ledger's event")

VIEWS: dict[str, View] = {
    "candles": View(
        "one-minute candles of trades, from the lake; spot and linear are different series",
        (
            MARKET,
            SYMBOL,
            Column("ts", TIME, "when the minute opens, UTC"),
            *(Column(n, MONEY, "quote per base") for n in ("open", "high", "low", "close")),
            Column("volume", "DECIMAL(18, 6)", "base units"),
            SOURCE,
        ),
    ),
    "funding": View(
        "funding settlements of perpetuals, from the lake",
        (
            MARKET,
            SYMBOL,
            Column("ts", TIME, "the settlement, UTC"),
            Column("rate", "DECIMAL(18, 10)", "fraction of the position; positive: longs pay"),
            Column("interval_minutes", "BIGINT", "minutes since the settlement before"),
            SOURCE,
        ),
    ),
    "book": View(
        "looks at order books, one a minute, recorded by the watch and by ticks (setting record_book)",
        (
            MARKET,
            SYMBOL,
            Column("ts", TIME, "the minute, UTC; the candle that closed then is its own"),
            Column("seen_ms", "INTEGER", "exchange time of the look, ms after the minute began"),
            Column("levels", "INTEGER", "price levels seen on the thinner side"),
            Column("spread", "INTEGER", "best ask less best bid, 1e-8 of the mid"),
            Column("micro", "INTEGER", "micro-price less mid, 1e-8 of the mid"),
            Column("imbalance_1", "INTEGER", "bids less asks over both, 1e-6; NULL: too thin"),
            Column("imbalance_5", "INTEGER", "the same over 5 levels a side"),
            Column("imbalance_25", "INTEGER", "the same over 25 levels a side"),
            Column("depth", "INTEGER", "what 25 levels of both sides are worth, quote units"),
            Column("source", "VARCHAR", "watch, or tick: what a tick decided on"),
        ),
    ),
    "ticks": View(
        "every tick that was begun or missed",
        (
            TICK_ID,
            BOUNDARY,
            Column("state", "VARCHAR", "done, refused, failed or missed; NULL: it never ended"),
            Column("reason", "VARCHAR", "code of the one reason"),
            Column("text", "VARCHAR", "the reason as a sentence"),
            Column("claimed_at", TIME, "exchange time of the start, UTC; NULL: missed"),
            Column("duration_s", "DECIMAL(12, 3)", "seconds of this machine's clock"),
            Column("orders", "BIGINT", "orders acted on"),
            Column("notebook", "VARCHAR", "the sealed notebook, a path below the home"),
            Column("seq", "BIGINT", "number of the ledger's last event of the tick"),
        ),
    ),
    "decisions": View(
        "a row for every tick and symbol: signal, order or none, the one reason",
        (
            TICK_ID,
            BOUNDARY,
            SYMBOL,
            Column("signal", "VARCHAR", "LONG, FLAT or HOLD"),
            Column("close", MONEY, "last close, quote per base"),
            Column("mean", MONEY, "what it was compared with, quote per base"),
            Column("distance_bps", MONEY, "close above that, basis points"),
            Column("approved", "BOOLEAN", "there was an order and every rule allowed it"),
            Column("reason", "VARCHAR", "code of the one reason"),
            Column("reason_text", "VARCHAR", "the reason as a sentence"),
            Column("refused_by", "VARCHAR[]", "codes of the rules that refused, in their order"),
            Column("order_id", "VARCHAR", "NULL: no order"),
            Column("side", "VARCHAR", "BUY or SELL"),
            Column("quantity", MONEY, "base units"),
            Column("limit_price", MONEY, "quote per base, the worst price allowed"),
            Column("inputs_sha256", "VARCHAR", "of the frozen inputs"),
            Column("decision_sha256", "VARCHAR", "of the decision"),
            SEQ,
        ),
    ),
    "fills": View(
        "every fill of every paper account",
        (
            Column("account", "VARCHAR", "paper-1, paper-2, ..."),
            Column("order_id", "VARCHAR", "the order that was filled"),
            SYMBOL,
            Column("side", "VARCHAR", "BUY or SELL"),
            Column("filled_at", TIME, "exchange time, UTC"),
            Column("quantity", MONEY, "base units"),
            Column("price", MONEY, "average, quote per base"),
            Column("mid", MONEY, "middle of the book just before, quote per base"),
            Column("notional", MONEY, "quote units paid or received, without the fee"),
            Column("fee", MONEY, "in units of fee_currency"),
            Column("fee_currency", "VARCHAR", "USDT on paper"),
            SEQ,
        ),
    ),
    "equity": View(
        "a mark a minute, as the watch saw it; old ones may have been thinned",
        (
            Column("account", "VARCHAR", "paper-1, paper-2, ..."),
            Column("ts", TIME, "open of the minute whose close it was marked at, UTC"),
            Column("beat_at", TIME, "exchange time of the watch's beat, UTC"),
            Column("cash", MONEY, "USDT"),
            Column("equity", MONEY, "USDT, cash plus what is held"),
        ),
    ),
}
