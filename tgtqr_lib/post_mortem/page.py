"""The pieces of notebooks/post_mortem.ipynb: each shows one part of a case, or says that there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from html import escape
from itertools import pairwise

from tgtqr_lib import charts, tick_page
from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.home import Home
from tgtqr_lib.impact import NOTE, Outcome
from tgtqr_lib.post_mortem.aftermath import After, Cost, Stake, afterwards
from tgtqr_lib.post_mortem.case import Case, open_case
from tgtqr_lib.post_mortem.neighbours import Flip, Neighbour, flips, what_ifs
from tgtqr_lib.post_mortem.picture import bps, pictures
from tgtqr_lib.tick_page import Piece, grouped, md, usdt

MINUTES = 60
AT = (5, 15, 30, 60)  # minutes after, for the table
NO_TICK = "No tick yet: this home has none that decided. `tgtqr tick` runs one, `make demo` a day of them."


class PostMortem:
    """A case as a page: what was known, decided, what would have changed it, and what came of it.

    Raises `DomainError` as `open_case` does; of a home without a tick it says so.
    """

    def __init__(self, home: Home | str = "", tick: str = "", minutes: int = MINUTES) -> None:
        self.home = home if isinstance(home, Home) else Home.find(home or None)
        self.minutes = minutes
        self.case = open_case(self.home, tick)

    @cached_property
    def after(self) -> After | None:
        """What came after; read once."""
        return None if self.case is None else afterwards(self.case, self.minutes)

    @property
    def headline(self) -> Piece:
        """Which tick it is, what was decided of each symbol, and the stop after it."""
        return Piece(NO_TICK) if self.case is None else headline(self.case)

    @property
    def known(self) -> Piece:
        """What was known when the inputs were frozen."""
        return Piece("") if self.case is None else tick_page.summary(self.case.inputs)

    @property
    def prices(self) -> charts.Charts:
        """The prices that were seen, and the decision."""
        if self.case is None:
            return charts.Charts(())
        return charts.price_and_mean(self.case.inputs, self.case.decision)

    @property
    def rules(self) -> Piece:
        """What every rule said."""
        return Piece("") if self.case is None else tick_page.verdicts(self.case.decision)

    @property
    def done(self) -> Piece:
        """What was done about it, as sealed."""
        return Piece("") if self.case is None else Piece(_done(self.case))

    @property
    def edges(self) -> Piece:
        """How far each close was from another signal."""
        return Piece("") if self.case is None else edges(flips(self.case), self.case)

    @property
    def what_ifs(self) -> Piece:
        """Every neighbour, and what it would have done."""
        return Piece("") if self.case is None else neighbours(what_ifs(self.case), self.case)

    @property
    def picture(self) -> charts.Charts:
        """The hour before and the minutes after."""
        return charts.Charts(()) if self.case is None else pictures(self.case, self.after)

    @property
    def course(self) -> Piece:
        """Where the price went."""
        return Piece("") if self.case is None else course(self.after, self.case)

    @property
    def costs(self) -> Piece:
        """The fills, what each cost, and what became of the positions."""
        return Piece("") if self.case is None else _joined(costs(self.after), stakes(self.after))

    @property
    def events(self) -> Piece:
        """What the ledger says of these minutes."""
        return Piece("") if self.case is None else events(self.after)


def headline(case: Case) -> Piece:
    """Which tick it is, what was decided, and the stop after it."""
    asked = f"; the newest at or before {iso(case.asked)}" if case.asked else ""
    lines = [(case.tick_id, f"{_time(case.inputs.boundary)}{asked}")]
    for choice in case.decision.choices:
        view = case.inputs.market(choice.symbol)
        what = tick_page.action(choice, view.instrument if view else None, brief=False)
        lines.append((f"{choice.symbol}: {what}.", f"{choice.reason}: {choice.reason_text}"))
    if case.stop is not None:
        body = case.stop.body
        at = f"at {body['at']}" if body["at"] else f"after {_time(case.inputs.boundary)}"
        lines.append(
            ("STOPPED after it", f"{at}, by {body['by']}: {body['reason']} (event {case.stop.seq})")
        )
    lines += [("ALTERED", text) for text in case.sealed.altered()]
    if not case.decided_alike:
        text = "what-ifs below are decided by the present code and compared with what was sealed"
        lines.append(("The present code decides otherwise", text))
    return said(lines)


def edges(found: Sequence[Flip], case: Case) -> Piece:
    """A sentence a symbol: at which close it would have said something else."""
    lines = []
    for one in found:
        decimals = case.inputs.market(one.symbol).candles.decimals
        up, down = _price(one.long_above, decimals), _price(one.flat_below, decimals)
        sides = (
            f"long above and flat below {up}"
            if up == down
            else f"long above {up}, flat below {down}"
        )
        text = (
            f"{sides}; the close {usdt(one.close)} was {_price(one.distance, decimals)} "
            f"({float(one.distance_bps):,.2f} bps) from saying something else"
        )
        lines.append((f"{one.symbol} said {one.state}:", text))
    if not lines:
        return Piece("No symbol had a signal whose distance could be told.")
    return said(lines)


def neighbours(found: Sequence[Neighbour], case: Case) -> Piece:
    """A row a change, a column a symbol; what differs stands out."""
    symbols = [choice.symbol for choice in case.decision.choices]
    by_change: dict[str, dict[str, Neighbour]] = {}
    for one in found:
        by_change.setdefault(one.change, {})[one.symbol] = one
    before = {one.symbol: one.before for one in found}
    rows = [["as it was", *(_outcome(before[s]) if s in before else "" for s in symbols)]]
    marked = [[False] * (1 + len(symbols))]
    for change, of in by_change.items():
        differs = [s in of and of[s].differs for s in symbols]
        rows.append([change, *(_told(of[s]) if s in of else "" for s in symbols)])
        marked.append([any(differs), *differs])
    changed = sum(row[0] for row in marked)
    note = (
        f"{changed} of {len(by_change)} changes would have decided otherwise. {NOTE.capitalize()}."
    )
    return _joined(table(["change", *symbols], rows, marked=marked), said([("", note)]))


def course(after: After, case: Case) -> Piece:
    """Where the price went: the close so many minutes later, and the extremes."""
    times = [minutes for minutes in AT if minutes <= after.minutes]
    rows = []
    for one in after.courses:
        cells = [one.symbol, "-" if one.start is None else grouped(one.start)]
        for minutes in times:
            price = one.after(minutes, case.inputs.boundary)
            known = price is not None and one.start is not None
            cells.append(f"{grouped(price)} ({bps(one.start, price):+.1f})" if known else "-")
        prices = [close.price for close in one.closes]
        cells += [grouped(min(prices)), grouped(max(prices))] if prices else ["-", "-"]
        rows.append([*cells, f"{len(one.closes)} of {after.minutes}, {one.source}"])
    head = ["", "at the tick", *(f"+{m} min (bps)" for m in times), "lowest", "highest", "closes"]
    known = after.known_to
    note = f"Known up to {_time(known)}." if known else "No minute after the tick is known yet."
    numbers = "l" + "r" * (len(head) - 2) + "l"
    return _joined(table(head, rows, numbers), said([("", note)]))


def costs(after: After) -> Piece:
    """Every fill, its price and what it cost beside the price it was decided at."""
    if not after.costs:
        return said([("No fill", "in these minutes, so nothing was paid.")])
    head = ["order", "at", "fill", "fee", "half spread", "against mid", "against the close"]
    rows = [_cost(one) for one in after.costs]
    fees = sum((one.fee for one in after.costs), Decimal(0))
    slipped = sum((one.against_mid for one in after.costs), Decimal(0))
    note = (
        f"{usdt(fees)} of fees and {usdt(_short(slipped))} to the book, together {usdt(_short(fees + slipped))}. "
        "Above zero is against us; against the close counts from the price that was decided at."
    )
    return _joined(table(head, rows, "lllrrrr"), said([("Paid:", note)]))


def _cost(one: Cost) -> list[str]:
    fill = one.fill
    close = "-" if one.against_close is None else grouped(_short(one.against_close))
    what = f"{fill.side} {fill.quantity:f} at {grouped(fill.price)}"
    paid = [grouped(_short(amount)) for amount in (one.fee, one.half_spread, one.against_mid)]
    return [fill.order_id, f"{fill.at:%H:%M:%S}", what, *paid, close]


def stakes(after: After) -> Piece:
    """What became of what was held."""
    if not after.stakes:
        return said([("Nothing was held", "after the tick.")])
    return said([(f"{one.symbol}:", _stake(one)) for one in after.stakes])


def _stake(one: Stake) -> str:
    text = f"{one.quantity:f} for {usdt(one.cost)} with fees; "
    made = "it is not known what it is worth" if one.made is None else _made(one.made)
    if one.closed is not None:
        how = "by the safety sale" if one.by_safety else "by the order"
        return f"{text}closed at {_time(one.closed_at)} {how} {one.closed}: {made}."
    at = f" at the close of {_time(one.mark.at)}, {usdt(one.mark.price)}" if one.mark else ""
    return f"{text}{one.left:f} is held still{at}: {made}."


def _made(amount: Decimal) -> str:
    return f"{'gained' if amount > 0 else 'lost'} {usdt(_short(abs(amount)))} after fees"


def events(after: After) -> Piece:
    """What the ledger says, and the watch's beats in a line."""
    rows = [
        [str(one.seq), "-" if one.at is None else f"{one.at:%H:%M:%S}", one.kind, one.text]
        for one in after.events
    ]
    told = table(["event", "UTC", "", "what"], rows, "rlll") if rows else said([("No event", "")])
    if not after.beats:
        return _joined(told, said([("No watch beat", "in these minutes.")]))
    first, last = after.beats[0], after.beats[-1]
    times = [mark.beat_ms for mark in after.beats]
    gap = max((b - a for a, b in pairwise(times)), default=0) / 1000
    low = min(mark.equity for mark in after.beats)
    text = (
        f"{len(after.beats)} from {from_ms(first.beat_ms):%H:%M:%S} to {from_ms(last.beat_ms):%H:%M:%S}, "
        f"at most {gap:g} s apart; equity {usdt(first.equity)} to {usdt(last.equity)}, lowest {usdt(low)}."
    )
    return _joined(told, said([("Watch beats:", text)]))


# --- words ---


def said(lines: Iterable[tuple[str, str]]) -> Piece:
    """A paragraph for each (lead, text); the lead is bold."""
    lines = list(lines)
    marked = [f"**{md(lead)}** {md(text)}".strip() if lead else md(text) for lead, text in lines]
    html = [
        f"<p>{f'<b>{escape(lead)}</b> ' if lead else ''}{escape(text)}</p>" for lead, text in lines
    ]
    return Piece("\n\n".join(marked), "".join(html))


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    align: str = "",
    marked: Sequence[Sequence[bool]] | None = None,
) -> Piece:
    """A table of plain texts; `align` has an l or r for each column, `marked` says which cells are bold."""
    align = align.ljust(len(head), "l")
    marked = marked or [[False] * len(head)] * len(rows)
    style = {"l": " style=text-align:left", "r": " style=text-align:right"}
    top = "".join(f"<th{style[a]}>{escape(name)}</th>" for a, name in zip(align, head, strict=True))
    html = [f"<tr>{top}</tr>"]
    lines = [f"| {' | '.join(map(md, head))} |"]
    lines.append(f"| {' | '.join('--:' if a == 'r' else ':--' for a in align)} |")
    for row, bold in zip(rows, marked, strict=True):
        cells = list(zip(align, row, bold, strict=True))
        shown = (f"<td{style[a]}>{_bold(escape(text), b)}</td>" for a, text, b in cells)
        html.append(f"<tr>{''.join(shown)}</tr>")
        lines.append(
            f"| {' | '.join(f'**{md(text)}**' if b else md(text) for _, text, b in cells)} |"
        )
    return Piece("\n".join(lines), f"<table>{''.join(html)}</table>")


def _bold(html: str, bold: bool) -> str:
    return f"<b>{html}</b>" if bold else html


def _joined(*pieces: Piece) -> Piece:
    return Piece("\n\n".join(p.markdown for p in pieces), "".join(p.html for p in pieces))


def _outcome(one: Outcome) -> str:
    order = "" if one.order is None else f", {one.order}{'' if one.approved else ' refused'}"
    return f"{one.signal}{order} ({one.reason})"


def _told(one: Neighbour) -> str:
    if one.after is None:
        return f"cannot be told: {one.why}"
    return _outcome(one.after) if one.differs else "the same"


def _done(case: Case) -> str:
    """The outcome without its heading, which the notebook has already."""
    return tick_page.outcome_markdown(case.outcome).split("\n\n", 1)[1]


def _price(value: Fraction, decimals: int) -> str:
    """An exact fraction as a price with two digits more than the market's own."""
    digits = decimals + 2
    return usdt(Decimal(round(value * 10**digits)).scaleb(-digits))


def _short(amount: Decimal) -> Decimal:
    """With at most 8 decimals."""
    return round(amount, 8) if amount.as_tuple().exponent < -8 else amount


def _time(moment: datetime) -> str:
    return iso(moment).replace("T", " ").replace("Z", " UTC")
