"""How the account did: equity and drawdown by minute with every fill, PnL, fees and the runway."""

from __future__ import annotations

from tgtqr_lib.clock import to_ms
from tgtqr_lib.dashboard.facts import Snapshot
from tgtqr_lib.dashboard.parts import DASH, card, empty, figures, money
from tgtqr_lib.dashboard.pictures import Line, equity_chart
from tgtqr_lib.dashboard.sections import twin
from tgtqr_lib.dashboard.spans import since_ms

TITLE = "Performance"


def html(seen: Snapshot, span: str) -> str:
    """The section for the last `span` of exchange time."""
    facts = seen.facts
    if facts is None or seen.account is None:
        return card(TITLE, empty("No account yet – the first tick or beat opens one."), wide=True)
    runway = facts["runway_days"]
    shown = [
        ("equity", money(facts["equity"])),
        ("day PnL", money(facts["day_pnl"], signed=True)),
        ("total PnL", money(facts["total_pnl"], signed=True)),
        (f"fees, {facts['fills']} fills", money(facts["fees"])),
        ("runway", DASH if runway is None else f"{runway:,.1f} <small>days</small>"),
    ]
    since = since_ms(seen.minutes, span)
    rows = seen.minutes > since
    line = Line("equity", seen.minutes[rows], seen.equity[rows], "blue")
    if len(line.times) < 2:
        picture = empty("Nothing to draw yet – a watch beat marks the equity once a minute.")
    else:
        fills = [fill for fill in seen.fills if to_ms(fill.at) > since]
        picture = equity_chart(line, fills, float(seen.account.initial_equity))
    note = (
        "Equity is cash plus what is held at the last closed minute. "
        "▲ bought, ▼ sold. Runway: at the present cost per day (fees and half the spread of the last 24 h) "
        "the total budget lasts so long."
    )
    below = f'<p class="note">{note}</p>{twin.html(seen)}'
    return card(TITLE, figures(shown) + picture + below, wide=True)
