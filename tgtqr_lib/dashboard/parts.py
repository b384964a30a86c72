"""Pieces of HTML that the sections share. Every text that comes from outside goes through `esc`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Any

from tgtqr_lib.clock import iso

DASH = "–"
KINDS = {"n": " class=num", "N": ' class="num on-wide"', "W": " class=on-wide"}


def esc(value: Any) -> str:
    """`value` as text that no browser takes for markup; a dash for None."""
    return DASH if value is None else escape(str(value), quote=True)


def card(title: str, body: str, *, note: str = "", wide: bool = False) -> str:
    """A titled box; `body` and `note` are HTML."""
    tail = f'<p class="note">{note}</p>' if note else ""
    return f'<section class="card{" span" if wide else ""}"><h2>{esc(title)}</h2>{body}{tail}</section>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: str = "") -> str:
    """A table in a box that scrolls by itself; cells are HTML.

    numbers  one letter a column: `n` for figures, which stand at the right, `-` for words; a capital
             `N` or `W` for those that a phone has no room for
    """
    kinds = [KINDS.get(kind, "") for kind in numbers.ljust(len(head))]
    top = "".join(f"<th{kind}>{esc(name)}</th>" for kind, name in zip(kinds, head, strict=True))
    lines = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table class="facts"><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'


def figures(pairs: Iterable[tuple[str, str]]) -> str:
    """Named figures side by side; the values are HTML."""
    cells = "".join(f"<div><dt>{esc(name)}</dt><dd>{value}</dd></div>" for name, value in pairs)
    return f'<dl class="figures">{cells}</dl>'


def empty(text: str) -> str:
    """What stands where there is nothing to show yet."""
    return f'<p class="empty">{esc(text)}</p>'


def when(moment: datetime | str | None, *, day: bool = False) -> str:
    """A time in UTC; the page puts the reader's own beside it. A phone has no room for the date."""
    if moment is None:
        return DASH
    text = moment if isinstance(moment, str) else iso(moment.replace(microsecond=0))
    if not day:
        return f'<time datetime="{esc(text)}">{esc(text[11:19])} UTC</time>'
    date, minute = f'<span class="on-wide">{esc(text[:10])} </span>', esc(text[11:16])
    return f'<time datetime="{esc(text)}">{date}{minute}<span class="on-wide"> UTC</span></time>'


def money(
    amount: str | Decimal | None, *, signed: bool = False, digits: int = 4, unit: bool = True
) -> str:
    """An amount in USDT with as many digits as a person reads; the exact one when pointed at.

    unit  False where the column's head says USDT
    """
    if amount is None:
        return DASH
    value = Decimal(str(amount))
    text = f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}"
    tone = (" class=up" if value > 0 else " class=down" if value < 0 else "") if signed else ""
    tail = " <small>USDT</small>" if unit else ""
    return f'<span{tone} title="{esc(amount)} USDT">{text.replace("-", "−")}</span>{tail}'


def price(text: str | None) -> str:
    """A price with thousands, in its own digits, at least two and at most six."""
    if text is None:
        return DASH
    value = Decimal(text)
    digits = min(max(-value.normalize().as_tuple().exponent, 2), 6)
    return f"{value:,.{min(digits, 2 if value >= 100 else digits)}f}"


def bar(
    name: str, value: Decimal | None, limit: Decimal, unit: str, *, used: Decimal | None = None
) -> str:
    """A limit as a bar: how much of it is used, with value, limit and what is left, in `unit`.

    used  0 to 1; without it value over limit
    """
    if used is None:
        used = Decimal(0) if value is None or not limit else value / limit
    value = None if value is None else max(value, Decimal(0))
    share = min(max(used, Decimal(0)), Decimal(1))
    tone = "red" if share >= 1 else "orange" if share >= Decimal("0.8") else "blue"
    digits = 4 if unit == "USDT" else 0
    shown = DASH if value is None else f"{value:,.{digits}f}"
    return (
        f'<div class="limit"><div class="limit-head"><span>{esc(name)}</span>'
        f"<span>{shown} of {limit:,.{2 if unit == 'USDT' else 0}f} {esc(unit)}</span></div>"
        f'<div class="bar" role="meter" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{share * 100:.0f}" '
        f'aria-label="{esc(name)}"><i style="width:{share * 100:.1f}%;background:var(--{tone})"></i></div></div>'
    )
