"""Each limit as a bar: what is used of it, and how far it is away."""

from __future__ import annotations

from decimal import Decimal

from tgtqr_lib.dashboard.facts import Snapshot
from tgtqr_lib.dashboard.parts import bar, card, empty, esc, when

TITLE = "Risk"


def html(seen: Snapshot) -> str:
    """The section."""
    facts = seen.facts
    if facts is None:
        return card(TITLE, empty("No account yet, so nothing is at risk."))
    bars = [_limit(row) for row in facts["limits"]]
    for row in facts["guards"]:
        value = None if row["value"] is None else Decimal(row["value"])
        bars.append(bar(row["name"], value, Decimal(row["limit"]), row["unit"]))
    book = facts["ledger"]
    trouble = (
        f' <b class="down">{esc(book["problem"])}</b>'
        if book["problem"]
        else ", as its witness has seen it"
    )
    orders = facts["orders"]
    on_paper = seen.account is None or seen.account.venue is None
    small = f"<p>0 of {orders:,} orders could exist on Bybit, smallest legal order 5.00 USDT.</p>"
    tail = (
        f"<p>Ledger: {book['seq']:,} events, head <code>{esc(book['head'][:12])}</code>{trouble}.</p>"
        f"{small if on_paper else ''}"
        f"<p>Last watch beat {when(facts['last_beat'], day=True)}.</p>"
    )
    return card(TITLE, "".join(bars) + tail)


def _limit(row: dict[str, str | None]) -> str:
    """A position uses its limit by what it cost; a floor by how much of the way to it is lost."""
    limit = Decimal(row["limit"])
    value = None if row["value"] is None else Decimal(row["value"])
    if not row["name"].endswith("floor"):
        return bar(row["name"], value, limit, "USDT")
    lost = row["lost"]
    allowed = Decimal(row["allowed"])
    name = {"day floor": "loss today", "total floor": "loss in all"}[row["name"]]
    return bar(name, None if lost is None else max(Decimal(lost), Decimal(0)), allowed, "USDT")
