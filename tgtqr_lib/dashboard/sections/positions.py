"""What is held now, and what selling all of it would bring."""

from __future__ import annotations

from decimal import Decimal

from tgtqr_lib.dashboard.facts import Snapshot
from tgtqr_lib.dashboard.parts import card, empty, esc, money, price, table

TITLE = "Positions"


def html(seen: Snapshot) -> str:
    """The section."""
    facts = seen.facts
    if facts is None or not facts["positions"]:
        cash = "" if facts is None else f" Cash {Decimal(facts['cash']):.4f} USDT."
        return card(TITLE, empty(f"Nothing is held.{cash}"))
    limit = {row["name"]: Decimal(row["limit"]) for row in facts["limits"]}
    rows = []
    for p in facts["positions"]:
        most = limit[f"position {p['symbol']}"]
        share = f"{Decimal(p['cost']) / most:.0%}" if most else "over 100%"
        rows.append(
            [
                f"<b>{esc(p['symbol'])}</b>",
                f"{esc(p['quantity'])} <small>{esc(p['symbol'].removesuffix('USDT'))}</small>",
                price(p["entry"]),
                price(p["mark"]),
                money(p["value"], unit=False),
                money(p["unrealised_pnl"], signed=True, unit=False),
                share,
            ]
        )
    head = ("symbol", "quantity", "entry", "mark", "value", "unrealised", "of limit")
    sold = [p["sold_now"] for p in facts["positions"]]
    total = None if None in sold else Decimal(facts["cash"]) + sum(map(Decimal, sold))
    note = (
        f"Selling everything now leaves {money(total)} of cash: at the marks, fees taken off, the spread not. "
        "Prices, value and unrealised PnL are in USDT; the entry has its fee in. The share is of the most that "
        "a position may cost."
    )
    return card(TITLE, table(head, rows, numbers="-nNNnnn"), note=note)
