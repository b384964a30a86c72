"""The pieces of the daily report's page: tables, sentences and one picture, made of a `Daily`.

Nothing here reads a ledger, decides or writes. Tables are narrow enough for a phone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from html import escape

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tgtqr_lib.books import DONE
from tgtqr_lib.charts import BLUE, GREEN, GRID, INK, RED, STYLE, Chart, Charts, font, png_bytes
from tgtqr_lib.clock import to_ms
from tgtqr_lib.daily import NO_SYMBOL, Book, Daily, Gate, Parity, Tick, Trip, start_of
from tgtqr_lib.domain import Side
from tgtqr_lib.tick_page import Piece, coin, grouped, md
from tgtqr_lib.twin import Outcome, Twin, words

CENT = Decimal("0.0001")  # what amounts are rounded to; the ledger holds them to 1e-8
MINUS = "\N{MINUS SIGN}"
WIDTH_IN, HEIGHT_IN, DPI = 4.8, 3.2, 216
HOUR_MS = 3_600_000
DIFFERENCES = 12  # from parity that are shown
NEAR = Decimal("0.5")  # a floor is drawn when it lies within this share of the curve's range


def headline(report: Daily, compared: Parity | None = None) -> Piece:
    """The day in one sentence, and below it whether anything needs a look."""
    lines = [f"**{sentence(report)}**"]
    if not report.over:
        lines.append(f"The day is not over: the ledger ends at {_clock(report.until)} UTC.")
    lines += [f"The account was ended: {md(text)}." for text in report.endings]
    looks = _to_look_at(report)
    if compared is not None and compared.applies and not compared.equal:
        looks.append("parity")
    lines.append(f"To look at: {'; '.join(looks)}." if looks else "Nothing needs a look.")
    html = [f'<p class="headline"><b>{escape(sentence(report))}</b></p>']
    html += [f"<p>{escape(line.replace('**', ''))}</p>" for line in lines[1:]]
    return Piece("\n\n".join(lines), "".join(html))


def sentence(report: Daily) -> str:
    """`1 June 2025: 96 ticks, 46 fills, fees 0.0423 USDT, equity 10.0000 → 9.9807 USDT (−0.0193 USDT)`."""
    start = start_of(report.day)
    day = f"{start.day} {start:%B %Y}"
    fees = sum((book.fees for book in report.books), Decimal(0))
    parts = [
        _count(len(report.ticks), "tick"),
        _count(len(report.fills), "fill"),
        f"fees {money(fees)}",
    ]
    for book in report.books:
        whose = f" of {book.account.id}" if len(report.books) > 1 else ""
        change = "" if book.change is None else f" ({money(book.change, sign=True)})"
        parts.append(f"equity{whose} {_bare(book.start)} → {money(book.end)}{change}")
    return f"{day}: {', '.join(parts)}"


def _to_look_at(report: Daily) -> list[str]:
    counts = report.counts
    found = [f"{_count(counts[s], 'tick')} {s}" for s in counts if s != DONE]
    if report.over and report.unrecorded:
        found.append(f"{_count(report.unrecorded, 'quarter hour')} without a tick")
    stops = [gate for gate in report.gates if gate.what == "stopped"]
    found += [f"stopped ({md(gate.reason)})" for gate in stops]
    found += [_count(len(report.chain.problems), "problem") + " in the ledger"] * bool(
        report.chain.problems
    )
    found += [f"{book.account.id} opened no day" for book in report.books if book.start is None]
    return found


def ticks(report: Daily) -> Piece:
    """How many ticks ended in each state, and every one that did not end well with its reason."""
    counts = ", ".join(f"{count} {state}" for state, count in report.counts.items())
    without = report.unrecorded
    lines = [f"{len(report.ticks)} of 96 quarter hours have a tick: {counts}."]
    if without:
        lines.append(
            f"{_count(without, 'quarter hour')} without one, before the first or after the last."
        )
    told = [tick for tick in report.ticks if tick.state != DONE]
    rows = [[_clock(tick.at), tick.state, tick.text or tick.reason] for tick in told]
    return _told(lines, _table(["tick", "state", "why"], rows, "lll") if rows else None)


def equity(report: Daily) -> Charts | Piece:
    """Equity by minute with every fill, one picture an account; a sentence when there is no mark."""
    seen = [book for book in report.books if book.marks]
    if not seen:
        return Piece("No minute of the day was marked: no watch ran.")
    return Charts(tuple(equity_chart(report, book) for book in seen))


def money_table(report: Daily) -> Piece:
    """Where the change of equity comes from: what the prices earned, less fees and spread."""
    pieces = []
    for book in report.books:
        rows = [
            ["equity at the start", money(book.start)],
            ["earned by the prices", money(book.earned, sign=True)],
            ["fees paid", money(-book.fees, sign=True)],
            ["spread paid", money(-book.spread, sign=True)],
            ["equity at the end", money(book.end)],
            ["change", money(book.change, sign=True)],
        ]
        pieces += _named(report, book, _table(["", ""], rows, "lr", strong=(4, 5)))
    note = "Fees and spread are those of the day's fills; earned is the change before both."
    return _joined([*pieces, Piece(note, f"<p><small>{note}</small></p>")])


def trades(report: Daily) -> Piece:
    """Every sale of the day with the purchase it closes, and their sum."""
    start, pieces = start_of(report.day), []
    for book in report.books:
        if not book.trips:
            pieces += _named(report, book, Piece("Nothing was sold, so no trade was closed."))
            continue
        rows = [
            [
                f"{coin(trip.symbol)}\n{_from_to(trip, start)}\n{trip.quantity:f}",
                f"{_price(trip.entry_price)}\n{_price(trip.exit_price)}",
                *_parts(trip.gross, trip.fees, trip.spread),
            ]
            for trip in book.trips
        ]
        won = sum(trip.net > 0 for trip in book.trips)
        sums = [
            sum((getattr(trip, name) for trip in book.trips), Decimal(0))
            for name in ("gross", "fees", "spread")
        ]
        rows.append([f"{_count(len(rows), 'trade')}\n{won} won", "", *_parts(*sums)])
        head = ["trade", "in\nout", "gross", "fees\nspread", "net"]
        last = (len(rows) - 1,)
        table = _table(head, rows, "lrrrr", strong=last, coloured=4, kind="trades")
        pieces += _named(report, book, table)
    note = (
        "USDT. Gross is from the middle of the book to the middle of the book; fees and spread are those of "
        "both fills, also when the purchase was on an earlier day."
    )
    return _joined([*pieces, Piece(note, f"<p><small>{note}</small></p>")])


def _from_to(trip: Trip, start: datetime) -> str:
    """Entry and exit time, with the date of an entry on an earlier day."""
    earlier = f"{trip.entry_at:%m-%d} " if trip.entry_at < start else ""
    return f"{earlier}{_clock(trip.entry_at)}-{_clock(trip.exit_at)}"


def _parts(gross: Decimal, fees: Decimal, spread: Decimal) -> list[str]:
    """Gross, both costs in one cell, and net."""
    net = gross - fees - spread
    return [_bare(gross, sign=True), f"{_bare(fees)}\n{_bare(spread)}", _bare(net, sign=True)]


def twin(report: Daily) -> Piece:
    """What the same decisions would have come to at the smallest size that the exchange takes."""
    pieces = []
    for book in report.books:
        if book.twins is None:
            text = "Its orders go to the exchange as they are, so there is nothing to make again."
            pieces += _named(report, book, Piece(text))
            continue
        today, whole = book.twins
        part = [_told(words.sentences(today), None)]
        if whole.orders:
            part.append(_both(today, whole, f"{book.account.opened_at:%Y-%m-%d}"))
        if told := words.differences(today):
            part.append(_told(told, None))
        pieces += _named(report, book, _joined(part))
    note = words.HOW
    return _joined([*pieces, Piece(md(note), f"<p><small>{escape(note)}</small></p>")])


def _both(today: Twin, whole: Twin, since: str) -> Piece:
    """Paper and twin beside each other: the day, and since the account was opened."""

    def row(name: str, told: Callable[[Outcome], str], of: Twin = today) -> list[str]:
        return [name, told(of.paper), told(of.twin)]

    rows = [
        row("purchases\nUSDT each", lambda one: f"{one.buys:,}\n{_size(one.purchase)}"),
        row("sales", lambda one: f"{one.sales:,}"),
        row("fees paid", lambda one: _bare(one.fees)),
        row("held at the end", lambda one: _bare(one.worth)),
        row("result of the day\nof what was traded", _result),
        row(f"result\nsince {since}", _result, whole),
    ]
    return _table(["USDT", "paper", "twin"], rows, "lrr", strong=(4, 5))


def _result(one: Outcome) -> str:
    return f"{_bare(one.result, sign=True)}\n{words.bps(one.bps)}"


def _size(purchase: Decimal | None) -> str:
    return "-" if purchase is None else _round(purchase, 2)


def reasons(report: Daily) -> Piece:
    """How often each symbol had each reason, and what it means."""
    rows = [
        [
            "tick" if r.symbol == NO_SYMBOL else coin(r.symbol),
            str(r.count),
            f"{r.code}\n{r.meaning}",
        ]
        for r in report.reasons
    ]
    return _table(["", "times", "reason"], rows, "lrl") if rows else Piece("No tick was decided.")


def refusals(report: Daily) -> Piece:
    """What rules refused, with the sentence of the last time."""
    if not report.refusals:
        return Piece("No rule refused anything.")
    rows = []
    for one in report.refusals:
        first, last = _tick_clock(one.first), _tick_clock(one.last)
        when = first if one.first == one.last else f"{first}-{last}"
        what = f"{one.ordered} of {one.count} with an order" if one.ordered else "no order was due"
        rows.append(
            [f"{coin(one.symbol)}\n{when}", str(one.count), f"{one.code}: {one.text}\n{what}"]
        )
    return _table(["", "times", "why (the last time)"], rows, "lrl")


def gate(report: Daily) -> Piece:
    """What opened and closed the gate, by whom and why; before it, how the day began."""
    before = report.gate_before
    began = "stopped: it was never armed"
    if before is not None:
        when = f" since {_moment(before.at)}" if before.at else ""
        began = f"{before.what}{when}, by {before.by}: {before.reason}"
    lines = [f"At the start of the day: {began}."]
    if not report.gates:
        lines.append("It did not change.")
        return _told(lines, None)
    rows = [[_gate_clock(one), one.what, f"{one.reason}\nby {one.by}"] for one in report.gates]
    return _told(lines, _table(["at", "", "why"], rows, "lll"))


def changes(report: Daily) -> Piece:
    """Settings and limits that somebody changed."""
    if not report.changes:
        return Piece("No setting and no limit was changed.")
    rows = []
    for one in report.changes:
        since = f", from {one.since}" if one.since else ""
        why = f": {one.reason}" if one.reason else ""
        rows.append(
            [
                _clock(one.at) if one.at else "-",
                one.name,
                f"{one.old} → {one.new}\n{one.by}{since}{why}",
            ]
        )
    return _table(["at", "name", "change"], rows, "lll")


def standing(report: Daily) -> Piece:
    """What is held at the end, what it can lose at worst, and how far every limit is."""
    pieces = []
    for book in report.books:
        part = []
        if book.held:
            rows = [
                [
                    f"{coin(h.symbol)} {h.quantity:f}\nsince {_moment(h.since)}",
                    _bare(h.cost),
                    _bare(h.worth),
                    _bare(None if h.worth is None else h.worth - h.cost, sign=True),
                ]
                for h in book.held
            ]
            part.append(_table(["held", "cost", "worth", "open"], rows, "lrrr", coloured=3))
        at = f" at the closes of {_moment(book.marked)}" if book.marked else ""
        lines = [] if book.held else ["Nothing is held."]
        lines.append(
            f"Cash {money(book.cash)}, equity {money(book.end)}{at}. Should every price go to zero, "
            f"{money(book.cash)} would be left, {money(book.cash - book.total)} over the account's floor."
        )
        if book.runway is None:
            lines.append("Nothing was paid in the last 24 hours, so there is no runway to tell.")
        else:
            lines.append(
                f"At the costs of the last 24 hours what is left over that floor lasts "
                f"{_round(book.runway, 1)} days."
            )
        part.append(_told(lines, None))
        rows = [
            [name, _bare(value), _bare(limit), _bare(left)]
            for name, value, limit, left in book.distances
        ]
        part.append(_table(["limit", "now", "limit", "distance"], rows, "lrrr"))
        pieces += _named(report, book, _joined(part))
    return _joined(pieces)


def parity(found: Parity) -> Piece:
    """Whether the day's ticks equal a backtest of the same minutes, and the ticks that differ."""
    word = {True: "Equal", False: "Not equal", None: "Not known"}[found.equal]
    if not found.applies:
        word = "Not for this account"
    if found.equal and found.rows:
        word = "Explained"
    words = Piece(f"**{word}**: {md(found.text)}.", f"<p><b>{word}</b>: {escape(found.text)}.</p>")
    if not found.rows:
        return words
    rows = [
        [_tick_clock(tick), f"{cause}\n{text}"] for tick, cause, text in found.rows[:DIFFERENCES]
    ]
    if (more := len(found.rows) - DIFFERENCES) > 0:
        rows.append(["", f"and {more} more; `tgtqr parity --json` tells all"])
    return _joined([words, _table(["tick", "cause"], rows, "ll")])


def ledger(report: Daily) -> Piece:
    """The ledger's head, and everything that is wrong with it."""
    chain = report.chain
    state = (
        _count(len(chain.problems), "problem")
        if chain.problems
        else "whole: nothing is lost or edited"
    )
    lines = [
        f"{chain.events:,} events, {state}.",
        *(f"Problem: {md(text)}" for text in chain.problems),
        f"Head `{chain.head}`.",
    ]
    html = [f"<p>{escape(line)}</p>" for line in lines[:-1]]
    half = len(chain.head) // 2
    html.append(f"<p><small>Head {chain.head[:half]}<wbr>{chain.head[half:]}</small></p>")
    return Piece("\n\n".join(lines), "".join(html))


def links(report: Daily) -> Piece:
    """The sealed notebook of every tick, an hour a row; one that traded or did not end well is marked."""
    hours: dict[int, dict[int, Tick]] = {}
    for tick in report.ticks:
        hours.setdefault(tick.at.hour, {})[tick.at.minute] = tick
    head = ["hour", ":00", ":15", ":30", ":45"]
    html, lines = [_row(head, "lllll", "th")], [_line(head), "|" + " :-- |" * 5]
    for hour, found in sorted(hours.items()):
        cells = [_linked(found.get(minute)) for minute in (0, 15, 30, 45)]
        html.append(_row([f"{hour:02d}", *(cell for cell, _ in cells)], "lllll", "td"))
        lines.append(_line([f"{hour:02d}", *(mark for _, mark in cells)]))
    note = "A dot is a quiet tick, a number counts its fills, × is one that was refused, failed or missed."
    return Piece(
        "\n".join([note, "", *lines]),
        f'<p><small>{note}</small></p><table class="grid">{"".join(html)}</table>',
    )


def _linked(tick: Tick | None) -> tuple[str, str]:
    """A tick's cell as HTML and as Markdown."""
    if tick is None:
        return "", ""
    word = "×" if tick.state != DONE else str(tick.fills or "•")
    if tick.notebook is None:
        return word, word
    title = f"{tick.tick_id} {tick.state}"
    html = f'<a href="{escape(tick.notebook, quote=True)}" title="{title}">{word}</a>'
    return html, f"[{word}]({tick.notebook})"


# --- the picture ---


def equity_chart(report: Daily, book: Book) -> Chart:
    """One account's equity by minute, a triangle at every fill, and the day's floor where it is in sight."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        _draw(figure, report, book)
        png = png_bytes(figure)
    values = [worth for _, worth in book.marks]
    text = (
        f"Equity of {book.account.id} on {report.day}: from {money(book.start or values[0])} to "
        f"{money(values[-1])}, at least {money(min(values))}, at most {money(max(values))}, "
        f"{_count(len(book.fills), 'fill')}; {_floor_told(book)}"
    )
    return Chart(png, text)


def _draw(figure: Figure, report: Daily, book: Book) -> None:
    start = to_ms(start_of(report.day))
    times = np.array([at - start for at, _ in book.marks]) / HOUR_MS
    values = np.array([float(worth) for _, worth in book.marks])
    if book.start is not None:
        times, values = np.insert(times, 0, 0.0), np.insert(values, 0, float(book.start))
    axes = figure.add_axes((0.15, 0.16, 0.79, 0.66))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    holes = np.flatnonzero(np.diff(times) > 0.06) + 1  # minutes without a mark
    axes.plot(
        np.insert(times, holes, np.nan), np.insert(values, holes, np.nan), color=BLUE, linewidth=1.3
    )
    bought = _marks(axes, book, start, times, values, Side.BUY, "^", GREEN)
    sold = _marks(axes, book, start, times, values, Side.SELL, "v", RED)
    _scale(axes, book, values)
    figure.text(0.02, 0.925, "Equity, USDT", color=INK, fontproperties=font(12, bold=True))
    figure.text(0.98, 0.925, f"▼ sold {sold}", color=RED, ha="right", fontproperties=font(10.5))
    figure.text(
        0.735, 0.925, f"▲ bought {bought}", color=GREEN, ha="right", fontproperties=font(10.5)
    )
    figure.text(0.02, 0.85, _floor_told(book), color=INK, fontproperties=font(9))
    axes.set_xlabel(f"{report.day}, UTC", color=INK, fontproperties=font(10), labelpad=1)


def _marks(
    axes: Axes,
    book: Book,
    start: int,
    times: np.ndarray,
    values: np.ndarray,
    side: Side,
    shape: str,
    colour: str,
) -> int:
    """A triangle at every fill of `side`, on the curve; how many there are."""
    at = np.array([(to_ms(f.at) - start) / HOUR_MS for f in book.fills if f.side is side])
    if len(at):
        axes.plot(
            at, np.interp(at, times, values), shape, color=colour, markersize=6.5, linestyle="none",
            markeredgecolor="white", markeredgewidth=0.5, clip_on=False, zorder=4,
        )  # fmt: skip
    return len(at)


def _scale(axes: Axes, book: Book, values: np.ndarray) -> None:
    """Both axes: the whole day, and equity with as many digits as its steps need."""
    low, high = float(values.min()), float(values.max())
    if _in_sight(book):
        low = min(low, float(book.floor))
        axes.axhline(float(book.floor), color=RED, linewidth=1, linestyle=(0, (4, 2)))
    if book.start is not None:
        axes.axhline(float(book.start), color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
    room = max((high - low) * 0.1, 0.0005)
    axes.set_ylim(low - room, high + room)
    at = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low - room, high + room)
    at = at[(at >= low - room) & (at <= high + room)]
    digits = next((d for d in range(2, 8) if np.allclose(at, np.round(at, d), 0, 1e-9)), 8)
    axes.set_yticks(at, [f"{value:,.{digits}f}" for value in at])
    axes.set_xlim(0, 24)
    axes.set_xticks(range(0, 25, 4), [f"{hour:02d}:00" for hour in range(0, 25, 4)])
    axes.tick_params(colors=INK, length=3)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontproperties(font(10))


def _in_sight(book: Book) -> bool:
    values = [worth for _, worth in book.marks]
    return book.floor is not None and book.floor > min(values) - NEAR * max(
        max(values) - min(values), CENT
    )


def _floor_told(book: Book) -> str:
    if book.floor is None:
        return "the day was not opened"
    if _in_sight(book):
        return f"dashed: the day's floor, {money(book.floor)}"
    below = book.marks[-1][1] - book.floor
    return f"the day's floor, {money(book.floor)}, is {money(below)} further down"


# --- words and figures ---


def money(amount: Decimal | None, *, sign: bool = False) -> str:
    """`amount` rounded to `CENT` with its unit, `−0.0193 USDT`; a dash when it is not known."""
    return "-" if amount is None else f"{_bare(amount, sign=sign)} USDT"


def _bare(amount: Decimal | None, *, sign: bool = False) -> str:
    """`amount` rounded to `CENT`, with a true minus, and no sign for zero."""
    if amount is None:
        return "-"
    rounded = amount.quantize(CENT, ROUND_HALF_EVEN)
    if not rounded:
        return f"{abs(rounded):,f}"
    return format(rounded, "+,f" if sign else ",f").replace("-", MINUS)


def _round(value: Decimal, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _price(price: Decimal) -> str:
    """A price without the zeros that a quotient leaves."""
    short = price.normalize()
    return grouped(
        price.quantize(Decimal("0.01"))
        if short.as_tuple().exponent < -2
        else price.quantize(Decimal(1).scaleb(min(-1, short.as_tuple().exponent)))
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _clock(at: datetime) -> str:
    return f"{at:%H:%M}"


def _tick_clock(tick: str) -> str:
    return f"{tick[9:11]}:{tick[11:13]}"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _gate_clock(one: Gate) -> str:
    if one.at is not None:
        return f"{one.at:%H:%M:%S}"
    return "not noted" if one.until is None else f"by {one.until:%H:%M:%S}"


# --- what the pieces are made of ---


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    align: str,
    *,
    strong: Sequence[int] = (),
    coloured: int | None = None,
    kind: str = "facts",
) -> Piece:
    """A table of plain texts, whose second lines are small.

    align     one letter, l or r, a column
    strong    rows in bold; `coloured` is the column whose sign has a colour
    """
    html = [_row([_cell(cell) for cell in head], align, "th")] if any(head) else []
    lines = [
        _line([cell.replace("\n", " / ") for cell in head]),
        "|" + "".join(" --: |" if a == "r" else " :-- |" for a in align),
    ]
    for number, row in enumerate(rows):
        cells = [_cell(text, number in strong, place == coloured) for place, text in enumerate(row)]
        html.append(_row(cells, align, "td"))
        lines.append(_line([md(text.replace("\n", " / ")) for text in row]))
    return Piece("\n".join(lines), f'<table class="{kind}">{"".join(html)}</table>')


def _cell(text: str, strong: bool = False, coloured: bool = False) -> str:
    first, *more = text.split("\n")
    html = escape(first).replace("_", "_<wbr>")
    html = f"<b>{html}</b>" if strong else html
    if coloured and first[:1] in ("+", MINUS):
        html = f'<span class="{"up" if first[0] == "+" else "down"}">{html}</span>'
    return html + "".join(f"<br><small>{escape(line)}</small>" for line in more)


def _row(cells: Iterable[str], align: str, tag: str) -> str:
    """A row of cells that are HTML already."""
    inside = "".join(
        f'<{tag} class="num" align="right">{cell}</{tag}>'
        if letter == "r"
        else f'<{tag} style="text-align:left">{cell}</{tag}>'
        for cell, letter in zip(cells, align, strict=True)
    )
    return f"<tr>{inside}</tr>"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _told(lines: Sequence[str], table: Piece | None) -> Piece:
    """Sentences, and a table below them."""
    words = Piece(
        "\n\n".join(md(line) for line in lines),
        "".join(f"<p>{escape(line)}</p>" for line in lines),
    )
    return words if table is None else _joined([words, table])


def _named(report: Daily, book: Book, piece: Piece) -> list[Piece]:
    """`piece` below the account's name when the day had more than one."""
    if len(report.books) == 1:
        return [piece]
    name = book.account.id
    return [Piece(f"**{md(name)}**", f"<p><b>{escape(name)}</b></p>"), piece]


def _joined(pieces: Sequence[Piece]) -> Piece:
    html = "".join(piece.html or f"<p>{escape(piece.markdown)}</p>" for piece in pieces)
    return Piece("\n\n".join(piece.markdown for piece in pieces), html)
