"""The recent ticks: what each saw, decided and did, or the one reason why not."""

from __future__ import annotations

from collections import Counter
from itertools import takewhile
from typing import Any

from tgtqr_lib.dashboard.facts import Snapshot
from tgtqr_lib.dashboard.parts import DASH, card, empty, esc, price, table, when

TITLE = "Signals and decisions"
SHOWN = 12
SIGNS = {"LONG": "▲ LONG", "FLAT": "▽ FLAT", "HOLD": "◆ HOLD"}


def html(seen: Snapshot) -> str:
    """The section."""
    if not seen.ticks:
        at = seen.next_tick
        tail = f" – the next tick is at {at:%H:%M} UTC." if at else "."
        return card(TITLE, empty(f"No tick yet{tail}"), wide=True)
    rows = [row for tick in seen.ticks[:SHOWN] for row in _rows(tick)]
    head = (
        "tick",
        "symbol",
        "signal",
        "close",
        "60-min mean",
        "distance",
        "what was done, and why",
    )
    if (window := seen.facts["plan"]["parameters"].get("window")) is not None:
        head = (*head[:4], f"mean of {window}", *head[5:])
    note = (
        "Each tick is a link to its archived notebook. Prices in USDT, distance of the close from the mean in "
        "basis points."
    )
    body = looked_back(seen) + table(head, rows, numbers="---NNN-") + quiet(seen)
    return card(TITLE, body, note=note, wide=True)


def looked_back(seen: Snapshot) -> str:
    """Why the kit is stopped, and the newest post-mortem; nothing while there is neither."""
    name = seen.post_mortem
    if name is None:
        return ""
    lead = f"<b>STOPPED</b>: {esc(seen.stopped)}. " if seen.stopped else ""
    link = f'<a href="report/post-mortem-{esc(name)}" target="_blank">the post-mortem of tick {esc(name)}</a>'
    return f'<p class="looked-back">{lead}Looked back at last: {link}.</p>'


def _rows(tick: dict[str, Any]) -> list[list[str]]:
    name = when(tick["at"], day=True)
    link = (
        f'<a href="tick/{esc(tick["tick_id"])}" target="_blank">{name}</a>'
        if tick["sealed"]
        else name
    )
    if not tick["choices"]:
        why = f"<b>{esc(tick['state'])}</b>: {esc(tick['text'])}"
        return [[link, DASH, DASH, DASH, DASH, DASH, why]]
    return [
        [
            "" if row else link,
            esc(choice["symbol"].removesuffix("USDT")),
            SIGNS.get(choice["signal"], esc(choice["signal"])),
            price(choice["close"]),
            price(choice["mean"]),
            DASH
            if choice["distance_bps"] is None
            else f"{esc(choice['distance_bps'])} <small>bps</small>",
            _outcome(choice),
        ]
        for row, choice in enumerate(tick["choices"])
    ]


def _outcome(choice: dict[str, Any]) -> str:
    if choice["result"] == "FILLED":
        tone = "up" if choice["order"].startswith("BUY") else "down"
        text = choice["text"].replace(f" {choice['symbol']} at ", " at ")  # it stands in its column
        return f'<b class="{tone}">{esc(text)}</b>'
    if choice["result"]:
        return f"<b>{esc(choice['result'])}</b> <code>{esc(choice['reason'])}</code> {esc(choice['text'])}"
    return f'no order: <code title="{esc(choice["text"])}">{esc(choice["reason"])}</code>'


def quiet(seen: Snapshot) -> str:
    """Why there was no trade since the last one: quiet ticks by their reason, each symbol for itself."""
    parts = []
    symbols = sorted({choice["symbol"] for tick in seen.ticks for choice in tick["choices"]})
    for symbol in symbols:
        ticks = [(t, c) for t in seen.ticks for c in t["choices"] if c["symbol"] == symbol]
        still = list(takewhile(lambda pair: pair[1]["result"] != "FILLED", ticks))
        since = (
            f"since {ticks[len(still)][0]['at']:%Y-%m-%d %H:%M} UTC"
            if len(still) < len(ticks)
            else "in all ticks seen"
        )
        reasons = Counter(choice["reason"] for _, choice in still)
        told = ", ".join(
            f"<code>{esc(reason)}</code> × {count}" for reason, count in reasons.most_common()
        )
        parts.append(
            f"<li><b>{esc(symbol)}</b> {esc(since)}: {told or 'it traded at the last tick'}</li>"
        )
    return (
        f'<details class="quiet"><summary>Why no trade?</summary><ul>{"".join(parts)}</ul></details>'
        if parts
        else ""
    )
