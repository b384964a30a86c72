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
from tgtqr_lib.domain import Choice, Decision, Inputs, Instrument, MarketView, Verdict
from tgtqr_lib.execution import BPS
from tgtqr_lib.portfolio import equity
from tgtqr_lib.risk.budget import daily_floor, total_floor
from tgtqr_lib.strategies import strategy_named

MIME = "application/vnd.tgtqr.decision+json"
TAG = "decision"  # of the cell whose output the runner reads
SENTINEL_KEYS = {"schema", "tick_id", "inputs_sha256", "decision_sha256", "decision"}

# What a rule's figures count; a rule that is not named here shows them bare.
UNITS = {
    "DISK_SPACE": "MB",
    "CLOCK_OFFSET": "ms",
    "MONITOR_LEASE": "s",
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

# JupyterLab aligns cells to the right unless their style says otherwise, other readers to the left unless told
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


def headline(frozen: Inputs, decision: Decision) -> Piece:
    """One line for each symbol: what was decided, and the one reason."""
    lines = [f"{decision.tick_id}: {_time(frozen.boundary)}"]
    for choice in decision.choices:
        what = md(action(choice, _instrument(frozen, choice.symbol), brief=False))
        why = f"`{choice.reason}`: {md(choice.reason_text)}"
        lines.append(f"**{choice.symbol}: {what}.** {why}")
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
    pieces = [_symbol_verdicts(choice) for choice in decision.choices]
    note = (
        "Distance is how far the value stays on the allowed side of the limit. A rule that concerns only "
        "entries, or only sales, leaves other orders exempt and shows its figures all the same."
    )
    return _joined(*pieces, Piece(note, f"<p>{note}</p>"))


def orders(decision: Decision) -> Piece:
    """The approved orders in the sequence in which they are acted on, and the hashes of the decision."""
    rows = [
        [
            order.id,
            f"{order.side} {order.quantity:f} {_coin(order.symbol)}",
            f"{'at most' if order.is_entry else 'at least'} {grouped(order.limit)} USDT",
            f"{grouped(order.notional)} USDT",
            order.feasible,
        ]
        for order in decision.orders
    ]
    head = ["order", "what", "limit", "at the limit", "possible on the exchange"]
    table = _table(head, rows, "llrrl")
    if not rows:
        table = Piece("**No order.**", "<p><b>No order.</b></p>")
    reasons = [f"{c.symbol}: {c.reason}" for c in decision.choices]
    lines = [
        f"Decision of {decision.tick_id}. {', '.join(reasons)}.",
        f"Decision {decision_sha256(decision)}, of inputs {decision.inputs_sha256} (SHA-256).",
    ]
    note = Piece("\n\n".join(map(md, lines)), "".join(f"<p>{escape(x)}</p>" for x in lines))
    return _joined(table, note)


def sentinel(decision: Decision) -> Sentinel:
    """What the notebook's last cell shows: the runner reads it back with `read_sentinel`."""
    return Sentinel(decision)


def read_sentinel(notebook: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the sentinel of an executed notebook says.

    None unless exactly one cell is tagged `decision`, was executed, and shows exactly one whole decision.
    """
    cells = [
        cell
        for cell in notebook.get("cells", ())
        if TAG in cell.get("metadata", {}).get("tags", ()) and cell.get("cell_type") == "code"
    ]
    if len(cells) != 1 or not isinstance(cells[0].get("execution_count"), int):
        return None
    bundles = [output.get("data", {}) for output in cells[0].get("outputs", ())]
    values = [bundle[MIME] for bundle in bundles if MIME in bundle]
    if len(values) != 1 or not isinstance(values[0], Mapping) or set(values[0]) != SENTINEL_KEYS:
        return None
    return _bare(values[0])


def outcome_markdown(outcome: Mapping[str, Any]) -> str:
    """The text of the cell that sealing adds: what was done about the decision, as Markdown."""
    acts = outcome["acts"]
    parts = ["## What was done", _did(outcome["state"], acts)]
    if acts:
        head = [
            "order",
            "what",
            "limit, USDT",
            "result",
            "price, USDT",
            "notional, USDT",
            "fee, USDT",
        ]
        parts.append(_table(head, [_act(act) for act in acts], "llrlrrr").markdown)
        parts += [f"`{act['order_id']}`: {md(act['text'])}." for act in acts if act["text"]]
    if small := sorted({act["feasible"] for act in acts if act["feasible"].startswith("no")}):
        parts.append(f"On paper only. Possible on the exchange: {md(', '.join(small))} USDT.")
    held = [
        f"{p['quantity']} {_coin(p['symbol'])} that cost {p['cost']} USDT"
        for p in outcome["positions"]
    ]
    parts.append(
        f"Afterwards: cash {md(outcome['cash'])} USDT, equity {md(outcome['equity'])} USDT, "
        f"held: {md(', '.join(held)) or 'nothing'}."
    )
    ledger = outcome["ledger"]
    parts.append(
        f"Sealed at {md(outcome['sealed_at'])} after {md(outcome['duration_s'])} s. Ledger: event "
        f"{ledger['seq']}, head `{ledger['head']}`."
    )
    return "\n\n".join(parts) + "\n"


# --- sentences ---


def action(choice: Choice, instrument: Instrument | None, *, brief: bool = True) -> str:
    """What was decided of a symbol in a few words, `LONG, buy 9 lots at most 105,364.9 USDT`.

    In brief it names the reason of doing nothing; else it adds the quantity, and the reason stands elsewhere.
    """
    state, order = choice.signal.state, choice.order
    why = f" ({choice.reason})" if brief else ""
    if order is None:
        return f"{state}, {NOTHING_TO_DO.get(choice.reason, f'no order{why}')}"
    verb, bound = ("buy", "at most") if order.is_entry else ("sell", "at least")
    what = f"{verb} {_lots(order.quantity, instrument, order.symbol)}"
    if not brief:
        what += f" ({order.quantity:f} {_coin(order.symbol)})"
    if not choice.approved:
        return f"{state}, {what} refused{why}"
    return f"{state}, {what} {bound} {grouped(order.limit)} USDT"


def sentence(choice: Choice, frozen: Inputs) -> str:
    """The signal of a symbol as a sentence for someone who sees this page for the first time."""
    signal, plan = choice.signal, frozen.plan
    parameters = strategy_named(plan.strategy).checked(plan.parameters)
    if signal.distance_bps is None:
        return f"{signal.symbol} says {signal.state}, because there is doubt. {signal.text}."
    side = "above" if signal.close > signal.mean else "below"
    window = parameters.get("window")
    mean = f"the mean of the last {window} closes" if window else "its mean"
    place = f"{grouped(abs(signal.distance_bps))} bps {side} {mean}"
    if signal.close == signal.mean:
        place = f"exactly on {mean}"
    digits = Decimal(1).scaleb(signal.close.as_tuple().exponent - 2)
    text = (
        f"{signal.symbol} says {signal.state}: the last close, {grouped(signal.close)} USDT, is {place}, "
        f"{grouped(signal.mean.quantize(digits))} USDT"
    )
    if choice.reason == "SIGNAL_IN_BAND":
        text += f", and so inside the band of {parameters['band_bps']} bps in which nothing changes"
    return text + "."


def grouped(value: Decimal | int) -> str:
    """`value` in full with thousands marked, `105,364.9`."""
    return format(value, ",f" if isinstance(value, Decimal) else ",d")


def figure(value: Decimal | None, unit: str) -> str:
    """A rule's figure with its unit, readable: fractions as per cent, at most 8 decimals."""
    if value is None:
        return ""
    if unit == "%":
        return f"{value * 100:,.3f} %"
    if value.as_tuple().exponent < -8:
        value = round(value, 8)
    return f"{grouped(value)} {unit}".rstrip()


def md(text: str) -> str:
    """`text` as Markdown that shows it letter by letter: no markup, no HTML, no second line."""
    flat = escape(" ".join(str(text).split()), quote=False)
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]|#$~" else letter for letter in flat)


# --- what the pieces are made of ---


def _facts(frozen: Inputs) -> list[list[str]]:
    health, account, limits, plan = frozen.health, frozen.account, frozen.limits, frozen.plan
    late = (frozen.exchange_time - frozen.boundary).total_seconds()
    strategy = strategy_named(plan.strategy)
    values = strategy.checked(plan.parameters)
    settings = [f"{name} {values[name]} {p.unit}" for name, p in strategy.parameters.items()]
    floors = [
        f"{grouped(daily_floor(day, limits))} USDT for {day.date}, which began at "
        f"{grouped(day.start_equity)} USDT"
        for day in frozen.days
    ]
    return [
        ["tick", f"{frozen.tick_id}, boundary {_time(frozen.boundary)}"],
        ["exchange time", f"{_time(frozen.exchange_time)}, {late:g} s after the boundary"],
        ["gate", "ARMED" if health.stopped is None else f"STOPPED: {health.stopped}"],
        ["health", "; ".join(_health(frozen))],
        ["account", f"{account.id}, opened {_time(account.opened_at)} with {grouped(account.initial_equity)} USDT"],
        ["cash", _cash(frozen)],
        ["positions", "; ".join(_positions(frozen)) or "nothing is held"],
        ["equity", _equity(frozen)],
        ["floor of the day", "; ".join(floors) or "the day is not open"],
        ["floor of the account", f"{grouped(total_floor(account, limits))} USDT"],
        [
            "limits",
            f"{grouped(limits.position_usdt)} USDT a position, {grouped(limits.daily_loss_usdt)} USDT daily "
            f"loss, {grouped(limits.total_loss_usdt)} USDT total loss",
        ],
        ["orders so far", f"{frozen.orders_today} today"],
        ["strategy", f"{strategy.name}: {strategy.text} ({', '.join(settings)})"],
        [
            "an entry",
            f"buys for {grouped(plan.order_target_usdt)} USDT, at most {plan.collar_bps} bps above the last close",
        ],
        [
            "fees",
            f"{frozen.fees.bps:f} bps, {frozen.fees.source}, since {frozen.fees.since}, "
            f"in {frozen.fees.currency}",
        ],
        ["inputs SHA-256", sha256(frozen)],
    ]  # fmt: skip


def _health(frozen: Inputs) -> list[str]:
    health = frozen.health
    beat = "no watch beat yet"
    if health.last_beat_at is not None:
        age = (frozen.exchange_time - health.last_beat_at).total_seconds()
        beat = f"last watch beat {age:g} s ago"
    offset = health.clock_offset_ms
    return [
        beat,
        health.ledger_problem or "ledger and witness agree",
        f"{grouped(health.disk_free_mb)} MB of disk free",
        "simulated clock" if offset is None else f"this clock {offset:+,d} ms off the exchange's",
    ]


def _cash(frozen: Inputs) -> str:
    reserved = frozen.portfolio.reserved
    kept = f", {grouped(reserved)} USDT of it reserved" if reserved else ""
    return f"{grouped(frozen.portfolio.cash)} USDT{kept}"


def _positions(frozen: Inputs) -> list[str]:
    return [
        f"{p.quantity:f} {_coin(p.symbol)}, cost {grouped(p.cost)} USDT"
        for p in frozen.portfolio.held
    ]


def _equity(frozen: Inputs) -> str:
    marks = {v.symbol: v.candles.last_close for v in frozen.markets if len(v.candles)}
    if any(p.symbol not in marks for p in frozen.portfolio.held):
        return "not known: something is held that has no close"
    return f"{grouped(equity(frozen.portfolio, marks))} USDT at the last closes"


def _market(view: MarketView, frozen: Inputs) -> dict[str, str]:
    """One symbol's column of the summary."""
    candles, quote, instrument = view.candles, view.quote, view.instrument
    column = dict.fromkeys(
        ("closed minutes", "last close", "bid", "ask", "spread", "quote's age", "price step", "one lot",
         "smallest legal order"), "not seen"
    )  # fmt: skip
    column["closed minutes"] = "none"
    column["problems"] = "; ".join(f"{p.code}: {p.text}" for p in view.problems) or "none"
    if len(candles):
        first, last = from_ms(candles.open_ms[0]), from_ms(candles.open_ms[-1])
        column["closed minutes"] = f"{len(candles)}, {first:%H:%M} to {last + MINUTE:%H:%M} UTC"
        column["last close"] = f"{grouped(candles.last_close)} USDT"
    if quote is not None:
        age = (frozen.exchange_time - quote.at).total_seconds()
        column |= {
            "bid": f"{grouped(quote.bid)} USDT",
            "ask": f"{grouped(quote.ask)} USDT",
            "spread": f"{(quote.ask - quote.bid) / quote.mid * BPS:,.2f} bps",
            "quote's age": f"{age:g} s",
        }
    if instrument is not None:
        column |= {
            "price step": f"{instrument.price_step:f} USDT",
            "one lot": f"{instrument.lot:f} {_coin(view.symbol)}",
            "smallest legal order": f"{instrument.min_notional:,.2f} USDT",
        }
    return column


def _symbol_verdicts(choice: Choice) -> Piece:
    """One symbol's table of verdicts: its one reason, refusals, figures, then facts in a line each."""
    refused = [v for v in choice.verdicts if not v.allowed]
    figures = [v for v in choice.verdicts if v.allowed and v.value is not None]
    facts = [v for v in choice.verdicts if v.allowed and v.value is None]
    head, styles = ["verdict", "value", "limit", "distance"], [LEFT, RIGHT, RIGHT, RIGHT]
    html = [_html_row(head, styles, "th")]
    lines = [_line(head), _line([":--", "--:", "--:", "--:"])]
    for v in (*refused, *figures):
        numbers = [figure(x, _unit(v, choice.symbol)) for x in (v.value, v.limit, v.distance)]
        text = f"{_word(v)} {v.code.replace('_', '_<wbr>')}<br><small>{escape(v.text)}</small>"
        html.append(_html_row([text, *numbers], styles, "td", "" if v.allowed else REFUSED))
        lines.append(
            _line([f"{_word(v)} {v.code}{'' if v.allowed else f': {md(v.text)}'}", *numbers])
        )
    title = f"<b>{escape(f'{choice.symbol}: {choice.reason}')}</b> {escape(choice.reason_text)}"
    each = "".join(f"<br>{v.code}: {escape(v.text)}" for v in facts)
    return Piece(
        f"**{choice.symbol}: {choice.reason}** {md(choice.reason_text)}\n\n"
        + "\n".join(lines)
        + f"\n\nAllowed, without a figure: {', '.join(v.code for v in facts)}.",
        f"<p>{title}</p><table>{''.join(html)}</table>"
        f"<p><small>Allowed, without a figure:{each}</small></p>",
    )


def _word(verdict: Verdict) -> str:
    if not verdict.allowed:
        return "<b>REFUSED</b>"
    beyond = verdict.distance is not None and verdict.distance < 0
    return "exempt" if beyond else "allowed"


def _unit(verdict: Verdict, symbol: str) -> str:
    unit = UNITS.get(verdict.code, "")
    return _coin(symbol) if unit == "coin" else unit


def _did(state: str, acts: Sequence[Mapping[str, Any]]) -> str:
    """The first sentence of the outcome."""
    if acts:
        filled = sum(act["result"] == "FILLED" for act in acts)
        return f"**{md(state)}: {filled} of {len(acts)} {'order was' if len(acts) == 1 else 'orders were'} filled.**"
    why = {
        "done": "the decision above asks for no order",
        "refused": "the gate kept the order back",
        "failed": "the tick failed, and a failed tick changes nothing more",
        "missed": "the tick began too late, and a late tick never trades",
    }
    return f"**{md(state)}.** Nothing was ordered: {why.get(state, 'no reason is recorded')}."


def _act(act: Mapping[str, Any]) -> list[str]:
    """One order's row of the outcome."""
    result = (
        act["result"]
        if act["reason"] in (None, "", act["result"])
        else f"{act['result']} ({act['reason']})"
    )
    what = f"{act['side']} {act['quantity']} {_coin(act['symbol'])}"
    figures = [_text_number(act[name]) for name in ("price", "notional", "fee")]
    return [act["order_id"], what, _text_number(act["limit"]), result, *figures]


def _text_number(text: str | None) -> str:
    """A decimal string of the ledger with thousands marked; a dash for none."""
    return "-" if text is None or text == "" else grouped(Decimal(text))


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


def _instrument(frozen: Inputs, symbol: str) -> Instrument | None:
    view = frozen.market(symbol)
    return None if view is None else view.instrument


def _lots(quantity: Decimal, instrument: Instrument | None, symbol: str) -> str:
    if instrument is None:
        return f"{quantity:f} {_coin(symbol)}"
    lots = quantity / instrument.lot
    return f"{lots:,.0f} {'lot' if lots == 1 else 'lots'}"


def _coin(symbol: str) -> str:
    return symbol.removesuffix("USDT")


def _time(moment: datetime) -> str:
    return iso(moment).replace("T", " ").replace("Z", " UTC")
