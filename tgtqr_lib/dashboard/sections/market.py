"""The prices of each symbol with their mean, its band, and every fill."""

from __future__ import annotations

import numpy as np

from tgtqr_lib.clock import to_ms
from tgtqr_lib.dashboard.facts import MINUTE_MS, Snapshot
from tgtqr_lib.dashboard.parts import card, empty
from tgtqr_lib.dashboard.pictures import Line, price_chart
from tgtqr_lib.dashboard.spans import since_ms


def html(seen: Snapshot, span: str) -> str:
    """One card a symbol, for the last `span`."""
    return "".join(_symbol(seen, symbol, span) for symbol in seen.settings.symbols)


def _symbol(seen: Snapshot, symbol: str, span: str) -> str:
    times, closes = seen.closes(symbol)
    if len(times) < 2:
        return card(symbol, empty("No prices yet – a watch beat reads one each minute."))
    plan = (seen.facts or {}).get("plan", {}).get("parameters", {})
    window = plan.get("window")
    lines = [Line("close", times, closes, "blue")]
    mean = trailing_mean(times, closes, window) if window else np.full(len(times), np.nan)
    lines.append(
        Line(f"mean of {window} min" if window else "no mean", times, mean, "orange", dashed=True)
    )
    since = since_ms(times, span)
    rows = times > since
    lines = [Line(one.name, times[rows], one.values[rows], one.colour, one.dashed) for one in lines]
    fills = [f for f in seen.fills if f.symbol == symbol and to_ms(f.at) > since]
    picture = price_chart(symbol, lines, fills, plan.get("band_bps", 0))
    return card(symbol, picture, note="Price in USDT. ▲ bought, ▼ sold.")


def trailing_mean(times: np.ndarray, closes: np.ndarray, window: int) -> np.ndarray:
    """(n,) mean of the last `window` closes, NaN where one of their minutes is missing."""
    mean = np.full(len(closes), np.nan)
    if len(closes) >= window:
        total = np.cumsum(np.insert(closes - closes[0], 0, 0.0))
        mean[window - 1 :] = (total[window:] - total[:-window]) / window + closes[0]
        whole = times[window - 1 :] - times[: len(times) - window + 1] == (window - 1) * MINUTE_MS
        mean[window - 1 :][~whole] = np.nan
    return mean
