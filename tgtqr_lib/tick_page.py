"""The pieces of the tick notebook's page: what was seen, decided and refused, and what came of it.

Every function turns values into a `Piece`; nothing here decides, and nothing writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Any

from tgtqr_lib.canonical import plain, sha256
from tgtqr_lib.clock import MINUTE, from_ms, iso
from tgtqr_lib.decide import decision_sha256
from tgtqr_lib.domain import (
    MINUTE_MS,
    Candles,
    Choice,
    Decision,
    History,
    Inputs,
    Instrument,
    MarketView,
    Verdict,
)
from tgtqr_lib.execution import BPS
from tgtqr_lib.portfolio import equity
from tgtqr_lib.risk.budget import daily_floor, total_floor
from tgtqr_lib.signals import SIGNALS
from tgtqr_lib.strategies import strategy_named

MIME = "application/vnd.tgtqr.decision+json"
TAG = "decision"  # of the cell whose output the runner reads
SENTINEL_KEYS = {"schema", "tick_id", "inputs_sha256", "decision_sha256", "decision"}

# What a rule's figures count; a rule that is not named here shows them bare.
UNITS = {
    "DISK_SPACE": "MB",
    "CLOCK_OFFSET": "ms",
    "MONITOR_LEASE": "s",
    "DECISION_LATE": "s",
    "DATA_JUMP": "%",
    "DATA_STALE": "s",
    "DATA_TICKER": "%",
    "LONG_ONLY": "coin",
    "PRICE_COLLAR": "USDT",
    "ORDERS_TICK": "orders",
    "ORDERS_DAY": "orders",
    "POSITION_LIMIT": "USDT",
    "DAILY_BUDGET": "USDT",
    "TOTAL_BUDGET": "USDT",
}
NOTHING_TO_DO = {"ALREADY_LONG": "held already, no order", "ALREADY_FLAT": "nothing held, no order"}
NO_ACT = {
    "done": "the decision above allows no order",
    "refused": "the gate kept the order back",
    "failed": "the tick failed, and a failed tick changes nothing more",
    "missed": "the tick began too late, and a late tick never trades",
}

# JupyterLab aligns cells to the right unless their style says otherwise, other readers to the left
LEFT, RIGHT = " style=text-align:left", " align=right"
REFUSED = " style=background:rgba(213,94,0,0.25)"  # seen on light and on dark pages


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the page as Markdown; a table also as HTML, where refusals can stand out."""

    markdown: str
    html: str = ""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        first = self.markdown.split("\n", 1)[0]
        bundle = {"text/markdown": self.markdown, "text/plain": first}
        return {"text/html": self.html, **bundle} if self.html else bundle


@dataclass(frozen=True, slots=True)
class Sentinel:
    """The decision as the runner reads it from the notebook's last cell, and as a person does."""

    decision: Decision

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        value = {
            "schema": 1,
            "tick_id": self.decision.tick_id,
            "inputs_sha256": self.decision.inputs_sha256,
            "decision_sha256": decision_sha256(self.decision),
            "decision": plain(self.decision),
        }
        return {MIME: value, **orders(self.decision)._repr_mimebundle_()}


# --- the pieces, in the order of the page ---


@dataclass(slots=True)
class Banner:
    """What tells a page that somebody runs again from one that the kit ran; the kit turns it off."""

    shown: bool = True
    text: str = (
        "**This is a re-run.** It decides from the inputs in this notebook, orders nothing and writes "
        "nothing to the ledger. What was decided and done then is sealed in the file on disk."
    )


banner = Banner()


def headline(frozen: Inputs, decision: Decision) -> Piece:
    """One line for each symbol: what was decided, and the one reason; above them, that it is a re-run."""
    lines = [banner.text] if banner.shown else []
    lines.append(f"{md(decision.tick_id)}, {_time(frozen.boundary)}")
    for choice in decision.choices:
        view = frozen.market(choice.symbol)
        what = action(choice, view.instrument if view else None, brief=False)
        why = f"`{choice.reason}`: {md(choice.reason_text)}"
        lines.append(f"**{md(choice.symbol)}: {md(what)}.** {why}")
    return Piece("\n\n".join(lines))


def summary(frozen: Inputs) -> Piece:
    """What was known when the inputs were frozen: time, gate, money, limits, plan, both markets."""
    facts = _table(["", "when the inputs were frozen"], _facts(frozen), "ll")
    symbols = [view.symbol for view in frozen.markets]
    columns = [_market(view, frozen) for view in frozen.markets]
    names = list(columns[0]) if columns else []
    rows = [[name, *(column[name] for column in columns)] for name in names]
    return _joined(facts, _table(["", *symbols], rows, "l" + "r" * len(symbols)))


def signals(frozen: Inputs, decision: Decision) -> Piece:
    """What the strategy says of each symbol, as a sentence."""
    return Piece("\n\n".join(md(sentence(choice, frozen)) for choice in decision.choices))


def verdicts(decision: Decision) -> Piece:
    """Every rule's answer: for each symbol its one reason, refusals, figures, and plain facts."""
    note = (
        "Distance is how far the value stays on the allowed side of the limit. A rule that concerns "
        "only entries, or only sales, leaves other orders exempt and shows its figures all the same."
    )
    tables = [_symbol_verdicts(choice) for choice in decision.choices]
    return _joined(*tables, Piece(note, f"<p>{note}</p>"))


def orders(decision: Decision) -> Piece:
    """The approved orders in the sequence in which they are acted on, the reasons and the hashes."""
    rows = [
        [
            order.id,
            f"{order.side} {order.quantity:f} {coin(order.symbol)}",
            f"{'at most' if order.is_entry else 'at least'} {usdt(order.limit)}",
            usdt(order.notional),
            order.feasible,
        ]
        for order in decision.orders
    ]
    head = ["order", "what", "limit", "at the limit", "possible on the exchange"]
    table = _table(head, rows, "llrrl").markdown if rows else "**No order.**"
    reasons = [f"{md(c.symbol)} `{c.reason}`" for c in decision.choices]
    hashes = f"inputs `{decision.inputs_sha256}`, decision `{decision_sha256(decision)}`"
    return Piece(f"{table}\n\nReason: {', '.join(reasons)}.\n\nSHA-256: {hashes}.")


def sentinel(decision: Decision) -> Sentinel:
    """What the notebook's last cell shows: the runner reads it back with `read_sentinel`."""
    return Sentinel(decision)


def read_sentinel(notebook: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the sentinel of an executed notebook says, as plain dicts and lists.

    None unless exactly one code cell is tagged `decision`, was executed, and shows exactly one decision.
    """
    cells = [
        cell
        for cell in notebook.get("cells", ())
        if cell.get("cell_type") == "code" and TAG in cell.get("metadata", {}).get("tags", ())
    ]
    if len(cells) != 1 or not isinstance(cells[0].get("execution_count"), int):
        return None
    bundles = [output.get("data", {}) for output in cells[0].get("outputs", ())]
    values = [bundle[MIME] for bundle in bundles if MIME in bundle]
    if len(values) != 1 or not isinstance(values[0], Mapping) or set(values[0]) != SENTINEL_KEYS:
        return None
    return _bare(values[0])


def outcome_markdown(outcome: Mapping[str, Any]) -> str:
    """The text of the cell that sealing adds: what was done about the decision, as Markdown.

    `outcome` is plain JSON; amounts are texts, None or "-" when not known.
    """
    state, acts, ledger = outcome["state"], outcome["acts"], outcome["ledger"]
    parts = ["## What was done"]
    if acts:
        filled = sum(act["result"] == "FILLED" for act in acts)
        noun = "order" if len(acts) == 1 else "orders"
        parts.append(f"**{md(state.capitalize())}: {filled} of {len(acts)} {noun} filled.**")
        head = ["order", "what", "limit", "result", "price", "notional", "fee"]
        parts.append(_table(head, [_act(act) for act in acts], "llrlrrr").markdown)
        odd = [act for act in acts if act["result"] != "FILLED" and act["text"]]
        parts += [f"{md(act['order_id'])}: {md(act['text'])}." for act in odd]
    else:
        why = NO_ACT.get(state, "no reason is recorded")
        told = f" ({md(outcome['text'])})" if outcome.get("text") else ""
        parts.append(f"**{md(state.capitalize())}.** Nothing was ordered: {why}{told}.")
    if any(str(act["feasible"]).startswith("no") for act in acts):
        small = sorted({f"{act['symbol']}: {act['feasible']} USDT" for act in acts})
        parts.append(f"On paper only. Possible on the exchange? {md('; '.join(small))}.")
    held = [
        f"{p['quantity']} {coin(p['symbol'])} at a cost of {p['cost']} USDT"
        for p in outcome["positions"]
    ]
    parts.append(
        f"Afterwards: cash {_recorded(outcome['cash'])}, equity {_recorded(outcome['equity'])}, "
        f"held: {md('; '.join(held)) or 'nothing'}."
    )
    parts.append(
        f"Sealed at {md(outcome['sealed_at'])}, {md(outcome['duration_s'])} s after the start; "
        f"ledger event {ledger['seq']}, head `{ledger['head']}`."
    )
    return "\n\n".join(parts) + "\n"


# --- words and figures ---


def action(choice: Choice, instrument: Instrument | None, *, brief: bool = True) -> str:
    """What was decided of a symbol in a few words, `LONG, buy 9 lots at most 105,364.9 USDT`.

    In brief it names the reason of doing nothing; else it adds the quantity, and the reason stands elsewhere.
    """
    state, order = choice.signal.state, choice.order
    why = f" ({choice.reason})" if brief else ""
    if order is None:
        return f"{state}, {NOTHING_TO_DO.get(choice.reason, f'no order{why}')}"
    verb, bound = ("buy", "at most") if order.is_entry else ("sell", "at least")
    quantity = f"{order.quantity:f} {coin(order.symbol)}"
    what = quantity
    if instrument is not None:
        lots = order.quantity / instrument.lot
        what = f"{grouped(lots.quantize(Decimal(1)))} {'lot' if lots == 1 else 'lots'}"
        what += "" if brief else f" ({quantity})"
    if not choice.approved:
        return f"{state}, {verb} {what} refused{why}"
    return f"{state}, {verb} {what} {bound} {usdt(order.limit)}"


def sentence(choice: Choice, frozen: Inputs) -> str:
    """The signal of a symbol as a sentence for someone who sees such a page for the first time."""
    signal, plan = choice.signal, frozen.plan
    if signal.mean is None and strategy_named(plan.strategy).reference is None:
        return f"{signal.symbol} says {signal.state}: {signal.text}."
    if signal.distance_bps is None:
        return f"{signal.symbol} says {signal.state}, because there is doubt. {signal.text}."
    parameters = strategy_named(plan.strategy).checked(plan.parameters)
    mean = "its mean"
    if "window" in parameters:
        mean = f"the mean of the last {parameters['window']} closes"
    side = "above" if signal.close > signal.mean else "below"
    place = f"{grouped(abs(signal.distance_bps))} bps {side} {mean}"
    if signal.close == signal.mean:
        place = f"exactly on {mean}"
    digits = Decimal(1).scaleb(signal.close.as_tuple().exponent - 2)
    text = (
        f"{signal.symbol} says {signal.state}: the last close, {usdt(signal.close)}, is {place}, "
        f"{usdt(signal.mean.quantize(digits))}"
    )
    if choice.reason == "SIGNAL_IN_BAND":
        text += f", inside the band of {parameters['band_bps']} bps in which nothing changes"
    if choice.reason == "SIGNAL_FILTERED":
        text += f". {signal.text[0].upper()}{signal.text[1:]}"
    return f"{text}."


def grouped(value: Decimal | int) -> str:
    """`value` in full with thousands marked, `105,364.9`."""
    return format(value, ",f" if isinstance(value, Decimal) else ",d")


def usdt(amount: Decimal) -> str:
    """`amount` in full with its unit."""
    return f"{grouped(amount)} USDT"


def coin(symbol: str) -> str:
    """What a quantity of `symbol` counts, `BTC`."""
    return symbol.removesuffix("USDT")


def figure(value: Decimal | None, unit: str) -> str:
    """A rule's figure with its unit, readable: fractions as per cent, at most 8 decimals."""
    if value is None:
        return ""
    if unit == "%":
        return f"{value * 100:,.3f} %"
    if value.as_tuple().exponent < -8:
        value = round(value, 8)
    unit = "order" if (unit, value) == ("orders", 1) else unit
    return f"{grouped(value)} {unit}".rstrip()


def md(text: str) -> str:
    """`text` as Markdown that shows it letter by letter: no markup, no HTML, no second line."""
    flat = escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]|#$~])", r"\\\1", flat)


# --- what the pieces are made of ---


def _facts(frozen: Inputs) -> list[list[str]]:
    """The rows of the summary that concern the kit and not one market."""
    health, account, limits, plan = frozen.health, frozen.account, frozen.limits, frozen.plan
    portfolio, fees = frozen.portfolio, frozen.fees
    strategy = strategy_named(plan.strategy)
    values = strategy.checked(plan.parameters)
    parameters = [f"{name} {values[name]} {p.unit}" for name, p in strategy.parameters.items()]
    reserved = f", {usdt(portfolio.reserved)} of it reserved" if portfolio.reserved else ""
    held = [f"{p.quantity:f} {coin(p.symbol)} at a cost of {usdt(p.cost)}" for p in portfolio.held]
    floors = [
        f"{usdt(daily_floor(day, limits))} on {day.date}, which began at {usdt(day.start_equity)}"
        for day in frozen.days
    ]
    problems = [f"{v.symbol} {p.code}: {p.text}" for v in frozen.markets for p in v.problems]
    rows = {
        "tick": f"{frozen.tick_id}, boundary {_time(frozen.boundary)}",
        "exchange time": f"{_time(frozen.exchange_time)}, {_seconds_since(frozen.boundary, frozen)} later",
        "gate": "ARMED" if health.stopped is None else f"STOPPED: {health.stopped}",
        "health": "; ".join(_health(frozen)),
        "account": f"{account.id}, opened {_time(account.opened_at)} with {usdt(account.initial_equity)}",
        "cash": f"{usdt(portfolio.cash)}{reserved}",
        "positions": "; ".join(held) or "nothing is held",
        "equity": _equity(frozen),
        "floor of the day": "; ".join(floors) or "the day is not open",
        "floor of the account": usdt(total_floor(account, limits)),
        "limits": f"{usdt(limits.position_usdt)} a position, {usdt(limits.daily_loss_usdt)} lost a day, "
        f"{usdt(limits.total_loss_usdt)} lost in all",
        "orders so far": f"{frozen.orders_today} today",
        "strategy": f"{strategy.name}: {strategy.text} ({', '.join(parameters)})",
        "an entry": f"buys for {usdt(plan.order_target_usdt)}, at most {plan.collar_bps} bps above the close",
        "fees": f"{fees.bps:f} bps in {fees.currency}, {fees.source}, since {fees.since}",
        "problems": "; ".join(problems) or "none",
        "inputs SHA-256": sha256(frozen),
    }  # fmt: skip
    return [list(row) for row in rows.items()]


def _health(frozen: Inputs) -> list[str]:
    health = frozen.health
    beat, offset = health.last_beat_at, health.clock_offset_ms
    return [
        f"last watch beat {_seconds_since(beat, frozen)} ago" if beat else "no watch beat yet",
        health.ledger_problem or "ledger and witness agree",
        f"{grouped(health.disk_free_mb)} MB of disk free",
        "simulated clock" if offset is None else f"this clock {offset:+,d} ms off the exchange's",
    ]


def _equity(frozen: Inputs) -> str:
    marks = {v.symbol: v.candles.last_close for v in frozen.markets if len(v.candles)}
    if any(p.symbol not in marks for p in frozen.portfolio.held):
        return "not known: something is held that has no close"
    return f"{usdt(equity(frozen.portfolio, marks))} at the last closes"


def _market(view: MarketView, frozen: Inputs) -> dict[str, str]:
    """One symbol's column of the summary."""
    candles, quote, instrument = view.candles, view.quote, view.instrument
    last = usdt(candles.last_close) if len(candles) else "not seen"
    column = {"closed minutes": _span(candles), "last close": last}
    column |= dict.fromkeys(("bid", "ask", "spread", "quote's age"), "not seen")
    column |= dict.fromkeys(("price step", "one lot", "smallest legal order"), "not seen")
    if quote is not None:
        column["bid"], column["ask"] = usdt(quote.bid), usdt(quote.ask)
        column["spread"] = f"{(quote.ask - quote.bid) / quote.mid * BPS:,.2f} bps"
        column["quote's age"] = _seconds_since(quote.at, frozen)
    if instrument is not None:
        column["price step"] = usdt(instrument.price_step)
        column["one lot"] = f"{instrument.lot:f} {coin(view.symbol)}"
        column["smallest legal order"] = f"{instrument.min_notional:,.2f} USDT"
    needs = strategy_named(frozen.plan.strategy).needs
    if "funding" in needs:
        column |= _funding(view)
    if "book" in needs:
        column |= _book(view)
    return column


def _funding(view: MarketView) -> dict[str, str]:
    """The funding that was frozen for a strategy that reads it."""
    if view.funding is None or not len(view.funding):
        return dict.fromkeys(("settlements", "last funding", "its 7-day mean"), "not seen")
    history = History(view.candles.tail(1), view.funding)
    last = from_ms(view.funding.at_ms[-1])
    shown = {}
    for name, indicator in (
        ("last funding", "funding_rate"),
        ("its 7-day mean", "funding_mean_7d"),
    ):
        found = SIGNALS[indicator](history)
        known = len(found) and found[-1] == found[-1]
        shown[name] = f"{found[-1]:.4f} bps for 8 h" if known else "not known"
    return {"settlements": f"{len(view.funding)}, the last {last:%m-%d %H:%M} UTC", **shown}


def _book(view: MarketView) -> dict[str, str]:
    """The book's figures that were frozen for a strategy that reads them."""
    names = {1: "book imbalance, 1 level", 5: "5 levels", 25: "25 levels"}
    if view.book is None:
        return dict.fromkeys((*names.values(), "micro-price above mid"), "not seen")
    figures = {words: getattr(view.book, f"imbalance_{depth}") for depth, words in names.items()}
    shown = {w: "too thin" if n is None else f"{n / 1e6:+.4f}" for w, n in figures.items()}
    return {**shown, "micro-price above mid": f"{view.book.micro / 1e4:+.4f} bps"}


def _span(candles: Candles) -> str:
    """How many minutes there are, from when to when, and how many are missing between."""
    if not len(candles):
        return "none"
    first, end = from_ms(candles.open_ms[0]), from_ms(candles.open_ms[-1]) + MINUTE
    missing = int(candles.open_ms[-1] - candles.open_ms[0]) // MINUTE_MS + 1 - len(candles)
    lack = f", {missing} missing" if missing else ""
    return f"{len(candles)}, {first:%H:%M} to {end:%H:%M} UTC{lack}"


def _symbol_verdicts(choice: Choice) -> Piece:
    """One symbol's table of verdicts: its one reason, refusals, figures, then facts in a line each."""
    refused = [v for v in choice.verdicts if not v.allowed]
    figures = [v for v in choice.verdicts if v.allowed and v.value is not None]
    facts = [v for v in choice.verdicts if v.allowed and v.value is None]
    head, styles = ["verdict", "value", "limit", "distance"], [LEFT, RIGHT, RIGHT, RIGHT]
    html = [_html_row(head, styles, "th")]
    lines = [_line(head), _line([":--", "--:", "--:", "--:"])]
    for v in (*refused, *figures):
        unit = UNITS.get(v.code, "").replace("coin", coin(choice.symbol))
        numbers = [figure(x, unit) for x in (v.value, v.limit, v.distance)]
        code = v.code.replace("_", "_<wbr>")  # a narrow screen may break it there
        text = f"{_word(v)} {code}<br><small>{escape(v.text)}</small>"
        html.append(_html_row([text, *numbers], styles, "td", "" if v.allowed else REFUSED))
        said = "" if v.allowed else f": {md(v.text)}"
        lines.append(_line([f"{_word(v)} {v.code}{said}", *numbers]))
    each = "".join(f"<br>{v.code}: {escape(v.text)}" for v in facts)
    return Piece(
        f"**{md(choice.symbol)}: {choice.reason}** {md(choice.reason_text)}\n\n"
        + "\n".join(lines)
        + f"\n\nAllowed, without a figure: {', '.join(v.code for v in facts)}.",
        f"<p><b>{escape(choice.symbol)}: {choice.reason}</b> {escape(choice.reason_text)}</p>"
        f"<table>{''.join(html)}</table>"
        f"<p><small>Allowed, without a figure:{each}</small></p>",
    )


def _word(verdict: Verdict) -> str:
    if not verdict.allowed:
        return "<b>REFUSED</b>"
    beyond = verdict.distance is not None and verdict.distance < 0
    return "exempt" if beyond else "allowed"


def _act(act: Mapping[str, Any]) -> list[str]:
    """One order's row of the outcome."""
    told = act["reason"] and act["reason"] != act["result"]
    return [
        act["order_id"],
        f"{act['side']} {act['quantity']} {coin(act['symbol'])}",
        _recorded(act["limit"]),
        f"{act['result']} ({act['reason']})" if told else act["result"],
        *(_recorded(act[name]) for name in ("price", "notional")),
        # an exchange takes the fee of a buy in the coin
        f"{act['fee']} {act['fee_currency']}" if "fee_currency" in act else _recorded(act["fee"]),
    ]


def _recorded(amount: str | None) -> str:
    """An amount in USDT that was recorded as text; a dash when there is none."""
    return usdt(Decimal(amount)) if amount and amount != "-" else "-"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> Piece:
    """A table of plain texts; `align` has one letter, l or r, for each column."""
    styles = [RIGHT if letter == "r" else LEFT for letter in align]
    rule = ["--:" if letter == "r" else ":--" for letter in align]
    html = [_html_row(map(escape, head), styles, "th")]
    html += [_html_row(map(_breakable, row), styles) for row in rows]
    lines = [_line(map(md, head)), _line(rule), *(_line(map(md, row)) for row in rows)]
    return Piece("\n".join(lines), f"<table>{''.join(html)}</table>")


def _breakable(text: str) -> str:
    """`text` as HTML in which a hash may go on in the next line of a narrow screen."""
    return re.sub(r"([0-9a-f]{16})(?=[0-9a-f])", r"\1<wbr>", escape(text))


def _html_row(cells: Iterable[str], styles: Sequence[str], tag: str = "td", style: str = "") -> str:
    """A row of cells that are HTML already."""
    inside = (f"<{tag}{s}>{cell}</{tag}>" for cell, s in zip(cells, styles, strict=True))
    return f"<tr{style}>{''.join(inside)}</tr>"


def _line(cells: Iterable[str]) -> str:
    """A row of cells that are Markdown already."""
    return f"| {' | '.join(cells)} |"


def _joined(*pieces: Piece) -> Piece:
    return Piece("\n\n".join(p.markdown for p in pieces), "".join(p.html for p in pieces))


def _bare(value: Any) -> Any:
    """`value` with plain dicts and lists, whatever mappings a notebook reader made of them."""
    if isinstance(value, Mapping):
        return {str(key): _bare(item) for key, item in value.items()}
    return [_bare(item) for item in value] if isinstance(value, (list, tuple)) else value


def _seconds_since(moment: datetime, frozen: Inputs) -> str:
    return f"{(frozen.exchange_time - moment).total_seconds():g} s"


def _time(moment: datetime) -> str:
    return iso(moment).replace("T", " ").replace("Z", " UTC")
