"""How much of the past a chart shows."""

from __future__ import annotations

import numpy as np

HOUR_MS = 3_600_000
SPANS = {"1 h": HOUR_MS, "24 h": 24 * HOUR_MS, "7 d": 168 * HOUR_MS, "all": None}
DEFAULT = "24 h"


def since_ms(times: np.ndarray, span: str) -> int:
    """The ms after which the last `span` of `times` begins; everything for `all`, or without times."""
    length = SPANS.get(span)
    return -1 if length is None or not len(times) else int(times[-1]) - length
